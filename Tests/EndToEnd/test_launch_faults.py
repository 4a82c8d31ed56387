"""Agents, engines, guards and components that are killed or frozen for longer than a lease, on ten nodes.

Two kinds of component run in each: `keep` runs on without the store and may have a second run while its node is lost;
of `stop` there is never more than one, which stamps prove that every run writes while it lives (stamper.py).
"""

import contextlib
import os
import signal
import time

import pytest
from launch_harness import (
    LEASE_SECONDS,
    MOVE_SECONDS,
    Agent,
    freeze,
    holds_for,
    live_runs,
    process_state,
    running_site,
    thaw,
    tidy,
    wait_for,
)
from stamps import assert_no_overlap, overlaps, stamped_runs


@pytest.fixture(scope="module")
def ten(server, programs, module_processes):
    with running_site(server, programs, module_processes, agents=10, engines=3) as site:
        yield site


@pytest.fixture
def site(ten):
    with tidy(ten):
        yield ten


def launch_both(site, word, count):
    """Launches `count` instances of each kind; returns the assembly's name and its runs, once all is right."""
    name = site.launch(word, site.stamper("keep", count), site.stamper("stop", count, on_disconnect="stop"))
    return name, site.wait_settled(name)


def agents_with_both(site, runs, count):
    """Some agents that each run at least one `keep` and one `stop`."""
    kinds = {}
    for instance, run in runs.items():
        kinds.setdefault(run.node, set()).add(instance.split(".")[1])
    found = [site.agent(node) for node, there in sorted(kinds.items()) if there == {"keep", "stop"}]
    assert len(found) >= count, f"the instances are not spread over the nodes: {kinds}"
    return found[:count]


def assert_uninterrupted(before, after, but_on=()):
    """Runs of before that were not on these agents still are the same processes at the same place."""
    nodes = {agent.name for agent in but_on}
    for instance, run in before.items():
        if run.node not in nodes:
            assert instance in after, f"{instance} ran on {run.node} and runs no more"
            assert (after[instance].node, after[instance].pids) == (run.node, run.pids), f"{instance} was interrupted"


def test_agents_killed_or_frozen_beyond_their_lease_lose_their_components_to_others(site):
    name, before = launch_both(site, "agents", 10)
    back_at_once, dead, late, frozen = agents_with_both(site, before, 4)
    lost = [dead, late, frozen]
    back_at_once.kill().start()
    dead.kill()
    late.kill()
    frozen.freeze()
    wait_for(lambda: site.moved(name, lost), MOVE_SECONDS, f"all of {lost} to run elsewhere")
    assert_uninterrupted(before, site.runs(name), but_on=lost)

    frozen.thaw()
    late.start()
    wait_for(lambda: site.unsettled(name), 60, f"one of each to run on live nodes, with {late} and {frozen} back")
    assert_uninterrupted(before, site.runs(name), but_on=lost)
    # Without its gulpd nobody ends a `keep`; a `stop` its guard has ended.
    beside = {i for i, runs in live_runs(site.tag).items() for run in runs if run.node == dead.name}
    assert beside == {i for i, run in before.items() if run.node == dead.name and ".keep." in i}

    dead.start()
    wait_for(lambda: site.unsettled(name), 60, f"one of each to run, with {dead} back")
    assert_uninterrupted(before, site.runs(name), but_on=lost)
    assert_no_overlap(site.stamps, f"{name}.stop")
    # The same stamps show two runs of `keep`, so they would show those of `stop`.
    stamped = stamped_runs(site.stamps)
    assert all(overlaps(stamped[i]) for i, run in before.items() if ".keep." in i and run.node == dead.name)


def test_an_agent_back_before_its_lease_ends_takes_up_what_it_ran(site):
    name, before = launch_both(site, "back", 10)
    victim, other = agents_with_both(site, before, 2)
    for _ in range(2):
        victim.kill().start()
        assert other.stop() == 0
        other.start()
        wait_for(lambda: site.missing(), 20, "the agents to be registered")
        wait_for(lambda: site.unsettled(name), 20, "one of each to run")
    # Past the lease that the dead ones left behind.
    holds_for(lambda: site.unsettled(name), LEASE_SECONDS + 1, "the agents that are back keep what they run")
    assert_uninterrupted(before, site.runs(name))
    assert_no_overlap(site.stamps, f"{name}.stop")


