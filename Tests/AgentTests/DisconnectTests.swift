import Glibc
import Guard
import LaunchModel
import Testing

@testable import Agent

private typealias H = PlanHarness

/// What holds while the store is away, and when it is back.
@Suite struct DisconnectTests {
    let web = PlanHarness.instance
    private static func stopping(_ component: inout ComponentSpecification) { component.onDisconnect = .stop }

    @Test func aRunThatMayNotOutliveTheLeaseBeginsOnlyUnderACertainOne() {
        var harness = H()
        let wish = H.wish(Self.stopping)
        #expect(harness.send(.registered, .assignments([web: wish])).starts.isEmpty)
        #expect(harness.send(.leaseCertain(until: harness.now.boot + .milliseconds(900))).starts.isEmpty)
        let until = harness.now.boot + .seconds(8)
        // Nor before whoever takes its assignment away can see that it was taken up.
        #expect(harness.send(.leaseCertain(until: until)).starts.isEmpty)
        #expect(harness.report?.state == .starting)
        #expect(harness.plan.awaitedTokens == [web: 7])
        let effects = harness.send(.reported([web: 7]))
        #expect(harness.plan.awaitedTokens.isEmpty)
        #expect(effects.starts == [H.run(1)])
        #expect(effects.deadlines == [until])
    }

    @Test func itsDeadlineIsMovedOnOnlyForAnAssignmentSeenUnderThePresentRegistration() {
        var harness = H()
        _ = harness.register([web: H.wish(Self.stopping)])
        _ = harness.started(H.run(1))
        let later = harness.now.boot + .seconds(10)
        #expect(harness.send(.leaseCertain(until: later)).deeds == [.renew(H.run(1), until: later)])
        #expect(harness.send(.leaseCertain(until: later)).deeds.isEmpty)
        _ = harness.send(.unregistered)
        #expect(harness.send(.leaseCertain(until: later + .seconds(1))).isEmpty)
        _ = harness.send(.registered)
        #expect(harness.send(.leaseCertain(until: later + .seconds(2))).isEmpty)
        // Given to another node meanwhile: it is not moved on, and ends.
        let effects = harness.send(.assignments([:]), .leaseCertain(until: later + .seconds(3)))
        #expect(effects.deeds == [.requestStop(H.run(1))])
    }

    @Test func oneStoppedAtItsDeadlineIsStartedAgainWhenTheNodeIsBackAndDoesNotCount() {
        var harness = H()
        let wish = H.wish { component in
            Self.stopping(&component)
            component.restart.attempts = 0
        }
        _ = harness.register([web: wish])
        _ = harness.started(H.run(1))
        _ = harness.send(.unregistered)
        _ = harness.pass(.seconds(8))
        _ = harness.send(.ended(H.run(1), harness.end(.signalled(SIGKILL), .deadlinePassed)))
        #expect(harness.report?.state == .waiting)
        #expect(harness.pass(.seconds(3_600)).starts.isEmpty)
        #expect(harness.plan.nextWake(after: harness.now.boot) == nil)
        #expect(harness.register([web: wish]).starts == [H.run(2)])
        #expect(harness.report?.lastEnd?.text.contains("deadline") ?? false)
    }

    @Test func oneWithoutADeadlineIsRestartedAndReportedAfterTheOutage() {
        var harness = H()
        _ = harness.register([web: H.wish()])
        _ = harness.started(H.run(1))
        _ = harness.send(.unregistered)
        #expect(harness.pass(.seconds(100_000)).deeds.isEmpty)
        _ = harness.send(.ended(H.run(1), harness.end(.signalled(SIGKILL))))
        #expect(harness.pass(.seconds(1)).starts == [H.run(2)])
        _ = harness.started(H.run(2))
        _ = harness.register([web: H.wish()])
        #expect(harness.report?.restarts == 1)
        #expect(harness.report?.lastEnd?.signal == SIGKILL)
    }

