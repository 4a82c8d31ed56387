"""A site to launch on: a store, agents and engines as processes of their own, and a look at everything they do.

A `Site` is started by a fixture and ends whatever was started on it. Components and guards outlive their gulpd by
design, so they are known by their environment: the agent gives each the variable GULP_RUN, which begins with the name
of the assembly, and every assembly of a site has the site's tag in its name.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from etcd3.etcdrpc import rpc_pb2
from harness import ROOT, Cluster, clean_environment
from stamps import stamped_runs

STAMPER = Path(__file__).parent / "stamper.py"
# The shortest that an agent takes.
LEASE_SECONDS = 5
# From the death of a node to its components running elsewhere, on a machine with other work.
MOVE_SECONDS = LEASE_SECONDS + 30


def wait_for(check, deadline, what):
    """Waits until `check()` complains of nothing; after `deadline` seconds fails, saying `what` and the complaint."""
    end = time.monotonic() + deadline
    while True:
        complaint = check()
        if not complaint:
            return
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain for {what}: {complaint}")
        time.sleep(0.1)


def holds_for(check, seconds, what):
    """Fails as soon as `check()` complains within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        complaint = check()
        assert not complaint, f"{what}, but {complaint}"
        time.sleep(0.1)


# The programs.


@dataclass(frozen=True)
class Programs:
    """The binaries under test."""

    gulpd: str
    guard: str
    megamd: str
    megam: str


def find_programs(server):
    """gulpd is the server under test, or $GULPD when that is etcd; the others lie beside it unless named."""
    gulpd = os.environ.get("GULPD") or (str(ROOT / ".build/release/gulpd") if server.is_etcd else server.binary)
    found = {"gulpd": gulpd}
    for variable, name in (("GULP_GUARD", "gulp-guard"), ("MEGAMD", "megamd"), ("MEGAM", "megam")):
        found[name] = os.environ.get(variable) or str(Path(gulpd).parent / name)
    for name, path in found.items():
        assert os.access(path, os.X_OK), f"no {name} at {path}; build it with: make release"
    return Programs(found["gulpd"], found["gulp-guard"], found["megamd"], found["megam"])


# Processes that are not our children.


def freeze(pid):
    """SIGSTOP; returns when the process has stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: "" if process_state(pid) in ("T", "Z", None) else "it runs", 5, f"process {pid} to stop")


def thaw(pid):
    os.kill(pid, signal.SIGCONT)


def process_state(pid):
    """The letter that ps shows; None for no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def process_environment(pid):
    """Empty for a zombie, and for what is gone."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    return dict(variable.split("=", 1) for variable in raw.decode(errors="replace").split("\0") if "=" in variable)


@dataclass
class LiveRun:
    """What is alive of one run of an instance."""

    marker: str
    instance: str
    node: str = ""
    guard: int = None
    pids: list = field(default_factory=list)

    @property
    def pid(self):
        """The component's process, where it has one alone."""
        assert len(self.pids) == 1, f"{self.marker} has the processes {self.pids}"
        return self.pids[0]


def live_runs(tag):
    """All runs with guards or processes alive that belong to the site of that tag, by instance."""
    runs = {}
    pattern = re.compile(rf"[a-z0-9-]+-{tag}\.[a-z0-9-]+\.\d+")
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        environment = process_environment(name)
        marker = environment.get("GULP_RUN", "")
        match = pattern.search(marker)
        if not match:
            continue
        run = runs.setdefault(marker, LiveRun(marker, match[0]))
        run.node = environment.get("MEGAM_NODE", run.node)
        try:
            program = os.path.basename(os.readlink(f"/proc/{name}/exe"))
        except OSError:
            continue
        # Between fork and exec a component still is its guard's image, and only the guard has no MEGAM_ variables.
        if program.startswith("gulp-guard"):
            run.guard = min(run.guard or int(name), int(name))
        else:
            run.pids.append(int(name))
    by_instance = {}
    for run in runs.values():
        by_instance.setdefault(run.instance, []).append(run)
    return by_instance


def end_runs(tag):
    """Kills every guard and component of the site, until there is none. Returns what was there."""
    ended = {}
    end = time.monotonic() + 20
    while found := [run for runs in live_runs(tag).values() for run in runs]:
        assert time.monotonic() < end, f"these do not die: {found}"
        for run in found:
            ended.setdefault(run.marker, run)
            for pid in ([run.guard] if run.guard else []) + run.pids:
                # Its environment again: the pid may have gone to another process since.
                if process_environment(pid).get("GULP_RUN") == run.marker:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return list(ended.values())


# The site.


@dataclass
class Entry:
    """A key of the store."""

    value: dict
    create_revision: int
    mod_revision: int