def test_a_machine_back_before_its_lease_ends_runs_again_what_it_ran(site):
    name, before = launch_both(site, "reboot", 10)
    (agent,) = agents_with_both(site, before, 1)
    agent.kill()
    for run in before.values():
        if run.node == agent.name:
            for pid in [run.guard, *run.pids]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    agent.start()
    wait_for(site.missing, 20, f"{agent} to be registered")
    after = site.wait_settled(name, LEASE_SECONDS + 5)
    assert {i: run.node for i, run in after.items()} == {i: run.node for i, run in before.items()}
    assert_uninterrupted(before, after, but_on=[agent])
    assert_no_overlap(site.stamps, f"{name}.stop")


class Twin(Agent):
    """An agent that goes by the name of another, as on the copy of a machine's disk with no agent in it yet."""

    @property
    def data(self):
        return super().data.with_name(f"twin-of-{self.name}")

    def start(self):
        self.process = self.site.processes.start(self.argv(), f"twin-of-{self.name}")
        return self

    @property
    def said(self):
        return (self.site.processes.directory / f"twin-of-{self.name}.log").read_text()


def test_a_second_agent_of_one_name_waits_for_the_lease_of_the_first(site):
    name, before = launch_both(site, "twin", 10)
    (agent,) = agents_with_both(site, before, 1)
    twin = Twin(site, agent.name).start()
    wait_for(lambda: "" if "another agent" in twin.said else twin.said, 20, "the twin to say that it waits")
    holds_for(lambda: site.unsettled(name), LEASE_SECONDS + 2, "the twin changes nothing")
    assert_uninterrupted(before, site.runs(name))
    twin.stop()
    assert_no_overlap(site.stamps, f"{name}.stop")


def test_guards_and_components_killed_are_run_again_and_frozen_ones_are_left_alone(site):
    escaping = site.stamper("escaping", 2, env={"STAMPER_ESCAPES": "1"}, on_disconnect="stop")
    name = site.launch("guards", site.stamper("keep", 4), site.stamper("stop", 4, on_disconnect="stop"), escaping)
    before = site.wait_settled(name)

    def pid(instance):
        return site.report(name, instance)["pid"]

    killed_guards, frozen_guards, killed, frozen = (
        [f"{name}.keep.{index}", f"{name}.stop.{index}"] for index in range(4)
    )
    # What escaped from its parent must be gone before the next attempt, too.
    killed_guards.append(f"{name}.escaping.0")
    killed.append(f"{name}.escaping.1")
    stopped = [before[i].guard for i in frozen_guards] + [pid(i) for i in frozen]
    for process in stopped:
        freeze(process)
    for process in [before[i].guard for i in killed_guards] + [pid(i) for i in killed]:
        os.kill(process, signal.SIGKILL)

    def not_yet():
        runs = site.runs(name)
        again = [i for i in killed_guards + killed if i not in runs or runs[i].marker == before[i].marker]
        return f"{again} do not run again" if again else site.unsettled(name)

    wait_for(not_yet, 30, "what was killed to run again")
    holds_for(lambda: site.unsettled(name), LEASE_SECONDS + 2, "frozen guards and components are left alone")
    for process in stopped:
        thaw(process)
    holds_for(lambda: site.unsettled(name), 2, "thawed guards and components go on")
    after = site.runs(name)
    for instance in frozen_guards + frozen:
        assert after[instance].pids == before[instance].pids, f"{instance} was interrupted"
    for instance in killed_guards + killed:
        report = site.report(name, instance)
        assert report["restarts"] == 1, report
        assert after[instance].node == before[instance].node, f"{instance} left its node"
        if instance in killed:
            assert report["lastEnd"]["signal"] == 9, report
    for component in ("stop", "escaping"):
        assert_no_overlap(site.stamps, f"{name}.{component}")


