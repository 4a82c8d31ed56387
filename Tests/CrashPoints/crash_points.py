#!/usr/bin/env python3
"""Crashes a member's disk at every call that changes it, and checks that the member starts and agrees with the others.

The program `crash-workload` does what a member's threads do with log and state (Workload/): appends, flushes, trims, replaced
entries, a snapshot's installation, restarts. It runs under a shim (shim.c) that ends it before its Nth write, sync, rename and so on, for each N,
and in the middle of each longer write. For each crash the member is started on
  killed     what the process left: the machine went on, nothing is lost,
  strictest  what the power's failure leaves for certain: nothing that was not synced,
  mixed      that and a random part of the rest, torn writes among it,
  again      the last of these, with one more crash at a random call of the start itself.
It must start; hold all that was promised by then, and nothing that was never written; have a log that fits its state; and come, given
the rest of the log, to the state that all members come to.

That this can fail is tested too: with one kind of sync left out, some crash must be one that is not survived.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model import SECTOR, Disk, laziest, mixed, read_journal, strictest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# A start takes a tenth of a second; one that takes this long hangs.
LONGEST_RUN_SECONDS = 120

# Syncs that are left out, each after the call before it, once the member has trimmed its log for the first time.
LEFT_OUT = {
    "of the log's files": lambda call, _: call.kind == "f" and re.search(r"/log/records/.*\.log$", call.path),
    "of a snapshot's files": lambda call, _: call.kind == "f" and "/incoming-" in call.path,
    "of the directory in which a snapshot is renamed": lambda call, before: (
        call.kind == "d" and before.kind == "r" and "/incoming-" in before.path),
    "of the state's tables": lambda call, _: call.kind == "f" and re.search(r"/state/\d+/.*\.sst$", call.path),
    "of the state's manifests": lambda call, _: call.kind == "f" and re.search(r"/state/\d+/MANIFEST", call.path),
    "of the directory of the log's files": lambda call, _: call.kind == "d" and call.path.endswith("/log/records"),
}  # fmt: skip


class Harness:
    def __init__(self, program, scratch):
        self.program, self.scratch = program, scratch
        self.shim = scratch / "shim.so"
        subprocess.run(
            [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", HERE / "shim.c", "-o", self.shim, "-ldl", "-lpthread"],
            check=True)  # fmt: skip
        self.snapshot = scratch / "snapshot"
        self._run("snapshot", self.snapshot)
        self.digest = facts(self._run("inspect", scratch / "reference").stdout)["digest"]

    def _run(self, *arguments, environment=None, checks=True):
        run = subprocess.run(
            [self.program, *arguments], env={**os.environ, **(environment or {})}, capture_output=True, text=True,
            timeout=LONGEST_RUN_SECONDS)  # fmt: skip
        if checks and run.returncode != 0:
            raise SystemExit(f"crash-workload {arguments[0]} failed without a crash:\n{run.stdout}{run.stderr}")
        return run

    def crash(self, disk, root, *arguments, at=0, half=False):
        """Runs the program until its call number `at`; answers the calls that were made and the run."""
        journal = f"{root}.journal"
        environment = {
            "CRASH_ROOT": str(root), "CRASH_JOURNAL": journal, "CRASH_AT": str(at), "LD_PRELOAD": str(self.shim)}  # fmt: skip
        if half:
            environment["CRASH_HALF"] = "1"
        run = self._run(*arguments, environment=environment, checks=False)
        calls = read_journal(journal, os.path.realpath(root))
        os.unlink(journal)
        for call in calls:
            disk.perform(call)
        return calls, run

    def work(self, root, **crash):
        os.makedirs(root)
        disk = Disk()
        calls, run = self.crash(disk, root, "work", root / "data", self.snapshot, **crash)
        return disk, calls, failure(run)

    def complaint(self, root, promises):
        """Starts a member on what a crash left. Why that does not do; nothing if it does."""
        run = self._run("inspect", root / "data", checks=False)
        return failure(run) or promises.complaint(facts(run.stdout), self.digest)


def failure(run):
    """What a run says that neither came to its end nor was crashed."""
    if run.returncode in (0, -signal.SIGKILL):
        return None
    words = (run.stdout + run.stderr).strip().splitlines()
    return f"it does not start and go on: {words[-1] if words else f'status {run.returncode}'}"


def facts(text):
    """The first of each kind of line."""
    found = {}
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        found.setdefault(key, rest)
    return found


class Promises:
    """What had been said when the crash came, and so must hold."""

    def __init__(self, calls):
        self.written = self.agreed = self.flushed = self.trimmed = self.term = 0
        self.last = (0, 0)
        for line in b"".join(call.data for call in calls if call.kind == "a").decode().splitlines():
            word, *rest = line.split()
            numbers = [int(number) for number in rest if number.isdigit()]
            if word == "appending":
                self.written = max(self.written, numbers[0])
            elif word == "appended":
                self.last = (numbers[1], numbers[0])
                # Term 2 is the orphans'.
                self.agreed = max(self.agreed, 40 if numbers[1] == 2 else numbers[0])
            elif word == "flushed":
                self.flushed = max(self.flushed, numbers[0])
            elif word == "trimmed":
                self.trimmed = max(self.trimmed, numbers[0])
            elif word == "voted":
                self.term = numbers[0]

    def complaint(self, found, digest):
        base, last = (int(found[key].split()[0]) for key in ("base", "last"))
        term, applied, agreed = (int(found[key].split()[0]) for key in ("hardstate", "applied", "agreed"))
        last_term = int(found["last"].split()[1])
        for holds, text in [
            ((last_term, last) >= self.last, f"its log ends at {last} of term {last_term}, acknowledged was {self.last}"),
            (agreed >= self.agreed, f"its log is the others' up to {agreed}, acknowledged was {self.agreed}"),
            (last <= self.written, f"its log ends at {last}, written was {self.written}"),
            (term >= self.term, f"its term is {term}, acknowledged was {self.term}"),
            (applied >= self.flushed, f"its state is applied up to {applied}, flushed was {self.flushed}"),
            (base >= self.trimmed, f"its log begins at {base}, trimmed was {self.trimmed}"),
            (base <= applied <= last, f"its log holds {base} to {last}, its state is applied up to {applied}"),
            (found["digest"] == digest, f"it comes to {found['digest']}, the others to {digest}"),
            (found["again"] == digest, f"after one more start it is {found['again']}, the others {digest}"),
        ]:
            if not holds:
                return text
        return None


def tree(directory):
    """All that a directory holds: for a comparison."""
    held = {}
    for parent, _, files in os.walk(directory):
        held[os.path.relpath(parent, directory)] = None
        for name in files:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                held[os.path.relpath(path, directory)] = file.read()
    return held


def crash_point(harness, at, half, seed):
    """One crash and all that it may leave. A complaint, or None, for each image."""
    chance = random.Random(f"{seed} {at} {half}")
    place = Path(tempfile.mkdtemp(prefix=f"{at}-", dir=harness.scratch))
    root = place / "killed"
    disk, calls, wrong = harness.work(root, at=at, half=half)
    promises = Promises(calls)
    results = []

    def judge(image, directory, complaint=None):
        complaint = complaint or harness.complaint(directory, promises)
        where = f"call {at}{' (half of it)' if half else ''}, after: {calls[-1] if calls else 'nothing'}"
        results.append(complaint and f"{image}, {where}: {complaint}")

    disk.write(place / "laziest", laziest)
    # What the model says of a disk that loses nothing must be what is there: else the shim misses a call.
    differ = [key for key in tree(root).items() ^ tree(place / "laziest").items()] if tree(root) != tree(place / "laziest") else []
    if differ:
        wrong = f"the shim does not see all: {sorted({key for key, _ in differ})[:3]}"
    judge("killed", root, wrong)
    disk.write(place / "strictest", strictest)
    disk.write(place / "mixed", mixed(chance))
    disk.write(place / "again", mixed(chance))
    judge("strictest", place / "strictest")
    judge("mixed", place / "mixed")
    # A start on the last image makes some hundred calls.
    second = Disk.holding(place / "again")
    more, run = harness.crash(second, place / "again", "inspect", place / "again" / "data", at=chance.randint(1, 250))
    promises = Promises(calls + more)
    second.write(place / "last", chance.choice([strictest, mixed(chance), laziest]))
    judge("again", place / "last", failure(run))
    if not any(results):
        shutil.rmtree(place)
    return results


def self_test(harness, leaves_out, calls):
    """Strictest images along a whole run of which some syncs are taken out: how many were, and what did not survive."""
    disk, done, count, is_on = Disk(), [], 0, False
    place = Path(tempfile.mkdtemp(prefix="self-", dir=harness.scratch))
    for index, call in enumerate(calls):
        is_on = is_on or call.data.startswith(b"trimmed")
        if is_on and leaves_out(call, calls[index - 1]):
            count += 1
            continue
        disk.perform(call)
        done.append(call)
        # What breaks a promise stays broken for a while: not every call is looked at, but every promise.
        if call.kind == "a" or index % 5 == 0:
            image = place / str(index)
            disk.write(image, strictest)
            complaint = harness.complaint(image, Promises(done))
            shutil.rmtree(image)
            if complaint:
                return count, complaint
    return count, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of what the mixed images keep")
    parser.add_argument("--at", type=int, help="only this crash")
    parser.add_argument("--workload", default=os.environ.get("CRASH_WORKLOAD", ROOT / ".build/debug/crash-workload"))
    parser.add_argument("--keep", action="store_true", help="leave the images of failures")
    options = parser.parse_args()
    # Syncs cost nothing in memory.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="gulp-crash-points-", dir=memory))
    failures, passed = [], 0
    try:
        harness = Harness(options.workload, scratch)
        _, calls, wrong = harness.work(scratch / "whole")
        if wrong:
            raise SystemExit(wrong)
        last = max(call.number for call in calls)
        torn = {call.number for call in calls if call.kind == "w" and len(call.data) > 2 * SECTOR}
        points = [(at, half) for at in range(1, last + 1) for half in (False, True) if not half or at in torn]
        if options.at:
            points = [point for point in points if point[0] == options.at]
        print(f"{last} calls, {len(points)} crashes, seed {options.seed}", flush=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for results in pool.map(lambda point: crash_point(harness, *point, options.seed), points):
                for complaint in results:
                    passed += complaint is None
                    if complaint:
                        failures.append(complaint)
                        print(f"FAILED {complaint}", flush=True)
            lies = list(LEFT_OUT.items()) if not options.at else []
            found = pool.map(lambda lie: self_test(harness, lie[1], calls), lies)
            for (name, _), (count, complaint) in zip(lies, found):
                print(f"without the sync {name} ({count} times): {complaint or 'FAILED: every crash is survived'}", flush=True)
                is_right = count > 0 and complaint is not None
                passed += is_right
                if not is_right:
                    failures.append(name)
    finally:
        if options.keep and failures:
            print(f"the images are in {scratch}")
        else:
            shutil.rmtree(scratch)
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
