"""gulpctl check data: what a stopped member holds, whether it is sound, and that looking changes nothing."""

import json
import os
import subprocess

import pytest
from harness import ROOT, clean_environment
from test_damaged_log import flip, log_files, put_payloads

pytestmark = pytest.mark.gulpd_only("its files have another form")
PUTS = 120


@pytest.fixture(scope="module")
def gulpctl():
    binary = os.environ.get("GULPCTL") or str(ROOT / ".build/release/gulpctl")
    assert os.access(binary, os.X_OK), f"no gulpctl at {binary}; build it with: make release"
    return binary


@pytest.fixture
def check(gulpctl):
    def run(directory, *flags):
        done = subprocess.run(
            [gulpctl, "check", "data", "--data-dir", str(directory), *flags],
            capture_output=True, text=True, timeout=60, env=clean_environment(),
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def stopped(make_cluster):
    """A member of three that was killed after PUTS puts."""
    cluster = make_cluster(3).start()
    put_payloads(cluster.leader(), range(PUTS))
    revision = cluster.wait_same_revision(at_least=PUTS + 1)
    member = cluster.members[0]
    member.identity = member.status().header
    member.kill()
    member.cluster_revision = revision
    return member


def everything(directory):
    """Each file's content and times."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.stat()
        found[str(path)] = (status.st_size, status.st_mtime_ns, path.read_bytes() if path.is_file() else None)
    return found


def test_a_sound_member_is_described_and_left_as_it_is(stopped, check):
    before = everything(stopped.data)
    code, out, error = check(stopped.data)
    assert (code, error) == (0, "")
    header = stopped.identity
    assert out.startswith(f"member {header.member_id:x} of cluster {header.cluster_id:x}: sound\n"), out
    code, out, _ = check(stopped.data, "-w", "json")
    report = json.loads(out)
    assert (report["member_id"], report["cluster_id"]) == (header.member_id, header.cluster_id)
    # All puts are in the log, if not yet in the state's tables.
    last = report["entries"]["last_index"]
    assert last >= PUTS and report["witness"]["index"] == last
    assert report["state"]["revision"] <= stopped.cluster_revision
    assert sorted(report["voters"]) == sorted(member["ID"] for member in report["members"])
    assert len(report["members"]) == 3 and header.member_id in report["voters"]
    assert any(file["path"].endswith(".log") and file["size"] > PUTS * 80 for file in report["files"])
    code, out, _ = check(stopped.data, "-w", "fields")
    assert code == 0 and f'"LastIndex" : {last}\n' in out
    code, out, _ = check(stopped.data, "-w", "table")
    assert code == 0 and f"{header.member_id:x}" in out.splitlines()[3]
    assert everything(stopped.data) == before
    # It starts as ever.
    stopped.start().wait_ready()


def test_after_an_orderly_stop_the_state_has_all_keys(make_cluster, check):
    cluster = make_cluster(1).start()
    member = cluster.members[0]
    put_payloads(member, range(PUTS))
    member.stop()
    code, out, _ = check(member.data, "-w", "json")
    report = json.loads(out)
    assert code == 0 and report["state"]["keys"] == PUTS and report["state"]["revision"] == PUTS + 1


def test_a_damaged_member_is_refused_by_the_files_name(stopped, check):
    path = log_files(stopped)[0]
    flip(path, 200)
    before = everything(stopped.data)
    code, out, error = check(stopped.data)
    assert (code, out) == (1, "")
    assert error.startswith(f"Error: {path} is damaged") and "remove this member from the cluster" in error, error
    assert everything(stopped.data) == before


def test_a_running_member_is_left_alone(stopped, check):
    stopped.start().wait_ready()
    code, out, error = check(stopped.data)
    assert (code, out) == (1, "")
    assert f"in use by process {stopped.process.pid};" in error, error
    assert stopped.is_running


def test_what_cannot_be_checked_is_said(tmp_path, check, gulpctl):
    code, _, error = check(tmp_path / "nothing")
    assert code == 1 and "there is no member's data in" in error
    done = subprocess.run([gulpctl, "check", "data"], capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 128 and "--data-dir" in done.stderr
