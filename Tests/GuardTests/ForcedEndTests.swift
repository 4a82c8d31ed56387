import Glibc
import Testing

@testable import Guard

/// Runs that are ended by force although their guard or their processes make it hard.
@Suite(.serialized, .ownThread) struct ForcedEndTests {
    /// Starts `script` in the background without any environment, so without the run's marker.
    private static func unmarked(_ script: String, through command: String = "") -> String {
        "env -i \(command) /bin/sh -c \"\(script)\" & "
    }

    private static let worker = "echo \\$\\$ > $F/worker; exec sleep 100"

    @Test func aGuardThatCannotDieDoesNotShieldItsChild() async throws {
        let scene = try Scene()
        let run = try scene.launch(
            Self.unmarked(Self.worker, through: "setsid") + "exec sleep 1000", deadline: .now + .seconds(1000))
        let child = try await run.runningPid()
        let worker = try await scene.pid(in: "worker")
        // As if its system call hung: SIGKILL does nothing.
        #expect(try !run.settle(cause: .deadlinePassed, killGuard: { _ in }))
        try await eventually("child and worker are dead") { !isAlive(child) && !isAlive(worker) }
        #expect(isAlive(try run.guardPid))
        #expect(try run.outcome() == nil)
        #expect(try !run.settle(cause: .deadlinePassed, killGuard: { _ in }))
        // Its system call returns at last.
        try run.killNow(cause: .deadlinePassed)
        let outcome = try #require(try run.outcome())
        #expect(outcome.ending == .lost)
        #expect(outcome.cause == .deadlinePassed)
    }

    @Test(.enabled(if: geteuid() == 0, "freezing a disk takes root"))
    func aGuardThatHangsOnItsDiskDoesNotShieldItsChildFromTheDeadline() async throws {
        try await withDeadline { scene, deadline in
            let disk = "\(scene.folder)/disk"
            try #require(mkdir(disk, 0o700) == 0)
            guard shell("exec 2>&1 >/dev/null; truncate -s 16M \(disk).img && mkfs.ext4 -qF \(disk).img") == 0,
                shell("mount -o loop \(disk).img \(disk) 2>/dev/null") == 0
            else { return }
            let run = try scene.launch(
                "until [ -e $F/frozen ]; do sleep 0.01; done; while :; do echo line; sleep 0.01; done",
                deadline: deadline, at: "\(disk)/run")
            let child = try await run.runningPid()
            let guardPid = try run.guardPid
            let starts = Ends()
            let ends = Ends()
            let watch = try GuardWatch(slack: .milliseconds(100))
            watch.watch(
                run,
                onRunning: { starts.add(RunOutcome(ending: .exited(code: $0), cause: .byItself, endedAt: $1)) },
                onEnd: { ends.add($0) })
            try await eventually("the watch knows the run") {
                try deadline.mustBeAhead("the watch knew the run")
                return !starts.all.isEmpty
            }
            guard shell("fsfreeze -f \(disk) 2>/dev/null") == 0 else { return }
            // Before the scene ends, which would wait for the disk.
            defer { shell("fsfreeze -u \(scene.folder)/disk 2>/dev/null") }
            try replaceFile("\(scene.folder)/frozen", [])
            try await eventually("the guard hangs") {
                try deadline.mustBeAhead("the guard hung")
                return String(decoding: try readFile("/proc/\(guardPid)/stat") ?? [], as: UTF8.self).contains(") D ")
            }
            let childWasAlive = isAlive(child)
            try deadline.mustBeAhead("the guard hung")
            #expect(childWasAlive)
            try await eventually("the child is dead") { !isAlive(child) }
            #expect(isAlive(guardPid))
            #expect(ends.all.isEmpty)
            shell("fsfreeze -u \(disk)")
            try await eventually("the watch tells the end") { !ends.all.isEmpty }
            #expect(ends.all.map(\.ending) == [.lost])
            #expect(ends.all.map(\.cause) == [.deadlinePassed])
        }
    }

    @Test func aProcessWithoutTheMarkerInASessionOfItsOwnDiesWithARunThatIsKilled() async throws {
        let scene = try Scene()
        let run = try scene.launch(Self.unmarked(Self.worker, through: "setsid") + "exec sleep 1000")
        let worker = try await scene.pid(in: "worker")
        try run.killNow()
        #expect(!isAlive(worker))
    }