    @Test func anAgentThatIsStartedWithoutAStoreLeavesRunsAloneAndGivesTheStoreAChanceBeforeItStartsAny() {
        var record = InstanceRecord(token: 7, assignment: nil, since: Timestamp(milliseconds: 0))
        if case .assigned(_, let assignment) = H.wish() { record.assignment = assignment }
        record.attempt = 3
        record.generation = 1
        record.state = .running
        let run = FoundInstance.Run(key: H.run(3), deadline: nil, stopGrace: .seconds(10), mayLive: true)
        var harness = H(adopting: [FoundInstance(instance: web, record: record, runs: [run])])
        #expect(harness.adopted == [.watch(H.run(3))])
        _ = harness.started(H.run(3))
        #expect(harness.report?.state == .running)
        _ = harness.send(.ended(H.run(3), harness.end(.exited(code: 1))))
        #expect(harness.pass(.seconds(5)).starts.isEmpty)
        #expect(harness.pass(NodePlan.patience).starts == [H.run(4)])
    }

    @Test func anEndThatWasDealtWithIsNotCountedAgain() {
        var record = InstanceRecord(token: 7, assignment: nil, since: Timestamp(milliseconds: 0))
        if case .assigned(_, let assignment) = H.wish() { record.assignment = assignment }
        record.attempt = 3
        record.generation = 1
        record.state = .failed
        let run = FoundInstance.Run(key: H.run(3), deadline: nil, stopGrace: .seconds(10), mayLive: false)
        var harness = H(adopting: [FoundInstance(instance: web, record: record, runs: [run])])
        #expect(harness.adopted.isEmpty)
        #expect(harness.register([web: H.wish()]).isEmpty)
        #expect(harness.report?.state == .failed)
    }

    @Test func aNewStartThatCouldNotBeginYetIsNotTakenForTheOldEnd() throws {
        var harness = H()
        let change: (inout ComponentSpecification) -> Void = { component in
            Self.stopping(&component)
            component.restart.when = .never
        }
        _ = harness.register([web: H.wish(change)])
        _ = harness.started(H.run(1))
        _ = harness.send(.ended(H.run(1), harness.end(.exited(code: 1))))
        #expect(harness.report?.state == .failed)
        // Wanted again, by an agent that may not begin it now, and that is killed then.
        _ = harness.pass(.seconds(100))
        _ = harness.send(.reported([web: 7]))
        let effects = harness.send(.changed([web: H.wish(generation: 2, change)]))
        #expect(effects.starts.isEmpty)
        let record = try #require(effects.saved)
        let run = FoundInstance.Run(key: H.run(1), deadline: nil, stopGrace: .seconds(10), mayLive: false)
        var next = H(secondsUp: 2_000, adopting: [FoundInstance(instance: web, record: record, runs: [run])])
        #expect(next.adopted.isEmpty)
        #expect(next.register([web: H.wish(generation: 2, change)]).starts == [H.run(2)])
    }

    @Test func aRunWhoseFileIsLostRunsOnAndIsKnownAgainWhenTheStoreIsRead() {
        let run = FoundInstance.Run(key: H.run(3), deadline: nil, stopGrace: .seconds(10), mayLive: true)
        var harness = H(adopting: [FoundInstance(instance: web, record: nil, runs: [run])])
        _ = harness.started(H.run(3))
        #expect(harness.pass(.seconds(1_000)).deeds.isEmpty)
        #expect(harness.register([web: H.wish()]).deeds.isEmpty)
        #expect(harness.report?.state == .running)
        _ = harness.send(.ended(H.run(3), harness.end(.exited(code: 1))))
        #expect(harness.pass(.seconds(1)).starts == [H.run(4)])
    }

    @Test func aPauseGoesOnAfterARestartOfTheAgentAndIsNeverLongerThanThePolicysLongest() {
        var record = InstanceRecord(token: 7, assignment: nil, since: Timestamp(milliseconds: 0))
        if case .assigned(_, let assignment) = H.wish() { record.assignment = assignment }
        record.attempt = 1
        record.generation = 1
        record.state = .waiting
        record.retryAt = Timestamp(milliseconds: .max / 2)
        var harness = H(adopting: [FoundInstance(instance: web, record: record, runs: [])])
        #expect(harness.register([web: H.wish()]).starts.isEmpty)
        #expect(harness.pass(.seconds(299)).starts.isEmpty)
        #expect(harness.pass(.seconds(1)).starts == [H.run(2)])
    }

