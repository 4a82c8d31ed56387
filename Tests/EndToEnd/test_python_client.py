"""PyPI's etcd3 client, as its users use it, on each of three members."""

import threading
import time

import etcd3
import pytest
from harness import Cluster, wait_until


@pytest.fixture(scope="module")
def members(server, module_processes):
    cluster = Cluster(server, module_processes).start()
    yield cluster.members
    cluster.close()


@pytest.fixture(params=[0, 1, 2], ids=["m1", "m2", "m3"])
def client(request, members):
    member = members[request.param]
    with etcd3.client(host="127.0.0.1", port=member.client_port, timeout=10) as client:
        client.delete_prefix("/")
        yield client


def test_put_get_and_delete(client):
    client.put("/doot", "one")
    value, meta = client.get("/doot")
    assert (value, meta.key, meta.version) == (b"one", b"/doot", 1)
    assert meta.create_revision == meta.mod_revision
    client.put("/doot", "two")
    value, meta = client.get("/doot")
    assert (value, meta.version) == (b"two", 2)
    assert client.delete("/doot")
    assert not client.delete("/doot")
    assert client.get("/doot") == (None, None)
    assert client.put_if_not_exists("/doot", "three")
    assert not client.put_if_not_exists("/doot", "four")
    assert client.replace("/doot", "three", "five")
    assert client.get("/doot")[0] == b"five"


def test_prefix(client):
    for number in range(5):
        client.put(f"/prefix/{number}", str(number))
    client.put("/prefiy", "not me")
    found = [(value, meta.key) for value, meta in client.get_prefix("/prefix/")]
    assert found == [(b"%d" % n, b"/prefix/%d" % n) for n in range(5)]
    descending = [meta.key for _, meta in client.get_prefix("/prefix/", sort_order="descend", sort_target="key")]
    assert descending == [b"/prefix/%d" % n for n in reversed(range(5))]
    assert client.delete_prefix("/prefix/").deleted == 5
    assert list(client.get_prefix("/prefix/")) == []
    assert client.get("/prefiy")[0] == b"not me"


def test_transaction(client):
    client.put("/account", "100")
    succeeded, answers = client.transaction(
        compare=[client.transactions.value("/account") == "100", client.transactions.version("/account") > 0],
        success=[client.transactions.put("/account", "90"), client.transactions.get("/account")],
        failure=[client.transactions.put("/account", "never")],
    )
    assert succeeded
    assert answers[1][0][0] == b"90", "a read in a transaction sees the writes before it"
    succeeded, answers = client.transaction(
        compare=[client.transactions.value("/account") == "100"],
        success=[client.transactions.put("/account", "never")],
        failure=[client.transactions.get("/account"), client.transactions.delete("/account")],
    )
    assert not succeeded
    assert answers[0][0][0] == b"90"
    assert client.get("/account") == (None, None)


def test_lease(client):
    lease = client.lease(60)
    client.put("/leased", "here", lease=lease)
    assert client.get("/leased")[1].lease_id == lease.id
    assert lease.granted_ttl == 60
    assert 55 <= lease.remaining_ttl <= 60
    assert list(lease.keys) == [b"/leased"]
    (answer,) = lease.refresh()
    assert answer.TTL == 60
    lease.revoke()
    assert client.get("/leased") == (None, None)


def test_a_lease_that_is_not_kept_alive_takes_its_keys_with_it(client):
    began = time.monotonic()
    lease = client.lease(2)
    client.put("/short", "here", lease=lease)
    wait_until(lambda: client.get("/short") == (None, None), 15, "the key of a lease of 2 s to go")
    assert time.monotonic() - began >= 2, "the lease ended before its time"


def test_lock(client, members):
    with etcd3.client(host="127.0.0.1", port=members[1].client_port, timeout=10) as other:
        mine, theirs = client.lock("thing", ttl=30), other.lock("thing", ttl=30)
        assert mine.acquire(timeout=5)
        assert mine.is_acquired()
        assert not theirs.acquire(timeout=1)
        assert mine.release()
        assert theirs.acquire(timeout=5)
        assert theirs.release()


def test_watch(client):
    events, cancel = client.watch_prefix("/watched/")
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(events), daemon=True)
    reader.start()
    client.put("/watched/a", "1")
    client.put("/unwatched", "x")
    client.put("/watched/b", "2")
    client.delete("/watched/a")
    wait_until(lambda: len(seen) >= 3, 10, "three watch events")
    cancel()
    reader.join(10)
    described = [(type(event).__name__, event.key, event.value) for event in seen]
    assert described == [
        ("PutEvent", b"/watched/a", b"1"),
        ("PutEvent", b"/watched/b", b"2"),
        ("DeleteEvent", b"/watched/a", b""),
    ]
    revisions = [event.mod_revision for event in seen]
    assert revisions == sorted(set(revisions))


def test_watch_from_an_older_revision(client):
    client.put("/past", "1")
    revision = client.get("/past")[1].mod_revision
    client.put("/past", "2")
    client.delete("/past")
    events, cancel = client.watch("/past", start_revision=revision)
    seen = [(type(event).__name__, event.value) for _, event in zip(range(3), events)]
    cancel()
    assert seen == [("PutEvent", b"1"), ("PutEvent", b"2"), ("DeleteEvent", b"")]


def test_watch_of_another_members_write(client, members):
    got = []
    arrived = threading.Event()

    def take(response):
        got.extend(response.events)
        arrived.set()

    watch = client.add_watch_callback("/elsewhere", take)
    with etcd3.client(host="127.0.0.1", port=members[2].client_port, timeout=10) as other:
        other.put("/elsewhere", "hello")
    assert arrived.wait(10), "the event of a put through another member did not come"
    client.cancel_watch(watch)
    assert [(event.key, event.value) for event in got] == [(b"/elsewhere", b"hello")]


def test_status_and_members(client, members):
    assert sorted(member.name for member in client.members) == ["m1", "m2", "m3"]
    status = client.status()
    assert status.version.startswith("3.5.")
    assert status.leader.name in ("m1", "m2", "m3")
    assert status.raft_term >= 1
    assert status.db_size > 0
