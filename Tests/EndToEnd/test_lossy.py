"""lossy.so itself: it takes what was not synced, and only that, from small programs and from RocksDB."""

import random
import subprocess

import pytest
from harness import clean_environment, wait_until
from lossy import LossyDisk, compile_c, compile_library

ROUNDS = 4


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The library and the two writing programs."""
    directory = tmp_path_factory.mktemp("lossy")
    return (
        compile_library(directory),
        compile_c("append.c", directory / "append"),
        compile_c("rocks.c", directory / "rocks", "-lrocksdb"),
    )


def write_until_killed(argv, disk, acknowledgements):
    """Runs a writer under lossy.so, kills it -9 once it has acknowledged enough; returns the last number it said."""
    said = b""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=clean_environment(**disk.environment)) as writer:

        def enough():
            nonlocal said
            said += writer.stdout.read1(1 << 16)
            return said.count(b"\n") >= acknowledgements

        try:
            wait_until(enough, 30, f"{argv[0]} to acknowledge {acknowledgements} writes")
        finally:
            writer.kill()
        said += writer.stdout.read()
    return int(said.split(b"\n")[-2])


def appended(path):
    """How many whole records, numbered from 1 on, the file begins with."""
    raw = path.read_bytes()
    count = 0
    while raw[count * 100 : count * 100 + 20] == b"%020d" % (count + 1) and len(raw) >= (count + 1) * 100:
        count += 1
    return count


@pytest.mark.parametrize("way", ["fsync", "fdatasync", "o_dsync"])
def test_a_synced_append_survives_a_power_cut(built, tmp_path, way):
    library, append, _ = built
    rng = random.Random(way)
    for number in range(ROUNDS):
        disk = LossyDisk(library, tmp_path, tmp_path.parent / f"table-{way}")
        file = tmp_path / f"file{number}"
        said = write_until_killed([append, file, "synced", way], disk, 200)
        disk.power_cut(rng)
        assert appended(file) >= said


def test_an_unsynced_append_does_not(built, tmp_path):
    library, append, _ = built
    rng = random.Random(1)
    losses = 0
    for number in range(ROUNDS):
        disk = LossyDisk(library, tmp_path, tmp_path.parent / "table-unsynced")
        file = tmp_path / f"file{number}"
        said = write_until_killed([append, file, "unsynced"], disk, 200)
        (cut,) = disk.power_cut(rng)
        assert (cut.synced, cut.written >= said * 100) == (0, True)
        losses += appended(file) < said
    assert losses == ROUNDS


@pytest.mark.parametrize("mode", ["synced", "unsynced"])
def test_rocksdb_keeps_what_it_synced_and_loses_what_it_did_not(built, tmp_path, mode):
    library, _, rocks = built
    rng = random.Random(mode)
    losses = 0
    for number in range(ROUNDS):
        database = tmp_path / f"database{number}"
        database.mkdir()
        disk = LossyDisk(library, database, tmp_path / "table")
        said = write_until_killed([rocks, database, mode], disk, 500)
        disk.power_cut(rng)
        found = int(subprocess.run([rocks, database, "count"], capture_output=True, text=True, check=True).stdout)
        losses += found < said
    # Without syncs a round loses nothing only if a memtable was flushed, with syncs, at the last moment.
    assert losses == 0 if mode == "synced" else losses >= ROUNDS // 2


def test_what_was_there_before_is_durable_and_what_is_added_is_not(built, tmp_path):
    library, *_ = built
    file = tmp_path / "old"
    file.write_bytes(b"before")
    disk = LossyDisk(library, tmp_path, tmp_path.parent / "table-old")
    subprocess.run(["sh", "-c", f"printf after >>{file}"], env=clean_environment(**disk.environment), check=True)
    (cut,) = disk.power_cut(random.Random(2))
    assert (cut.synced, cut.written) == (6, 11)
    assert file.read_bytes().startswith(b"before")


def test_a_file_made_behind_its_back_is_reported(built, tmp_path):
    library, *_ = built
    disk = LossyDisk(library, tmp_path, tmp_path.parent / "table-unseen")
    subprocess.run(["true"], env=clean_environment(**disk.environment), check=True)
    (tmp_path / "unseen").write_bytes(b"x")
    with pytest.raises(AssertionError, match="unseen was made without lossy.so seeing it"):
        disk.power_cut(random.Random(3))
