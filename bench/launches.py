"""200 components on 20 agents: time to running, and what the launches cost the store (`make bench-launches`).

Three members of a store, two engines and twenty agents, all processes of this machine. One row launches one assembly of
200 instances, the other twenty assemblies of 10; each then lets them run for a while and destroys them. A component is
`sleep`, and counts as running at once (ready-after: 0). A row counts only if afterwards the store says that all run,
each instance has exactly one process alive, on the node that it is assigned to, and after the destruction nothing
is left in the store or among the processes; else it is void, and so is the run (exit 1).

    GULPD MEGAMD MEGAM GULP_GUARD   the binaries, of a release build   (.build/release/…)
    BENCH_AGENTS                    how many agents                    (20)
    BENCH_INSTANCES                 how many instances                 (200)
    BENCH_IDLE                      seconds of idling that are measured (10)
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from harness import Processes, Server
from launch_harness import Site, component, find_programs, live_runs, wait_for

AGENTS = int(os.environ.get("BENCH_AGENTS", 20))
INSTANCES = int(os.environ.get("BENCH_INSTANCES", 200))
IDLE_SECONDS = float(os.environ.get("BENCH_IDLE", 10))
# The default of gulpd and megamd.
LEASE_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """What something took. CPU in seconds, by kind of process."""

    seconds: float
    # Transactions that changed something, the keys that they wrote or deleted, and what was sent to watchers of that.
    revisions: int
    keys: int
    events: int
    cpu: dict


@dataclass
class Row:
    """One way to launch the instances. `void` says why it does not count, or is empty."""

    shape: str
    assemblies: int
    launch: Cost = None
    idle: Cost = None
    destroy: Cost = None
    guard_pss_kib: float = 0
    guard_rss_kib: float = 0
    void: str = ""
    notes: list = field(default_factory=list)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kib(pid):
    """(shared parts divided among their sharers, all of it)"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
    return sizes["Pss:"], sizes["Rss:"]


class Meter:
    """Reads what the site's processes and its store have spent so far."""

    def __init__(self, site):
        self.site = site

    def now(self):
        kinds = {"members": self.site.store.members, "agents": self.site.agents, "engines": self.site.engines}
        cpu = {kind: sum(cpu_seconds(program.process.pid) for program in programs) for kind, programs in kinds.items()}
        return Cost(time.monotonic(), self.site.revision(), 0, sum(map(events_sent, self.site.store.members)), cpu)

    def since(self, start):
        now = self.now()
        cpu = {kind: now.cpu[kind] - start.cpu[kind] for kind in now.cpu}
        # After the events were counted: this watch is told them all once more.
        keys = keys_written(self.site.store.members[0], start.revisions + 1, now.revisions)
        return Cost(now.seconds - start.seconds, now.revisions - start.revisions, keys, now.events - start.events, cpu)


def events_sent(member):
    """Watch events that this member has sent."""
    _, text = member.http("/metrics")
    return sum(
        int(float(line.split()[1])) for line in text.splitlines() if line.startswith("etcd_debugging_mvcc_events_total")
    )


def keys_written(member, first, last):
    """How many keys under /megam/ the revisions from `first` to `last` wrote or deleted, by the store's history."""
    if last < first:
        return 0
    create = rpc_pb2.WatchCreateRequest(
        key=b"/megam/", range_end=b"/megam0", start_revision=first, progress_notify=True
    )
    ended = threading.Event()

    def requests():
        yield rpc_pb2.WatchRequest(create_request=create)
        ended.wait(60)

    stub, count = rpc_pb2_grpc.WatchStub(member.channel), 0
    answers = stub.Watch(requests(), timeout=60)
    try:
        for answer in answers:
            assert not answer.canceled, f"the history from {first} on is not there: {answer.cancel_reason}"
            count += sum(event.kv.mod_revision <= last for event in answer.events)
            if any(event.kv.mod_revision >= last for event in answer.events):
                return count
    finally:
        ended.set()
        answers.cancel()
    raise AssertionError(f"the watch from {first} on ended before {last}")


def not_running(site, names):
    """The cheap question, asked often: the states alone."""
    keys = site.keys("/megam/assemblies/")
    for name in names:
        state = keys.get(f"/megam/assemblies/{name}/state")
        if not state or state.value["state"] != "running":
            return f"{name} is {state and state.value}"
    return ""


def unsound(site, names):
    """Why not everything really runs that should."""
    for name in names:
        complaint = site.unsettled(name)
        if complaint:
            return complaint
    alive = sum(len(runs) for runs in live_runs(site.tag).values())
    return "" if alive == INSTANCES else f"{alive} runs are alive, not {INSTANCES}"


