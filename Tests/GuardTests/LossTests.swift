import Glibc
import Testing

@testable import Guard

/// What becomes of a run whose guard is killed, and how a run is ended by force.
@Suite(.serialized, .ownThread) struct LossTests {
    /// A child, and a grandchild in a session of its own.
    private static let withEscape = "setsid sh -c 'echo $$ > $F/escaped; sleep 1000' & exec sleep 1000"

    @Test func theChildDiesWithItsGuardAndTheRestIsFoundByTheSweep() async throws {
        let scene = try Scene()
        let run = try scene.launch(Self.withEscape)
        let child = try await run.runningPid()
        let escaped = try await scene.pid(in: "escaped")
        kill(try run.guardPid, SIGKILL)
        let outcome = try await run.end()
        #expect(outcome.ending == .lost)
        #expect(outcome.cause == .byItself)
        try await eventually("the child is dead") { !isAlive(child) }
        #expect(isAlive(escaped))
        #expect(try run.sweep() >= 1)
        #expect(!isAlive(escaped))
        #expect(try run.sweep() == 0)
    }

    @Test func theWatchSweepsAndRecordsALostRun() async throws {
        let scene = try Scene()
        let run = try scene.launch(Self.withEscape)
        let starts = Ends()
        let ends = Ends()
        let watch = try GuardWatch()
        watch.watch(
            run,
            onRunning: { pid, startedAt in
                starts.add(RunOutcome(ending: .exited(code: pid), cause: .byItself, endedAt: startedAt))
            }, onEnd: { ends.add($0) })
        let child = try await run.runningPid()
        let escaped = try await scene.pid(in: "escaped")
        try await eventually("the watch tells that it runs") { starts.all.map(\.ending) == [.exited(code: child)] }
        let guardPid = try run.guardPid
        kill(guardPid, SIGKILL)
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(ends.all.map(\.ending) == [.lost])
        #expect(!isAlive(child) && !isAlive(escaped))
        #expect(try run.status() == .ended(try #require(ends.all.first)))
        // It is no zombie of this process either.
        #expect(ProcessIdentity(of: guardPid) == nil)
    }

