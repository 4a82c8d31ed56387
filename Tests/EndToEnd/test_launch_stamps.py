"""The checker of overlaps finds what is there, in made-up stamps and in those of real processes."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from harness import clean_environment, wait_until
from stamps import assert_no_overlap, overlaps, stamped_runs

STAMPER = Path(__file__).parent / "stamper.py"


def write(path, *stamps):
    """Stamps of instance a.b.0, each (at, kind, run): run r1 has token 1 and so on."""
    path.write_text(
        "".join(f"{at} {kind} a.b.0 {run[1:]} n{run[1:]} 7{run[1:]} {run} {at}\n" for at, kind, run in stamps)
    )
    return path


def test_runs_after_each_other_do_not_overlap(tmp_path):
    path = write(tmp_path / "s", (10, "start", "r1"), (20, "heartbeat", "r1"), (30, "start", "r2"), (40, "stop", "r2"))
    runs = stamped_runs(path)["a.b.0"]
    assert [(run.run, run.first, run.last, run.stopped) for run in runs] == [
        ("r1", 10, 20, False),
        ("r2", 30, 40, True),
    ]
    assert overlaps(runs) == []
    assert len(assert_no_overlap(path, "a.b")["a.b.0"]) == 2


@pytest.mark.parametrize("last", [30, 35, 99])
def test_a_run_that_lives_into_the_next_one_is_found(tmp_path, last):
    path = write(
        tmp_path / "s", (10, "start", "r1"), (30, "start", "r2"), (last, "heartbeat", "r1"), (40, "stop", "r2")
    )
    with pytest.raises(AssertionError, match=r"two runs at once: a\.b\.0 on n1 .* and a\.b\.0 on n2"):
        assert_no_overlap(path, "a.b")


def test_a_run_within_another_is_found_and_so_is_one_that_begins_with_the_other_two_apart(tmp_path):
    path = write(
        tmp_path / "s",
        (10, "start", "r1"), (20, "start", "r2"), (21, "stop", "r2"), (30, "start", "r3"), (40, "stop", "r1"),
    )  # fmt: skip
    pairs = [(a.run, b.run) for a, b in overlaps(stamped_runs(path)["a.b.0"])]
    assert pairs == [("r1", "r2"), ("r1", "r3")]


def test_a_run_counts_from_when_its_process_was_made(tmp_path):
    path = tmp_path / "s"
    path.write_text("10 start a.b.0 1 n1 71 r1 9\n20 stop a.b.0 1 n1 71 r1 9\n30 start a.b.0 2 n2 72 r2 19\n")
    assert len(overlaps(stamped_runs(path)["a.b.0"])) == 1


def test_no_stamps_are_no_proof(tmp_path):
    write(tmp_path / "s", (10, "start", "r1"))
    with pytest.raises(AssertionError, match="nothing was checked"):
        assert_no_overlap(tmp_path / "s", "a.c")


def test_real_processes_that_run_at_once_are_found_and_those_in_turn_are_not(processes):
    stamps = processes.directory / "stamps"

    def start(instance):
        environment = clean_environment(
            STAMPS=str(stamps), MEGAM_INSTANCE=instance, MEGAM_FENCING_TOKEN="1", MEGAM_NODE="here"
        )
        process = processes.start([sys.executable, "-S", "-E", "-B", STAMPER], "stamper", env=environment)
        wait_until(lambda: any(run.pid == process.pid for run in stamped_runs(stamps).get(instance, [])), 10, "a stamp")
        return process

    def end(process, number):
        process.send_signal(number)
        process.wait(10)

    end(start("a.turn.0"), signal.SIGTERM)
    end(start("a.turn.0"), signal.SIGKILL)
    end(start("a.turn.0"), signal.SIGTERM)
    assert [run.stopped for run in assert_no_overlap(stamps, "a.turn")["a.turn.0"]] == [True, False, True]
    both = [start("a.once.0"), start("a.once.0")]
    for process in both:
        end(process, signal.SIGTERM)
    with pytest.raises(AssertionError, match="two runs at once"):
        assert_no_overlap(stamps, "a.once")


def test_what_a_run_left_behind_counts_as_the_run(processes):
    stamps = processes.directory / "stamps"
    environment = clean_environment(
        STAMPS=str(stamps), MEGAM_INSTANCE="a.b.0", MEGAM_FENCING_TOKEN="1", STAMPER_ESCAPES="1"
    )
    process = processes.start([sys.executable, "-S", "-E", "-B", STAMPER], "stamper", env=environment)

    def others():
        lines = stamps.read_text().splitlines() if stamps.exists() else []
        return {int(line.split(" ")[5]) for line in lines} - {process.pid}

    escaped = wait_until(others, 10, "a stamp of the process left behind").pop()
    try:
        process.kill()
        process.wait(10)
        dead = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wait_until(lambda: stamped_runs(stamps)["a.b.0"][0].last > dead, 10, "a stamp after the death of its parent")
    finally:
        os.kill(escaped, signal.SIGKILL)
    assert len(stamped_runs(stamps)["a.b.0"]) == 1
