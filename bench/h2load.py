"""Range and Put through h2load, against one gulpd and one etcd 3.5.1 in turn (`make bench`).

Each row is one server started alone on a fresh directory, warmed up by a run of its own and then measured by
    h2load -D 10 -c 16 -m 8|16 -t 1 -d request http://…/etcdserverpb.KV/Range|Put
with the same canned request. h2load takes a gRPC error for a success and leaves the requests of its own
--warm-up-time out of its counts, so the warm-up is a separate run and every row must prove its answers:
    - no alarm is raised afterwards;
    - Put: the key's version has grown by at least the successes and at most the requests started;
    - Range: the answer is the same, byte for byte, as etcd's (its Raft term aside), before and after.
Else the row is void, and so is the run (exit 1).

    GULPD            the binary, of a release build         (.build/release/gulpd)
    BENCH_SECONDS    measured time of a row                 (10)
    BENCH_WARM_UP    seconds of warm-up before it           (2)
    BENCH_ROUNDS     how often each row is measured         (3)
    BENCH_BASELINE   the binary of etcd compared with       (etcd 3.5.1 of .venv)
"""

import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from etcd3.etcdrpc import rpc_pb2
from harness import Cluster, Processes, Server, clean_environment, free_ports, in_venv

SECONDS = float(os.environ.get("BENCH_SECONDS", 10))
WARM_UP = float(os.environ.get("BENCH_WARM_UP", 2))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
KEY, VALUE = b"bench/key", b"v" * 256


@dataclass(frozen=True)
class Work:
    """What is asked again and again: a method, its request, and how many requests each of 16 connections has under way."""

    name: str
    path: str
    request: bytes
    streams: int


WORKS = [
    Work("Range, one key, 128 in flight", "KV/Range", rpc_pb2.RangeRequest(key=KEY).SerializeToString(), 8),
    Work("Put, 256 B, 256 in flight", "KV/Put", rpc_pb2.PutRequest(key=KEY, value=VALUE).SerializeToString(), 16),
]


@dataclass
class Row:
    """One measurement. `void` says why it does not count, or is empty."""

    work: str
    server: str
    round: int
    rate: float
    mean_ms: float
    succeeded: int
    started: int
    void: str