    @Test func aWatchTellsManyEndsAndReapsTheGuards() async throws {
        let scene = try Scene()
        let ends = Ends()
        let watch = try GuardWatch()
        let runs = try (0..<10).map { try scene.launch("exit \($0)") }
        for run in runs { watch.watch(run) { ends.add($0) } }
        try await eventually("ten ends are told") { ends.all.count == 10 }
        #expect(Set(ends.all.map(\.ending)) == Set((0..<10).map { Ending.exited(code: $0) }))
        for run in runs { #expect(ProcessIdentity(of: try run.guardPid) == nil) }
        // One that was over before.
        watch.watch(runs[0]) { ends.add($0) }
        try await eventually("the old end is told again") { ends.all.count == 11 }
    }

    @Test func aClosedWatchLeavesTheRunsAlone() async throws {
        let scene = try Scene()
        let ends = Ends()
        let run = try scene.launch("sleep 1000")
        let child = try await run.runningPid()
        do {
            let watch = try GuardWatch()
            watch.watch(run) { ends.add($0) }
        }
        try run.requestStop()
        #expect(try await run.end().cause == .stopRequested)
        #expect(!isAlive(child))
        #expect(ends.all.isEmpty)
    }

    @Test func killNowEndsARunWhateverItsGuardDoes() async throws {
        let scene = try Scene()
        let run = try scene.launch(Self.withEscape)
        let child = try await run.runningPid()
        let escaped = try await scene.pid(in: "escaped")
        kill(try run.guardPid, SIGSTOP)
        try run.killNow()
        #expect(!isAlive(child) && !isAlive(escaped))
        guard case .ended(let outcome) = try run.status() else {
            Issue.record("it is \(try run.status())")
            return
        }
        #expect(outcome.ending == .lost)
        #expect(outcome.cause == .stopRequested)
        try run.killNow()
        try run.remove()
        #expect(!fileExists(run.path))
    }

    @Test func killNowRightAfterTheLaunchEndsTheRun() throws {
        let scene = try Scene()
        for _ in 0..<10 {
            let run = try scene.launch("sleep 1000")
            try run.killNow(cause: .deadlinePassed)
            #expect(try Sweep(runID: run.specification.runID).pass() == [])
            guard case .ended = try run.status() else {
                Issue.record("it is \(try run.status())")
                return
            }
        }
    }

    @Test func aKilledRunThatWasNeverLaunchedStaysSo() throws {
        let scene = try Scene()
        let run = try scene.prepare("sleep 1000")
        try run.killNow()
        #expect(throws: GuardError.self) { try run.launch(guard: scene.guardProgram) }
    }

    @Test func aSweepTakesTheWholeMarkerOnly() async throws {
        let scene = try Scene()
        let other = try scene.launch("sleep 1000", id: "\(scene.folder)/a/10")
        let child = try await other.runningPid()
        #expect(try RunDirectory.sweep(runID: "\(scene.folder)/a/1") == 0)
        #expect(try RunDirectory.sweep(runID: "\(scene.folder)/a") == 0)
        #expect(isAlive(child))
        #expect(isAlive(try other.guardPid))
        #expect(try RunDirectory.sweep(runID: "\(scene.folder)/a/10") >= 2)
        #expect(!isAlive(child))
    }

    @Test func aProcessThatGotTheGuardsPidIsLeftAlone() async throws {
        let scene = try Scene()
        let run = try scene.launch("sleep 1000")
        _ = try await run.runningPid()
        let guardPid = try run.guardPid
        let stranger = try scene.launch("sleep 1000")
        let strangersChild = try await stranger.runningPid()
        let identity = try #require(ProcessIdentity(of: strangersChild))
        // As if the pid had been another's before.
        let before = ProcessIdentity(pid: strangersChild, startTicks: identity.startTicks - 1, boot: identity.boot)
        #expect(before.open() == nil)
        #expect(!before.signal(SIGKILL))
        #expect(ProcessIdentity(pid: identity.pid, startTicks: identity.startTicks, boot: "another").open() == nil)
        kill(guardPid, SIGKILL)
        try run.write(guard: before)
        try replaceFile(run.file("child"), RunDirectory.record(child: before, startedAt: 0).encoded)
        try run.killNow()
        #expect(isAlive(strangersChild))
    }

    @Test func aGuardThatDiesAtOnceIsSeenToBeLost() async throws {
        let scene = try Scene()
        let run = try scene.prepare("sleep 1000")
        let ends = Ends()
        try run.launch(guard: "/bin/false")
        let watch = try GuardWatch()
        watch.watch(run) { ends.add($0) }
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(ends.all.map(\.ending) == [.lost])
    }

    @Test func aGuardThatCannotGuardSaysWhy() async throws {
        let scene = try Scene()
        let run = try scene.prepare("sleep 1000")
        try replaceFile(run.file("specification"), Array("rubbish\n".utf8))
        try run.launch(guard: scene.guardProgram)
        #expect(try await run.end().ending == .lost)
        #expect(try run.guardComplaint()?.contains("specification is damaged") == true)
    }

    @Test func aWatchEndsARunWhoseFilesAreDamaged() async throws {
        let scene = try Scene()
        let run = try scene.launch("sleep 1000", deadline: .now + .seconds(1000))
        let child = try await run.runningPid()
        let ends = Ends()
        let watch = try GuardWatch()
        watch.watch(run) { ends.add($0) }
        try replaceFile(run.file("child"), Array("rubbish".utf8))
        kill(try run.guardPid, SIGKILL)
        try await eventually("the watch tells the end") { !ends.all.isEmpty }
        #expect(ends.all.map(\.ending) == [.lost])
        #expect(!isAlive(child))
    }
}
