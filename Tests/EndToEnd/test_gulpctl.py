"""gulpctl takes etcdctl's flags and prints what etcdctl 3.5.1 prints, call by call on one and the same member."""

import os
import subprocess

import pytest
from harness import ROOT, Cluster, clean_environment, in_venv, wait_until
from normalise import normalise

GULPCTL = os.path.abspath(os.environ.get("GULPCTL", ROOT / ".build/release/gulpctl"))


@pytest.fixture(scope="module")
def member(server, module_processes):
    assert os.access(GULPCTL, os.X_OK), f"no gulpctl at {GULPCTL}; build it with: make release"
    cluster = Cluster(server, module_processes, 1).start()
    yield cluster.members[0]
    cluster.close()


def run(program, member, *arguments, input=None):
    """(exit status, output, last line of the errors): etcdctl's client library logs before that."""
    done = subprocess.run(
        [program, "--endpoints", member.endpoint, *arguments],
        input=input, capture_output=True, text=True, timeout=20, env=clean_environment(),
    )  # fmt: skip
    return done.returncode, normalise(done.stdout), (done.stderr.splitlines() or [""])[-1]


@pytest.fixture(scope="module")
def filled(member):
    """Some keys to read, put by etcdctl."""
    for key, value in (("a", "1"), ("a", "2"), ("b", "x"), ("c", ""), ("d", "line\nline"), ("e", "é\x01")):
        assert run(in_venv("etcdctl"), member, "put", f"read/{key}", value)[0] == 0
    return member


READS = [
    "get read/a",
    "get read/missing",
    "get read/d",
    "get --prefix read/",
    "get read/b read/d",
    "get read/b --from-key",
    "get --prefix read/ --limit 2",
    "get --prefix read/ --keys-only",
    "get --prefix read/ --sort-by MODIFY --order DESCEND",
    "get read/a --rev 2",
    "get read/a --print-value-only",
    "get read/a --hex",
    "get read/a --consistency s",
]


@pytest.mark.parametrize("format", ["simple", "json", "fields", "table"])
@pytest.mark.parametrize("call", READS)
def test_get(filled, call, format):
    arguments = [*call.split(), "-w", format]
    assert run(GULPCTL, filled, *arguments) == run(in_venv("etcdctl"), filled, *arguments)


@pytest.mark.parametrize(
    "call",
    [
        "get read/a --rev 100000",
        "get",
        "put",
        "put onlykey",
        "del",
        "nonsense",
        "get a --no-such-flag",
        "put k v --lease 7b",
    ],
)
def test_errors_end_with_the_same_status(filled, call):
    mine, theirs = (run(program, filled, *call.split()) for program in (GULPCTL, in_venv("etcdctl")))
    assert (mine[0] == 0) == (theirs[0] == 0)
    if theirs[2].startswith("Error: etcdserver"):
        assert mine == theirs


WRITES = [
    "put {}/k v1",
    "put {}/k v2 --prev-kv",
    "put {}/k --ignore-value",
    "del {}/k --prev-kv",
    "del {}/k",
    "put {}/p/1 x",
    "put {}/p/2 y",
    "del --prefix {}/p/",
]


@pytest.mark.parametrize("format", ["simple", "fields"])
def test_put_and_del(member, format):
    """The same writes below two prefixes; what is printed differs in the prefix and the revisions alone."""
    outcomes = []
    for program, prefix in ((GULPCTL, f"one/{format}"), (in_venv("etcdctl"), f"two/{format}")):
        results = [run(program, member, *call.format(prefix).split(), "-w", format) for call in WRITES]
        outcomes.append([(code, _without(text, prefix), errors) for code, text, errors in results])
    mine, theirs = outcomes
    assert mine == theirs


def _without(text, prefix):
    lines = text.replace(prefix, "<prefix>").splitlines()
    return [line for line in lines if "Revision" not in line]


def test_put_takes_its_value_from_standard_input(member):
    assert run(GULPCTL, member, "put", "stdin", input="from a pipe") == (0, "OK", "")
    assert run(in_venv("etcdctl"), member, "get", "stdin", "--print-value-only")[1] == "from a pipe"


@pytest.mark.parametrize("format", ["simple", "json", "fields"])
def test_watch(filled, format):
    """Everything since revision 1 below a prefix, as far as it goes."""

    def watched(program):
        log = filled.processes.start(
            [program, "--endpoints", filled.endpoint, "watch", "--rev", "1", "--prefix", "read/", "-w", format],
            f"watch-{os.path.basename(program)}-{format}",
        )
        path = filled.processes.logs[-1]
        try:
            return wait_until(lambda: _stable(path, 6, format), 10, f"six events from {program}")
        finally:
            log.kill()

    assert watched(GULPCTL) == watched(in_venv("etcdctl"))


def _stable(path, events, format):
    """The output once it holds that many events and ends with a whole line."""
    text = path.read_text(errors="replace")
    sign = {"simple": "PUT\n", "json": '"mod_revision"', "fields": '"Type" : PUT'}[format]
    last = {"simple": "read/e\n", "json": "cmVhZC9l", "fields": '"Lease"'}[format]
    if text.count(sign) < events or last not in text[text.rindex(sign) - 200 :] or not text.endswith("\n"):
        return None
    return normalise(text)
