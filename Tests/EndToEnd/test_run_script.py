"""What `make run` does once it has built: three members, Ctrl-C stops them cleanly, a second run finds the data again."""

import os
import signal
import subprocess

import grpc
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from harness import READY, ROOT, clean_environment, free_ports, wait_until


class Run:
    """cluster/run.sh in a process group of its own, as a terminal has it."""

    def __init__(self, server, directory, clients, peers, output="output"):
        self.output = directory / output
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                ["bash", ROOT / "cluster/run.sh"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                # A shell that was itself started in the background ignores SIGINT, and so would all it starts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                env=clean_environment(
                    GULPD=server.binary, GULP_RUN_DIR=str(directory / "run"),
                    GULP_CLIENT_PORTS=" ".join(map(str, clients)), GULP_PEER_PORTS=" ".join(map(str, peers)),
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
        return self.process.wait(30)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def test_ctrl_c_stops_all_three_and_a_second_run_finds_their_data(server, tmp_path):
    ports = free_ports(6)
    clients, peers = ports[:3], ports[3:]
    with grpc.insecure_channel(f"127.0.0.1:{clients[1]}") as channel:
        kv = rpc_pb2_grpc.KVStub(channel)
        for first in (True, False):
            run = Run(server, tmp_path, clients, peers)
            try:
                run.wait_for("Three members serve", *(f"http://127.0.0.1:{port}" for port in ports))
                if not server.is_etcd:
                    run.wait_for(*(f"[m{number}] " for number in (1, 2, 3)), READY)
                if first:
                    kv.Put(rpc_pb2.PutRequest(key=b"greeting", value=b"hello"), timeout=10, wait_for_ready=True)
                    refused = Run(server, tmp_path, clients, peers, output="refused")
                    assert refused.process.wait(30) == 1
                    assert "is taken" in refused.text
                else:
                    answer = kv.Range(rpc_pb2.RangeRequest(key=b"greeting"), timeout=10, wait_for_ready=True)
                    assert [pair.value for pair in answer.kvs] == [b"hello"]
                assert run.interrupt() == 0
                assert "stopped, data kept in" in run.text
                assert "killing it" not in run.text
            finally:
                run.end()