class Program:
    """One agent or engine: survives kills and restarts, and knows whether it is to be counted with."""

    def __init__(self, site, name):
        self.site, self.name = site, name
        self.process = None
        self.is_frozen = False
        # Where it finds the store.
        self.endpoints = [member.endpoint for member in site.store.members]

    def __repr__(self):
        return self.name

    def argv(self):
        raise NotImplementedError

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def is_live(self):
        return self.is_running and not self.is_frozen

    @property
    def log(self):
        path = self.site.processes.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self):
        assert not self.is_running, f"{self.name} is running already"
        self.process, self.is_frozen = self.site.processes.start(self.argv(), self.name), False
        return self

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        return self

    def stop(self, deadline=20):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(deadline)

    def freeze(self):
        freeze(self.process.pid)
        self.is_frozen = True
        return self

    def thaw(self):
        thaw(self.process.pid)
        self.is_frozen = False
        return self


class Agent(Program):
    """A gulpd that runs an agent and no member."""

    def __init__(self, site, name, *flags):
        super().__init__(site, name)
        self.flags = flags
        self.gulpd, self.guard = site.programs.gulpd, site.programs.guard

    @property
    def data(self):
        return self.site.processes.directory / "agents" / self.name

    def argv(self):
        endpoints = ",".join(f"http://{endpoint}" for endpoint in self.endpoints)
        return [
            self.gulpd, "--name", self.name, "--data-dir", self.data, "--agent-endpoints", endpoints,
            *agent_flags(self.guard, self.site.lease), *self.flags,
        ]  # fmt: skip


class MachineAgent(Agent):
    """A gulpd that is a member of the store and an agent, too."""

    def __init__(self, site, member):
        self.member = member
        super().__init__(site, member.name)

    @property
    def data(self):
        return self.member.data

    @property
    def process(self):
        return self.member.process

    @process.setter
    def process(self, process):
        self.member.process = process

    def start(self):
        self.member.start()
        self.is_frozen = False
        return self


def agent_flags(guard, lease):
    return [
        "--agent", "--agent-listen-address", "127.0.0.1:0", "--agent-cores", "8", "--agent-memory", "8GiB",
        "--agent-lease-ttl", f"{lease}s", "--agent-guard", guard,
    ]  # fmt: skip


class Engine(Program):
    """A megamd."""

    def argv(self):
        return [
            self.site.programs.megamd, "--name", self.name, "--endpoints", ",".join(self.endpoints),
            "--lease-ttl", f"{self.site.engine_lease}s",
        ]  # fmt: skip


@dataclass
class Answer:
    """What a run of megam said."""

    code: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err

    @property
    def json(self):
        return json.loads(self.out)