def h2load(member, work, seconds, file):
    command = [
        "h2load", "-D", f"{round(seconds * 1000)}ms", "-c", "16", "-m", str(work.streams), "-t", "1",
        "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", file,
        f"http://{member.endpoint}/etcdserverpb.{work.path}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, env=clean_environment())
    assert done.returncode == 0, f"h2load ended with {done.returncode}: {done.stderr[-500:]}"
    return done.stdout


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def stored(member):
    """(the Range answer's bytes without its Raft term, the key's version)."""
    answer = member.kv.Range(rpc_pb2.RangeRequest(key=KEY), timeout=30)
    answer.header.raft_term = 0
    return answer.SerializeToString(), answer.kvs[0].version


def measure(server, work, round, ports, answers):
    """One row; `answers` keeps etcd's Range answers for comparison with gulpd's."""
    directory = Path(tempfile.mkdtemp(prefix="gulp-bench-"))
    processes = Processes(directory)
    cluster = Cluster(server, processes, 1, ports=ports)
    try:
        member = cluster.start().members[0]
        member.kv.Put(rpc_pb2.PutRequest(key=KEY, value=VALUE), timeout=10)
        file = directory / "request"
        file.write_bytes(b"\0" + struct.pack(">I", len(work.request)) + work.request)
        h2load(member, work, WARM_UP, file)
        before, version = stored(member)
        output = h2load(member, work, SECONDS, file)
        after, grown = stored(member)
        return read_row(
            work, server, round, output, verdict(member, work, output, before, after, grown - version, answers)
        )
    finally:
        cluster.close()
        processes.end_all()
        shutil.rmtree(directory, ignore_errors=True)


def counts(output):
    return {
        name: int(number) for number, name in re.findall(r"(\d+) (started|succeeded|failed|errored|timeout)", output)
    }


def verdict(member, work, output, before, after, grown, answers):
    """Why the row is void, or an empty string."""
    count = counts(output)
    alarms = member.maintenance.Alarm(rpc_pb2.AlarmRequest(), timeout=10).alarms
    if alarms:
        return f"alarms: {alarms}"
    if count["failed"] or count["errored"] or count["timeout"] or not count["succeeded"]:
        return f"h2load: {count}"
    if work.path == "KV/Put":
        if not count["succeeded"] <= grown <= count["started"]:
            return f"version grew by {grown}, not by {count['succeeded']} to {count['started']}"
    else:
        expected = answers.setdefault(work.name, after) if member.server.is_etcd else answers.get(work.name, after)
        if before != after or after != expected:
            return f"the answer {after!r} is not etcd's {expected!r}"
    return ""


def read_row(work, server, round, output, void):
    count = counts(output)
    rate = float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", output)[1])
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+(\S+)", output)[1]
    return Row(work.name, server.kind, round, rate, milliseconds(mean), count["succeeded"], count["started"], void)


def summary(rows):
    """Per work: both rates (median, lowest and highest) and the ratio of gulpd's to etcd's, round by round."""
    results = []
    for work in WORKS:
        rates = {
            kind: [row.rate for row in rows if (row.work, row.server, row.void) == (work.name, kind, "")]
            for kind in ("etcd", "gulpd")
        }
        if not rates["etcd"] or not rates["gulpd"]:
            continue
        ratios = [mine / theirs for theirs, mine in zip(rates["etcd"], rates["gulpd"])]
        results.append({"work": work.name, **rates, "ratios": ratios, "ratio": statistics.median(ratios)})
    return results


def show(results):
    def spread(values, digits=0):
        return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"

    print("\n| work | etcd 3.5.1, requests/s | gulpd, requests/s | gulpd : etcd |\n| --- | --- | --- | --- |")
    for result in results:
        print(
            f"| {result['work']} | {spread(result['etcd'])} | {spread(result['gulpd'])} | {spread(result['ratios'], 2)} |"
        )
    print(
        f"\nmedian (lowest-highest) of {ROUNDS} rounds of {SECONDS:g} s, the ratio of each round's pair; {os.cpu_count()} CPUs, h2load beside the server"
    )


def main():
    binary = os.path.abspath(os.environ.get("GULPD", ROOT / ".build/release/gulpd"))
    if not os.access(binary, os.X_OK):
        sys.exit(f"bench: no {binary}; build it with: make release")
    if "/debug/" in binary:
        sys.exit(f"bench: {binary} is a debug build; only release builds are measured")
    baseline = os.environ.get("BENCH_BASELINE", in_venv("etcd"))
    etcd, gulpd = Server(baseline, "etcd"), Server(binary, "gulpd")
    # On the same ports both have the same ids, so that answers can be compared whole.
    ports, rows, answers = free_ports(2), [], {}
    for round in range(1, ROUNDS + 1):
        for work in WORKS:
            # etcd first in the first round, so that gulpd's answer has something to be compared with.
            for server in (etcd, gulpd) if round % 2 else (gulpd, etcd):
                row = measure(server, work, round, ports, answers)
                rows.append(row)
                print(
                    f"round {round}  {row.work:32} {row.server:6} {row.rate:12,.0f}/s  mean {row.mean_ms:.2f} ms  {row.void and 'VOID: ' + row.void}",
                    flush=True,
                )
    results = summary(rows)
    show(results)
    output = ROOT / "bench-out" / f"h2load-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    output.parent.mkdir(exist_ok=True)
    settings = {
        "seconds": SECONDS,
        "warm_up": WARM_UP,
        "rounds": ROUNDS,
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
    }
    output.write_text(
        json.dumps({"settings": settings, "rows": [asdict(row) for row in rows], "results": results}, indent=1)
    )
    void = [row for row in rows if row.void]
    print(f"bench: {len(rows) - len(void)} rows count, {len(void)} are void; written to {output.relative_to(ROOT)}")
    sys.exit(1 if void else 0)


if __name__ == "__main__":
    main()