    @Test func processesThatForkAllTheTimeDieWithARunThatIsKilled() async throws {
        let scene = try Scene()
        // Each link of the chain starts the next, in a session of its own, and ends; not for ever, should it get away.
        let chain = """
            import os
            for _ in range(20000):
                if os.fork():
                    os._exit(0)
                os.setsid()
                os.environ.clear()
                with open("\(scene.folder)/link", "w") as file: print(os.getpid(), file=file)
            """
        let run = try scene.launch("env -i python3 -c '\(chain)' & exec sleep 1000")
        _ = try await scene.pid(in: "link")
        try run.killNow()
        // A link that got away would soon write the file again.
        unlink("\(scene.folder)/link")
        let enough = BootTime.now + .milliseconds(300)
        while BootTime.now < enough { try #require(!fileExists("\(scene.folder)/link"), "a link is alive") }
    }

    @Test func aWorkerWithoutTheMarkerIsFoundByItsSessionWhenTheGuardWasKilled() async throws {
        let scene = try Scene()
        // In a process group of its own: it does not die with the child's.
        let script = """
            import os
            os.setpgid(0, 0)
            with open("\(scene.folder)/worker", "w") as file: print(os.getpid(), file=file)
            os.execv("/bin/sleep", ["sleep", "100"])
            """
        let run = try scene.launch("env -i python3 -c '\(script)' & exec sleep 1000")
        let child = try await run.runningPid()
        let worker = try await scene.pid(in: "worker")
        let ends = Ends()
        let watch = try GuardWatch()
        watch.watch(run) { outcome in
            #expect(!isAlive(child) && !isAlive(worker))
            ends.add(outcome)
        }
        kill(try run.guardPid, SIGKILL)
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(!isAlive(worker))
        #expect(try run.sweep() == 0)
    }

    @Test func aSessionThatMayBeAStrangersIsLeftAlone() async throws {
        let scene = try Scene()
        let stranger = try scene.launch(Self.unmarked(Self.worker) + "exec sleep 1000")
        let leader = try #require(ProcessIdentity(of: try await stranger.runningPid()))
        let worker = try await scene.pid(in: "worker")
        func sweep(startTicks: UInt64, boot: String = leader.boot) throws -> [pid_t] {
            let child = ProcessIdentity(pid: leader.pid, startTicks: startTicks, boot: boot)
            return try Sweep(runID: "\(scene.folder)/none", child: child).pass()
        }
        // The number is another process's by now, the session older than the child, or of another boot.
        #expect(try sweep(startTicks: leader.startTicks - 1) == [])
        #expect(try sweep(startTicks: leader.startTicks + 1) == [])
        #expect(try sweep(startTicks: leader.startTicks, boot: "another") == [])
        kill(try stranger.guardPid, SIGKILL)
        try await eventually("the leader is gone") { ProcessIdentity(of: leader.pid) == nil }
        let workerStart = try #require(ProcessIdentity(of: worker)).startTicks
        #expect(try sweep(startTicks: workerStart + 1000) == [])
        #expect(isAlive(worker))
        #expect(try sweep(startTicks: leader.startTicks).contains(worker))
    }

    @Test func aGuardThatAForcedEndLeftStoppedGoesOnWhenItIsAdopted() async throws {
        let scene = try Scene()
        let run = try scene.launch("sleep 1000")
        let child = try await run.runningPid()
        // As if the process that ends the run died in the middle of it.
        #expect(try !run.settle(cause: .stopRequested, killGuard: { _ in }))
        try await eventually("the child is dead") { !isAlive(child) }
        #expect(try run.outcome() == nil)
        let ends = Ends()
        let watch = try GuardWatch()
        watch.watch(run) { ends.add($0) }
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(ends.all.map(\.ending) == [.signalled(SIGKILL)])
    }

    @Test(arguments: [true, false])
    func aRunWhoseDirectoryVanishedIsToldAsLost(_ isWatchedBefore: Bool) async throws {
        let scene = try Scene()
        let run = try scene.launch("sleep 1000")
        let child = try await run.runningPid()
        let guardPid = try run.guardPid
        let starts = Ends()
        let ends = Ends()
        let watch = try GuardWatch()
        func begin() {
            watch.watch(
                run,
                onRunning: { starts.add(RunOutcome(ending: .exited(code: $0), cause: .byItself, endedAt: $1)) },
                onEnd: { ends.add($0) })
        }
        if isWatchedBefore {
            begin()
            try await eventually("the watch knows the run") { !starts.all.isEmpty }
        }
        shell("rm -rf \(run.path)")
        if isWatchedBefore { kill(guardPid, SIGKILL) } else { begin() }
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(ends.all.map(\.ending) == [.lost])
        #expect(!isAlive(child) && !isAlive(guardPid))
    }

    @Test func aRunThatStaysInPreparationIsLookedAtLessAndLess() {
        var pauses = [WatchLoop.soon]
        while pauses.count < 9 { pauses.append(WatchLoop.longer(pauses[pauses.count - 1])) }
        #expect(
            pauses == [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map { .milliseconds($0) })
    }
}
