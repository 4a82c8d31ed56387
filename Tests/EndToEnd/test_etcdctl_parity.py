"""The real etcdctl, of 3.4.23 and of 3.5.1, prints for gulpd what it prints for etcd 3.5.1.

One script of calls runs against each member of three etcd 3.5.1 and, on the same ports, of three members of the
server under test. Every call's exit status and output must be equal after `normalise`.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from harness import Cluster, Processes, clean_environment, free_ports, in_venv, wait_until
from normalise import normalise

DEBIAN_ETCDCTL = "/usr/bin/etcdctl"


@dataclass(frozen=True)
class Step:
    """One call: its arguments, its input, and for one that does not end by itself the text that ends it."""

    arguments: tuple
    input: str = ""
    until: str = None
    unordered: bool = False  # lines come in whatever order the members answered


def step(text, **options):
    return Step(tuple(text.split(" ")), **options)


def script(at, lease):
    """The calls, with keys below `at`, a prefix of its own for each member and each etcdctl.

    Keys hang on `lease`, whose id both clusters know by the same number: a stored record contains it, and HashKV
    is made of the records. The lease that etcdctl grants gets a random id and no keys.
    """
    return [
        step(f"put {at}/a 1"),
        step(f"put {at}/a 2"),
        step(f"put {at}/a 3 --prev-kv"),
        step(f"put {at}/b other -w json"),
        step(f"put {at}/b again -w fields"),
        Step(("put", f"{at}/space", "a value with spaces\nand a line")),
        Step(("put", f"{at}/empty", "")),
        Step(("put", "", "no key")),
        step(f"put {at}/none --ignore-value"),
        step(f"put {at}/a --ignore-value"),
        step(f"put {at}/a x --lease=123456789"),
        step(f"get {at}/a"),
        step(f"get {at}/a -w json"),
        step(f"get {at}/a -w fields"),
        step(f"get {at}/a -w protobuf --print-value-only"),
        step(f"get {at}/missing"),
        step(f"get {at}/missing -w json"),
        step(f"get --prefix {at} -w json"),
        step(f"get --prefix {at} --keys-only"),
        step(f"get --prefix {at} --limit=2 -w json"),
        step(f"get --prefix {at} --order=DESCEND --sort-by=KEY"),
        step(f"get --prefix {at} --order=ASCEND --sort-by=MODIFY -w json"),
        step(f"get --prefix {at} --order=DESCEND --sort-by=VERSION --limit=1 -w json"),
        step(f"get {at}/a {at}/b --print-value-only"),
        step(f"get {at}/b --from-key --limit=2"),
        step(f"get {at}/a --consistency=s"),
        step(f"get {at}/a --rev=100000"),
        step(f"del {at}/b --prev-kv"),
        step(f"del {at}/missing"),
        step(f"del --prefix {at}/space -w json"),
        step(f"get {at}/b"),
        Step(
            ("txn", "-i"),
            input=f'value("{at}/a") = "3"\nversion("{at}/a") > "2"\n\n'
            f"put {at}/t done\nget {at}/t\ndel {at}/empty\n\nput {at}/t not\n\n",
        ),
        Step(
            ("txn", "-i"),
            input=f'create("{at}/t") = "0"\n\nput {at}/t never\n\nget {at}/t\nget --prefix {at} --keys-only\n\n',
        ),
        Step(("txn", "-i", "-w", "json"), input=f'mod("{at}/t") > "1"\n\nget {at}/t\nput {at}/u 1\n\n\n'),
        Step(("txn", "-i"), input=f"\nput {at}/twice 1\nput {at}/twice 2\n\n\n"),
        step("lease grant 60"),
        step("lease timetolive <lease>"),
        step("lease timetolive --keys <lease>"),
        step("lease keep-alive --once <lease>"),
        step("lease keep-alive <lease>", until="keepalived with TTL(60)\n"),
        step("lease list", unordered=True),
        step("lease revoke <lease>"),
        step("lease timetolive <lease>"),
        step("lease revoke <lease>"),
        step("lease keep-alive --once <lease>"),
        step(f"put {at}/leased 1 --lease={lease}"),
        step(f"put {at}/leased/too 1 --lease={lease}"),
        step(f"get {at}/leased -w json"),
        step(f"put {at}/leased 2 --ignore-lease"),
        step(f"lease timetolive --keys {lease}"),
        step(f"lease timetolive --keys {lease} -w json"),
        step(f"lease keep-alive --once {lease}"),
        step(f"lease revoke {lease}"),
        step(f"get --prefix {at}/leased"),
        step(f"put {at}/end end"),
        step(f"watch --rev=1 --prefix {at}", until="/end\nend\n"),
        step(f"watch --rev=1 --prev-kv {at}/a", until=f"{at}/a\n3\n{at}/a\n3\n"),
        step("endpoint hashkv --cluster"),
    ]


def after(at, revision):
    """The calls about a compacted history, which end the script; `revision` is that of the last put before."""
    return [
        step(f"get {at}/a --rev={revision - 1}"),
        step(f"compaction {revision - 1}"),
        step(f"compaction {revision - 1}"),
        step("compaction 1000000"),
        step(f"get {at}/a --rev={revision - 2}"),
        step(f"get {at}/a --rev={revision - 1}"),
        step(f"watch --rev=1 {at}/a", until="canceled by the server\n"),
        step(f"get --prefix {at} -w json"),
        step(f"put {at}/a after"),
        step(f"del {at}/t"),
        step("endpoint hashkv --cluster"),
        step("endpoint hashkv --cluster -w json"),
        step("member list"),
        step("member list -w table"),
        step("member list -w json"),
        step("member list -w fields"),
        step("alarm list"),
        step("endpoint status --cluster -w table"),
        step("endpoint health --cluster", unordered=True),
        step("endpoint health --cluster -w table", unordered=True),
    ]


class Etcdctl:
    """One etcdctl and one endpoint; remembers the leases granted through it."""

    def __init__(self, program, endpoint):
        self.program, self.endpoint, self.leases = program, endpoint, []

    def run(self, step):
        """(the call, exit status, output, errors), normalised."""
        arguments = [part.replace("<lease>", self.leases[-1] if self.leases else "<lease>") for part in step.arguments]
        argv = [self.program, "--endpoints", self.endpoint, "--command-timeout", "10s", *arguments]
        code, output, errors = self._until(argv, step.until) if step.until else self._whole(argv, step.input)
        granted = re.match(r"lease ([0-9a-f]+) granted with TTL\(60s\)$", output)
        if granted:
            self.leases.append(granted[1])
        shown = [normalise(text, self.leases) for text in (output, errors)]
        if step.unordered:
            shown = ["\n".join(sorted(text.splitlines())) for text in shown]
        return " ".join(step.arguments), code, *shown

    @staticmethod
    def _whole(argv, input):
        done = subprocess.run(
            argv, input=input, env=clean_environment(ETCDCTL_API="3"), capture_output=True, text=True, timeout=40
        )
        return done.returncode, done.stdout, done.stderr

    @staticmethod
    def _until(argv, end):
        """Runs a call that goes on until its output contains `end` or it ends by itself."""
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(ETCDCTL_API="3"),
        ) as process:
            os.set_blocking(process.stdout.fileno(), False)
            seen = b""

            def arrived():
                nonlocal seen
                seen += process.stdout.read() or b""
                return end.encode() in seen or process.poll() is not None

            try:
                wait_until(arrived, 20, f"{' '.join(argv)} to print {end!r}")
                return "went on", seen.decode(), ""
            except AssertionError:
                # What it printed instead is what differs.
                return "printed something else", seen.decode(), ""
            finally:
                process.kill()


def run_scripts(server, ports):
    """Everything, in one order, on a fresh cluster at `ports`: the results by "/etcdctl's version/member"."""
    processes = Processes(Path(tempfile.mkdtemp(prefix="gulp-e2e-")))
    cluster = Cluster(server, processes, ports=ports)
    results = {}
    try:
        cluster.start()
        cluster.leader()
        programs = {"3.4.23": DEBIAN_ETCDCTL, "3.5.1": in_venv("etcdctl")}
        runs = [
            (f"/{version}/{member.name}", member, Etcdctl(program, member.endpoint))
            for version, program in programs.items()
            for member in cluster.members
        ]

        def run(at, etcdctl, steps):
            for each in steps:
                results.setdefault(at, []).append(etcdctl.run(each))
                cluster.wait_same_revision()

        # No history is compacted before all have watched it from its first revision.
        for number, (at, member, etcdctl) in enumerate(runs):
            lease = 0x5EA5E + number
            rpc_pb2_grpc.LeaseStub(member.channel).LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=lease, TTL=300), timeout=5)
            run(at, etcdctl, script(at, f"{lease:x}"))
        for at, member, etcdctl in runs:
            run(at, etcdctl, after(at, member.revision()))
    finally:
        cluster.close()
        processes.end_all()
        shutil.rmtree(processes.directory, ignore_errors=True)
    return results


@pytest.fixture(scope="module")
def both(server, reference):
    """The scripts' results on etcd and on the server under test."""
    ports = free_ports(6)
    return run_scripts(reference, ports), run_scripts(server, ports)


