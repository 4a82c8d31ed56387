"""What stamper.py wrote, read: which runs there were, from when to when, and which of one instance overlap."""

from dataclasses import dataclass
from itertools import combinations


@dataclass
class StampedRun:
    """One start of a component, with what it left behind. Times are ns on CLOCK_BOOTTIME."""

    run: str
    instance: str
    token: int
    node: str
    pid: int
    # When the kernel made the process, a tick (10 ms) late at most; the first stamp if that is earlier.
    first: int
    last: int
    # It was asked to stop and stamped that.
    stopped: bool = False

    def __str__(self):
        how = "stopped" if self.stopped else "last seen"
        return f"{self.instance} on {self.node} (token {self.token}, pid {self.pid}, {self.first}..{self.last} {how})"


def stamped_runs(path):
    """All runs of a file of stamps, those of each instance in the order of their starts: instance → runs."""
    runs = {}
    if not path.exists():
        return {}
    # A last line without its end is still being written.
    for line in path.read_text().split("\n")[:-1]:
        at, kind, instance, token, node, pid, run, began = line.split(" ")
        at = int(at)
        if run not in runs:
            runs[run] = StampedRun(run, instance, int(token), node, int(pid), min(at, int(began)), at)
        known = runs[run]
        known.last = max(known.last, at)
        known.stopped |= kind == "stop"
    by_instance = {}
    for known in sorted(runs.values(), key=lambda known: known.first):
        by_instance.setdefault(known.instance, []).append(known)
    return by_instance


def overlaps(runs):
    """The pairs of one instance's runs that were alive at the same time, the earlier one first."""
    return [(a, b) for a, b in combinations(runs, 2) if b.first <= a.last]


def assert_no_overlap(path, component):
    """No two runs of an instance of `component` (ASSEMBLY.COMPONENT) ever overlap; returns its runs by instance."""
    by_instance = {
        instance: runs for instance, runs in stamped_runs(path).items() if instance.startswith(component + ".")
    }
    assert by_instance, f"no instance of {component} ever stamped, so nothing was checked"
    for runs in by_instance.values():
        found = overlaps(runs)
        assert not found, "two runs at once: " + "; ".join(
            f"{a} and {b}, for {(min(a.last, b.last) - b.first) / 1e6:.0f} ms" for a, b in found
        )
    return by_instance
