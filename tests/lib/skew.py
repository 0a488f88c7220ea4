"""A wall clock that is wrong for one process (tests/lib/skew.c)."""

import struct

from lib.stack import BUILD


class Skew:
    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, seconds):
        """From now on the clock is off by so much.  In place: the process has the file mapped."""
        with self.path.open("r+b" if self.path.exists() else "w+b") as f:
            f.write(struct.pack("=q", int(seconds * 1000)))

    @property
    def environ(self):
        library = BUILD / "tests" / "skew.so"
        assert library.exists(), "make test builds it"
        # A sanitizer wants to be the first library, and need not be.
        return {"LD_PRELOAD": str(library), "SKEW_FILE": str(self.path), "ASAN_OPTIONS": "verify_asan_link_order=0"}
