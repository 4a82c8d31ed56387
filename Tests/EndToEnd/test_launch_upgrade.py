"""gulpd stopped, killed and replaced while components run: they run on, and nothing they said or did is lost."""

import re
import shutil
from pathlib import Path

import pytest
from launch_harness import (
    Programs,
    holds_for,
    process_state,
    running_site,
    tidy,
    wait_for,
)


@pytest.fixture(scope="module")
def one(server, programs, module_processes):
    """One node, so that an instance's failure cannot be mended elsewhere; its programs can be removed."""
    with running_site(server, installed(programs, module_processes, "first"), module_processes, agents=1) as site:
        yield site


@pytest.fixture
def site(one):
    with tidy(one):
        yield one


def installed(programs, processes, word):
    """A copy of gulpd and the guard in a directory of their own."""
    directory = processes.directory / f"installed-{word}"
    directory.mkdir()
    gulpd, guard = (shutil.copy(path, directory) for path in (programs.gulpd, programs.guard))
    return Programs(gulpd, guard, programs.megamd, programs.megam)


def replace(agent, build):
    """Another build in the place of the agent's, whose files are gone."""
    shutil.rmtree(Path(agent.gulpd).parent)
    agent.gulpd, agent.guard = build.gulpd, build.guard


NUMBERED = "i=0; while :; do i=$((i+1)); echo line $i; echo and $i >&2; sleep 0.02; done"


def numbers(site, name):
    """The numbers of the lines that megam shows, those of stdout and those of stderr."""
    text = site.megam("logs", name).out
    return [[int(n) for n in re.findall(rf"\b{word} (\d+)$", text, re.MULTILINE)] for word in ("line", "and")]


def test_a_component_runs_on_while_its_gulpd_is_stopped_killed_and_replaced(site, programs):
    (agent,) = site.agents
    name = site.launch("lines", site.shell("lines", NUMBERED), site.stamper("stop", on_disconnect="stop"))
    before = site.wait_settled(name)
    guards = {instance: run.guard for instance, run in before.items()}
    for how in ("SIGTERM", "kill -9", "another build", "another build"):
        if how == "SIGTERM":
            assert agent.stop() == 0
        else:
            agent.kill()
        if how == "another build":
            replace(agent, installed(programs, site.processes, f"{agent.process.pid}"))
        count = len(numbers_in_files(agent))
        wait_for(lambda: len(numbers_in_files(agent)) < count + 25, 10, "some lines to be written without a gulpd")
        agent.start()
        wait_for(site.missing, 20, "the agent to be registered")
        wait_for(lambda: site.unsettled(name), 20, f"all to run as wanted after {how}")
        after = site.runs(name)
        # The run's child may have a child of its own at this moment: sleep.
        pid = site.report(name, f"{name}.lines.0")["pid"]
        assert pid in before[f"{name}.lines.0"].pids, f"the component was interrupted by {how}"
        assert after[f"{name}.stop.0"].pids == before[f"{name}.stop.0"].pids, f"`stop` was interrupted by {how}"
        assert {instance: run.guard for instance, run in after.items()} == guards
        lines, others = numbers(site, name)
        assert len(lines) >= count
        assert lines == list(range(1, len(lines) + 1)), "lines are lost, doubled or out of order"
        assert others == list(range(1, len(others) + 1)), "lines of stderr are lost, doubled or out of order"


def numbers_in_files(agent):
    """The lines that the guard has written, by its own files: gulpd need not be there."""
    found = []
    for path in sorted(agent.data.glob("agent/runs/**/log.*")):
        found += re.findall(rb" stdout F line (\d+)\n", path.read_bytes())
    return found


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_end_that_no_gulpd_saw_is_reported_by_the_next(site, how):
    (agent,) = site.agents
    gate = site.processes.directory / f"gate-{how}"
    at_gate = f"echo waiting; while [ ! -e {gate} ]; do sleep 0.05; done; echo leaving; exit "
    never = {"when": "never"}
    name = site.launch(
        f"ends-{how}",
        site.shell("seven", at_gate + "7", restart=never),
        site.shell("signal", at_gate[: -len("exit ")] + "kill -11 $$", restart=never),
        site.shell("zero", at_gate + "0", restart={"when": "on-failure"}),
        site.shell(
            "again", f"if [ -e {gate} ]; then exec sleep 1000; fi; " + at_gate + "4", restart={"backoff": "100ms"}
        ),
    )
    before = site.runs(name)
    getattr(agent, how)()
    gate.touch()
    gone = [pid for run in before.values() for pid in run.pids]
    wait_for(lambda: [pid for pid in gone if process_state(pid) not in (None, "Z")], 10, "all to end without a gulpd")
    agent.start()

    def unreported():
        reports = {word: site.report(name, f"{name}.{word}.0") for word in ("seven", "signal", "zero", "again")}
        states = {word: report and report["state"] for word, report in reports.items()}
        if states != {"seven": "failed", "signal": "failed", "zero": "completed", "again": "running"}:
            return f"the states are {states}"
        assert reports["seven"]["lastEnd"]["code"] == 7
        assert reports["signal"]["lastEnd"]["signal"] == 11
        assert reports["zero"]["lastEnd"]["code"] == 0
        assert (reports["again"]["lastEnd"]["code"], reports["again"]["restarts"]) == (4, 1)
        return ""

    wait_for(unreported, 30, "the ends to be reported")
    site.wait_state(name, "posterror")
    shown = site.megam("show", name).text
    assert "exit code 7" in shown and "SIGSEGV" in shown, shown
    logged = site.megam("logs", name).out
    assert len(re.findall(r"\bwaiting$", logged, re.MULTILINE)) == 4, logged
    assert len(re.findall(r"\bleaving$", logged, re.MULTILINE)) == 4, logged


def test_what_was_destroyed_while_its_gulpd_was_down_is_ended_by_the_next(site):
    (agent,) = site.agents
    name = site.launch("gone", site.stamper("keep"), site.stamper("stop", on_disconnect="stop"))
    agent.kill()
    site.megam("destroy", name)
    holds_for(
        lambda: "" if site.record(name) else "its record is gone", 1, "what may run still is not called destroyed"
    )
    agent.start()
    wait_for(site.left_behind, 30, "nothing to be left")
