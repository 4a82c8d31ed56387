"""A log that ends in a torn write is recovered; one that was damaged where it was whole, or lost a part, is refused."""

import glob
import struct
import time

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2
from harness import READY, wait_until

PUTS = 400
BLOCK = 32768  # RocksDB's log files are made of blocks that no fragment of a record crosses
HEADER = struct.Struct("<IHB")  # before each fragment: its checksum, its length, its type
only_gulpd = pytest.mark.gulpd_only("its files have another form")


def log_files(member):
    """The files of the member's Raft log, oldest first."""
    pattern = "member/wal/*.wal" if member.server.is_etcd else "member/log/records/*.log"
    found = sorted(glob.glob(str(member.data / pattern)))
    assert found, f"no {pattern} in {member.data}"
    return found


def contents(member):
    return {path: open(path, "rb").read() for path in log_files(member)}


def last_fragment(raw):
    """Where the last fragment of a log file begins, and how long it is; (0, 0) for an empty file."""
    place, offset = (0, 0), 0
    while offset + HEADER.size <= len(raw):
        if offset % BLOCK > BLOCK - HEADER.size:
            offset += BLOCK - offset % BLOCK
            continue
        length = HEADER.size + HEADER.unpack_from(raw, offset)[1]
        place, offset = (offset, length), offset + length
    return place


def payload(number):
    return b"payload-%04d-" % number + b"p" * 80


def put_payloads(member, numbers):
    """One put after the other, so that each is in a record of its own."""
    for number in numbers:
        member.kv.Put(rpc_pb2.PutRequest(key=b"k%04d" % number, value=payload(number)), timeout=20)


def place_of(member, number):
    """(file, offset) of the whole value of put `number` in the member's log; None if it is split between blocks."""
    for path, raw in contents(member).items():
        offset = raw.find(payload(number))
        if offset >= 0:
            return path, offset


def is_at_rest(member):
    """Whether the log ends in a record of a commit index alone, which a restart finds again without it."""
    raw = open(log_files(member)[-1], "rb").read()
    offset, length = last_fragment(raw)
    return 0 < length < 70 and offset + length == len(raw)


@pytest.fixture
def written(make_cluster):
    """Three members with PUTS puts in their logs, at rest."""
    cluster = make_cluster(3).start()
    put_payloads(cluster.leader(), range(PUTS))
    cluster.revision = cluster.wait_same_revision(at_least=PUTS + 1)
    for member in cluster.members:
        if not member.server.is_etcd:
            wait_until(lambda: is_at_rest(member), 10, f"{member.name}'s log to come to rest")
    return cluster


def chosen(cluster, role):
    leader = cluster.leader()
    return leader if role == "leader" else next(each for each in cluster.members if each is not leader)


def cut(path, length):
    with open(path, "r+b") as file:
        file.truncate(length)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x20]))


def assert_it_takes_part(cluster, member):
    """The member has all that was put, and takes part in new writes."""
    assert cluster.wait_same_revision(at_least=cluster.revision) == cluster.revision
    cluster.leader()
    put_payloads(member, [PUTS])
    cluster.wait_same_revision(at_least=cluster.revision + 1)
    cluster.assert_same_hash()


def assert_it_refuses(member, *reasons):
    """Started, the member ends with an error that has `reasons`, has served nothing, and has left its log as it was."""
    before = contents(member)
    member.start()
    began = time.monotonic()
    while member.is_running and time.monotonic() - began < 20:
        assert not serves(member), "a member with a damaged log answered a call"
    assert member.process.poll() not in (None, 0), f"exit {member.process.poll()}"
    for reason in reasons:
        assert reason in member.log, f"'{reason}' is not in:\n{member.log[-1500:]}"
    assert READY not in member.log
    assert contents(member) == before, "the damaged log was changed"


def serves(member):
    try:
        member.kv.Range(rpc_pb2.RangeRequest(key=b"k0000", serializable=True), timeout=0.05)
        return True
    except grpc.RpcError:
        return False


@only_gulpd
@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("bytes_lost", [1, 20, 40])
def test_a_log_whose_last_record_was_cut_short_is_recovered(written, role, bytes_lost):
    member = chosen(written, role)
    member.kill()
    path = log_files(member)[-1]
    raw = open(path, "rb").read()
    cut(path, len(raw) - bytes_lost)
    member.start().wait_ready()
    assert f"the last record of {path}" in member.log, "nothing was said of the repair"
    kept = member.data / "member/log/damaged" / path.rsplit("/", 1)[1]
    assert kept.read_bytes() == raw[:-bytes_lost], "the file as it was is not kept"
    assert_it_takes_part(written, member)
    # The repair lasts: nothing is left to be said at the next start.
    member.kill()
    member.start().wait_ready()
    assert "the last record of" not in member.log


@only_gulpd
def test_a_record_that_was_only_half_written_is_dropped(written):
    """What a crash in the middle of a write leaves: behind all that was acknowledged, the beginning of one more record."""
    member = chosen(written, "follower")
    member.kill()
    path = log_files(member)[-1]
    left_in_block = BLOCK - len(open(path, "rb").read()) % BLOCK
    with open(path, "ab") as file:
        if left_in_block < 300:
            file.write(HEADER.pack(0x1234ABCD, left_in_block - HEADER.size, 2) if left_in_block > HEADER.size else b"\0")
        else:
            file.write(HEADER.pack(0x1234ABCD, 250, 1) + b"x" * 100)
    member.start().wait_ready()
    assert_it_takes_part(written, member)


@only_gulpd
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_log_that_lost_an_acknowledged_record_is_refused(written, role):
    """Cut in the middle of a put that was acknowledged: it looks like a torn write, but a member that forgets what it
    acknowledged breaks Raft."""
    member = chosen(written, role)
    member.kill()
    path, offset = next(found for found in (place_of(member, n) for n in reversed(range(PUTS))) if found)
    cut(path, offset + 40)
    assert_it_refuses(member, "acknowledged entries are missing", str(member.data))
    # Nor does it change its mind.
    assert_it_refuses(member, "acknowledged entries are missing")
    put_payloads(written.leader(), [PUTS])


@pytest.mark.parametrize("where", ["a put", "the last put", pytest.param("the last byte", marks=only_gulpd)])
def test_a_log_with_a_flipped_payload_byte_is_refused(written, where):
    member = chosen(written, "follower")
    member.kill()
    if where == "the last byte":
        path, raw = list(contents(member).items())[-1]
        flip(path, len(raw) - 1)
    else:
        numbers = range(PUTS // 2, PUTS) if where == "a put" else reversed(range(PUTS))
        path, offset = next(found for found in (place_of(member, n) for n in numbers) if found)
        flip(path, offset + 40)
    named = [] if member.server.is_etcd else [path]
    assert_it_refuses(member, *named)
    # The others go on without it, and it is refused again.
    put_payloads(written.leader(), [PUTS])
    assert_it_refuses(member, *named)
