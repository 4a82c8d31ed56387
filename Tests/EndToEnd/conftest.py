"""Options and fixtures of the end-to-end tests.

    .venv/bin/python -m pytest Tests/EndToEnd                                   # .build/release/gulpd
    .venv/bin/python -m pytest Tests/EndToEnd --server-kind etcd                # the same tests on etcd 3.5.1

The second form proves the tests themselves: what etcd cannot be asked is skipped there and says so.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# The tests' children are programs; gRPC's handlers of forks, which could abort them, are for children that use gRPC.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import ROOT, Cluster, Processes, Server, etcd_reference, in_venv
from launch_harness import find_programs

TEST_SECONDS = 300


def pytest_addoption(parser):
    parser.addoption("--server", default=os.environ.get("GULP_SERVER"), help="the binary under test")
    parser.addoption("--server-kind", default=os.environ.get("GULP_SERVER_KIND", "gulpd"), choices=["gulpd", "etcd"])


def pytest_configure(config):
    config.addinivalue_line("markers", "gulpd_only(reason): asks for what etcd does differently")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--server-kind") == "etcd":
        for item in items:
            mark = item.get_closest_marker("gulpd_only")
            if mark:
                item.add_marker(pytest.mark.skip(reason=f"not for etcd: {mark.args[0]}"))


@pytest.fixture(scope="session")
def server(request):
    """The server under test."""
    kind = request.config.getoption("--server-kind")
    binary = request.config.getoption("--server") or (
        in_venv("etcd") if kind == "etcd" else str(ROOT / ".build/release/gulpd")
    )
    assert os.access(binary, os.X_OK), f"no server at {binary}; build it with: make release"
    return Server(os.path.abspath(binary), kind)


@pytest.fixture(scope="session")
def reference():
    return etcd_reference()


@pytest.fixture(scope="session")
def programs(server):
    """The programs of launches that belong to the server."""
    return find_programs(server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the ends of the logs of its members."""
    report = yield
    if report.failed:
        for name in ("processes", "module_processes"):
            processes = getattr(item, "funcargs", {}).get(name)
            if processes is not None:
                report.sections.append(("logs", processes.tails()))
    return report


@pytest.fixture(autouse=True)
def time_limit(request):
    """No test runs longer than TEST_SECONDS, whatever it waits for."""

    def too_long(*_):
        raise TimeoutError(f"the test ran longer than {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def own_processes():
    """A directory of its own under $TMPDIR, removed with all its processes at the end."""
    directory = Path(tempfile.mkdtemp(prefix="gulp-e2e-"))
    processes = Processes(directory)
    try:
        yield processes
    finally:
        processes.end_all()
        if not os.environ.get("GULP_KEEP"):
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def processes():
    yield from own_processes()


@pytest.fixture(scope="module")
def module_processes():
    yield from own_processes()


@pytest.fixture
def make_cluster(server, processes):
    """Makes clusters of the server under test: make_cluster(size=3, flags=[…])."""
    made = []

    def make(size=3, **options):
        cluster = Cluster(options.pop("server", server), processes, size, **options)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def three(make_cluster):
    """Three members that serve."""
    return make_cluster(3).start()
