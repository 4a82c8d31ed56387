"""Twenty launches and destroys at random while engines are killed at random.

The seed is printed and can be given again as GULP_SEED (the interleaving of processes is not repeated).
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from launch_harness import running_site, wait_for
from stamps import assert_no_overlap, stamped_runs

LAUNCHES = 20
AT_ONCE = 4
STATE_SECONDS = 90


@pytest.fixture
def rng():
    seed = int(os.environ.get("GULP_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed of the launches and kills: GULP_SEED={seed}")
    return random.Random(seed)


class Life:
    """One assembly from its launch to its destruction, as drawn from a seed."""

    def __init__(self, site, rng, number):
        self.site, self.rng = site, rng
        self.kind = rng.choice(["good"] * 4 + ["missing", "impossible", "crashing"])
        self.word = f"{self.kind}-{number}"
        self.name = site.name(self.word)
        # Destroyed while it is on its way, or where it should have got to.
        self.hasty = rng.random() < 0.3
        self.pauses = self.kind == "good" and not self.hasty and rng.random() < 0.4
        self.again = rng.random() < 0.3

    def components(self):
        rng, site = self.rng, self.site
        restart = {"when": "always", "attempts": 1, "backoff": "100ms"}
        bad = {
            "missing": lambda: site.shell("bad", "") | {"command": "/nowhere/to/be-found"},
            "impossible": lambda: site.shell("bad", "sleep 1000", requirements={"cores": 5000}),
            "crashing": lambda: site.shell("bad", "exit 3", restart=restart),
        }
        made = []
        for index in range(rng.randint(1, 3)):
            stop = rng.random() < 0.5
            fields = {"depends_on": [made[0]["name"]]} if made and rng.random() < 0.5 else {}
            made.append(
                site.stamper(
                    f"{'stop' if stop else 'keep'}{index}", rng.randint(1, 3), ready_after="200ms", stop_grace="1s",
                    on_disconnect="stop" if stop else "keep", **fields,
                )
            )  # fmt: skip
        if self.kind in bad:
            made.append(bad[self.kind]())
        return made

    def live(self):
        for _ in range(2 if self.again else 1):
            self.site.launch(self.word, *self.components(), wait=False)
            if self.hasty:
                time.sleep(self.rng.uniform(0, 2))
            else:
                self.get_there()
            self.site.megam("destroy", self.name)
            prefix = f"/megam/assemblies/{self.name}/"
            wait_for(lambda: list(self.site.keys(prefix)), STATE_SECONDS, f"{self.name} to be destroyed")

    def get_there(self):
        if self.kind == "good":
            wait_for(lambda: self.site.unsettled(self.name), STATE_SECONDS, f"{self.name} to run as wanted")
        else:
            state = "preerror" if self.kind == "impossible" else "posterror"
            assert self.site.wait_state(self.name, state, STATE_SECONDS)["reason"]
        if self.pauses:
            self.site.megam("stop", self.name)
            self.site.wait_state(self.name, "stopped", STATE_SECONDS)
            running = list(self.site.runs(self.name))
            assert not running, f"{running} run though {self.name} is stopped"
            self.site.megam("start", self.name)
            wait_for(lambda: self.site.unsettled(self.name), STATE_SECONDS, f"{self.name} to run again")


def test_twenty_launches_end_where_they_should_while_engines_die(server, programs, processes, rng):
    with running_site(server, programs, processes, agents=4, engines=3, engine_lease=2) as site:
        lives = [Life(site, random.Random(rng.random()), number) for number in range(LAUNCHES)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(life.live) for life in lives]
            kills = 0
            while wait(futures, timeout=rng.uniform(0.1, 1.5)).not_done:
                leader = site.leading_engine()
                engine = leader if leader and rng.random() < 0.7 else rng.choice(site.engines)
                engine.kill()
                kills += 1
                wait(futures, timeout=rng.uniform(0, 1))
                engine.start()
        failed = [f"{life.name}: {future.exception()}" for life, future in zip(lives, futures) if future.exception()]
        assert not failed, "\n".join(failed)
        print(f"{kills} kills of engines")
        assert kills >= 3, "the engines were hardly killed"
        wait_for(site.left_behind, 30, "nothing to be left running or lying in the store")
        for life in lives:
            for component in stop_components(site, life.name):
                assert_no_overlap(site.stamps, component)


def stop_components(site, name):
    """The names of all components `stop…` of an assembly that ever ran."""
    return {i.rpartition(".")[0] for i in stamped_runs(site.stamps) if i.startswith(f"{name}.stop")}
