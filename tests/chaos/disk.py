"""Copies of servers' files, and disks that are small enough to fill up: tmpfs, which only root may mount."""

import contextlib
import shutil
import subprocess
from pathlib import Path


def copy(source, target):
    """The same files with the same holes: Kafka's indexes are nothing else."""
    subprocess.run(["cp", "-a", "--sparse=always", f"{source}/.", target], check=True)


def small_disk(field, place, size):
    """What is in place moves to a disk of its own, under the same name."""
    aside = place.with_name(place.name + ".aside")
    if place.exists():
        place.rename(aside)
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], check=True)
    field.extras.append(lambda: release(place))
    if aside.exists():
        copy(aside, place)
        shutil.rmtree(aside)


def release(place):
    """Nothing is mounted at or under place, also not by a run that was cut off."""
    for line in Path("/proc/mounts").read_text().splitlines():
        mounted = Path(line.split(" ")[1])
        if mounted.is_relative_to(place):
            subprocess.run(["umount", "--lazy", mounted], check=True)


@contextlib.contextmanager
def fill(place):
    """No room is left on the disk of place."""
    filler = place / "filler"
    try:
        with filler.open("wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(b"x" * 65536)
        yield
    finally:
        filler.unlink()
