"""Everything fails at random for a while: agents, guards, components, engines and members are killed and frozen.

Whatever happens, of a component with `on-disconnect: stop` never do two runs overlap, and when it is over all runs as it should.

    GULP_SEED            repeats the draws (printed; the interleaving of processes is not repeated)
    GULP_STORM_SECONDS   how long it lasts   (45)
"""

import contextlib
import os
import random
import signal
import time

import pytest
from launch_harness import (
    live_runs,
    process_environment,
    process_state,
    running_site,
    thaw,
    wait_for,
)
from stamps import assert_no_overlap, overlaps, stamped_runs

STORM_SECONDS = float(os.environ.get("GULP_STORM_SECONDS", "45"))


@pytest.fixture
def rng():
    seed = int(os.environ.get("GULP_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed of the storm: GULP_SEED={seed}")
    return random.Random(seed)


class Storm:
    """Strikes at random, and knows when to mend what it struck.

    A guard and its own agent are never frozen at the same time: that only a fencing token survives.
    """

    def __init__(self, site, rng):
        self.site, self.rng = site, rng
        self.mends = []
        self.strikes = {}

    def strike(self):
        kind = self.rng.choices(["agent", "run", "engine", "member"], [8, 8, 2, 1])[0]
        done = getattr(self, f"strike_{kind}")()
        if done:
            self.strikes[done] = self.strikes.get(done, 0) + 1
            print(f"{time.time():.3f} {done}")

    def later(self, mend, least, most):
        self.mends.append((time.monotonic() + self.rng.uniform(least, most), mend))

    def mend(self, everything=False):
        due = [each for each in self.mends if everything or each[0] <= time.monotonic()]
        for each in due:
            self.mends.remove(each)
            each[1]()

    def program(self, program, least, most):
        """Kills, ends or freezes an agent or engine, for some seconds."""
        how = self.rng.choice(["kill", "stop", "freeze", "freeze"])
        getattr(program, how)()
        self.later(program.thaw if how == "freeze" else program.start, least, most)
        return how

    def strike_agent(self):
        live = [agent for agent in self.site.agents if agent.is_live]
        # Not so many at once that the brake holds all the time.
        if len(live) < 4:
            return None
        agent = self.rng.choice(live)
        if any(process_is_frozen(run.guard) for run in self.runs(agent.name)):
            return None
        return f"{self.program(agent, 0, 25)} agent"

    def strike_engine(self):
        live = [engine for engine in self.site.engines if engine.is_live]
        return f"{self.program(self.rng.choice(live), 0, 8)} engine" if live else None

    def strike_member(self):
        if not all(member.is_running for member in self.site.store.members) or self.mends_of("member"):
            return None
        struck = self.rng.choice([self.site.store.members[:1], self.site.store.members[1:], self.site.store.members])
        if self.rng.random() < 0.5:
            for member in struck:
                member.kill()
            mend = Mend("member", lambda: [member.start() for member in struck])
        else:
            for member in struck:
                os.kill(member.process.pid, signal.SIGSTOP)
            mend = Mend("member", lambda: [thaw(member.process.pid) for member in struck])
        self.later(mend, 0, 6)
        return f"{len(struck)} member"

    def strike_run(self):
        runs = [run for run in self.runs() if self.site.agent(run.node).is_live and run.guard and run.pids]
        if not runs:
            return None
        run = self.rng.choice(runs)
        what, pid = self.rng.choice([("guard", run.guard), ("component", run.pids[0])])
        if process_environment(pid).get("GULP_RUN") != run.marker:
            return None
        with contextlib.suppress(ProcessLookupError):
            if self.rng.random() < 0.4:
                os.kill(pid, signal.SIGSTOP)
                self.later(lambda: thaw_run(pid, run.marker), 0, 10)
                return f"freeze {what}"
            os.kill(pid, signal.SIGKILL)
            return f"kill {what}"

    def runs(self, node=None):
        found = [run for runs in live_runs(self.site.tag).values() for run in runs]
        return [run for run in found if run.node and node in (None, run.node)]

    def mends_of(self, kind):
        return [mend for _, mend in self.mends if getattr(mend, "kind", None) == kind]


class Mend:
    def __init__(self, kind, act):
        self.kind, self.act = kind, act

    def __call__(self):
        self.act()


def process_is_frozen(pid):
    return pid is not None and process_state(pid) == "T"


def thaw_run(pid, marker):
    if process_environment(pid).get("GULP_RUN") == marker:
        with contextlib.suppress(ProcessLookupError):
            thaw(pid)


def test_in_a_storm_of_failures_no_two_runs_overlap_and_afterwards_all_is_well(server, programs, processes, rng):
    with running_site(server, programs, processes, agents=6, engines=3, engine_lease=2) as site:
        restart = {"when": "always", "attempts": 1000, "backoff": "100ms"}
        fields = {"restart": restart, "ready_after": "200ms", "stop_grace": "1s"}
        name = site.launch(
            "storm",
            site.stamper("keep", 6, **fields),
            site.stamper("stop", 8, on_disconnect="stop", **fields),
            site.stamper("escaping", 2, env={"STAMPER_ESCAPES": "1"}, on_disconnect="stop", **fields),
        )
        storm, end = Storm(site, rng), time.monotonic() + STORM_SECONDS
        while time.monotonic() < end:
            storm.strike()
            pause = time.monotonic() + rng.uniform(0, 1.5)
            while time.monotonic() < pause:
                storm.mend()
                time.sleep(0.02)
        storm.mend(everything=True)
        print(f"strikes: {storm.strikes}")
        for member in site.store.members:
            member.wait_ready()
        site.wait_up(60)
        wait_for(lambda: site.unsettled(name), 90, "all to run as wanted after the storm")
        for component in ("stop", "escaping"):
            runs = assert_no_overlap(site.stamps, f"{name}.{component}")
            for instance, each in runs.items():
                tokens = [run.token for run in each]
                assert tokens == sorted(tokens), f"{instance} ran with a token older than one before: {tokens}"
        stamped = stamped_runs(site.stamps).values()
        moves = sum(len({run.token for run in runs}) - 1 for runs in stamped)
        print(
            f"{sum(map(len, stamped))} runs, {moves} moves, {sum(len(overlaps(runs)) for runs in stamped)} overlaps of `keep`"
        )
        assert sum(map(len, stamped)) > 2 * len(stamped), "hardly anything was interrupted"
        site.megam("destroy", name, "--wait")
        wait_for(site.left_behind, 30, "nothing to be left")
