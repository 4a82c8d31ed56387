"""What a member without a leader answers, and what one answers to methods it does not know."""

import threading

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from harness import wait_until

REQUIRES_LEADER = [("hasleader", "true")]


def error_of(call):
    """(code, details) of the gRPC error that `call()` ends with, or None."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()


def raw(member, path, metadata=None):
    """A unary call with raw bytes."""
    method = member.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    return lambda: method(b"", timeout=5, metadata=metadata)


NO_LEADER = (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")


@pytest.fixture
def alone(three):
    """A member whose two peers are gone, still with a leader in its mind or not."""
    three.members[0].kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"1"), timeout=5)
    three.wait_same_revision()
    leader = three.leader()
    alone = next(member for member in three.members if member is not leader)
    for member in three.members:
        if member is not alone:
            member.kill()
    return alone


def test_a_call_that_requires_a_leader_ends_with_no_leader(alone):
    request = rpc_pb2.RangeRequest(key=b"a", serializable=True)
    wait_until(
        lambda: error_of(lambda: alone.kv.Range(request, timeout=5, metadata=REQUIRES_LEADER)) == NO_LEADER,
        20,
        "a call with hasleader to end with no leader",
    )
    # Without it, a serializable read is still answered.
    assert alone.kv.Range(request, timeout=5).kvs[0].value == b"1"
    leases = rpc_pb2_grpc.LeaseStub(alone.channel)
    assert (
        error_of(lambda: leases.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=5), timeout=5, metadata=REQUIRES_LEADER))
        == NO_LEADER
    )


def test_an_open_watch_that_requires_a_leader_ends_when_the_leader_is_lost(three):
    alone, *others = three.members
    stop = threading.Event()

    def requests():
        yield rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"a"))
        stop.wait(60)

    watch = rpc_pb2_grpc.WatchStub(alone.channel).Watch(requests(), metadata=REQUIRES_LEADER, timeout=60)
    assert next(watch).created
    for member in others:
        member.kill()
    try:
        assert error_of(lambda: list(watch)) == NO_LEADER
    finally:
        stop.set()


def test_a_watch_that_does_not_require_a_leader_stays_and_resumes(three):
    alone, *others = three.members
    stop = threading.Event()

    def requests():
        yield rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"a"))
        stop.wait(60)

    watch = rpc_pb2_grpc.WatchStub(alone.channel).Watch(requests(), timeout=60)
    try:
        assert next(watch).created
        for member in others:
            member.kill()
        wait_until(lambda: alone.status().leader == 0, 20, "the member to see that there is no leader")
        for member in others:
            member.start()
        for member in others:
            member.wait_ready()
        three.leader()
        others[0].kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"2"), timeout=10)
        assert [event.kv.value for event in next(watch).events] == [b"2"]
    finally:
        stop.set()


@pytest.mark.parametrize(
    "path",
    [
        "/etcdserverpb.KV/Rage",
        "/etcdserverpb.Keys/Range",
        "/etcdserverpb.KV/",
        pytest.param("/nothing", marks=pytest.mark.gulpd_only("a path without a method is RESOURCE_EXHAUSTED there")),
    ],
)
def test_unknown_methods_are_unimplemented(make_cluster, path):
    member = make_cluster(1).start().members[0]
    code, _ = error_of(raw(member, path))
    assert code == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.gulpd_only("a malformed message is INTERNAL there")
def test_a_message_that_is_not_protobuf_is_an_error_and_the_member_lives(make_cluster):
    member = make_cluster(1).start().members[0]
    method = member.channel.unary_unary("/etcdserverpb.KV/Range", request_serializer=bytes, response_deserializer=bytes)
    code, _ = error_of(lambda: method(b"\xff\xff\xff", timeout=5))
    assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
    assert member.is_running
    assert member.kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"1"), timeout=5).header.revision == 2
