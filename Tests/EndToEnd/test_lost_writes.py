"""A power cut on all three machines at once, under a writing client: nothing acknowledged is lost.

The seed of the cuts is printed and can be given again as GULP_SEED (the interleaving of processes is not repeated).
"""

import os
import random
import re
import time
from pathlib import Path

import pytest
from harness import ROOT, Cluster, Server, wait_until
from lossy import LossyDisk, compile_library
from writers import Writers, assert_nothing_lost, lost

ROUNDS = 4
pytestmark = pytest.mark.gulpd_only("it is linked statically, so no library can be loaded into it")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_library(tmp_path_factory.mktemp("lossy"))


@pytest.fixture
def rng():
    seed = int(os.environ.get("GULP_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed of the cuts: GULP_SEED={seed}")
    return random.Random(seed)


def lossy_cluster(server, processes, library):
    """A cluster whose members each write to a disk of their own that knows what is synced."""
    cluster = Cluster(server, processes)
    for member in cluster.members:
        member.data.mkdir(mode=0o700)
        member.disk = LossyDisk(library, member.data, processes.directory / f"{member.name}.table")
        member.environment = member.disk.environment
    return cluster


def round_with_power_cut(cluster, rng, prefix):
    """Starts all, writes, cuts the power of all at once; returns the puts acknowledged and the cuts made."""
    cluster.start()
    with Writers(cluster, prefix=prefix) as writers:
        enough = rng.randrange(200, 1000)
        wait_until(lambda: writers.count >= enough, 60, f"{enough} acknowledged puts")
        cluster.kill_all()
    cuts = {member.name: member.disk.power_cut(rng) for member in cluster.members}
    for name, made in cuts.items():
        for cut in made:
            print(f"{name}: {cut.path.name} synced to {cut.synced}, written to {cut.written}, cut to {cut.kept}")
    return writers.acknowledged, cuts


def test_a_power_cut_on_all_members_loses_nothing_acknowledged(server, processes, library, rng):
    cluster = lossy_cluster(server, processes, library)
    puts, cut_anything = [], False
    for number in range(ROUNDS):
        acknowledged, cuts = round_with_power_cut(cluster, rng, f"round{number}")
        puts += acknowledged
        cut_anything |= any(cuts.values())
        cluster.start()
        assert_nothing_lost(cluster, puts)
        cluster.kill_all()
    assert cut_anything, "no file had anything unsynced in any round: the cuts did nothing"
    cluster.close()


# What a loss looks like: acknowledged puts that no member has, members that differ, a member that sees itself that its log
# ends before its witness or its state does and refuses to start, or one whose log kept more than the others' and does not
# get past where they wrote something else in the same term.
LOSS = re.compile(
    r"lost \d+ of \d+ acknowledged|members to have one revision|states differ|acknowledged entries are missing"
    r"|to print 'ready to serve client requests'"
)


@pytest.mark.parametrize("witness", ["kept", "lost"])
def test_the_same_check_fails_when_the_log_is_not_synced(server, processes, library, rng, witness):
    """Proof that the check sees a loss: the same server with the log's sync switched off, on a synced member's data.

    With the notes that members keep of how far their logs were written, they see it themselves. Those are never
    synced, so they may be lost too; then only the clients know.
    """
    unsynced = Path(os.environ.get("GULPD_UNSYNCED", ROOT / ".build/release/gulpd-unsynced"))
    assert unsynced.exists(), f"no {unsynced}; build it with: make release"
    cluster = lossy_cluster(server, processes, library)
    cluster.start()
    cluster.stop()
    for member in cluster.members:
        member.disk.begin()
        member.server = Server(str(unsynced), "gulpd")
    puts = []
    for number in range(ROUNDS):
        puts += round_with_power_cut(cluster, rng, f"round{number}")[0]
        if witness == "lost":
            for member in cluster.members:
                (member.data / "member/witness").unlink()
        began = time.monotonic()
        try:
            cluster.start()
            assert_nothing_lost(cluster, puts, deadline=10)
        except AssertionError as failure:
            assert LOSS.search(str(failure)), f"the check failed, but for another reason: {failure}"
            if all(member.is_running for member in cluster.members):
                assert lost(cluster.leader(), puts), f"the leader has all that was acknowledged, and yet: {failure}"
            print(f"the check failed after {time.monotonic() - began:.1f} s, as it must: {str(failure)[:300]}")
            cluster.close()
            return
        cluster.kill_all()
    pytest.fail(f"{ROUNDS} power cuts without a synced log lost nothing: the check cannot see a loss")
