import Glibc
import Testing

@testable import Guard

/// A run with a deadline is over at it, unless the deadline was moved on.
@Suite(.serialized, .ownThread) struct DeadlineTests {
    @Test func aGuardKillsItsChildAtTheDeadline() async throws {
        try await withDeadline { scene, deadline in
            let run = try scene.launch("trap '' TERM; while :; do sleep 0.01; done", deadline: deadline)
            _ = try await run.runningPid()
            let outcome = try await run.end()
            #expect(outcome.ending == .signalled(SIGKILL))
            #expect(outcome.cause == .deadlinePassed)
            #expect(BootTime.now >= deadline)
        }
    }

    @Test func aRenewalKeepsTheChild() async throws {
        try await withDeadline { scene, first in
            let run = try scene.launch("sleep 1000", deadline: first)
            let child = try await run.runningPid()
            let last = first + .seconds(1000)
            try run.renew(until: last)
            try first.mustBeAhead("it was renewed")
            // An earlier one changes nothing.
            try run.renew(until: first + .milliseconds(1))
            #expect(try run.deadline() == last)
            try await eventually("the first deadline has passed well") { BootTime.now > first + .milliseconds(300) }
            #expect(isAlive(child))
        }
    }

    @Test func aRenewedDeadlineIsOneToo() async throws {
        try await withDeadline { scene, first in
            let run = try scene.launch("sleep 1000", deadline: first)
            _ = try await run.runningPid()
            let second = first + .milliseconds(500)
            try run.renew(until: second)
            try first.mustBeAhead("it was renewed")
            #expect(try await run.end().cause == .deadlinePassed)
            #expect(BootTime.now >= second)
        }
    }

    @Test func aRunIsNeverStartedAfterItsDeadline() async throws {
        let scene = try Scene()
        let run = try scene.launch("echo ran > $F/ran", deadline: .now)
        let outcome = try await run.end()
        #expect(outcome.ending == .notStarted(errno: 0, message: "its deadline had passed before it was started"))
        #expect(outcome.cause == .deadlinePassed)
        #expect(!fileExists("\(scene.folder)/ran"))
    }

    @Test func aDeadlineOfAnEarlierBootHasPassed() async throws {
        let scene = try Scene()
        let run = try scene.prepare("echo ran > $F/ran", deadline: .now + .seconds(1000))
        let slot = DeadlineFile.slot(
            BootTime(nanoseconds: .max), boot: "00000000-0000-0000-0000-000000000000")
        try replaceFile(run.file("deadline"), slot + slot)
        try run.launch(guard: scene.guardProgram)
        #expect(try await run.end().cause == .deadlinePassed)
        #expect(!fileExists("\(scene.folder)/ran"))
    }

    @Test func aRunWithoutDeadlineGetsNone() throws {
        let scene = try Scene()
        let run = try scene.prepare("sleep 1000")
        try run.renew(until: .now)
        #expect(try run.deadline() == nil)
    }

    @Test func aStoppedGuardIsKilledByTheWatchWithItsRun() async throws {
        try await withDeadline { scene, first in
            let run = try scene.launch(
                "setsid sh -c 'echo $$ > $F/escaped; sleep 1000' & exec sleep 1000", deadline: first)
            let child = try await run.runningPid()
            let escaped = try await scene.pid(in: "escaped")
            let ends = Ends()
            let watch = try GuardWatch(slack: .milliseconds(100))
            let starts = Ends()
            watch.watch(
                run,
                onRunning: { starts.add(RunOutcome(ending: .exited(code: $0), cause: .byItself, endedAt: $1)) },
                onEnd: { outcome in
                    // Nothing of the run is left when its end is told.
                    #expect(!isAlive(child) && !isAlive(escaped))
                    ends.add(outcome)
                })
            // (The watch lets a guard that it meets for the first time go on.)
            try await eventually("the watch knows the run") {
                try first.mustBeAhead("the watch knew the run")
                return !starts.all.isEmpty
            }
            let guardPid = try run.guardPid
            kill(guardPid, SIGSTOP)
            try run.renew(until: first + .milliseconds(500))
            try first.mustBeAhead("its guard was stopped")
            try await eventually("the watch tells the end") { !ends.all.isEmpty }
            #expect(ends.all.map(\.ending) == [.lost])
            #expect(ends.all.map(\.cause) == [.deadlinePassed])
            #expect(try run.deadline().map { $0 < .now } == true)
            #expect(try run.status() == .ended(try #require(ends.all.first)))
            #expect(!isAlive(guardPid))
        }
    }

    @Test func aGuardResumedAfterRenewalsKeepsItsChild() async throws {
        try await withDeadline { scene, first in
            let run = try scene.launch("sleep 1000", deadline: first)
            let child = try await run.runningPid()
            let guardPid = try run.guardPid
            kill(guardPid, SIGSTOP)
            try run.renew(until: first + .seconds(1000))
            try first.mustBeAhead("it was renewed")
            try await eventually("the first deadline has passed") { BootTime.now > first + .milliseconds(100) }
            kill(guardPid, SIGCONT)
            try await eventually("the guard is awake and sleeps again") {
                let stat = String(decoding: try readFile("/proc/\(guardPid)/stat") ?? [], as: UTF8.self)
                return stat.contains(") S ")
            }
            #expect(isAlive(child))
            // It still listens.
            try run.requestStop()
            #expect(try await run.end().cause == .stopRequested)
        }
    }

    @Test func momentsThatDoNotFitAreTheLastOnes() {
        #expect(BootTime.now + .seconds(Int64.max) == BootTime(nanoseconds: .max))
        #expect(BootTime(nanoseconds: 5) + .nanoseconds(3) == BootTime(nanoseconds: 8))
        #expect(BootTime(nanoseconds: 5) - BootTime(nanoseconds: 8) == .nanoseconds(-3))
        #expect(BootTime(nanoseconds: 5) - Duration.nanoseconds(3) == BootTime(nanoseconds: 2))
    }
}