class Site:
    """Three members m1, m2, m3 of a store, agents n1, n2, … (or the members themselves) and engines e1, e2, …"""

    def __init__(
        self, server, programs, processes, agents=3, engines=2, lease=LEASE_SECONDS, engine_lease=None,
        agents_in_members=False,
    ):  # fmt: skip
        self.programs, self.processes, self.lease = programs, processes, lease
        self.engine_lease = engine_lease or lease
        self.tag = secrets.token_hex(3)
        self.stamps = processes.directory / "stamps"
        flags = agent_flags(programs.guard, lease) if agents_in_members else []
        self.store = Cluster(server, processes, 3, flags=flags, token=f"launch-{self.tag}")
        if agents_in_members:
            self.agents = [MachineAgent(self, member) for member in self.store.members]
        else:
            self.agents = [Agent(self, f"n{i + 1}") for i in range(agents)]
        self.engines = [Engine(self, f"e{i + 1}") for i in range(engines)]
        (processes.directory / "agents").mkdir(exist_ok=True)

    def start(self):
        self.store.start()
        for program in self.agents + self.engines:
            if not program.is_running:
                program.start()
        self.wait_up()
        return self

    def wait_up(self, deadline=30):
        """Waits for every agent that runs to be registered, and for an engine to lead."""
        wait_for(self.missing, deadline, "the agents to register and an engine to lead")

    def missing(self):
        for program in self.agents + self.engines:
            if program.process is not None and not program.is_running and program.process.returncode > 0:
                raise AssertionError(f"{program} ended with {program.process.returncode}:\n{program.log[-1500:]}")
        keys = self.keys("/megam/agents/") | self.keys("/megam/engine/")
        for agent in self.agents:
            if agent.is_live:
                presence = keys.get(f"/megam/agents/{agent}/alive")
                if presence is None or presence.value["pid"] != agent.process.pid:
                    return f"{agent} is not registered"
        return "" if self.leading_engine(keys) else "no engine leads"

    def end(self):
        """Ends everything; returns the runs that were alive until then."""
        self.processes.end_all()
        self.store.close()
        return end_runs(self.tag)

    # The store.

    def ask(self, request, timeout=3, deadline=30):
        """The answer of the first member that gives one."""
        end = time.monotonic() + deadline
        while True:
            for member in self.store.members:
                try:
                    return member.kv.Range(request, timeout=timeout)
                except grpc.RpcError as error:
                    failure = f"{member.name}: {error.code()} {error.details()}"
            assert time.monotonic() < end, f"no member answers; {failure}"
            time.sleep(0.1)

    def keys(self, prefix="/megam/"):
        """Everything under a prefix: key → Entry."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        answer = self.ask(rpc_pb2.RangeRequest(key=prefix.encode(), range_end=end.encode()))
        return {kv.key.decode(): Entry(read_json(kv.value), kv.create_revision, kv.mod_revision) for kv in answer.kvs}

    def revision(self):
        return self.ask(rpc_pb2.RangeRequest(key=b"/megam/none")).header.revision

    def leading_engine(self, keys=None):
        """The live engine that says that it leads; None without one."""
        keys = keys or self.keys("/megam/engine/")
        candidates = [key for key in keys if key.startswith("/megam/engine/leader/")]
        status = keys.get("/megam/engine/status")
        if not candidates or status is None:
            return None
        return next(
            (engine for engine in self.engines if engine.is_live and engine.name == status.value["leader"]), None
        )

    @property
    def live_nodes(self):
        return {agent.name for agent in self.agents if agent.is_live}

    def agent(self, name):
        return next(agent for agent in self.agents if agent.name == name)

    def assignments(self, name=None, keys=None):
        """(node, instance) → Entry, of one assembly or of all."""
        found = {}
        for key, entry in (keys or self.keys("/megam/agents/")).items():
            match = re.fullmatch(r"/megam/agents/([^/]+)/assignments/((.+)\.[^.]+\.\d+)", key)
            if match and name in (None, match[3]):
                found[match[1], match[2]] = entry
        return found

    # Assemblies.

    def name(self, word):
        """The name of an assembly on this site."""
        return f"{word}-{self.tag}"

    def write(self, assembly):
        """The file of an assembly."""
        path = self.processes.directory / f"{assembly['name']}.yaml"
        components = {each["name"]: {k: v for k, v in each.items() if k != "name"} for each in assembly["components"]}
        # JSON is YAML.
        path.write_text(json.dumps({**assembly, "components": components}, indent=1))
        return path

    def stamper(self, name, count=1, env=None, **fields):
        """A component that runs stamper.py; fields in the file's spelling with _ for -."""
        # Not .venv's own link: -S leaves out its packages anyhow, and starts faster.
        python = os.path.realpath(sys.executable)
        arguments = ["-S", "-E", "-B", str(STAMPER)]
        env = {"STAMPS": str(self.stamps), **(env or {})}
        return component(name, python, *arguments, count=count, env=env, **fields)

    def shell(self, name, script, **fields):
        """A component that runs a script of sh."""
        return component(name, "/bin/sh", "-c", script, **fields)

    def megam(self, *arguments, expect=0, deadline=90):
        """Runs megam; its exit code must be `expect` (None: any)."""
        argv = [self.programs.megam, "--endpoints", self.store.endpoints, *map(str, arguments)]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline, env=clean_environment()
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        said = f"megam {' '.join(map(str, arguments))} ended with {answer.code}:\n{answer.text[-3000:]}"
        assert expect is None or answer.code == expect, f"{said}\nnot with {expect}"
        return answer

    def launch(self, name, *components, wait=True, expect=0, **fields):
        """Launches an assembly of that name (without the tag); returns its whole name."""
        assembly = {"name": self.name(name), **fields, "components": list(components)}
        self.megam("launch", self.write(assembly), *(["--wait"] if wait else []), expect=expect)
        return assembly["name"]

    def record(self, name):
        """An assembly's state as the engine says it; None if there is none."""
        entry = self.keys(f"/megam/assemblies/{name}/").get(f"/megam/assemblies/{name}/state")
        return entry and entry.value

    def report(self, name, instance):
        """What the node that an instance is assigned to reports of it; None if nothing."""
        nodes = [node for node, of in self.assignments(name) if of == instance]
        reports = self.keys("/megam/reports/")
        found = [
            reports[f"/megam/reports/{node}/{instance}"]
            for node in nodes
            if f"/megam/reports/{node}/{instance}" in reports
        ]
        return found[0].value if found else None

    def wait_state(self, name, state, deadline=60):
        """Waits for a state; returns its record."""
        last = None

        def other():
            nonlocal last
            last = self.record(name)
            return "" if last and last["state"] == state else f"it is {last}"

        wait_for(other, deadline, f"{name} to be {state}")
        return last

    def unsettled(self, name):
        """What is still to come until all of the assembly is right; "" if nothing.

        Right is: it is running; each instance has one assignment, on a live node; on the live nodes exactly one run of
        each is alive, there; and its report says so. What runs on nodes whose agent is dead or frozen does not count.
        """
        keys = self.keys()
        state = keys.get(f"/megam/assemblies/{name}/state")
        if state is None or state.value["state"] != "running":
            return f"it is {state and state.value}"
        spec, live = keys[f"/megam/assemblies/{name}/spec"].value, self.live_nodes
        places = {}
        for node, instance in self.assignments(name, keys):
            places.setdefault(instance, []).append(node)
        runs = live_runs(self.tag)
        for component in spec["components"]:
            for index in range(component["count"]):
                instance = f"{name}.{component['name']}.{index}"
                nodes = places.pop(instance, [])
                if len(nodes) != 1 or nodes[0] not in live:
                    return f"{instance} is assigned to {nodes}"
                here = [run for run in runs.get(instance, []) if run.node in live or not run.node]
                if [run.node for run in here] != nodes or not here[0].pids or not here[0].guard:
                    return f"{instance} is assigned to {nodes}, and there run {here}"
                report = keys.get(f"/megam/reports/{nodes[0]}/{instance}")
                if report is None or report.value["state"] != "running":
                    return f"{nodes[0]} reports of {instance}: {report and report.value}"
                if report.value["pid"] not in here[0].pids:
                    return f"{nodes[0]} reports of {instance}: {report.value}, and there runs {here[0]}"
        return f"these are assigned and not wanted: {places}" if places else ""

    def wait_settled(self, name, deadline=60):
        """Waits until nothing is unsettled; returns the run of each instance on live nodes."""
        wait_for(lambda: self.unsettled(name), deadline, f"{name} to run as wanted")
        return self.runs(name)

    def runs(self, name):
        """instance → a run of it on a live node, for each instance that has one."""
        return {
            instance: run
            for instance, runs in live_runs(self.tag).items()
            if instance.startswith(name + ".")
            for run in runs
            if run.node in self.live_nodes
        }

    def moved(self, name, agents):
        """Complains until every instance runs on a live node other than those of these agents."""
        live = self.live_nodes - {agent.name for agent in agents}
        reports = self.keys("/megam/reports/")
        spec = self.keys(f"/megam/assemblies/{name}/spec")[f"/megam/assemblies/{name}/spec"].value
        for component in spec["components"]:
            for index in range(component["count"]):
                instance = f"{name}.{component['name']}.{index}"
                found = [reports.get(f"/megam/reports/{node}/{instance}") for node in live]
                if not any(report and report.value["state"] == "running" for report in found):
                    return f"no node of {sorted(live)} reports {instance} as running"
        return ""

    def destroy_all(self, deadline=60):
        """Destroys all assemblies and waits for the last traces of them to go: keys, guards, components."""
        names = {key.split("/")[3] for key in self.keys("/megam/assemblies/")}
        for name in names:
            self.megam("destroy", name, expect=None)
        wait_for(self.left_behind, deadline, "nothing to be left of the destroyed assemblies")

    def left_behind(self):
        """What is in the store or runs although there should be nothing but nodes, agents and engines."""
        kept = r"/megam/(nodes/[^/]+|agents/[^/]+/alive|engine/status|engine/leader/[^/]+)"
        keys = [key for key in self.keys() if not re.fullmatch(kept, key)]
        runs = [run for runs in live_runs(self.tag).values() for run in runs]
        return f"{keys} {runs}" if keys or runs else ""


