import Glibc
import Testing

@testable import Guard

/// From the launch to the end, with nothing going wrong beside the component itself.
@Suite(.serialized, .ownThread) struct RunTests {
    @Test func anExitCodeIsRecorded() async throws {
        let scene = try Scene()
        let begun = wallClockMilliseconds()
        let outcome = try await scene.launch("exit 7").end()
        #expect(outcome.ending == .exited(code: 7))
        #expect(outcome.cause == .byItself)
        #expect((begun...wallClockMilliseconds()).contains(outcome.endedAt))
    }

    @Test func aSignalIsRecorded() async throws {
        let scene = try Scene()
        let outcome = try await scene.launch("kill -SEGV $$").end()
        #expect(outcome.ending == .signalled(SIGSEGV))
    }

    @Test func theChildGetsItsArgumentsEnvironmentAndDirectory() async throws {
        let scene = try Scene()
        let run = try scene.launch("", id: "hello.web.0/123/2") {
            $0.command = "python3"
            $0.arguments = [
                "-c", "import os, sys; print(os.getcwd(), sys.argv[1:], sorted(os.environ.items()))", "a b", "",
            ]
            $0.environment = ["PATH": "/usr/bin:/bin", "NAME": "wörth=1\nline"]
            $0.workingDirectory = scene.folder
        }
        _ = try await run.end()
        #expect(
            try run.lines().first?.text == "\(scene.folder) ['a b', ''] [('GULP_RUN', 'hello.web.0/123/2'), "
                + "('LC_CTYPE', 'C.UTF-8'), ('NAME', 'wörth=1\\nline'), ('PATH', '/usr/bin:/bin')]")
    }

    @Test func theChildStartsWithCleanSignalsAndDescriptors() async throws {
        let scene = try Scene()
        let run = try scene.launch(
            "awk '/Sig(Blk|Ign)/ { print $1, substr($2, 10) }' /proc/self/status; ls /proc/self/fd; cat; echo read")
        _ = try await run.end()
        // The fourth descriptor is the directory that ls reads.
        let texts = try run.texts()
        #expect(
            texts == [
                "SigBlk: 0000000", "SigIgn: 0000000", "0", "1", "2", "3", "read",
            ])
    }

    @Test func aRunningChildIsReportedWithItsPid() async throws {
        let scene = try Scene()
        let begun = wallClockMilliseconds()
        let run = try scene.launch("echo $$ > $F/pid; exec sleep 1000")
        let pid = try await run.runningPid()
        #expect(try await scene.pid(in: "pid") == pid)
        guard case .running(_, let startedAt, let stopping) = try run.status() else {
            Issue.record("it does not run")
            return
        }
        #expect((begun...wallClockMilliseconds()).contains(startedAt))
        #expect(!stopping)
    }

    @Test func aStopLetsTheChildCleanUp() async throws {
        let scene = try Scene()
        let run = try scene.launch(
            "trap 'until [ -e $F/seen ]; do sleep 0.01; done; echo bye; exit 3' TERM; echo up > $F/up; "
                + "while :; do sleep 0.01; done")
        _ = try await run.runningPid()
        _ = try await scene.content(of: "up")
        try run.requestStop()
        guard case .running(_, _, stopping: true) = try run.status() else {
            Issue.record("it is \(try run.status())")
            return
        }
        try run.requestStop()
        try replaceFile("\(scene.folder)/seen", [])
        let outcome = try await run.end()
        #expect(outcome.ending == .exited(code: 3))
        #expect(outcome.cause == .stopRequested)
        let texts = try run.texts()
        #expect(texts.contains("bye"))
    }

    @Test func aChildThatIgnoresTheStopIsKilledAfterTheGrace() async throws {
        let scene = try Scene()
        let run = try scene.launch("trap '' TERM; echo up > $F/up; while :; do sleep 0.01; done") {
            $0.stopGrace = .milliseconds(200)
        }
        _ = try await run.runningPid()
        _ = try await scene.content(of: "up")
        let asked = BootTime.now
        try run.requestStop()
        let outcome = try await run.end()
        #expect(outcome.ending == .signalled(SIGKILL))
        #expect(outcome.cause == .stopRequested)
        #expect(BootTime.now - asked >= .milliseconds(200))
    }

    @Test func aGuardThatGetsSIGTERMStopsItsRunAndIgnoresHangups() async throws {
        let scene = try Scene()
        let run = try scene.launch("exec sleep 1000")
        _ = try await run.runningPid()
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1, SIGTERM] { kill(try run.guardPid, signal) }
        let outcome = try await run.end()
        #expect(outcome.ending == .signalled(SIGTERM))
        #expect(outcome.cause == .stopRequested)
    }

    @Test func aStopBeforeTheLaunchStartsNothing() async throws {
        let scene = try Scene()
        let run = try scene.prepare("echo ran > $F/ran")
        try run.requestStop()
        try run.launch(guard: scene.guardProgram)
        let outcome = try await run.end()
        #expect(outcome.ending == .notStarted(errno: 0, message: "it was stopped before it was started"))
        #expect(outcome.cause == .stopRequested)
        #expect(!fileExists("\(scene.folder)/ran"))
    }

    @Test(arguments: ["exit 0", "sleep 1000"])
    func descendantsThatLeftTheirSessionDieWithTheRun(_ last: String) async throws {
        let scene = try Scene()
        let daemon = """
            import os, time
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    if os.fork() == 0: time.sleep(1000)
                    print(os.getpid(), file=open(os.environ["F"] + "/daemon", "w"))
                    time.sleep(1000)
                os._exit(0)
            """
        let run = try scene.launch(
            "setsid sh -c 'echo $$ > $F/setsid; sleep 1000' & python3 -c '\(daemon)'; "
                + "while ! [ -s $F/daemon ] || ! [ -s $F/setsid ]; do sleep 0.01; done; \(last)")
        let pids = [try await scene.pid(in: "setsid"), try await scene.pid(in: "daemon")]
        if last.hasPrefix("sleep") { try run.requestStop() }
        _ = try await run.end()
        // The outcome appears when nothing of the run lives.
        for pid in pids { #expect(!isAlive(pid)) }
        #expect(try Sweep(runID: run.specification.runID).pass().filter { $0 != (try? run.guardPid) } == [])
    }

    @Test func aCommandThatDoesNotExistIsSaidSo() async throws {
        let scene = try Scene()
        let named = try scene.launch("") { $0.command = "no-such-command" }
        let pathed = try scene.launch("") { $0.command = "/no/such/command" }
        let plain = try scene.launch("") { $0.command = "/etc/passwd" }
        guard case .notStarted(ENOENT, let first) = try await named.end().ending,
            case .notStarted(ENOENT, let second) = try await pathed.end().ending,
            case .notStarted(EACCES, let third) = try await plain.end().ending
        else {
            Issue.record("\(try named.status()), \(try pathed.status()), \(try plain.status())")
            return
        }
        #expect(first.contains("no-such-command: not found in /usr/bin:/bin; install it"))
        #expect(second.contains("/no/such/command") && second.contains("install it"))
        #expect(third.contains("/etc/passwd may not be executed"))
        #expect(try await named.end().cause == .byItself)
    }

    @Test func aDirectoryOrUserThatDoesNotExistIsSaidSo() async throws {
        let scene = try Scene()
        let directory = try scene.launch("") { $0.workingDirectory = "/no/such/directory" }
        let user = try scene.launch("") { $0.user = "no-such-user" }
        guard case .notStarted(ENOENT, let first) = try await directory.end().ending,
            case .notStarted(ENOENT, let second) = try await user.end().ending
        else {
            Issue.record("\(try directory.status()), \(try user.status())")
            return
        }
        #expect(first.contains("/no/such/directory: No such file or directory; create it on this node"))
        #expect(second.contains("no-such-user: there is no such user on this node"))
    }

    @Test(.enabled(if: geteuid() == 0, "another user takes root"), arguments: ["nobody", "65534"])
    func theChildRunsAsTheUserThatWasAskedFor(_ user: String) async throws {
        let scene = try Scene()
        let run = try scene.launch("id -u; id -G; echo seen > /dev/stdout; kill -9 $PPID || echo denied") {
            $0.user = user
            $0.workingDirectory = "/"
        }
        #expect(try await run.end().ending == .exited(code: 0))
        #expect(try run.lines().filter { $0.stream == .stdout }.map(\.text) == ["65534", "65534", "seen", "denied"])
    }

    @Test func aRunIsLaunchedOnce() async throws {
        let scene = try Scene()
        let run = try scene.launch("sleep 1000")
        #expect(throws: GuardError.self) { try run.launch(guard: scene.guardProgram) }
        _ = try await run.runningPid()
        #expect(shell("\(scene.guardProgram) \(run.path) 2>/dev/null") == 1)
        try run.requestStop()
        _ = try await run.end()
        #expect(throws: GuardError.self) { try run.launch(guard: scene.guardProgram) }
    }

    @Test func aGuardThatCannotBeStartedIsSaidSo() throws {
        let scene = try Scene()
        let run = try scene.prepare("sleep 1000")
        let error = #expect(throws: GuardError.self) { try run.launch(guard: "/no/gulp-guard") }
        #expect(error?.description == "cannot start the guard /no/gulp-guard: No such file or directory")
        #expect(try run.status() == .preparing)
    }

    @Test func aGuardKeepsNothingOfItsStarter() async throws {
        let scene = try Scene()
        let held = open("\(scene.folder)/held", O_RDWR | O_CREAT, 0o600)
        defer { close(held) }
        let run = try scene.launch("sleep 1000")
        _ = try await run.runningPid()
        let pid = try run.guardPid
        #expect(getsid(pid) == pid)
        #expect(shell("ls -l /proc/\(pid)/fd | grep -q '\(scene.folder)/held'") == 1)
        #expect(shell("ls -l /proc/\(pid)/cwd | grep -q -e '-> /$'") == 0)
        // Standard streams, lock, signals, two timers, room for child and outcome, three pipes (one is closed by now).
        #expect(try names(in: "/proc/\(pid)/fd").count <= 11)
    }

    @Test func aGuardOutlivesItsStarterAndIsAdoptedByAnotherProcess() async throws {
        let scene = try Scene()
        let run = try scene.prepare("echo up; trap 'exit 4' TERM; while :; do sleep 0.01; done")
        // A shell starts the guard, says its own pid, and is killed.
        shell("sh -c 'echo $$ > \(scene.folder)/starter; \(scene.guardProgram) \(run.path) & exec sleep 1000' &")
        let starter = try await scene.pid(in: "starter")
        defer { kill(starter, SIGKILL) }
        let child = try await run.runningPid()
        kill(starter, SIGKILL)
        try await eventually("the starter is dead") { !isAlive(starter) }
        let adopted = try RunDirectory(adopting: run.path)
        #expect(adopted == run)
        #expect(try await adopted.runningPid() == child)
        #expect(isAlive(child))
        let ends = Ends()
        let watch = try GuardWatch()
        watch.watch(adopted) { ends.add($0) }
        try adopted.requestStop()
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(ends.all.map(\.ending) == [.exited(code: 4)])
    }

    @Test func aDirectoryWithALongPathWorks() async throws {
        let scene = try Scene()
        var path = scene.folder
        while path.utf8.count < 200 {
            path += "/" + String(repeating: "d", count: 40)
            try #require(mkdir(path, 0o700) == 0)
        }
        let run = try scene.launch("echo long", at: path + "/run")
        #expect(try await run.end().ending == .exited(code: 0))
        let texts = try run.texts()
        #expect(texts == ["long"])
    }

    @Test func anIdleGuardIsSmallAndSleeps() async throws {
        let scene = try Scene()
        let run = try scene.launch("exec >&- 2>&-; exec sleep 1000")
        let child = try await run.runningPid()
        try await eventually("the child is sleep") { try readFile("/proc/\(child)/comm") == Array("sleep\n".utf8) }
        let pid = try run.guardPid
        func status(_ field: String) throws -> Int {
            let text = String(decoding: try readFile("/proc/\(pid)/status") ?? [], as: UTF8.self)
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(field) })
            return try #require(Int(line.filter(\.isNumber)))
        }
        try await eventually("the guard sleeps for half a second") {
            let before = try status("voluntary_ctxt_switches")
            usleep(500_000)
            return try status("voluntary_ctxt_switches") == before
        }
        print("an idle guard: \(try status("VmRSS")) KiB resident, \(try status("RssAnon")) KiB of it its own")
        #expect(try status("RssAnon") < 4096)
    }
}
