"""What `make run` does once it has built: three members with agents, two engines and the sample on two nodes; Ctrl-C
stops all of it cleanly, and a second run finds the data again and starts the sample."""

import os
import signal
import subprocess
import urllib.error
import urllib.request

import grpc
import pytest
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from harness import READY, ROOT, clean_environment, free_ports, wait_until


class Run:
    """cluster/run.sh in a process group of its own, as a terminal has it."""

    def __init__(self, server, directory, clients, peers, sample, output="output"):
        self.output = directory / output
        beside = os.path.dirname(server.binary)
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                # A shell that was itself started in the background ignores SIGINT, and so would all it starts. (Not by
                # preexec_fn: Python then forks, and gRPC's handlers of forks sometimes abort the child.)
                ["env", "--default-signal=INT", "bash", ROOT / "cluster/run.sh"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env=clean_environment(
                    GULPD=server.binary, MEGAMD=os.environ.get("MEGAMD", f"{beside}/megamd"),
                    MEGAM=os.environ.get("MEGAM", f"{beside}/megam"), GULP_RUN_DIR=str(directory / "run"),
                    GULP_CLIENT_PORTS=" ".join(map(str, clients)), GULP_PEER_PORTS=" ".join(map(str, peers)),
                    GULP_SAMPLE_PORT=str(sample),
                ),
            )  # fmt: skip

    @property
    def text(self):
        return self.output.read_text()

    def wait_for(self, *texts):
        def there():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
            return all(text in self.text for text in texts)

        wait_until(there, 60, f"all of {texts} to be shown")

    def interrupt(self):
        """Ctrl-C: to the whole group. Returns the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(45)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(45)


def page(port):
    """What an instance of the sample answers; None while it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def two_ports_in_a_row():
    while True:
        (port,) = free_ports(1)
        if page(port + 1) is None:
            return port


@pytest.mark.gulpd_only("etcd has no agent")
def test_the_sample_runs_on_two_nodes_until_ctrl_c_and_again_with_the_next_run(server, tmp_path):
    ports = free_ports(6)
    clients, peers = ports[:3], ports[3:]
    sample = two_ports_in_a_row()
    with grpc.insecure_channel(f"127.0.0.1:{clients[1]}") as channel:
        kv = rpc_pb2_grpc.KVStub(channel)
        for first in (True, False):
            run = Run(server, tmp_path, clients, peers, sample)
            try:
                run.wait_for("Three members serve", *(f"http://127.0.0.1:{port}" for port in ports))
                run.wait_for(*(f"[m{number}] " for number in (1, 2, 3)), READY, "all 2 instances run")
                pages = [page(sample), page(sample + 1)]
                assert [text.split(",")[0].split(" on ")[0] for text in pages] == [
                    "Hello from hello.web.0", "Hello from hello.web.1"
                ]  # fmt: skip
                assert len({text.split(" on ")[1].split(",")[0] for text in pages}) == 2, f"on one node: {pages}"
                if first:
                    kv.Put(rpc_pb2.PutRequest(key=b"greeting", value=b"hello"), timeout=10, wait_for_ready=True)
                    refused = Run(server, tmp_path, clients, peers, sample, output="refused")
                    assert refused.process.wait(30) == 1
                    assert "is taken" in refused.text
                else:
                    answer = kv.Range(rpc_pb2.RangeRequest(key=b"greeting"), timeout=10, wait_for_ready=True)
                    assert [pair.value for pair in answer.kvs] == [b"hello"]
                assert run.interrupt() == 0
                assert "stopped, data kept in" in run.text
                assert "killing it" not in run.text
                assert [page(sample), page(sample + 1)] == [None, None], "the sample outlived the run"
            finally:
                run.end()
