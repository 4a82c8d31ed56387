"""gulpctl prints what etcdctl 3.5.1 prints for the same calls, byte for byte, and exits as it does.

Both programs run the same script, each against a fresh member of the same kind, so that both see the same
revisions; what differs between two clusters (ids) is masked. Of standard error the `Error:` and `watch was
canceled` lines are compared; etcdctl's log lines and usage texts are its own.
"""

import os
import re
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
        varint = rb"[\x80-\xff]{1,9}[\x00-\x7f]"
        # The header's length differs with the ids' own.
        return re.sub(rb"\n[\x00-\x7f]\x08" + varint + rb"\x10" + varint + rb"(?=[\x18\x20])", b"<ids>", output)


def errors(text):
    lines = [line for line in text.decode().splitlines() if line.startswith(("Error:", "watch was", "Invalid", "command "))]
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
