"""What a member says before it serves anything: flags, versions, and refusals that touch nothing."""

import json
import os
import subprocess

import pytest
from harness import clean_environment, free_ports


class Tried:
    """One start that is expected to end by itself."""

    def __init__(self, server, argv, directory, env=None):
        done = subprocess.run(
            [server.binary, *map(str, argv)],
            cwd=directory, env=env or clean_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, text=True,
        )  # fmt: skip
        self.server, self.code, self.output = server, done.returncode, done.stdout

    def assert_refused(self, *words):
        """Exit 1 or 2, and one line with all of `words` (etcd, which is not that terse: among its lines)."""
        assert self.code in (1, 2), f"exit {self.code}, output:\n{self.output}"
        for word in words:
            assert word in self.output, f"no {word!r} in:\n{self.output}"
        if not self.server.is_etcd:
            lines = self.output.strip().splitlines()
            assert len(lines) == 1, f"one line was promised, not:\n{self.output}"


def picture(directory):
    """Every path under `directory` with its size and content's time: equal pictures mean nothing was touched."""
    found = {}
    for base, folders, files in os.walk(directory):
        for name in folders + files:
            path = os.path.join(base, name)
            about = os.lstat(path)
            found[os.path.relpath(path, directory)] = (about.st_size if name in files else None, about.st_mtime_ns)
    return found


@pytest.fixture
def tried(server, processes):
    """Starts the server in an empty directory with some flags, and checks that it left nothing there."""

    def run(*argv, env=None):
        before = picture(processes.directory)
        result = Tried(server, argv, processes.directory, env)
        assert picture(processes.directory) == before, "a start that was refused has touched the disk"
        return result

    return run


def urls(client, peer):
    return [
        "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
        "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
    ]  # fmt: skip


def test_an_unknown_flag_is_refused(tried):
    tried("--no-such-flag", "1").assert_refused("no-such-flag")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "127.0.0.1:2379", "http://127.0.0.1:port", "gopher://127.0.0.1:70"]
)
def test_a_malformed_url_is_refused(tried, url):
    tried("--listen-client-urls", url, "--advertise-client-urls", "http://127.0.0.1:2379").assert_refused(url)


def test_listening_without_advertising_is_refused(tried):
    tried("--listen-client-urls", "http://127.0.0.1:4001").assert_refused("advertise-client-urls")


@pytest.mark.gulpd_only("it creates the data directory first")
def test_a_name_missing_from_the_initial_cluster_is_refused(tried):
    client, peer = free_ports(2)
    tried("--name", "other", *urls(client, peer), "--initial-cluster", f"m1=http://127.0.0.1:{peer}").assert_refused(
        "other", "initial-cluster"
    )


@pytest.mark.gulpd_only("it serves these flags")
@pytest.mark.parametrize(
    "flag, value",
    [
        ("auto-compaction-retention", "1"),
        ("quota-backend-bytes", "1000000"),
        ("client-cert-auth", "true"),
        ("discovery", "http://127.0.0.1:1/token"),
        ("force-new-cluster", "true"),
        ("experimental-initial-corrupt-check", "true"),
    ],
)
def test_a_flag_not_yet_served_is_refused_by_name_when_set_away_from_its_default(tried, flag, value):
    tried(f"--{flag}={value}").assert_refused(flag)


@pytest.mark.parametrize(
    "flag, value",
    [
        ("auto-compaction-retention", "0"),
        ("quota-backend-bytes", "0"),
        ("client-cert-auth", "false"),
        ("max-snapshots", "5"),
        ("strict-reconfig-check", "true"),
        ("proxy", "off"),
    ],
)
def test_a_flag_at_its_default_is_accepted(make_cluster, flag, value):
    member = make_cluster(1, flags=[f"--{flag}={value}"]).start().members[0]
    assert member.http("/health")[0] == 200


