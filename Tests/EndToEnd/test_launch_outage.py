"""The store away as a whole: frozen for two minutes, killed. Nothing that chose to run on is stopped by that.

GULP_OUTAGE_SECONDS   how long the members are frozen   (120)
"""

import os
import time

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2
from launch_harness import (
    LEASE_SECONDS,
    freeze,
    holds_for,
    live_runs,
    process_state,
    running_site,
    thaw,
    tidy,
    wait_for,
)
from stamps import assert_no_overlap

OUTAGE_SECONDS = float(os.environ.get("GULP_OUTAGE_SECONDS", "120"))
# An orderly end waits for no store.
SOON_SECONDS = 5


@pytest.fixture(scope="module")
def four(server, programs, module_processes):
    with running_site(server, programs, module_processes, agents=4, engines=2) as site:
        yield site


@pytest.fixture
def site(four):
    with tidy(four):
        yield four


def of_kind(runs, kind):
    return {instance: run for instance, run in runs.items() if f".{kind}." in instance}


def interrupted(runs):
    """What of these is not alive any more."""
    gone = [run for run in runs.values() if not all(process_state(pid) for pid in run.pids)]
    return f"{gone} ended" if gone else ""


@pytest.mark.gulpd_only("its leader gives back the time in which nobody could renew a lease")
def test_no_component_that_keeps_is_interrupted_by_two_minutes_without_a_store(site):
    name = site.launch("frozen", site.stamper("keep", 4), site.stamper("stop", 4, on_disconnect="stop"))
    before = site.wait_settled(name)
    keep, stop = of_kind(before, "keep"), of_kind(before, "stop")
    # A guard that cannot keep the deadline: its agent does.
    deaf = stop[f"{name}.stop.0"].guard
    freeze(deaf)
    began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for member in site.store.members:
        freeze(member.process.pid)
    end = time.monotonic() + OUTAGE_SECONDS

    def stop_alive():
        return [run for i, runs in live_runs(site.tag).items() if ".stop." in i for run in runs if run.pids]

    wait_for(stop_alive, LEASE_SECONDS + 10, "all `stop` to be ended by their deadlines")
    # Agents and engines may come and go meanwhile.
    killed, ended, _, frozen = site.agents
    killed.kill().start()
    assert ended.stop(deadline=SOON_SECONDS) == 0
    ended.start()
    frozen.freeze()
    site.engines[0].kill().start()
    site.engines[1].stop(deadline=SOON_SECONDS)
    site.engines[1].start()
    holds_for(lambda: interrupted(keep), end - time.monotonic(), "without a store every `keep` runs on")
    frozen.thaw()
    for member in site.store.members:
        thaw(member.process.pid)
    site.wait_up()
    after = site.wait_settled(name)
    for instance, run in keep.items():
        assert (after[instance].node, after[instance].pids) == (run.node, run.pids), f"{instance} was interrupted"
    for runs in assert_no_overlap(site.stamps, f"{name}.stop").values():
        late = (runs[0].last - began) / 1e9 - LEASE_SECONDS
        assert late < 0, f"{runs[0]} was still there {late:.2f} s after its node's lease could have ended"


def test_members_killed_all_at_once_and_in_turn_interrupt_nothing(site):
    name = site.launch("killed", site.stamper("keep", 4), site.stamper("stop", 4, on_disconnect="stop"))
    before = site.wait_settled(name)
    site.store.kill_all()
    site.store.start()
    site.wait_up()
    for _ in range(2):
        leader = site.store.leader()
        leader.kill()
        wait_for(lambda: site.unsettled(name), 30, "one of each to run without the store's leader")
        leader.start().wait_ready()
    after = site.wait_settled(name)
    for instance, run in of_kind(before, "keep").items():
        assert (after[instance].node, after[instance].pids) == (run.node, run.pids), f"{instance} was interrupted"
    assert_no_overlap(site.stamps, f"{name}.stop")


def test_agents_and_engines_end_soon_when_asked_to_as_the_store_goes_away(site):
    name = site.launch("ends", site.stamper("keep", 4))
    before = site.wait_settled(name)
    programs = site.agents + site.engines
    site.store.kill_all()
    began = time.monotonic()
    for program in programs:
        program.process.terminate()
    for program in programs:
        code = program.process.wait(max(0, began + 30 - time.monotonic()))
        assert code == 0, f"{program} ended with {code}"
        assert time.monotonic() < began + SOON_SECONDS, f"{program} took {time.monotonic() - began:.1f} s to end"
    site.store.start()
    for program in programs:
        program.start()
    site.wait_up()
    after = site.wait_settled(name)
    assert {i: run.pids for i, run in after.items()} == {i: run.pids for i, run in before.items()}


def compaction_lacks(member, revision):
    """Why the member does not refuse what is older than the revision; "" if it does."""
    try:
        member.kv.Range(rpc_pb2.RangeRequest(key=b"a", revision=revision - 1, serializable=True), timeout=5)
    except grpc.RpcError as error:
        return "" if "compacted" in error.details() else f"{error.code()}: {error.details()}"
    return f"it shows revision {revision - 1}"


def test_what_was_compacted_while_an_engine_and_an_agent_were_deaf_is_read_anew(server, programs, processes):
    # With leases so long that the same leadership and registration go on: no new start reads everything.
    with running_site(server, programs, processes, agents=2, engines=1, lease=30) as site:
        (engine,), (agent, _) = site.engines, site.agents
        kept = site.launch("kept", site.stamper("keep", 2), site.stamper("stop", 2, on_disconnect="stop"))
        gone = site.launch("gone", site.stamper("gone", 2))
        before = site.wait_settled(kept)
        since = site.keys("/megam/engine/")["/megam/engine/status"]
        presence = site.keys("/megam/agents/")[f"/megam/agents/{agent}/alive"]

        agent.freeze()
        placed = site.launch("placed", site.stamper("placed", 2), wait=False)
        wait_for(lambda: "" if len(site.assignments(placed)) == 2 else "it is not", 20, f"{placed} to be placed")
        engine.freeze()
        site.store.kill_all()
        site.store.start()
        # What follows cannot be waiting in their sockets.
        site.megam("destroy", gone)
        late = site.launch("late", site.stamper("late", 2), wait=False)
        kv, stray = site.store.leader().kv, f"/megam/agents/{agent}/stray".encode()
        kv.Put(rpc_pb2.PutRequest(key=stray), timeout=10)
        revision = kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=stray), timeout=10).header.revision
        kv.Compact(rpc_pb2.CompactionRequest(revision=revision, physical=True), timeout=10)
        for member in site.store.members:
            # A follower that has not applied the compaction yet would still show the changes.
            wait_for(lambda: compaction_lacks(member, revision), 20, f"{member} to be compacted")
        engine.thaw()
        agent.thaw()

        for name in (placed, late, kept):
            wait_for(lambda: site.unsettled(name), 25, f"{name} to run as wanted")
        wait_for(lambda: list(site.keys(f"/megam/assemblies/{gone}/")), 25, f"{gone} to be destroyed")
        assert site.keys("/megam/engine/")["/megam/engine/status"] == since, "another leadership has begun"
        now = site.keys("/megam/agents/")[f"/megam/agents/{agent}/alive"]
        assert now == presence, "the agent has registered anew"
        assert all("compacted" in program.log for program in (engine, agent)), (
            "nothing was compacted before it was read"
        )
        for instance, run in site.runs(kept).items():
            assert run.pids == before[instance].pids, f"{instance} was interrupted"
        assert_no_overlap(site.stamps, f"{kept}.stop")
        site.destroy_all()
