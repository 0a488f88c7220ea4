"""A partition's files, for tests that do to a stopped broker what disks, restores and hands do."""

import struct
from pathlib import Path


class Partition:
    """One partition of a stopped broker.  Its indexes and snapshots are thrown away: the broker makes them anew."""

    def __init__(self, stack, topic, partition):
        self.dir = Path(stack.dir) / "kafka" / "data" / f"{topic}-{partition}"
        assert self.dir.is_dir(), self.dir

    def segments(self):
        """Oldest first."""
        return sorted(self.dir.glob("*.log"))

    def batches(self, segment):
        """(first offset, position, length) of each batch."""
        data, at = segment.read_bytes(), 0
        while at + 12 <= len(data):
            first, size = struct.unpack_from(">qi", data, at)
            if size <= 0:
                break
            yield first, at, 12 + size
            at += 12 + size

    def _forget_indexes(self):
        for pattern in ("*.index", "*.timeindex", "*.snapshot", "leader-epoch-checkpoint"):
            for path in self.dir.glob(pattern):
                path.unlink()

    def cut(self, offset):
        """The log ends before the batch that starts at offset."""
        for segment in self.segments():
            for first, at, _ in self.batches(segment):
                if first >= offset:
                    with segment.open("r+b") as f:
                        f.truncate(at)
                    break
        for segment in self.segments()[1:]:
            if segment.stat().st_size == 0:
                segment.unlink()
        self._forget_indexes()

    def remove(self, number):
        """One segment, and all that stood in it, is gone."""
        self.segments()[number].unlink()
        self._forget_indexes()

    def damage(self, offset):
        """A bit of the batch that holds offset has flipped."""
        for segment in self.segments():
            for first, at, length in self.batches(segment):
                if first == offset:
                    with segment.open("r+b") as f:
                        f.seek(at + length - 2)
                        byte = f.read(1)[0]
                        f.seek(at + length - 2)
                        f.write(bytes([byte ^ 1]))
                    return
        raise AssertionError(f"no batch at {offset}")