@pytest.mark.gulpd_only("GULPD_ variables are gulpd's")
def test_the_environment_gives_flags_and_gulpds_own_form_wins(make_cluster, tried):
    tried(env=clean_environment(ETCD_LISTEN_CLIENT_URLS="http://127.0.0.1:4001")).assert_refused(
        "advertise-client-urls"
    )
    member = make_cluster(1).members[0]
    argv = member.argv()
    at = argv.index("--name")
    del argv[at : at + 2]
    member.argv = lambda: argv
    member.environment = {"ETCD_NAME": "other", "GULPD_NAME": "m1"}
    member.start().wait_ready()


@pytest.mark.gulpd_only("it waits for the lock")
def test_a_data_directory_locked_by_a_living_process_is_refused(make_cluster, server, processes):
    member = make_cluster(1).start().members[0]
    client, peer = free_ports(2)
    argv = [
        "--name",
        "m1",
        "--data-dir",
        member.data,
        *urls(client, peer),
        "--initial-cluster",
        f"m1=http://127.0.0.1:{peer}",
    ]
    Tried(server, argv, processes.directory).assert_refused(str(member.data))
    assert member.is_running
    assert member.http("/health")[0] == 200


@pytest.mark.gulpd_only("it goes on with what the directory says")
def test_a_data_directory_of_another_cluster_is_refused(make_cluster, server, processes):
    cluster = make_cluster(1).start()
    member = cluster.members[0]
    assert cluster.stop() == [0]
    before = picture(member.data)
    argv = [part if part != "end-to-end" else "another-token" for part in member.argv()[1:]]
    Tried(server, argv, processes.directory).assert_refused(str(member.data), "cluster")
    assert picture(member.data) == before, "a start that was refused has touched the data directory"
    member.start().wait_ready()


def test_a_config_file_takes_the_place_of_flags(make_cluster, processes):
    member = make_cluster(1).members[0]
    url, peer = f"http://127.0.0.1:{member.client_port}", f"http://127.0.0.1:{member.peer_port}"
    config = processes.directory / "config.yaml"
    config.write_text(
        f"name: m1\ndata-dir: {member.data}\nlisten-client-urls: {url}\nadvertise-client-urls: {url}\n"
        f"listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\ninitial-cluster: m1={peer}\n"
    )
    member.argv = lambda: [member.server.binary, "--config-file", config, "--name", "ignored"]
    member.start().wait_ready()
    assert member.data.is_dir()


def test_version(server):
    output = subprocess.run([server.binary, "--version"], capture_output=True, text=True, timeout=20)
    assert output.returncode == 0
    expected = "etcd Version: 3.5.1" if server.is_etcd else "etcd Version: 3.5.16"
    assert expected in output.stdout.splitlines()


def test_the_default_member_has_etcds_ids(make_cluster, server, processes):
    """Name, peer URL and token at their defaults give the ids that etcd's own computation gives."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 2380))
        except OSError:
            pytest.skip("port 2380, whose URL the ids are made of, is taken on this machine")
    (client,) = free_ports(1)
    member = make_cluster(1).members[0]
    member.client_port = client
    url = f"http://127.0.0.1:{client}"
    member.argv = lambda: [
        server.binary, "--data-dir", member.data, "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", "http://127.0.0.1:2380",
    ]  # fmt: skip
    member.start().wait_ready()
    header = member.status().header
    assert (f"{header.member_id:x}", f"{header.cluster_id:x}") == ("8e9e05c52164694d", "cdf818194e3a8c32")


def test_http_on_the_client_port(three, server):
    expected = {"etcdserver": "3.5.1" if server.is_etcd else "3.5.16", "etcdcluster": "3.5.0"}
    for member in three.members:
        code, body = member.http("/version")
        assert (code, json.loads(body)) == (200, expected)
        code, body = member.http("/health")
        assert (code, json.loads(body)["health"]) == (200, "true")
        code, body = member.http("/metrics")
        assert code == 200
        samples = [line for line in body.splitlines() if line and not line.startswith("#")]
        assert any(line.startswith("etcd_server_has_leader 1") for line in samples), body[:2000]
        assert member.http("/nothing-here")[0] == 404


def test_health_without_a_quorum_is_false(three):
    alone, *others = three.members
    for member in others:
        member.kill()
    code, body = alone.http("/health", timeout=20)
    assert (code, json.loads(body)["health"]) == (503, "false")
