import Glibc
import Guard
import LaunchModel
import Testing

@testable import Agent

private typealias H = PlanHarness

@Suite struct PlanTests {
    let web = PlanHarness.instance

    @Test func whatIsBegunIsWrittenDownFirst() {
        var harness = H()
        _ = harness.send(.registered, .assignments([web: H.wish()]))
        let effects = harness.send(.reported([web: 7]))
        guard case .save(web, let record) = effects.first, case .start(H.run(1), _, nil) = effects.last else {
            Issue.record("\(effects)")
            return
        }
        #expect(effects.count == 2)
        #expect(record.attempt == 1 && record.token == 7 && record.state == .starting)
        #expect(harness.report?.state == .starting)
    }

    @Test func anInstanceCountsAsRunningOnceItWasUpForLongEnough() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.readyAfterMilliseconds = 3_000 }])
        _ = harness.started(H.run(1))
        #expect(harness.plan.nextWake(after: harness.now.boot) == harness.now.boot + .seconds(3))
        _ = harness.pass(.milliseconds(2_999))
        #expect(harness.report?.state == .starting)
        _ = harness.pass(.milliseconds(1))
        #expect(harness.report?.state == .running)
        #expect(harness.report?.pid == 42)
    }

    @Test func thePauseBeforeARestartDoublesUpToFiveMinutes() {
        let policy = RestartPolicy(backoffMilliseconds: 1_000)
        let pauses = [0, 1, 2, 8, 9, 100, .max].map { RestartRules.backoff(policy, after: $0) }
        #expect(pauses == [1, 2, 4, 256, 300, 300, 300].map { .seconds($0) })
        #expect(
            RestartRules.backoff(RestartPolicy(backoffMilliseconds: 86_400_000), after: 3) == .seconds(86_400))
    }

    @Test func aCrashLoopEndsInAFailureThatSaysWhatToDo() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.restart = RestartPolicy(attempts: 2) }])
        for attempt in 1...2 {
            _ = harness.started(H.run(attempt))
            #expect(harness.send(.ended(H.run(attempt), harness.end(.exited(code: 3)))).starts.isEmpty)
            #expect(harness.report?.state == .waiting)
            #expect(harness.report?.reason == "ended with exit code 3")
            #expect(harness.report?.pid == nil)
            let pause = Duration.seconds(attempt)
            #expect(harness.plan.nextWake(after: harness.now.boot) == harness.now.boot + pause)
            #expect(harness.pass(pause - .milliseconds(1)).starts.isEmpty)
            #expect(harness.pass(.milliseconds(1)).starts == [H.run(attempt + 1)])
        }
        _ = harness.started(H.run(3))
        _ = harness.send(.ended(H.run(3), harness.end(.exited(code: 3))))
        #expect(harness.report?.state == .failed)
        #expect(
            harness.report?.reason == "ended 3 times in a row, last: ended with exit code 3; "
                + "see \"megam logs hello\", mend it, then \"megam start hello\"")
        #expect(harness.report?.restarts == 2)
        #expect(harness.report?.lastEnd?.code == 3)
        #expect(harness.pass(.seconds(10_000)).isEmpty)
    }

    @Test func aMinuteUpBeginsTheCountingAnew() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.restart = RestartPolicy(attempts: 1) }])
        for attempt in 1...5 {
            _ = harness.started(H.run(attempt))
            _ = harness.pass(.seconds(60))
            _ = harness.send(.ended(H.run(attempt), harness.end(.signalled(SIGSEGV))))
            #expect(harness.report?.state == .waiting)
            #expect(harness.pass(.seconds(1)).starts == [H.run(attempt + 1)])
        }
    }

    @Test func aHigherGenerationTriesAgainWhatHadFailed() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.restart = RestartPolicy(attempts: 0) }])
        _ = harness.started(H.run(1))
        _ = harness.send(.ended(H.run(1), harness.end(.exited(code: 1))))
        #expect(harness.report?.state == .failed)
        let effects = harness.send(.changed([web: H.wish(generation: 2) { $0.restart = RestartPolicy(attempts: 0) }]))
        #expect(effects.starts == [H.run(2)])
        #expect(harness.report?.generation == 2)
        #expect(harness.report?.restarts == 0)
    }

    @Test(arguments: [
        (RestartPolicy.When.always, 0 as Int32, Report.State.waiting), (.onFailure, 0, .completed),
        (.never, 0, .completed), (.always, 1, .waiting), (.onFailure, 1, .waiting), (.never, 1, .failed),
    ])
    func thePolicyDecidesWhatAnEndMeans(_ when: RestartPolicy.When, _ code: Int32, _ state: Report.State) {
        var harness = H()
        _ = harness.register([web: H.wish { $0.restart.when = when }])
        _ = harness.started(H.run(1))
        _ = harness.send(.ended(H.run(1), harness.end(.exited(code: code))))
        #expect(harness.report?.state == state)
    }

    @Test func aCommandThatDoesNotExistFailsAtOnce() {
        var harness = H()
        _ = harness.register([web: H.wish()])
        _ = harness.send(.ended(H.run(1), harness.end(.notStarted(errno: ENOENT, message: "there is no command x"))))
        #expect(harness.report?.state == .failed)
        #expect(harness.report?.reason?.hasPrefix("could not be started: there is no command x; ") ?? false)
        #expect(harness.report?.restarts == 0)
    }

    @Test func aNodeThatCannotStartItTriesAgainForEverAndCountsNothingAgainstIt() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.restart = RestartPolicy(when: .never, attempts: 0) }])
        for attempt in 1...12 {
            _ = harness.send(.startFailed(H.run(attempt), "the disk is full"))
            #expect(harness.report?.state == .waiting)
            #expect(harness.report?.reason == "the disk is full")
            let pause = Duration.seconds(min(300, 1 << (attempt - 1)))
            #expect(harness.pass(pause - .milliseconds(1)).starts.isEmpty)
            #expect(harness.pass(.milliseconds(1)).starts == [H.run(attempt + 1)])
        }
        _ = harness.started(H.run(13))
        #expect(harness.report?.restarts == 0)
    }

    @Test func underARegistrationTheFirstRunBeginsWhenItsReportIsWritten() {
        var harness = H()
        #expect(harness.send(.registered, .assignments([web: H.wish()])).starts.isEmpty)
        #expect(harness.report?.state == .starting)
        #expect(harness.plan.awaitedTokens == [web: 7])
        #expect(harness.send(.reported([web: 7])).starts == [H.run(1)])
        // Later ones do not wait, nor does the first when the registration is over.
        _ = harness.send(.ended(H.run(1), harness.end(.exited(code: 1))))
        _ = harness.send(.unregistered)
        #expect(harness.send(.registered, .assignments([web: H.wish()])).starts.isEmpty)
        #expect(harness.pass(.seconds(1)).starts == [H.run(2)])
        var other = H()
        _ = other.send(.registered, .assignments([web: H.wish()]))
        #expect(other.send(.unregistered).starts == [H.run(1)])
    }

    @Test func aGuardThatWasKilledCountsLikeASignal() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.restart.when = .onFailure }])
        _ = harness.started(H.run(1))
        _ = harness.send(.ended(H.run(1), harness.end(.lost)))
        #expect(harness.report?.state == .waiting)
        #expect(harness.pass(.seconds(1)).starts == [H.run(2)])
    }

    @Test func itsFileIsGoneAndItsReportOnlyOnceItIsDeadAndCleanedUp() {
        var harness = H()
        _ = harness.register([web: H.wish { $0.stopGraceMilliseconds = 2_000 }])
        _ = harness.started(H.run(1))
        #expect(harness.send(.changed([web: .absent])).deeds == [.requestStop(H.run(1))])
        #expect(harness.pass(.seconds(6)).isEmpty)
        // The guard does not answer: it is killed five seconds after the grace.
        #expect(harness.pass(.seconds(1)).deeds == [.kill(H.run(1))])
        #expect(harness.report != nil)
        #expect(harness.send(.killFailed(H.run(1))).isEmpty)
        #expect(harness.pass(.seconds(5)).deeds == [.kill(H.run(1))])
        #expect(harness.send(.ended(H.run(1), harness.end(.lost, .stopRequested))).deeds == [.clear(web)])
        #expect(harness.report != nil)
        #expect(harness.send(.cleared(web, false)).isEmpty)
        #expect(harness.pass(.seconds(5)).deeds == [.clear(web)])
        _ = harness.send(.cleared(web, true))
        #expect(harness.report == nil)
        #expect(!harness.plan.knows(web))
    }

    @Test func anotherAssignmentBeginsWhenNothingIsLeftOfTheOldOne() {
        var harness = H()
        _ = harness.register([web: H.wish()])
        _ = harness.started(H.run(1))
        #expect(harness.send(.changed([web: H.wish(token: 9)])).deeds == [.requestStop(H.run(1))])
        #expect(harness.send(.ended(H.run(1), harness.end(.signalled(SIGTERM), .stopRequested))).deeds == [.clear(web)])
        #expect(harness.report?.token == 7)
        #expect(harness.send(.cleared(web, true)).starts.isEmpty)
        #expect(harness.send(.reported([web: 9])).starts == [H.run(1, token: 9)])
        #expect(harness.report?.token == 9)
    }

    @Test func aStoppedInstanceIsReportedAndStartsAgain() {
        var harness = H()
        _ = harness.register([web: H.wish()])
        _ = harness.started(H.run(1))
        #expect(harness.send(.changed([web: H.wish(run: false)])).deeds == [.requestStop(H.run(1))])
        _ = harness.send(.ended(H.run(1), harness.end(.signalled(SIGTERM), .stopRequested)))
        #expect(harness.report?.state == .stopped)
        #expect(harness.send(.changed([web: H.wish(generation: 2)])).starts == [H.run(2)])
    }

    @Test func anInstanceThatNeverRanIsNotReportedWhileItIsNotToRun() {
        var harness = H()
        #expect(harness.register([web: H.wish(run: false)]).starts.isEmpty)
        #expect(harness.report == nil)
        #expect(harness.send(.changed([web: H.wish()]), .reported([web: 7])).starts == [H.run(1)])
    }

    @Test func whatCannotBeReadHasFailedButStopsNothing() {
        var harness = H()
        _ = harness.register([web: .unreadable(token: 7, reason: "no JSON")])
        #expect(harness.report?.state == .failed)
        #expect(harness.report?.reason == "no JSON")
        #expect(harness.send(.changed([web: H.wish()])).starts == [H.run(1)])
        _ = harness.started(H.run(1))
        #expect(harness.send(.changed([web: .unreadable(token: 7, reason: "no JSON")])).deeds.isEmpty)
        #expect(harness.report?.state != .failed)
    }

    @Test func outputsAreReported() {
        var harness = H()
        _ = harness.register([web: H.wish()])
        _ = harness.started(H.run(1))
        _ = harness.send(.outputs(H.run(1), ["url": "x"]))
        #expect(harness.report?.outputs == ["url": "x"])
        _ = harness.send(.outputs(H.run(2), ["url": "of no run"]))
        #expect(harness.report?.outputs == ["url": "x"])
    }
}
