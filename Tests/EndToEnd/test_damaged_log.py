"""A log that ends in a torn write is recovered; one that was damaged where it was whole is refused."""

import glob
import re
import time

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2
from harness import wait_until

PUTS = 400


def log_files(member):
    """The files of the member's Raft log, oldest first."""
    pattern = "member/wal/*.wal" if member.server.is_etcd else "member/log/records/*.log"
    found = sorted(glob.glob(str(member.data / pattern)))
    assert found, f"no {pattern} in {member.data}"
    return found


def payload(number):
    return b"payload-%04d-" % number + b"p" * 80


def put_payloads(member, numbers):
    """One put after the other, so that each is in a record of its own."""
    for number in numbers:
        member.kv.Put(rpc_pb2.PutRequest(key=b"k%04d" % number, value=payload(number)), timeout=10)


def place_of(member, number):
    """(file, offset) of the whole value of put `number` in the member's log; None if it is split between blocks."""
    for path in log_files(member):
        with open(path, "rb") as file:
            offset = file.read().find(payload(number))
        if offset >= 0:
            return path, offset


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x20]))


@pytest.fixture
def written(make_cluster):
    """Three members with PUTS puts in their logs."""
    cluster = make_cluster(3).start()
    put_payloads(cluster.leader(), range(PUTS))
    cluster.wait_same_revision(at_least=PUTS + 1)
    return cluster


def assert_it_takes_part(cluster, member):
    """The member has all that was put, and takes part in new writes."""
    assert cluster.wait_same_revision(at_least=PUTS + 1) == PUTS + 1
    put_payloads(member, [PUTS])
    cluster.wait_same_revision(at_least=PUTS + 2)
    cluster.assert_same_hash()


def test_a_log_whose_last_record_was_cut_short_is_recovered(written):
    """The record is one that nobody was promised: a put that a leader without followers wrote, and never answered.

    (Cutting an acknowledged record is another thing: a member that forgets what it acknowledged breaks Raft.)
    """
    member = written.leader()
    others = [each for each in written.members if each is not member]
    for other in others:
        other.kill()
    pending = member.kv.Put.future(rpc_pb2.PutRequest(key=b"never", value=payload(9999)), timeout=10)
    path, offset = wait_until(lambda: place_of(member, 9999), 5, "the put to be in the leader's log")
    member.kill()
    assert isinstance(pending.exception(timeout=10), grpc.RpcError), "a put without a quorum was answered"
    with open(path, "r+b") as file:
        file.truncate(offset + 20)
    for other in others:
        other.start()
    member.start().wait_ready()
    written.leader()
    assert member.kv.Range(rpc_pb2.RangeRequest(key=b"never"), timeout=10).count == 0
    assert_it_takes_part(written, member)


@pytest.mark.gulpd_only("its files do not end where the writing does")
def test_a_record_that_was_only_half_written_is_dropped(written):
    """What a crash in the middle of a write leaves: behind all that was acknowledged, the beginning of one more record."""
    member = written.members[2]
    member.kill()
    path = log_files(member)[-1]
    raw = open(path, "rb").read()
    beginning = raw[:60]  # a file begins with a record
    left_in_block = 32768 - len(raw) % 32768
    with open(path, "ab") as file:
        file.write(b"\0" * left_in_block if left_in_block < 70 else b"")
        file.write(beginning)
    member.start().wait_ready()
    assert_it_takes_part(written, member)


def test_a_log_with_a_flipped_payload_byte_is_refused(written):
    member = written.members[1]
    member.kill()
    path, offset = next(found for found in (place_of(member, n) for n in range(PUTS // 2, PUTS)) if found)
    flip(path, offset + 40)
    before = {file: open(file, "rb").read() for file in log_files(member)}

    member.start()
    began = time.monotonic()
    code = None
    while code is None and time.monotonic() - began < 20:
        assert not served(member), "a member with a damaged log answered a call"
        code = member.process.poll()
    assert code not in (None, 0), f"exit {code}"
    if not member.server.is_etcd:
        name = re.escape(path.rsplit("/", 1)[1])
        assert re.search(name, member.log), f"{name} is not named in:\n{member.log[-1500:]}"
    assert "ready to serve client requests" not in member.log
    for file, content in before.items():
        assert open(file, "rb").read() == content, f"the damaged log was changed: {file}"
    # The others go on without it, and it is refused again.
    put_payloads(written.members[0], [PUTS])
    member.start()
    assert member.wait_end() != 0


def served(member):
    try:
        member.kv.Range(rpc_pb2.RangeRequest(key=b"k0000", serializable=True), timeout=0.05)
        return True
    except grpc.RpcError:
        return False