def component(name, command, *arguments, **fields):
    """A component of an assembly's file; fields in the file's spelling with _ for -."""
    fields = {key.replace("_", "-"): value for key, value in fields.items()}
    return {"name": name, "kind": "process", "command": command, "arguments": list(arguments), **fields}


def read_json(value):
    try:
        return json.loads(value)
    except ValueError:
        return value.decode(errors="replace")


def identities(site, name, component=None):
    """instance → the identity of the last run that stamped for it: equal before and after means uninterrupted."""
    start = f"{name}.{component}." if component else f"{name}."
    return {
        instance: max(runs, key=lambda run: run.last).run
        for instance, runs in stamped_runs(site.stamps).items()
        if instance.startswith(start)
    }


@contextlib.contextmanager
def running_site(server, programs, processes, prepare=None, **options):
    """A site that is ended whatever happens; `prepare` is called with it before it starts."""
    site = Site(server, programs, processes, **options)
    try:
        if prepare:
            prepare(site)
        yield site.start()
    finally:
        site.end()


@contextlib.contextmanager
def tidy(site):
    """Around a test on a shared site: brings back what it left dead or frozen, and wants nothing left of its runs."""
    try:
        yield site
    finally:
        site.store.start()
        for program in site.agents + site.engines:
            if program.is_frozen and program.is_running:
                program.thaw()
            if not program.is_running:
                program.start()
        site.wait_up()
        try:
            site.destroy_all()
        except AssertionError:
            end_runs(site.tag)
            raise