@pytest.mark.parametrize("strike", ["killed", "frozen"])
def test_the_leading_engine_killed_or_frozen_is_followed_by_another_that_goes_on(site, strike):
    name, before = launch_both(site, f"engine-{strike}", 3)
    old = site.leading_engine()
    # A launch that it may or may not have seen, and one that it cannot have.
    first = site.launch(f"first-{strike}", site.stamper("stop", 2, on_disconnect="stop"), wait=False)
    if strike == "killed":
        old.kill()
    else:
        old.freeze()
    second = site.launch(f"second-{strike}", site.stamper("stop", 2, on_disconnect="stop"), wait=False)

    def same_leader():
        leader = site.leading_engine()
        return f"{leader} leads" if leader in (None, old) else ""

    wait_for(same_leader, 30, f"another engine than {old} to lead")
    for other in (first, second):
        wait_for(lambda: site.unsettled(other), 30, f"{other} to run")
    new = site.leading_engine()
    if strike == "killed":
        old.start()
    else:
        old.thaw()

    def disturbed():
        if site.leading_engine() is not new:
            return f"{site.leading_engine()} leads, not {new}"
        return site.unsettled(name) or site.unsettled(first) or site.unsettled(second)

    holds_for(disturbed, 3, f"with {old} back, {new} leads and all runs on")
    assert_uninterrupted(before, site.runs(name))
    for some in (name, first, second):
        assert_no_overlap(site.stamps, f"{some}.stop")


def test_a_machine_frozen_whole_runs_on_for_a_moment_only_with_a_lower_token(site):
    name, before = launch_both(site, "machine", 10)
    (agent,) = agents_with_both(site, before, 1)
    guards = [run.guard for run in before.values() if run.node == agent.name]
    components = [pid for run in before.values() if run.node == agent.name for pid in run.pids]
    agent.freeze()
    for pid in guards + components:
        freeze(pid)
    wait_for(lambda: site.moved(name, [agent]), MOVE_SECONDS, f"all of {agent} to run elsewhere")
    thawed = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    # The worst order: what should be dead comes first.
    for pid in components + guards:
        thaw(pid)
    agent.thaw()
    wait_for(lambda: site.unsettled(name), 60, "one of each to run")
    assert_uninterrupted(before, site.runs(name), but_on=[agent])
    for instance, runs in stamped_runs(site.stamps).items():
        if instance.startswith(f"{name}.stop."):
            for old, new in overlaps(runs):
                # Whoever keeps the highest token seen can refuse it.
                assert old.node == agent.name and old.token < new.token, f"{old} beside {new}"
                assert old.last < thawed + 2e9, f"{old} ran on for long after its machine thawed at {thawed}"


def brake(site):
    return site.keys("/megam/engine/")["/megam/engine/status"].value.get("brake")


def test_nine_of_ten_agents_silenced_at_once_hold_the_brake(site):
    name, before = launch_both(site, "brake", 10)
    places = set(site.assignments(name))
    silent = site.agents[1:]
    for agent in silent:
        agent.freeze()

    def unheld():
        held = brake(site)
        if set(site.assignments(name)) != places:
            raise AssertionError(f"moved: {set(site.assignments(name)) ^ places}")
        if not held:
            return "there is none"
        return "" if set(held["nodes"]) == {agent.name for agent in silent} else f"it is {held}"

    wait_for(unheld, MOVE_SECONDS, "the brake, naming nine nodes")
    said = site.megam("nodes").text
    assert "brake" in said.lower() or brake(site)["reason"] in said, said
    holds_for(unheld, 5, "the brake holds and nothing is moved")
    for instance, run in before.items():
        if ".keep." in instance:
            assert all(process_state(pid) for pid in run.pids), f"{instance} was ended"

    for agent in silent:
        agent.thaw()
    wait_for(lambda: brake(site), 30, "the brake to be released")
    after = site.wait_settled(name)
    assert set(site.assignments(name)) == places
    assert_uninterrupted({i: run for i, run in before.items() if ".keep." in i}, after)
    assert_no_overlap(site.stamps, f"{name}.stop")


def test_two_of_ten_agents_silenced_at_once_lose_their_components_to_others(site):
    name, before = launch_both(site, "two", 10)
    silent = agents_with_both(site, before, 2)
    for agent in silent:
        agent.freeze()

    def not_moved():
        assert not brake(site), f"the brake holds: {brake(site)}"
        return site.moved(name, silent)

    wait_for(not_moved, MOVE_SECONDS, f"all of {silent} to run elsewhere")
    for agent in silent:
        agent.thaw()
    after = site.wait_settled(name)
    assert_uninterrupted(before, after, but_on=silent)
    assert_no_overlap(site.stamps, f"{name}.stop")