def measure(site, shape, assemblies):
    row, meter = Row(shape, assemblies), Meter(site)
    names = [f"{shape}-{number}" for number in range(assemblies)]
    one = component("sleeper", "sleep", "1000000", count=INSTANCES // assemblies, ready_after="0", stop_grace="1s")
    files = [site.write({"name": site.name(name), "components": [one]}) for name in names]
    names = [site.name(name) for name in names]
    try:
        start = meter.now()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda file: site.megam("launch", file), files))
        wait_for(lambda: not_running(site, names), 180, "all to run")
        row.launch = meter.since(start)
        # The reports may still be on their way into the last state.
        wait_for(lambda: unsound(site, names), 30, "all to run as wanted")
        guards = [run.guard for runs in live_runs(site.tag).values() for run in runs]
        row.guard_pss_kib, row.guard_rss_kib = (statistics.mean(sizes) for sizes in zip(*map(memory_kib, guards)))
        start = meter.now()
        time.sleep(IDLE_SECONDS)
        row.idle = meter.since(start)
        row.void = unsound(site, names)
        start = meter.now()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: site.megam("destroy", name), names))
        wait_for(lambda: list(site.keys("/megam/assemblies/"))[:3], 180, "all to be destroyed")
        row.destroy = meter.since(start)
        row.void = row.void or site.left_behind()
    except (AssertionError, TimeoutError) as error:
        row.void = str(error)[:2000]
    return row


def show(rows):
    def table(head, lines):
        print("| " + " | ".join(head) + " |")
        print("|" + " --- |" * len(head))
        for line in lines:
            print("| " + " | ".join(line) + " |")
        print()

    def cpu(cost):
        return [f"{cost.cpu[kind]:.1f}" for kind in ("members", "agents", "engines")]

    def each(count, row):
        return f"{count} ({count / row.assemblies:.1f}, {count / INSTANCES:.2f})"

    lines = []
    for row in rows:
        for what in ("launch", "destroy"):
            cost = getattr(row, what)
            if row.void or cost is None:
                continue
            lines.append(
                [f"{what} {row.shape}", f"{cost.seconds:.2f}", *(each(count, row) for count in (cost.revisions, cost.keys, cost.events)),
                 *cpu(cost)]
            )  # fmt: skip
    print()
    table(
        [
            "work",
            "seconds",
            "revisions (per launch, per instance)",
            "keys written",
            "watch events",
            "CPU s, members",
            "agents",
            "engines",
        ],
        lines,
    )
    sound = [row for row in rows if not row.void]
    table(
        [f"idle, {INSTANCES} instances running", "revisions/s", "watch events/s", "CPU %, members", "agents", "engines",
         "a guard's memory, KiB (Pss)", "(Rss)"],
        [
            [row.shape, f"{row.idle.revisions / row.idle.seconds:.2f}", f"{row.idle.events / row.idle.seconds:.2f}",
             *(f"{100 * row.idle.cpu[kind] / row.idle.seconds:.1f}" for kind in ("members", "agents", "engines")),
             f"{row.guard_pss_kib:.0f}", f"{row.guard_rss_kib:.0f}"]
            for row in sound
        ],
    )  # fmt: skip


def main():
    server = Server(os.path.abspath(os.environ.get("GULPD", ROOT / ".build/release/gulpd")), "gulpd")
    try:
        programs = find_programs(server)
    except AssertionError as error:
        sys.exit(f"bench: {error}")
    if "/debug/" in programs.gulpd:
        sys.exit(f"bench: {programs.gulpd} is a debug build; only release builds are measured")
    directory = Path(tempfile.mkdtemp(prefix="gulp-bench-"))
    processes = Processes(directory)
    site = Site(server, programs, processes, agents=AGENTS, engines=2, lease=LEASE_SECONDS)
    rows = []
    try:
        site.start()
        for shape, assemblies in ((f"1 assembly of {INSTANCES}", 1), (f"20 assemblies of {INSTANCES // 20}", 20)):
            row = measure(site, f"a{assemblies}", assemblies)
            row.shape = shape
            rows.append(row)
            print(
                f"{shape}: " + (f"VOID: {row.void}" if row.void else f"all run after {row.launch.seconds:.2f} s"),
                flush=True,
            )
            if row.void:
                print(processes.tails())
                break
    finally:
        site.end()
        if not os.environ.get("GULP_KEEP"):
            shutil.rmtree(directory, ignore_errors=True)
    show(rows)
    print(f"{AGENTS} agents, 3 members and 2 engines as processes of one machine with {os.cpu_count()} CPUs")
    output = ROOT / "bench-out" / f"launches-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    output.parent.mkdir(exist_ok=True)
    settings = {"agents": AGENTS, "instances": INSTANCES, "cpus": os.cpu_count(), "load": os.getloadavg()}
    output.write_text(json.dumps({"settings": settings, "rows": [asdict(row) for row in rows]}, indent=1))
    void = [row for row in rows if row.void]
    print(f"bench: {len(rows) - len(void)} rows count, {len(void)} are void; written to {output.relative_to(ROOT)}")
    sys.exit(1 if void else 0)


if __name__ == "__main__":
    main()