    @Test func reportsAreWrittenAtOnceWhenTheStateChangesAndElseOnceASecond() {
        var book = ReportBook()
        let second = InstanceID(assembly: "hello", component: "web", index: 1)
        var report = Report(token: 7, generation: 1, state: .starting, since: Timestamp(milliseconds: 0))
        let now = BootTime(nanoseconds: 1_000_000_000_000)
        book.begin([second: StoredReport(report: nil, revision: 8)])
        typealias Write = ReportBook.Write
        var due = book.due([web: report], now)
        #expect(
            due.writes == [
                Write(instance: web, report: report, knownRevision: 0),
                Write(instance: second, report: nil, knownRevision: 8),
            ])
        book.done(due.writes, revision: 9, now)
        report.outputs = ["a": "b"]
        due = book.due([web: report], now + .milliseconds(400))
        #expect(due.writes.isEmpty)
        #expect(due.askAgain == now + .seconds(1))
        let next = [Write(instance: web, report: report, knownRevision: 9)]
        #expect(book.due([web: report], now + .seconds(1)).writes == next)
        report.state = .running
        #expect(book.due([web: report], now + .milliseconds(400)).writes.map(\.report) == [report])
        // What the lease's last registration wrote stands; under another lease all is written again.
        book.begin([web: StoredReport(report: report, revision: 12)])
        #expect(book.due([web: report], now).writes.isEmpty)
        book.begin([web: StoredReport(report: nil, revision: 12)])
        #expect(book.due([web: report], now).writes == [Write(instance: web, report: report, knownRevision: 12)])
    }

    @Test func aTransactionHasABoundedNumberOfReports() {
        let book = ReportBook()
        let report = Report(token: 7, generation: 1, state: .starting, since: Timestamp(milliseconds: 0))
        let instances = (0..<250).map { InstanceID(assembly: "hello", component: "web", index: $0) }
        let wanted = Dictionary(uniqueKeysWithValues: instances.map { ($0, report) })
        let due = book.due(wanted, BootTime(nanoseconds: 5))
        #expect(due.writes.count == 60)
        #expect(due.askAgain == BootTime(nanoseconds: 5))
    }

    @Test func aReportWhoseAssignmentIsGoneDoesNotHoldUpOthers() {
        var book = ReportBook()
        let second = InstanceID(assembly: "hello", component: "web", index: 1)
        let now = BootTime(nanoseconds: 5)
        let report = Report(token: 7, generation: 1, state: .starting, since: Timestamp(milliseconds: 0))
        let wanted = [web: report, second: report]
        let due = book.due(wanted, awaited: [web: 7, second: 7], now)
        #expect(due.writes.count == 2)
        book.refuse(due.writes, assigned: [web: 9, second: 7])
        #expect(book.due(wanted, awaited: [web: 7, second: 7], now).writes.map(\.instance) == [second])
        // The assignment that is there now has its own report.
        #expect(book.due(wanted, awaited: [web: 9, second: 7], now).writes.count == 2)
    }

    @Test func thePauseAfterReportsThatWereNotWrittenDoublesUpToASecond() {
        let pauses = [0, 1, 2, 5, 6, 1_000].map { NodeLoop.pause(afterMismatches: $0) }
        #expect(pauses == [20, 40, 80, 640, 1_000, 1_000].map { .milliseconds($0) })
    }

    @Test func outputsThatAreNoneAreIgnored() {
        let text = "a=1\nb = 2\n=x\nnothing\nurl=http://h:1/?a=b\r\na=3\nbell=\u{7}\n9=x\n\u{e9}=x\nlast=yes"
        #expect(Outputs.parse(Array(text.utf8)) == ["a": "3", "url": "http://h:1/?a=b", "last": "yes"])
        #expect(Outputs.parse([0x61, 0x3d, 0xff, 0x0a]).isEmpty)
        let many = (0..<100).map { "n\($0)=x\n" }.joined()
        #expect(Outputs.parse(Array(many.utf8)).count == Outputs.mostNames)
        let long = "a=1\nb=" + String(repeating: "x", count: 5_000)
        #expect(Outputs.parse(Array(long.utf8)) == ["a": "1"])
    }
}
