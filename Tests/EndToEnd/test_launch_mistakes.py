"""Launches that cannot succeed: each ends in the right state, says what to do, and costs the store few writes."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from launch_harness import (
    Agent,
    holds_for,
    live_runs,
    running_site,
    tidy,
    wait_for,
)

# A launch, its assignments, states, events and reports; some instances more than once.
WRITES_OF_A_FAILURE = 40
QUIET_SECONDS = 4


@pytest.fixture(scope="module")
def three_nodes(server, programs, module_processes):
    with running_site(server, programs, module_processes, agents=3) as site:
        yield site


@pytest.fixture
def site(three_nodes):
    with tidy(three_nodes):
        yield three_nodes


class Writes:
    """Counts the revisions that what is done within it costs."""

    def __init__(self, site, most=WRITES_OF_A_FAILURE):
        self.site, self.most = site, most

    def __enter__(self):
        self.start = self.site.revision()
        return self

    def __exit__(self, *error):
        if not any(error):
            spent = self.site.revision() - self.start
            assert spent <= self.most, f"{spent} revisions were written, more than {self.most}"


def assert_quiet(site):
    """Once it has ended where it does, nothing is written any more."""
    with Writes(site, most=0):
        time.sleep(QUIET_SECONDS)


def test_a_launch_that_no_node_can_take_says_why_and_goes_on_when_one_can(site):
    with Writes(site):
        needs = {"cores": 2, "labels": {"disk": "fast"}}
        name = site.launch("picky", site.stamper("picky", requirements=needs), expect=3)
        record = site.wait_state(name, "preerror")
    assert "disk" in record["reason"] and "fast" in record["reason"], record
    assert record["reason"] in site.megam("show", name).text
    assert_quiet(site)
    assert not [run for run in live_runs(site.tag) if run.startswith(name)]

    suitable = Agent(site, "fast", "--agent-labels", "disk=fast").start()
    site.agents.append(suitable)
    try:
        after = site.wait_settled(name)
        assert [run.node for run in after.values()] == ["fast"]
        site.megam("destroy", name, "--wait")
    finally:
        suitable.stop()
        site.agents.remove(suitable)
        alive = "/megam/agents/fast/alive"
        wait_for(lambda: [k for k in site.keys("/megam/agents/") if k == alive], 20, "the lease of fast to end")
        site.megam("nodes", "forget", "fast")


def test_more_than_all_nodes_have_says_what_is_missing(site):
    with Writes(site):
        name = site.launch("huge", site.stamper("huge", 3, requirements={"cores": 2, "memory": "64GiB"}), expect=3)
        record = site.wait_state(name, "preerror")
    assert "memory" in record["reason"], record
    assert_quiet(site)
    # What does not fit takes no room from what does.
    other = site.launch("modest", site.stamper("modest", 3, requirements={"cores": 7, "memory": "7GiB"}))
    assert len({run.node for run in site.wait_settled(other).values()}) == 3


def test_a_command_that_does_not_exist_fails_at_once(site):
    command = f"no-such-command-{site.tag}"
    with Writes(site):
        wrong = site.shell("wrong", "") | {"command": command, "arguments": []}
        name = site.launch("missing", wrong, site.stamper("right"), expect=3)
        record = site.wait_state(name, "posterror")
    assert command in record["reason"] and "wrong" in record["reason"], record
    report = site.report(name, f"{name}.wrong.0")
    assert (report["state"], report["restarts"]) == ("failed", 0), report
    assert command in report["reason"]

    def not_right():
        report = site.report(name, f"{name}.right.0")
        return "" if report and report["state"] == "running" else f"it reports {report}"

    wait_for(not_right, 20, "the other component to run all the same")
    assert_quiet(site)


def test_a_crash_loop_backs_off_and_ends_with_a_reason(site):
    restart = {"when": "always", "attempts": 3, "backoff": "100ms"}
    mended = site.processes.directory / "mended"
    script = f"echo attempt; [ ! -e {mended} ] || exec sleep 1000; exit 3"
    with Writes(site):
        name = site.launch("crashing", site.shell("crashing", script, restart=restart), expect=3)
        record = site.wait_state(name, "posterror")
    assert "exit code 3" in record["reason"] and "megam logs" in record["reason"], record
    report = site.report(name, f"{name}.crashing.0")
    assert (report["state"], report["restarts"], report["lastEnd"]["code"]) == ("failed", 3, 3), report
    logged = site.megam("logs", name).out
    # The last few attempts are kept.
    assert len(re.findall("^attempt$", logged, re.MULTILINE)) >= 3 and "attempt 4 ended" in logged, logged
    assert_quiet(site)
    # Mended and started, it is tried again with a count of its own.
    mended.touch()
    site.megam("start", name, "--wait")
    wait_for(lambda: site.unsettled(name), 20, f"{name} to run once it is mended")
    assert site.record(name).get("reason") is None


def test_a_crash_loop_that_may_go_on_writes_ever_more_seldom(site):
    restart = {"when": "always", "attempts": 1000, "backoff": "100ms"}
    name = site.launch("looping", site.shell("looping", "exit 4", restart=restart), wait=False)

    def few():
        report = site.report(name, f"{name}.looping.0")
        return "" if report and report["restarts"] >= 4 else f"it reports {report}"

    with Writes(site):
        wait_for(few, 20, "four restarts")
    # The fifth pause is 1.6 s, the sixth 3.2 s, the seventh 6.4 s.
    with Writes(site, most=15):
        time.sleep(QUIET_SECONDS)
    assert "exit code 4" in site.megam("show", name).text


def test_of_two_assemblies_of_one_name_the_second_is_refused(site):
    name = site.launch("twice", site.stamper("first"))
    before = site.wait_settled(name)
    with Writes(site, most=0):
        other = site.write({"name": name, "components": [site.stamper("second", 2)]})
        answer = site.megam("launch", other, expect=1)
        assert name in answer.err and "destroy" in answer.err, answer.err
    holds_for(lambda: site.unsettled(name), 1, "the first is left alone")
    assert site.runs(name) == before


def test_of_two_launches_of_one_name_at_one_moment_one_wins(site):
    name = site.name("race")
    files = []
    for word in ("left", "right"):
        files.append(
            site.write({"name": name, "components": [site.stamper(word)]}).rename(site.processes.directory / word)
        )
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda file: site.megam("launch", file, expect=None).code, files))
    assert sorted(codes) == [0, 1]
    winner = files[codes.index(0)].name
    runs = site.wait_settled(name)
    assert list(runs) == [f"{name}.{winner}.0"]


BAD_FILES = {
    "a cycle": (
        "components:\n  a:\n    command: sleep 1\n    depends-on: [b]\n"
        "  b:\n    command: sleep 1\n    depends-on: [a]\n",
        ["depends-on", "a → b → a", ":5"],
    ),
    "itself": ("components:\n  a:\n    command: sleep 1\n    depends-on: [a]\n", ["depends-on", "a → a", ":5"]),
    "a stranger": ("components:\n  a:\n    command: sleep 1\n    depends-on: [c]\n", ["depends-on", '"c"', ":5"]),
    "a wrong field": ("components:\n  a:\n    comand: sleep 1\n", ["comand", "command", ":4"]),
    "a wrong value": ("components:\n  a:\n    command: sleep 1\n    count: many\n", ["count", "many", ":5"]),
    "no component": ("components: {}\n", ["components", "at least one"]),
    "no YAML": ("components: [\n", [":"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_of_a_bad_file_the_line_and_the_field_are_named_and_nothing_is_stored(site, case):
    text, words = BAD_FILES[case]
    path = site.processes.directory / "bad.yaml"
    path.write_text(f"name: {site.name('bad')}\n{text}")
    with Writes(site, most=0):
        answer = site.megam("launch", path, "--wait", expect=2)
    assert all(word in answer.err for word in ["bad.yaml", *words]), answer.err
    assert not site.keys("/megam/assemblies/")


def test_a_file_that_is_not_there_and_a_name_that_is_not_there_are_said_so(site):
    answer = site.megam("launch", site.processes.directory / "absent.yaml", expect=2)
    assert "absent.yaml" in answer.err
    with Writes(site, most=0):
        for command in ("show", "stop", "start", "destroy", "events"):
            answer = site.megam(command, site.name("nobody"), expect=1)
            assert site.name("nobody") in answer.err, answer.err