def test_both_programs_are_the_versions_they_are_taken_for():
    for program, version in ((DEBIAN_ETCDCTL, "3.4.23"), (in_venv("etcdctl"), "3.5.1")):
        output = Etcdctl._whole([program, "version"], "")[1]
        assert f"etcdctl version: {version}\n" in output


def describe(want, got):
    """One call whose outcomes differ, and in what."""
    parts = [
        f"  {name} etcd: {a!r}\n  {name} here: {b!r}"
        for name, a, b in zip(("exit", "out", "err"), want[1:], got[1:])
        if a != b
    ]
    return "\n".join([f"$ etcdctl {want[0]}", *parts])


@pytest.mark.parametrize("member", ["m1", "m2", "m3"])
@pytest.mark.parametrize("version", ["3.4.23", "3.5.1"])
def test_etcdctl_prints_what_it_prints_for_etcd(both, version, member):
    expected, actual = (results[f"/{version}/{member}"] for results in both)
    differences = [describe(want, got) for want, got in zip(expected, actual, strict=True) if want != got]
    assert not differences, f"{len(differences)} of {len(expected)} calls differ:\n" + "\n".join(differences)


def test_the_reference_ran_as_intended(both):
    """The script itself works: the calls meant to succeed do on etcd, so that equality means something."""
    results = both[0]["/3.5.1/m2"]
    failed = [call for call, code, *_ in results if code not in (0, "went on")]
    assert "printed something else" not in [code for _, code, *_ in results]
    expected_to_fail = [
        "put  no key", "put /3.5.1/m2/none --ignore-value", "put /3.5.1/m2/a x --lease=123456789",
        "get /3.5.1/m2/a --rev=100000", "lease revoke <lease>",
    ]  # fmt: skip
    assert [call for call in expected_to_fail if call not in failed] == []
    assert sum(1 for call, *_ in results if "hashkv" in call) == 3
    assert len(failed) < 14, failed
    watched = next(output for call, _, output, _ in results if call == "watch --rev=1 --prefix /3.5.1/m2")
    assert watched.count("PUT\n") >= 10 and watched.count("DELETE\n") >= 4, watched
