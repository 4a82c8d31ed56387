"""A user's day with megam on three machines, each a gulpd that is a member of the store and an agent, too."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from harness import ROOT, clean_environment, free_ports
from launch_harness import (
    MOVE_SECONDS,
    identities,
    live_runs,
    process_state,
    running_site,
    tidy,
    wait_for,
)
from stamps import assert_no_overlap, stamped_runs


pytestmark = pytest.mark.gulpd_only("its members are agents, too")


@pytest.fixture(scope="module")
def machines(server, programs, module_processes):
    with running_site(server, programs, module_processes, agents_in_members=True) as site:
        yield site


@pytest.fixture
def site(machines):
    with tidy(machines):
        yield machines


def test_launch_list_show_nodes_and_destroy(site):
    outputs = (
        'echo "PORT=1$MEGAM_INDEX" >> "$MEGAM_OUTPUTS"; echo "NODE=$MEGAM_NODE" >> "$MEGAM_OUTPUTS"; exec sleep 1000'
    )
    name = site.launch("day", site.shell("web", outputs, count=2), inputs={"who": "me"})
    runs = site.wait_settled(name)
    assert len({run.node for run in runs.values()}) == 2, "the instances are not spread"

    listed = site.megam("list", "-o", "json").json
    assert name in json.dumps(listed)
    assert re.search(rf"{name}\s.*running", site.megam("list").out)

    def not_shown():
        shown = site.megam("show", name).out
        wanted = [word for i, run in runs.items() for word in (i.partition(".")[2], run.node, str(run.pid))]
        wanted += ["PORT=10", "PORT=11", *(f"NODE={run.node}" for run in runs.values()), "running"]
        missing = [word for word in wanted if word not in shown]
        return f"{missing} are not in\n{shown}" if missing else ""

    wait_for(not_shown, 15, "megam show to tell where what runs and what it says of itself")
    shown = json.dumps(site.megam("show", name, "-o", "json").json)
    assert '"PORT": "10"' in shown, shown

    nodes = site.megam("nodes").out
    for agent in site.agents:
        assert re.search(rf"\b{agent}\b", nodes), nodes
    assert len(site.megam("nodes", "-o", "json").json) >= 1

    site.megam("destroy", name, "--wait")
    assert site.record(name) is None
    assert not [i for i in live_runs(site.tag) if i.startswith(f"{name}.")]
    assert name not in site.megam("list").out


def test_a_stopped_assembly_keeps_its_places_and_starts_again_there(site):
    name = site.launch("pause", site.stamper("keep", 2), site.stamper("stop", 2, on_disconnect="stop"))
    before = site.wait_settled(name)
    first = identities(site, name)
    site.megam("stop", name, "--wait")
    assert site.record(name)["state"] == "stopped"
    assert not [i for i in live_runs(site.tag) if i.startswith(f"{name}.")]
    # Asked, not killed.
    assert all(runs[-1].stopped for i, runs in stamped_runs(site.stamps).items() if i.startswith(f"{name}."))
    assert {(run.node, i) for i, run in before.items()} == set(site.assignments(name))
    site.megam("stop", name, "--wait")
    site.megam("start", name, "--wait")
    after = site.wait_settled(name)
    assert {i: run.node for i, run in after.items()} == {i: run.node for i, run in before.items()}
    wait_for(lambda: first.items() & identities(site, name).items(), 10, "new runs of all instances")
    for kind in ("keep", "stop"):
        assert_no_overlap(site.stamps, f"{name}.{kind}")


def test_what_ignores_the_request_to_stop_is_killed_after_its_grace(site):
    name = site.launch("deaf", site.shell("deaf", "trap '' TERM; while :; do sleep 0.1; done", stop_grace="500ms"))
    site.wait_settled(name)
    began = time.monotonic()
    site.megam("destroy", name, "--wait")
    assert 0.5 <= time.monotonic() - began < 15
    assert not [i for i in live_runs(site.tag) if i.startswith(f"{name}.")]


def test_components_start_when_those_that_they_depend_on_run(site):
    ready = 1.0
    name = site.launch(
        "order",
        site.stamper("last", depends_on=["middle"], ready_after="200ms"),
        site.stamper("middle", 2, depends_on=["first"], ready_after=f"{int(ready * 1000)}ms"),
        site.stamper("first", ready_after=f"{int(ready * 1000)}ms"),
    )
    site.wait_settled(name)

    def starts(component):
        return [runs[0].first for i, runs in stamped_runs(site.stamps).items() if i.startswith(f"{name}.{component}.")]

    assert min(starts("middle")) >= max(starts("first")) + ready * 1e9
    assert min(starts("last")) >= max(starts("middle")) + ready * 1e9
    assert len(starts("middle")) == 2


class Following:
    """`megam …` that goes on, and what it has printed."""

    def __init__(self, site, *arguments):
        self.argv = [site.programs.megam, "--endpoints", site.store.endpoints, *arguments]
        self.path = site.processes.directory / f"following-{arguments[0]}-{arguments[1]}"
        self.path.write_bytes(b"")
        self.process = site.processes.start(self.argv, self.path.stem)
        self.log = site.processes.directory / f"{self.path.stem}.log"

    @property
    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, pattern, deadline=20):
        def missing():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
            return "" if re.search(pattern, self.text, re.MULTILINE) else f"there is only\n{self.text[-2000:]}"

        wait_for(missing, deadline, f"{' '.join(map(str, self.argv[3:]))} to print {pattern}")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


def test_logs_are_followed_through_restarts_of_the_component_and_of_its_node(site):
    script = "echo begin $$; i=0; while :; do i=$((i+1)); echo line $$-$i; sleep 0.05; done"
    name = site.launch("followed", site.shell("followed", script, restart={"backoff": "100ms"}))
    (instance,) = site.wait_settled(name)
    following = Following(site, "logs", name, "-f")
    first = site.report(name, instance)["pid"]
    following.wait_for(rf"line {first}-20$")
    os.kill(first, signal.SIGKILL)

    def not_again():
        report = site.report(name, instance)
        return "" if report and report["state"] == "running" and report["pid"] != first else f"it reports {report}"

    wait_for(not_again, 20, "the component to run again")
    second = site.report(name, instance)["pid"]
    following.wait_for(rf"line {second}-20$")
    # gulpd killed and back: the component writes on meanwhile, and nothing is missed or told twice.
    agent = site.agent(live_runs(site.tag)[instance][0].node)
    agent.kill()
    agent.start()
    wait_for(site.missing, 30, "the agent to be back")
    count = max(int(n) for n in re.findall(rf"line {second}-(\d+)$", following.text, re.MULTILINE))
    following.wait_for(rf"line {second}-{count + 200}$")
    for pid in (first, second):
        told = [int(n) for n in re.findall(rf"line {pid}-(\d+)$", following.text, re.MULTILINE)]
        assert told == list(range(1, len(told) + 1)), f"lines of {pid} are lost, doubled or out of order"
    assert following.end() in (0, 130, -signal.SIGINT)
    tail = site.megam("logs", name, "--tail", "3").out
    assert len(re.findall(r"line \d+-\d+$", tail, re.MULTILINE)) == 3, tail


def test_events_tell_an_assembly_s_life_in_order_as_it_happens(site):
    name = site.launch("events", site.stamper("one"))
    following = Following(site, "events", name, "-w")
    following.wait_for("running")
    site.megam("stop", name, "--wait")
    following.wait_for("stopped")
    site.megam("start", name, "--wait")
    keys = sorted(key for key in site.keys(f"/megam/assemblies/{name}/events/"))
    events = [site.keys(f"/megam/assemblies/{name}/events/")[key].value for key in keys]
    states = [event["state"] for event in events]
    remaining = iter(states)
    for state in ("initializing", "initialized", "bootstrapped", "running", "stopping", "stopped", "running"):
        assert state in remaining, f"no {state} where it should be in {states}"
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    told = site.megam("events", name).out
    assert all(event["text"] in told for event in events), told
    if following.process.poll() is None:
        following.end()


def test_exit_codes_tell_scripts_what_happened(site):
    closed = "127.0.0.1:1"
    argv = [site.programs.megam, "--endpoints", closed, "--timeout", "2s", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert done.returncode == 5, done.stderr
    assert "--endpoints" in done.stderr
    assert site.megam("no-such-command", expect=2).err
    slow = site.write({"name": site.name("slow"), "components": [site.stamper("slow", ready_after="1h")]})
    began = time.monotonic()
    answer = site.megam("launch", slow, "--wait", "--wait-timeout", "2s", expect=4)
    assert time.monotonic() - began < 15
    assert site.name("slow") in answer.text
    assert site.record(site.name("slow"))["state"] in ("initialized", "bootstrapped")


def two_ports():
    """A free port that is followed by another one."""
    while True:
        (first,) = free_ports(1)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
        return first


def test_the_sample_answers_from_both_instances_also_after_one_s_node_died(site):
    sample = ROOT / "cluster/samples/hello.yaml"
    name = site.name("hello")
    # Under a name and at ports of this test's, beside whatever runs the sample on this machine.
    site.megam("launch", sample, "--name", name, "--input", f"port={two_ports()}", "--wait")
    before = site.wait_settled(name)
    assert len({run.node for run in before.values()}) == len(before) == 2

    def silent():
        """What does not answer, or not as itself."""
        for instance, run in site.runs(name).items():
            report = site.report(name, instance)
            url = report and report["outputs"].get("url")
            if not url:
                return f"{instance} says no address: {report}"
            try:
                page = urllib.request.urlopen(url, timeout=5).read().decode()
            except OSError as error:
                return f"{url}: {error}"
            if instance not in page or run.node not in page:
                return f"{url} shows neither {instance} nor {run.node}:\n{page}"
        return site.unsettled(name)

    wait_for(silent, 20, "both instances to answer by HTTP")
    victim = site.agent(next(iter(before.values())).node)
    victim.kill()
    # The whole machine: what ran there dies with it.
    for run in [run for runs in live_runs(site.tag).values() for run in runs if run.node == victim.name]:
        for pid in [run.guard, *run.pids]:
            if process_state(pid):
                os.kill(pid, signal.SIGKILL)
    wait_for(lambda: site.moved(name, [victim]), MOVE_SECONDS, f"both to run without {victim}")
    wait_for(silent, 20, "both instances to answer by HTTP again")
    victim.start()
    wait_for(lambda: site.missing(), 30, f"{victim} to be back")
    wait_for(silent, 20, "both instances to answer by HTTP")
