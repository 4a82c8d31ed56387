"""Members that die, come back, were away too long, or forgot everything."""

import os
import re
import shutil
import socket
import time

import pytest
from etcd3.etcdrpc import rpc_pb2
from harness import wait_until
from writers import Writers, assert_nothing_lost

FAILOVER_SECONDS = 5


def wait_for_writes(writers, since, count, deadline):
    return wait_until(
        lambda: writers.count_since(since) >= count, deadline, f"{count} puts acknowledged after {since:.3f}"
    )


def test_the_leader_killed_under_a_writing_client_is_replaced_and_nothing_is_lost(three):
    leader = three.leader()
    with Writers(three) as writers:
        wait_for_writes(writers, time.monotonic(), 200, 20)
        killed = time.monotonic()
        leader.kill()
        wait_for_writes(writers, killed + 0.2, 20, FAILOVER_SECONDS)
        wait_for_writes(writers, time.monotonic(), 200, 20)
        leader.start().wait_ready()
        wait_for_writes(writers, time.monotonic(), 100, 20)
    assert_nothing_lost(three, writers.acknowledged)


def test_each_leader_in_turn_is_killed_and_nothing_is_lost(three):
    with Writers(three) as writers:
        for _ in range(3):
            leader = three.leader()
            leader.kill()
            wait_for_writes(writers, time.monotonic(), 50, 20)
            leader.start().wait_ready()
            wait_for_writes(writers, time.monotonic(), 50, 20)
    assert_nothing_lost(three, writers.acknowledged)


def test_all_three_killed_at_once_lose_nothing(three):
    with Writers(three) as writers:
        for _ in range(2):
            wait_for_writes(writers, time.monotonic(), 200, 30)
            three.kill_all()
            three.start()
        wait_for_writes(writers, time.monotonic(), 50, 30)
    assert_nothing_lost(three, writers.acknowledged)


def snapshot_was_installed(member):
    """The member's own log says that it took over a snapshot from a peer."""
    if member.server.is_etcd:
        return "applied snapshot" in member.log
    return re.search(
        r"(install|appl|receiv)[a-z]*\b[^\n]*snapshot|snapshot[^\n]*\b(install|appl|receiv)", member.log, re.IGNORECASE
    )


def test_a_follower_away_for_longer_than_the_log_is_kept_catches_up_by_snapshot(make_cluster, server):
    cluster = make_cluster(3, flags=["--snapshot-count", "100"]).start()
    leader = cluster.leader()
    away = next(member for member in cluster.members if member is not leader)
    away.kill()
    # etcd keeps 5,000 entries behind its snapshot for slow followers, whatever the flag says.
    with Writers(cluster, threads=8, keys=500) as writers:
        wait_until(lambda: writers.count >= 5500, 120, "5500 acknowledged puts")
    away.start().wait_ready()
    assert_nothing_lost(cluster, writers.acknowledged)
    wait_until(lambda: snapshot_was_installed(away), 5, f"{away.name}'s log to tell of an installed snapshot")
    # What came by snapshot survives a restart too.
    away.kill()
    away.start().wait_ready()
    assert_nothing_lost(cluster, writers.acknowledged)


def test_a_voter_that_lost_its_data_directory_is_refused(three):
    three.members[0].kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"1"), timeout=5)
    forgetful = three.members[1]
    forgetful.kill()
    shutil.rmtree(forgetful.data)
    forgetful.start()
    assert forgetful.wait_end() != 0
    assert "has already been bootstrapped" in forgetful.log
    assert re.search(r"member [0-9a-f]+ has already been bootstrapped", forgetful.log), forgetful.log[-500:]


def test_a_restarted_cluster_finds_its_data(three, server):
    for number in range(20):
        three.members[number % 3].kv.Put(rpc_pb2.PutRequest(key=b"k%d" % number, value=b"v"), timeout=5)
    revision, before = three.wait_same_revision(), three.assert_same_hash()
    assert three.stop() == [clean_exit(server)] * 3
    three.start()
    assert three.wait_same_revision() == revision
    assert three.assert_same_hash() == before
    answer = three.members[2].kv.Put(rpc_pb2.PutRequest(key=b"k0", value=b"w", prev_kv=True), timeout=5)
    assert (answer.header.revision, answer.prev_kv.mod_revision) == (revision + 1, 2)


def clean_exit(server):
    # etcd raises the signal again once it has shut down; gulpd, as said, ends with 0.
    return -15 if server.is_etcd else 0


@pytest.mark.gulpd_only("it raises SIGINT again when it has stopped")
def test_an_interrupt_stops_cleanly(make_cluster):
    member = make_cluster(1).start().members[0]
    member.process.send_signal(2)
    assert member.wait_end() == 0


def test_a_stopping_member_says_so_to_the_supervisor(make_cluster, processes, server):
    path = str(processes.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(10)
        cluster = make_cluster(1)
        member = cluster.members[0]
        member.environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
        cluster.start()
        notices = Notices(supervisor)
        notices.wait_for("READY=1")
        if not server.is_etcd:
            notices.wait_for("WATCHDOG=1")
        member.stop()
        if not server.is_etcd:
            notices.wait_for("STOPPING=1")


class Notices:
    """What has arrived on a supervisor's socket."""

    def __init__(self, supervisor):
        self.supervisor, self.lines = supervisor, []

    def wait_for(self, notice):
        while notice not in self.lines:
            try:
                self.lines += self.supervisor.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"no {notice} came, only {self.lines}") from None
        self.lines = self.lines[self.lines.index(notice) + 1 :]


def test_the_data_directory_is_for_its_owner_only(three):
    for member in three.members:
        assert os.stat(member.data).st_mode & 0o077 == 0
