"""Power cuts: running a program under chaos/lossy.so, and taking away what it had not synced."""

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT

RECORD = struct.Struct("<QQQ")


def compile_c(source, output, *flags):
    """Compiles one file of chaos/ and returns the result's path."""
    compiler = os.environ.get("CC", "cc")
    source = ROOT / "chaos" / source
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", output, source, *flags], check=True)
    return Path(output)


def compile_library(directory):
    return compile_c("lossy.c", Path(directory) / "lossy.so", "-shared", "-fPIC", "-ldl", "-pthread")


@dataclass(frozen=True)
class Cut:
    """What a power cut did to one file."""

    path: Path
    synced: int
    written: int
    kept: int


class LossyDisk:
    """The files below `directory`, as one process started with `environment` knows them to be synced."""

    def __init__(self, library, directory, table):
        self.library, self.directory, self.table = library, Path(directory), Path(table)
        self.begin()

    @property
    def environment(self):
        return {"LD_PRELOAD": str(self.library), "LOSSY_TABLE": str(self.table)}

    def begin(self):
        """What is on disk now is durable: a program that starts after a power cut finds just that."""
        self.table.unlink(missing_ok=True)
        self.found = {(about.st_dev, about.st_ino): about.st_size for _, about in self._files()}

    def power_cut(self, rng):
        """Cuts every file at a random point between its synced length and its size, at the former as often as not."""
        synced = self._synced_lengths()
        cuts = []
        for path, about in self._files():
            identity = (about.st_dev, about.st_ino)
            if about.st_size == 0:
                continue  # nothing to lose; one killed between making a file and noting it leaves such
            length = synced.get(identity, self.found.get(identity))
            assert length is not None, f"{path} was made without lossy.so seeing it: nothing can be said of its syncs"
            if about.st_size > length:
                kept = length if rng.random() < 0.5 else rng.randrange(length, about.st_size + 1)
                os.truncate(path, kept)
                cuts.append(Cut(path, length, about.st_size, kept))
        self.begin()
        return cuts

    def _files(self):
        for base, _, names in sorted(os.walk(self.directory)):
            for name in sorted(names):
                path = Path(base) / name
                if path.is_file() and not path.is_symlink():
                    yield path, path.stat()

    def _synced_lengths(self):
        raw = self.table.read_bytes()
        assert raw, f"{self.table} is empty: the program did not run under lossy.so"
        return {(device, inode): length for device, inode, length in RECORD.iter_unpack(raw) if inode}
