"""Writing clients with retries, and the check that nothing they had acknowledged is lost."""

import itertools
import threading
import time
from dataclasses import dataclass

import grpc
from etcd3.etcdrpc import rpc_pb2

READS_PER_TRANSACTION = 100


@dataclass(frozen=True)
class Acknowledged:
    """A put whose answer said `revision`."""

    key: bytes
    value: bytes
    revision: int
    at: float  # time.monotonic() when the answer arrived


class Writers:
    """Some threads that put without pause, each to one member until that fails, then to the next.

    A put whose answer did not come is tried again with a new value: it may have happened, and nothing is claimed
    of it. Only answered puts are kept.
    """

    def __init__(self, cluster, threads=4, keys=50, value_bytes=64, prefix="w"):
        self.cluster = cluster
        self.acknowledged = []
        self.failures = 0
        self._keys, self._value_bytes, self._prefix = keys, value_bytes, prefix
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a writing thread did not end"

    @property
    def count(self):
        return len(self.acknowledged)

    def count_since(self, moment):
        """How many puts were acknowledged after `moment` (time.monotonic())."""
        return sum(1 for _ in itertools.takewhile(lambda put: put.at > moment, reversed(self.acknowledged)))

    def _write(self, number):
        members = itertools.cycle(self.cluster.members[number % 3 :] + self.cluster.members[: number % 3])
        member = next(members)
        for attempt in itertools.count():
            if self._stop.is_set():
                return
            key = f"{self._prefix}/{number}/{attempt % self._keys}".encode()
            value = f"{number}-{attempt}-".encode().ljust(self._value_bytes, b"x")
            try:
                answer = member.kv.Put(rpc_pb2.PutRequest(key=key, value=value), timeout=2)
            except grpc.RpcError:
                self.failures += 1
                member = next(members)
                self._stop.wait(0.02)
                continue
            self.acknowledged.append(Acknowledged(key, value, answer.header.revision, time.monotonic()))


def lost(member, puts):
    """The acknowledged puts that `member`, by its own state, does not show at their revision.

    Read at exactly the put's revision the key must have the put's value and that very mod_revision.
    """
    missing = []
    for start in range(0, len(puts), READS_PER_TRANSACTION):
        some = puts[start : start + READS_PER_TRANSACTION]
        reads = [rpc_pb2.RangeRequest(key=put.key, revision=put.revision, serializable=True) for put in some]
        request = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=read) for read in reads])
        try:
            answers = [response.response_range for response in member.kv.Txn(request, timeout=20).responses]
        except grpc.RpcError as error:
            # One read of a revision the member never had fails the whole transaction: ask one by one.
            assert error.code() == grpc.StatusCode.OUT_OF_RANGE, f"{member.name}: {error.code()} {error.details()}"
            answers = [_read_or_none(member, read) for read in reads]
        for put, answer in zip(some, answers):
            if answer is None or [(kv.value, kv.mod_revision) for kv in answer.kvs] != [(put.value, put.revision)]:
                missing.append(put)
    return missing


def _read_or_none(member, read):
    try:
        return member.kv.Range(read, timeout=10)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.OUT_OF_RANGE, f"{member.name}: {error.code()} {error.details()}"
        return None


def assert_nothing_lost(cluster, puts, deadline=60):
    """Every acknowledged put is readable at its revision on every member, and their HashKV agree."""
    assert puts, "no put was acknowledged, so nothing was checked"
    revisions = [put.revision for put in puts]
    assert len(set(revisions)) == len(revisions), "two puts were acknowledged at one revision"
    cluster.wait_same_revision(at_least=max(revisions), deadline=deadline)
    for member in cluster.members:
        missing = lost(member, puts)
        assert not missing, f"{member.name} lost {len(missing)} of {len(puts)} acknowledged puts, first {missing[0]}"
    cluster.assert_same_hash()
