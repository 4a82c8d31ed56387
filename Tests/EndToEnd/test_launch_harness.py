"""What the tests of launches see of processes and of the store, without any launch."""

import secrets

import pytest
from etcd3.etcdrpc import rpc_pb2
from harness import clean_environment, wait_until
from launch_harness import (
    LiveRun,
    Programs,
    Site,
    end_runs,
    freeze,
    holds_for,
    live_runs,
    process_environment,
    process_state,
    thaw,
    wait_for,
)


def start(processes, marker, **environment):
    process = processes.start(["sleep", "1000"], "sleep", env=clean_environment(GULP_RUN=marker, **environment))
    wait_until(lambda: process_environment(process.pid).get("GULP_RUN") == marker, 5, "the process to be sleep")
    return process


def test_the_runs_of_a_site_are_found_and_ended_and_no_others(processes):
    tag, other = secrets.token_hex(3), secrets.token_hex(3)
    one = start(processes, f"a-{tag}.web.0/12.1@00ff", MEGAM_NODE="n1")
    child = start(processes, f"a-{tag}.web.0/12.1@00ff", MEGAM_NODE="n1")
    two = start(processes, f"a-{tag}.web.0/15.1@00ff", MEGAM_NODE="n2")
    stranger = start(processes, f"a-{other}.web.0/12.1@00ff", MEGAM_NODE="n1")
    runs = live_runs(tag)
    assert list(runs) == [f"a-{tag}.web.0"]
    found = {run.marker: run for run in runs[f"a-{tag}.web.0"]}
    first = found[f"a-{tag}.web.0/12.1@00ff"]
    assert (first.node, first.guard, sorted(first.pids)) == ("n1", None, sorted([one.pid, child.pid]))
    assert found[f"a-{tag}.web.0/15.1@00ff"].pids == [two.pid]
    ended = end_runs(tag)
    assert all(isinstance(run, LiveRun) for run in ended) and len(ended) == 2
    assert live_runs(tag) == {}
    assert stranger.poll() is None
    assert [process.wait(5) for process in (one, child, two)] == [-9, -9, -9]


def test_a_frozen_process_is_seen_as_such_until_it_is_thawed(processes):
    process = start(processes, "-")
    wait_for(lambda: process_state(process.pid) != "S", 5, "the process to sleep")
    freeze(process.pid)
    assert process_state(process.pid) == "T"
    thaw(process.pid)
    wait_for(lambda: process_state(process.pid) != "S", 5, "the process to go on")
    process.kill()
    wait_for(lambda: process_state(process.pid) != "Z", 5, "the process to end")
    assert process_environment(process.pid) == {}
    process.wait(5)
    assert process_state(process.pid) is None


def test_waiting_and_holding_fail_with_the_complaint():
    complaints = iter(["first", "second", ""])
    wait_for(lambda: next(complaints), 5, "an end of complaints")
    with pytest.raises(AssertionError, match="in vain for peace: there is war"):
        wait_for(lambda: "there is war", 0.2, "peace")
    complaints = iter(["", "", "it rains"])
    with pytest.raises(AssertionError, match="the sun shines, but it rains"):
        holds_for(lambda: next(complaints), 5, "the sun shines")


def test_what_lies_in_the_store_is_read_and_what_is_left_behind_is_seen(server, processes):
    site = Site(server, Programs("", "", "", ""), processes, agents=0, engines=0)
    site.store.start()
    try:
        kept = ["/megam/nodes/n1", "/megam/agents/n1/alive", "/megam/engine/status", "/megam/engine/leader/1f"]
        name = site.name("web")
        left = [
            f"/megam/agents/n1/assignments/{name}.web.0",
            f"/megam/assemblies/{name}/spec",
            f"/megam/reports/n1/{name}.web.0",
        ]
        before = site.revision()
        for key in kept:
            site.store.members[0].kv.Put(rpc_pb2.PutRequest(key=key.encode(), value=b'{"a": 1}'), timeout=5)
        assert site.left_behind() == ""
        for key in left:
            site.store.members[1].kv.Put(rpc_pb2.PutRequest(key=key.encode(), value=b"{}"), timeout=5)
        assert site.revision() == before + len(kept + left)
        assert site.keys("/megam/nodes/")["/megam/nodes/n1"].value == {"a": 1}
        assert list(site.assignments(name)) == [("n1", f"{name}.web.0")]
        assert all(key in site.left_behind() for key in left)
    finally:
        site.end()
