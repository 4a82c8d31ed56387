"""A leader that was stopped for longer than leases run for must not end them: nobody could renew them meanwhile."""

import os
import signal
import time

import pytest
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from harness import Cluster, wait_until

TTL = 4


def renew(member, lease, timeout=10):
    """What is left of the lease after a renewal; 0: there is none."""
    stub = rpc_pb2_grpc.LeaseStub(member.channel)
    stream = stub.LeaseKeepAlive(iter([rpc_pb2.LeaseKeepAliveRequest(ID=lease)]), timeout=timeout, wait_for_ready=True)
    return next(stream).TTL


@pytest.mark.gulpd_only("etcd counts the time in which it stood still")
@pytest.mark.parametrize("size", [1, 3])
def test_members_stopped_for_longer_than_a_lease_do_not_end_it(server, processes, size):
    cluster = Cluster(server, processes, size).start()
    member = cluster.leader()
    leases = rpc_pb2_grpc.LeaseStub(member.channel)
    for lease, key in ((1, b"kept"), (2, b"left")):
        leases.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=TTL, ID=lease), timeout=5)
        member.kv.Put(rpc_pb2.PutRequest(key=key, value=b"x", lease=lease), timeout=5)
    assert renew(member, 1) == TTL

    pids = [each.process.pid for each in cluster.members]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + 2 * TTL
    wait_until(lambda: time.monotonic() > end, 3 * TTL, "twice the lease's time to pass")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)

    # The first word after the pause is a renewal, and the lease is there.
    assert renew(member, 1) == TTL
    assert member.kv.Range(rpc_pb2.RangeRequest(key=b"kept"), timeout=10).count == 1

    # What nobody renews ends, the pause and the change of leader that it may have caused added.
    def is_gone():
        renew(member, 1)
        return member.kv.Range(rpc_pb2.RangeRequest(key=b"left"), timeout=10).count == 0

    wait_until(is_gone, 4 * TTL, "the lease that nobody renews to end")
    assert member.kv.Range(rpc_pb2.RangeRequest(key=b"kept"), timeout=10).count == 1
