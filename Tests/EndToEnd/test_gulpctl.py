"""gulpctl prints what etcdctl 3.5.1 prints for the same calls, byte for byte, and exits as it does.

Commands that write run as the same script, each program against a fresh member of the same kind, so that both see
the same revisions; what differs between two clusters (ids) is masked. Commands that only read are asked of one and
the same cluster, and so need no mask but for times. Of standard error the `Error:` and `watch was canceled` lines
and the like are compared; etcdctl's log lines and usage texts are its own.
"""

import os
import re
import signal
import subprocess
from dataclasses import dataclass

import pytest
from harness import ROOT, Cluster, clean_environment, in_venv, wait_until


@pytest.fixture(scope="module")
def gulpctl():
    binary = os.environ.get("GULPCTL") or str(ROOT / ".build/release/gulpctl")
    assert os.access(binary, os.X_OK), f"no gulpctl at {binary}; build it with: make release"
    return binary


@dataclass
class Client:
    binary: str
    member: object

    def environment(self, extra):
        """With the member as the endpoint, and `extra`, in which None takes a variable away."""
        variables = {"ETCDCTL_ENDPOINTS": self.member.endpoint, **(extra or {})}
        return clean_environment(**{name: value for name, value in variables.items() if value is not None})

    def run(self, *arguments, stdin=b"", env=None):
        done = subprocess.run(
            [self.binary, *arguments], input=stdin, env=self.environment(env), capture_output=True, timeout=20
        )
        return self.mask(done.stdout), errors(done.stderr), done.returncode

    def watch(self, *arguments, until, stdin=None, env=None):
        """Runs a watch until its output holds `until` (bytes), then ends it."""
        process = subprocess.Popen(
            [self.binary, "watch", *arguments], env=self.environment(env), bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            os.set_blocking(process.stdout.fileno(), False)
            for line in stdin or []:
                process.stdin.write(line)
            output = b""

            def arrived():
                nonlocal output
                output += process.stdout.read() or b""
                return until in output

            wait_until(arrived, 15, f"{until!r} from {arguments}")
        finally:
            process.kill()
            process.wait(10)
        return self.mask(output + (process.stdout.read() or b""))

    def mask(self, output):
        """Ids are a cluster's own; the fields that carry them stand in JSON, in `fields`, and in the encoded header."""
        if output.startswith(b"NAME:\n"):
            return b""  # etcdctl's usage, which follows a flag that it cannot read
        output = re.sub(rb'("(?:cluster_id|member_id)":)\d+', rb"\1ID", output)
        output = re.sub(rb'("(?:ClusterID|MemberID)" : )\d+', rb"\1ID", output)
        # A lease granted by the server, in the three ways it is written.
        output = re.sub(rb"\blease [0-9a-f]{16}\b", b"lease ID", output)
        output = re.sub(rb'("ID":|"id":|"ID" : )\d{12,}', rb"\1ID", output)
        varint = rb"[\x80-\xff]{1,9}[\x00-\x7f]"
        # The header's length differs with the ids' own.
        return re.sub(rb"\n[\x00-\x7f]\x08" + varint + rb"\x10" + varint + rb"(?=[\x18\x20])", b"<ids>", output)


def errors(text):
    beginnings = ("Error:", "watch was", "Invalid", "command ", "Failed to get")
    lines = [line for line in text.decode().splitlines() if line.startswith(beginnings) or " is unhealthy: " in line]
    # etcdctl repeats the error after its usage text.
    return [line for index, line in enumerate(lines) if index == 0 or lines[index - 1] != line]


@pytest.fixture(scope="module")
def pair(server, gulpctl, module_processes):
    """gulpctl and etcdctl, each with a fresh member of its own that has the same history."""
    clients = []
    for binary, name in [(gulpctl, "gulpctl"), (in_venv("etcdctl"), "etcdctl")]:
        cluster = Cluster(server, module_processes, 1, directory=name).start()
        clients.append(Client(binary, cluster.members[0]))
    yield clients
    for client in clients:
        client.member.close()


def same(pair, *arguments, **options):
    ours, theirs = (client.run(*arguments, **options) for client in pair)
    assert ours == theirs, f"{arguments}: gulpctl and etcdctl differ"
    return ours


FORMATS = ["simple", "json", "fields", "protobuf", "table"]
ODD = b"\x01\a\b\f\v\r\t\\\"'`\x7f\xff\x80 \xc3\xa9 \xe6\x97\xa5 \xc2\xa0\xe2\x80\xa8 <&>"


@pytest.mark.parametrize("form", FORMATS)
def test_every_answer_in_every_format(pair, form):
    def run(*arguments, **options):
        same(pair, *arguments, "-w", form, **options)

    for number in range(3):
        run("put", f"{form}/{number}", f"v{2 - number}")
    run("put", f"{form}/1", "again", "--prev-kv")
    run("put", f"{form}/odd\x01", stdin=ODD)
    run("put", f"{form}/1", "--ignore-value", "--prev-kv")
    run("put", f"{form}/1", "kept", "--ignore-lease")
    for flags in [
        [], ["--keys-only"], ["--count-only"], ["--print-value-only"], ["--hex"], ["--limit=2"], ["--order=DESCEND"],
        ["--sort-by=VALUE"], ["--sort-by=VERSION", "--order=descend"], ["--sort-by=CREATE"], ["--sort-by=MODIFY"],
        ["--sort-by=KEY", "--order=ASCEND"], ["--rev=2"], ["--consistency=s"], ["--limit=2", "--keys-only"],
        ["--keys-only", "--print-value-only"], ["--hex", "--print-value-only"],
    ]:  # fmt: skip
        run("get", "--prefix", form, *flags)
    run("get", f"{form}/1", f"{form}/2")
    run("get", f"{form}/1")
    run("get", f"{form}/none")
    run("get", "--from-key", f"{form}/2")
    run("get", "", "--prefix", "--keys-only")
    run("get", "", "--from-key", "--limit=1")
    run("del", f"{form}/0", "--prev-kv")
    run("del", f"{form}/0")
    run("del", f"{form}/1", f"{form}/2", "--prev-kv", "--hex")
    run("del", form, "--prefix", "--prev-kv")


@pytest.mark.parametrize(
    "arguments",
    [
        "get", "get w w3 x", "get a b --prefix", "get a b --from-key", "get --prefix --from-key a", "get a --order",
        "get a --order bogus", "get a --sort-by bogus", "get a --consistency x", "get a --consistency L",
        "get a --limit x", "get a --limit=99999999999999999999", "get a --rev 999999", "get a --rev=-1", "get a --bogus",
        "get a -z", "get a -w", "get -help", "get a --prefix=x", "get a --prefix=T", "get a --count-only", "get a -w bogus",
        "get a --count-only --keys-only -w fields", "get a --command-timeout 5", "get a --command-timeout 1ns",
        "get a --command-timeout=-1s", "get a --endpoints=", "put", "put a", "put a b --lease 1",
        "put a b --lease xyz", "put a b --lease=0x1", "put a b --lease=ffffffffffffffff", "put a b --ignore-value",
        "put nokey --ignore-value", "put nokey v --ignore-lease", "put a b --lease 1 --ignore-lease", "put a -b",
        "put -- -a -b", "get -- -a", "del", "del a b c", "del a b --prefix", "del a --prefix --from-key",
        "del -- -a", "watch", "watch --", "watch a --", "watch a b --prefix", "watch --rev x w", "watch a a --rev=1",
        "watch a --rev=1 -w bogus", "watch b a -w json", "watch b a -w fields", "watch b a -w protobuf", "watch b a -w table",
    ],
)  # fmt: skip
def test_mistakes_and_refusals(pair, arguments):
    environment = {"ETCDCTL_ENDPOINTS": None} if "--endpoints" in arguments else None
    same(pair, *arguments.split(), env=environment)


def test_empty_keys(pair):
    for arguments in (["get", ""], ["put", "", "b"], ["del", ""], ["del", "", "b"], ["get", "a", ""]):
        same(pair, *arguments)


def test_global_flags_before_the_command_and_in_the_environment(pair):
    same(pair, "put", "global", "1")
    same(pair, "--hex", "get", "global")
    same(pair, "-w", "json", "get", "global")
    same(pair, "-wjson", "--prefix=true", "get", "glob")
    same(pair, "get", "global", env={"ETCDCTL_WRITE_OUT": "json"})
    same(pair, "get", "global", env={"ETCDCTL_HEX": "true"})


def test_a_key_that_is_not_utf8(pair):
    same(pair, "put", b"\xff\xfe", b"\xfd")
    same(pair, "get", b"\xff", "--prefix", "-w", "fields")
    same(pair, "get", b"\xff\xff", "--prefix")


@pytest.fixture(scope="module")
def history(pair):
    """The same changes under `w` on both members; returns the revision of the first."""
    answers = [client.member.revision() for client in pair]
    assert answers[0] == answers[1], "the members' histories differ"
    for arguments in (["put", "w", "1"], ["put", "w", "2"], ["del", "w"], ["put", "w2", "x y"], ["put", "w", "END"]):
        same(pair, *arguments)
    return answers[0] + 1


def same_watch(pair, *arguments, **options):
    ours, theirs = (client.watch(*arguments, **options) for client in pair)
    assert ours == theirs, f"watch {arguments}: gulpctl and etcdctl differ"


@pytest.mark.parametrize("form", ["simple", "json", "fields", "protobuf"])
def test_watch_in_every_format(pair, history, form):
    until = b"RU5E" if form == "json" else b"END"
    for flags in (["w"], ["w", "--prefix"], ["w", "--prefix", "--prev-kv"], ["w", "w3"], ["", "--prefix"]):
        same_watch(pair, f"--rev={history}", *flags, "-w", form, until=until)
    if form == "simple":
        same_watch(pair, f"--rev={history}", "w", "--hex", until=b"\\x45")


def test_watch_runs_a_command_for_every_event(pair, history):
    show = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $0"
    same_watch(pair, f"--rev={history}", "--prefix", "w", "--", "sh", "-c", show, until=b'"w" "END" sh')
    same_watch(pair, f"--rev={history}", "w", "--", "echo", "--foo", "--", "bar", until=b"--foo -- bar\n" * 4)
    for command in (["sh", "-c", "exit 3"], ["/nope", "x"], ["no-such-program"], ["sh", "-c", "kill -9 $$"]):
        same(pair, "watch", f"--rev={history}", "w", "--", *command)


def test_watch_takes_its_key_from_the_environment(pair, history):
    key = {"ETCDCTL_WATCH_KEY": "w"}
    same_watch(pair, f"--rev={history}", env=key, until=b"END")
    same_watch(pair, f"--rev={history}", env={**key, "ETCDCTL_WATCH_RANGE_END": "z"}, until=b"END")
    same_watch(pair, f"--rev={history}", "--", "echo", "ho", env=key, until=b"ho\n" * 4)
    same(pair, "watch", "w", env=key)
    same(pair, "watch", "w", "--", "echo", "ho", env=key)
    same(pair, "watch", env={"ETCDCTL_WATCH_RANGE_END": "z"})


def test_interactive_watches(pair, history):
    lines = [f"watch --rev={history} w\n".encode()]
    same_watch(pair, "-i", stdin=lines, until=b"END")
    same_watch(pair, "-i", "-w", "json", stdin=[f"watch \"w\" \"w2\" --rev={history} --prev-kv\n".encode()], until=b"RU5E")
    for line in (
        b"foo\n", b"\n", b"  \n", b"watch\n", b"watch --bogus\n", b"watch --rev x w\n", b"watch a b --prefix\n",
        b"watch w --\n", b"watch -w json w\n", b"watch -h w\n", b"WATCH w\n", b"progress\n", b"unfinished",
        b"watch none\n", b"watch none\nwatch none --prefix\nprogress",
    ):  # fmt: skip
        same(pair, "watch", "-i", stdin=line)


def test_progress_is_asked_for_and_told(pair, history):
    """The watch is there once it has printed; then a request is answered with the store's revision."""
    outputs = []
    for client in pair:
        process = subprocess.Popen(
            [client.binary, "watch", "-i", "-w", "fields"], env=client.environment(None), bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.set_blocking(process.stdout.fileno(), False)
        output = b""

        def holds(text):
            nonlocal output
            output += process.stdout.read() or b""
            return text in output

        try:
            process.stdin.write(f"watch --rev={history} w\n".encode())
            wait_until(lambda: holds(b'"END"\n"Lease" : 0\n'), 15, "the watch's events")
            process.stdin.write(b"progress\n")
            wait_until(lambda: holds(b"progress notify") and output.count(b"RaftTerm") == 2, 15, "the progress")
        finally:
            process.kill()
            process.wait(10)
        outputs.append(client.mask(output))
    assert outputs[0] == outputs[1]


def test_compacted_revisions(pair, history):
    for client in pair:
        subprocess.run(
            [in_venv("etcdctl"), "compaction", str(history)], env=client.environment(None), check=True, capture_output=True
        )
    same(pair, "get", "a", "--rev=1")
    for form in FORMATS:
        same(pair, "watch", "a", "--rev=1", "-w", form)


def test_the_endpoint_that_answers_is_found(pair):
    client = pair[0]
    for endpoints in (f"127.0.0.1:1,{client.member.endpoint}", f"http://{client.member.endpoint},127.0.0.1:1"):
        found = client.run("get", "global", env={"ETCDCTL_ENDPOINTS": endpoints})
        assert found == (b"global\n1\n", [], 0)
    nobody = {"ETCDCTL_ENDPOINTS": "127.0.0.1:1", "ETCDCTL_COMMAND_TIMEOUT": "300ms"}
    same(pair, "get", "global", env=nobody)
    same(pair, "put", "global", "2", env=nobody)


def test_a_flag_and_its_variable_together_are_refused(pair):
    for client in pair:
        assert client.run("get", "a", "--endpoints", client.member.endpoint)[2] == 1
    own = {"ETCDCTL_ENDPOINTS": None, "GULPCTL_ENDPOINTS": "127.0.0.1:1"}
    assert pair[0].run("get", "global", "--endpoints", pair[0].member.endpoint, env=own) == (b"global\n1\n", [], 0)


def test_a_watch_goes_on_when_its_server_comes_back(gulpctl, make_cluster):
    """Every event once and in order, over kill -9 and restart, from an endpoint list whose first is dead."""
    member = make_cluster(1).start().members[0]
    client = Client(gulpctl, member)
    assert client.run("put", "w", "1")[2] == 0
    process = subprocess.Popen(
        [gulpctl, "watch", "w", "--rev=2"], bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=client.environment({"ETCDCTL_ENDPOINTS": f"127.0.0.1:1,{member.endpoint}"}),
    )  # fmt: skip
    try:
        os.set_blocking(process.stdout.fileno(), False)
        output = b""

        def holds(expected):
            nonlocal output
            output += process.stdout.read() or b""
            return output == expected

        expected = b"PUT\nw\n1\n"
        wait_until(lambda: holds(expected), 15, "the first event")
        for value in (b"2", b"3"):
            member.kill()
            member.start().wait_ready()
            assert client.run("put", "w", value)[2] == 0
            expected += b"PUT\nw\n" + value + b"\n"
            wait_until(lambda: holds(expected), 20, f"the event after a restart; so far: {output!r}")
    finally:
        process.kill()
        process.wait(10)


TRANSACTIONS = [
    'val("t") = "v"\n\nput t2 1\nget t\ndel none\n\nput t3 2\n\n',
    'val("t") = "other"\n\nput t2 1\n\nput t3 2\nget t --print-value-only\nget t --count-only\n\n',
    'val("t") != "v"\n\n\nput t2 2 --prev-kv\ndel t3 --prev-kv\n\n',
    'mod("t") > "0"\nver("t") != "7"\nversion("t") < "100"\nc("t") > "0"\ncreate("t") > "1"\nm("t") > "0"\n\nget t\n\n\n',
    '  value("t") > "a"  \n\nget t --prefix --sort-by=VALUE --order=DESCEND --limit=2\n\n\n',
    "val(`t`)  =  \"v\" the rest is passed over\n\nge t\n\n\n",
    'val("\\x74") = "\\x76\\u0041\\101\\n"\n\n\nget t\n\n',
    '\nput "t 4" "x\\ny"\nput t5 a b c\nget t --prefix\n\n\n',
    "\n\n\n", 'val("none") = "v"\n\nget t\n\n\n',
    # Mistakes.
    "", "\n", "\n\n", 'val("t") = "v"', "bogus\n", '(\n', "val()\n", 'val(t) = "v"\n', 'val("t") "v"\n', 'val("t"\n',
    'val("t") =\n', 'val("t")="v"\n', 'val( "t" ) = "v"\n', 'val("t\\q") = "v"\n', 'bogus("t") = "v"\n', 'mod("t") = "v"\n',
    'mod("t") = 3\n', 'mod("t") = "99999999999999999999"\n', "\nput\n", "\nput t\n\n\n", "\nfoo a b\n\n\n",
    "\nput a b --bogus\n\n\n", "\nget a b --prefix\n\n\n", "\nget a -w json\n\n\n", "\nget --order x a\n\n\n",
    "\ndel a b --prefix\n\n\n", "\nput x y --lease=12345\n\n\n", "\nput x y --lease=xyz\n\n\n",
    "\nput x --ignore-value\n\n\n",
    "\nput d 1\nput d 2\n\n\n", '\nput "" v\n\n\n', 'val("") = "v"\n\n\n\n',
]  # fmt: skip


@pytest.mark.parametrize("form", [*FORMATS, "bogus"])
def test_transactions(pair, form):
    same(pair, "put", "t", "v")
    for text in TRANSACTIONS:
        same(pair, "txn", "-w", form, stdin=text.encode())
    same(pair, "txn", "-i", "-w", form, stdin=TRANSACTIONS[0].encode())
    same(pair, "txn", "-i", "-w", form, stdin=b"bogus\n")
    same(pair, "txn", "--hex", "-w", form, stdin=TRANSACTIONS[0].encode())
    same(pair, "txn", "more", "-w", form)


def test_a_lease_can_be_compared_though_etcdctl_crashes_on_it(pair):
    ours = pair[0].run("txn", stdin=b'lease("t") = "0"\n\nget t --keys-only\n\n\n')
    assert ours == (b"SUCCESS\n\nt\n\n", [], 0)
    unknown = pair[0].run("txn", stdin=b'val("t") == "v"\n')
    assert unknown == (b"", ['Error: malformed comparison: val("t") == "v" (unknown operator ==)'], 3)


@pytest.mark.parametrize("form", ["simple", "json", "fields", "table"])
def test_leases_in_every_format(pair, form):
    same(pair, "lease", "grant", "100", "-w", form)
    for arguments in (["grant", "0"], ["grant", "--", "-1"]):
        same(pair, "lease", *arguments, "-w", form)
    # Bound to keys, known by its id, and ended.
    outcomes = []
    for client in pair:
        lease = granted(client, 100)
        run = lambda *arguments: outcomes[-1].append(client.run("lease", *arguments, "-w", form))  # noqa: E731
        outcomes.append([])
        # One key: of several, etcd answers in any order.
        assert client.run("put", b"leased/\xff", "v", f"--lease={lease}")[2] == 0
        run("timetolive", lease)
        run("timetolive", lease, "--keys")
        run("keep-alive", "--once", lease)
        run("revoke", lease)
        run("timetolive", lease, "--keys")
        assert client.run("get", "leased/", "--prefix")[0] == b""
    # How much of a lease is left may have moved on by a second.
    remaining = [re.sub(rb'(remaining\(|"ttl":|"TTL" : )\d+', rb"\1N", repr(outcome).encode()) for outcome in outcomes]
    assert remaining[0] == remaining[1]


def granted(client, seconds):
    """A new lease's id."""
    done = subprocess.run(
        [client.binary, "lease", "grant", str(seconds)], env=client.environment(None), check=True, capture_output=True
    )
    return re.match(rb"lease ([0-9a-f]{16}) granted with TTL", done.stdout)[1].decode()


@pytest.mark.parametrize(
    "arguments",
    [
        "lease grant", "lease grant abc", "lease grant 1 2", "lease grant -1", "lease grant --bogus 3",
        "lease grant 99999999999", "lease revoke", "lease revoke zz", "lease revoke 123", "lease revoke 0",
        "lease keep-alive", "lease keep-alive zz", "lease keep-alive 123", "lease keep-alive 123 -w json",
        "lease keep-alive --once 123", "lease timetolive", "lease timetolive zz", "lease timetolive 7b",
        "lease timetolive ffffffffffffffff", "lease timetolive -- -7b", "lease foo --bogus", "lease list --bogus",
        "compaction", "compaction x", "compaction 1 2", "compaction 99999", "compaction -- -1", "compaction 0", "compaction -1",
        "compaction 1 -w bogus", "member foo -x", "member list --bogus", "endpoint --bogus", "endpoint hashkv --rev x",
        "endpoint hashkv --rev 99999", "endpoint status -w bogus", "endpoint health -w bogus", "lock", "lock --ttl x",
        "lock a sh -c true", "lock a no-such-program", "lock a -- sh -c 'exit'", "lock a /nope", "elect", "elect a",
        "elect -l a b", "elect a b c", "elect --bogus", "lock a true", "lock a echo --ttl 5 b",
    ],
)  # fmt: skip
def test_mistakes_with_leases_members_and_locks(pair, arguments):
    ours, theirs = (client.run(*arguments.split()) for client in pair)
    port = lambda outcome: re.sub(r"127\.0\.0\.1:\d+", "ENDPOINT", repr(outcome))  # noqa: E731
    assert port(ours) == port(theirs)


def test_a_group_without_a_command_explains_itself(pair):
    for arguments in ("lease", "lease foo", "member", "endpoint foo", "help lease", "help lease grant"):
        output, problems, status = pair[0].run(*arguments.split())
        assert output.count(b"Usage: gulpctl") == 1 and not problems and status == 0
        assert pair[1].run(*arguments.split())[2] == 0


def test_compaction(pair):
    revision = pair[0].member.revision()
    for arguments in ([revision - 2], [revision - 1, "--physical"], [revision - 1]):
        same(pair, "compaction", *map(str, arguments))
    same(pair, "compact", str(revision), "-w", "json")


@dataclass
class Rivals:
    """gulpctl and etcdctl on the same cluster."""

    ours: Client
    theirs: Client

    def same(self, *arguments, mask=lambda output: output, **options):
        """etcdctl is asked before and after: what it answers may move on by itself."""
        ask = lambda client: masked(client.run(*arguments, **options), mask)  # noqa: E731
        before, ours, after = ask(self.theirs), ask(self.ours), ask(self.theirs)
        assert ours in (before, after), f"{arguments}: gulpctl and etcdctl differ"
        return ours


def masked(outcome, mask):
    output, problems, status = outcome
    return mask(output), problems, status


@pytest.fixture(scope="module")
def rivals(server, gulpctl, module_processes):
    cluster = Cluster(server, module_processes, 3, directory="rivals", token="rivals").start()

    class Whole:
        endpoint = cluster.endpoints

    yield cluster, Rivals(Client(gulpctl, Whole), Client(in_venv("etcdctl"), Whole))
    cluster.close()


def without_times(output):
    """How long a check took, and the widths of a table that depend on it."""
    output = re.sub(rb"[0-9.]+(ms|\xc2\xb5s|s)\b", b"TIME", output)
    return re.sub(rb"-+", b"-", re.sub(rb" +", b" ", output))


def in_any_order(output):
    """What is printed of endpoints that answer in any order."""
    return sorted(re.findall(rb"[^,{}\n]+", without_times(output)))


@pytest.mark.parametrize("form", FORMATS)
def test_members_and_endpoints_in_every_format(rivals, form):
    cluster, clients = rivals
    # The header names who answered.
    one = {"ETCDCTL_ENDPOINTS": cluster.members[0].endpoint}
    clients.same("member", "list", "-w", form, env=one)
    clients.same("member", "list", "--hex", "-w", form, env=one)
    for flags in ([], ["--cluster"]):
        clients.same("endpoint", "status", "-w", form, *flags)
        clients.same("endpoint", "hashkv", "-w", form, *flags)
        parts = clients.same("endpoint", "health", "-w", form, *flags, mask=in_any_order)[0]
        assert parts or form == "protobuf"
    clients.same("lease", "list", "-w", form, env=one)


@pytest.mark.parametrize("form", ["simple", "json", "table"])
def test_endpoints_of_which_one_is_down(rivals, form):
    cluster, clients = rivals
    environment = {"ETCDCTL_ENDPOINTS": f"{cluster.members[0].endpoint},127.0.0.1:1", "ETCDCTL_COMMAND_TIMEOUT": "1s"}
    for command in ("status", "hashkv"):
        clients.same("endpoint", command, "-w", form, env=environment)
    assert clients.same("endpoint", "health", "-w", form, mask=without_times, env=environment)[2] != 0


def test_commands_end_in_their_time_when_no_endpoint_answers(rivals):
    _, clients = rivals
    nobody = {"ETCDCTL_ENDPOINTS": "127.0.0.1:1", "ETCDCTL_COMMAND_TIMEOUT": "300ms"}
    for arguments in (
        "endpoint health --cluster", "endpoint status", "member list", "lease grant 5", "lease revoke 5", "compaction 5",
    ):  # fmt: skip
        clients.same(*arguments.split(), env=nobody)
    # etcdctl tries these for ever.
    for arguments in ("lease timetolive 5", "lease list", "lease keep-alive --once 5"):
        assert clients.ours.run(*arguments.split(), env=nobody) == (b"", ["Error: context deadline exceeded"], 2)


@pytest.fixture
def start(rivals, processes):
    """start(client, arguments…): a process that goes on, and what it has printed."""

    def start(client, *arguments):
        started = Running(client, arguments)
        processes.running.append(started.process)
        return started

    return start


class Running:
    def __init__(self, client, arguments):
        self.arguments = arguments
        self.client = client
        self.output = b""
        self.process = subprocess.Popen(
            [client.binary, *arguments], env=client.environment(None), bufsize=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.set_blocking(self.process.stdout.fileno(), False)

    def wait_for(self, text, deadline=20):
        def arrived():
            self.output += self.process.stdout.read() or b""
            return text in self.output

        wait_until(arrived, deadline, f"{text!r} from {self.arguments}; so far: {self.output!r}")
        return self

    def end(self, number=None, deadline=30):
        """Its output, errors and status, after a signal if there is one."""
        if number:
            self.process.send_signal(number)
        wait_until(lambda: self.process.poll() is not None, deadline, f"{self.arguments} to end")
        self.output += self.process.stdout.read() or b""
        return self.output, errors(self.process.stderr.read()), self.process.returncode


def test_a_lease_is_kept_alive_until_it_is_revoked(rivals, start):
    _, clients = rivals
    outcomes = []
    for client in (clients.ours, clients.theirs):
        lease = granted(client, 3)
        keeping = start(client, "lease", "keep-alive", lease).wait_for(b"TTL(3)\nlease")
        client.run("lease", "revoke", lease)
        output, problems, status = keeping.end()
        lines = client.mask(output).splitlines()
        outcomes.append((set(lines), lines[-1], problems, status))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] == b"lease ID expired or revoked."


def keys(client, prefix):
    return client.run("get", prefix, "--prefix", "--keys-only")[0]


@pytest.mark.parametrize("command,proposals", [("lock", [[], []]), ("elect", [["one"], ["two"]])])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_locks_and_elections_pass_between_gulpctl_and_etcdctl(rivals, start, command, proposals, number):
    """In both directions: who is signalled lets go, and the other one, who waited, has it."""
    _, clients = rivals
    name = f"{command}-{number.name}"
    for first, second in ((clients.ours, clients.theirs), (clients.theirs, clients.ours)):
        holder = start(first, command, name, *proposals[0]).wait_for(b"\n")
        waiter = start(second, command, name, *proposals[1])
        wait_until(lambda: keys(clients.ours, name + "/").count(name.encode()) == 2, 20, "the second to stand in the queue")
        held = holder.end(number)
        value = proposals[0][0].encode() if proposals[0] else b""
        assert re.fullmatch(name.encode() + rb"/[0-9a-f]+\n" + value + b"\n", held[0]) and held[1:] == ([], 0)
        waiter.wait_for(b"\n")
        assert waiter.end(number)[1:] == ([], 0)
        wait_until(lambda: not keys(clients.ours, name + "/").strip(), 20, "the keys to be gone")


@pytest.mark.parametrize("command,proposal", [("lock", []), ("elect", ["v"])])
def test_who_waits_withdraws_at_a_signal(rivals, start, command, proposal):
    _, clients = rivals
    name = f"withdraw-{command}"
    holder = start(clients.theirs, command, name, *proposal).wait_for(b"\n")
    outcomes = []
    for client in (clients.ours, clients.theirs):
        waiter = start(client, command, name, *proposal)
        wait_until(lambda: keys(clients.ours, name + "/").count(name.encode()) == 2, 20, "the second to stand in the queue")
        outcomes.append(waiter.end(signal.SIGINT))
        wait_until(lambda: keys(clients.ours, name + "/").count(name.encode()) == 1, 20, "it to be gone from the queue")
    assert outcomes[0] == outcomes[1] == (b"", ["Error: context canceled"], 1)
    holder.end(signal.SIGINT)


def test_a_lock_that_loses_its_lease_ends(rivals, start):
    _, clients = rivals
    outcomes = []
    for client in (clients.ours, clients.theirs):
        holder = start(client, "lock", "--ttl=3", "lost").wait_for(b"\n")
        lease = holder.output.split()[0].removeprefix(b"lost/").decode()
        assert client.run("lease", "revoke", lease)[2] == 0
        outcomes.append(holder.end()[1:])
    assert outcomes[0] == outcomes[1] == (["Error: session expired"], 1)


@pytest.mark.parametrize("form", ["simple", "json", "fields"])
def test_a_lock_and_an_election_in_every_format(rivals, start, form):
    _, clients = rivals
    shape = lambda output: re.sub(rb'"[A-Za-z0-9+/=]{16,}"|/[0-9a-f]+|\d+', b"N", output)  # noqa: E731
    for arguments in (["lock", "shape"], ["elect", "shape", "v"]):
        until = b"count" if form == "json" else b"Count" if form == "fields" else b"\n"
        ours, theirs = (
            start(client, *arguments, "-w", form).wait_for(until).end(signal.SIGINT)
            for client in (clients.ours, clients.theirs)
        )
        assert shape(ours[0]) == shape(theirs[0]) and ours[1:] == theirs[1:] == ([], 0)


def test_a_command_under_a_lock_finds_it_in_its_environment(rivals):
    _, clients = rivals
    show = ["lock", "env", "--", "sh", "-c", "echo $ETCD_LOCK_KEY; test $ETCD_LOCK_REV -gt 1; exit 7"]
    shape = lambda output: re.sub(rb"/[0-9a-f]+", b"/LEASE", output)  # noqa: E731
    assert clients.same(*show, mask=shape) == (b"env/LEASE\n", ["Error: exit status 7"], 7)
    killed = clients.same("lock", "env", "--", "sh", "-c", "kill -9 $$")
    assert killed == (b"", ["Error: signal: killed"], 255)


def test_an_election_is_followed(rivals, start):
    _, clients = rivals
    followers = [start(client, "elect", "-l", "followed") for client in (clients.ours, clients.theirs)]
    for leader, proposal in ((clients.theirs, "one"), (clients.ours, "two")):
        leading = start(leader, "elect", "followed", proposal)
        for follower in followers:
            follower.wait_for(proposal.encode() + b"\n")
        assert leading.end(signal.SIGINT)[2] == 0
    ours, theirs = (follower.end(signal.SIGINT) for follower in followers)
    assert ours == theirs and ours[2] == 0


def test_a_cluster_that_demands_authentication_is_served_with_a_user(reference, gulpctl, processes):
    """Against etcd, since gulpd has no users yet."""
    member = Cluster(reference, processes, 1).start().members[0]
    etcdctl = Client(in_venv("etcdctl"), member)
    for arguments in [("user", "add", "root:secret"), ("user", "grant-role", "root", "root"), ("auth", "enable")]:
        assert etcdctl.run(*arguments)[2] == 0, arguments
    ours = Client(gulpctl, member)
    root = ("--user", "root:secret")
    assert ours.run(*root, "put", "k", "v") == (b"OK\n", [], 0)
    assert ours.run(*root, "get", "k") == etcdctl.run(*root, "get", "k") == (b"k\nv\n", [], 0)
    assert ours.watch("--rev=1", "k", env={"ETCDCTL_USER": "root:secret"}, until=b"v\n") == b"PUT\nk\nv\n"
    for arguments in [("get", "k"), ("--user", "root:wrong", "get", "k"), ("--user", "nobody:x", "put", "k", "w")]:
        assert ours.run(*arguments)[1:] == etcdctl.run(*arguments)[1:], arguments
    assert ours.run(*root, "lock", "l", "true")[2] == 0
    member.close()
