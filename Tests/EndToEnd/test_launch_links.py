"""Agents and engines that live and are cut off from the store, by a network that fails between them (link.py)."""

import sys
from pathlib import Path

import pytest
from harness import free_ports
from launch_harness import (
    LEASE_SECONDS,
    MOVE_SECONDS,
    Program,
    holds_for,
    live_runs,
    process_state,
    running_site,
    tidy,
    wait_for,
)
from stamps import assert_no_overlap, overlaps, stamped_runs

LINK = Path(__file__).parent / "link.py"


class Link(Program):
    """The network between one program and all members."""

    def __init__(self, site, name):
        super().__init__(site, name)
        self.ports = free_ports(len(site.store.members))
        self.endpoints = [f"127.0.0.1:{port}" for port in self.ports]

    def argv(self):
        pairs = [f"{port}:{member.client_port}" for port, member in zip(self.ports, self.site.store.members)]
        return [sys.executable, "-S", "-B", LINK, *pairs]


@pytest.fixture(scope="module")
def linked(server, programs, module_processes):
    def with_links(site):
        for program in [site.agents[0], *site.engines]:
            program.link = Link(site, f"link-{program}").start()
            program.endpoints = program.link.endpoints

    with running_site(server, programs, module_processes, prepare=with_links) as site:
        yield site
        for program in [site.agents[0], *site.engines]:
            program.link.kill()


@pytest.fixture
def site(linked):
    with tidy(linked):
        try:
            yield linked
        finally:
            for program in [linked.agents[0], *linked.engines]:
                if program.link.is_frozen:
                    program.link.thaw()
                if not program.link.is_running:
                    program.link.start()


def launch_both(site, word):
    name = site.launch(word, site.stamper("keep", 3), site.stamper("stop", 3, on_disconnect="stop"))
    return name, site.wait_settled(name)


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_an_agent_cut_off_ends_what_must_not_run_twice_and_keeps_the_rest(site, how):
    agent = site.agents[0]
    name, before = launch_both(site, f"cut-{how}")
    kinds = {i.split(".")[1]: i for i, run in before.items() if run.node == agent.name}
    assert set(kinds) == {"keep", "stop"}, f"the instances are not spread: {before}"
    getattr(agent.link, how)()
    wait_for(lambda: site.moved(name, [agent]), MOVE_SECONDS, f"all of {agent} to run elsewhere")
    here = {i for i, runs in live_runs(site.tag).items() for run in runs if run.node == agent.name}
    assert here == {kinds["keep"]}, f"{agent} is cut off and runs {here}"
    assert process_state(before[kinds["keep"]].pid) in ("S", "R"), "`keep` was interrupted"

    agent.link.thaw() if how == "freeze" else agent.link.start()
    wait_for(lambda: site.unsettled(name), 60, f"one of each to run with {agent} connected again")
    assert_no_overlap(site.stamps, f"{name}.stop")
    # The same stamps show the two runs of `keep`.
    assert overlaps(stamped_runs(site.stamps)[kinds["keep"]])


def test_an_agent_cut_off_for_less_than_its_lease_keeps_all_that_it_runs(site):
    agent = site.agents[0]
    name, before = launch_both(site, "short")
    for _ in range(3):
        # Until its keep-alives must have failed.
        agent.link.kill()
        holds_for(lambda: site.unsettled(name), LEASE_SECONDS / 5, "the lease goes on")
        agent.link.start()
        holds_for(lambda: site.unsettled(name), LEASE_SECONDS / 2, "the lease goes on")
    assert {i: run.pids for i, run in site.runs(name).items()} == {i: run.pids for i, run in before.items()}
    assert_no_overlap(site.stamps, f"{name}.stop")


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_a_leading_engine_cut_off_is_followed_by_another_and_does_nothing_when_it_is_back(site, how):
    name, before = launch_both(site, f"leader-{how}")
    old = site.leading_engine()
    getattr(old.link, how)()
    # What the old one decides now, if it hears of it, arrives late or never.
    late = site.launch(f"late-{how}", site.stamper("late", 2, on_disconnect="stop"), wait=False)

    def same_leader():
        leader = site.leading_engine()
        return f"{leader} leads" if leader in (None, old) else ""

    wait_for(same_leader, 30, f"another engine than {old} to lead")
    wait_for(lambda: site.unsettled(late), 30, f"{late} to run")
    new = site.leading_engine()
    old.link.thaw() if how == "freeze" else old.link.start()

    def disturbed():
        leader = site.leading_engine()
        return f"{leader} leads" if leader is not new else site.unsettled(name) or site.unsettled(late)

    holds_for(disturbed, LEASE_SECONDS, f"{new} leads on and nothing is touched")
    assert {i: run.pids for i, run in site.runs(name).items()} == {i: run.pids for i, run in before.items()}
    assert_no_overlap(site.stamps, f"{late}.late")
