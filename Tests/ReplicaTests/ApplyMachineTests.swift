import Testing

@testable import Replica

@Suite struct ApplyMachineTests {
    private let us = MemberID(1)
    private let other = MemberID(2)

    private func machine(_ history: MemoryHistory = MemoryHistory()) throws -> ApplyMachine<MemoryHistory> {
        try ApplyMachine(id: us, history: history, applied: .zero, term: .zero, configuration: ConfState())
    }

    private func put(_ index: UInt64, _ key: String, by origin: MemberID, authRevision: UInt64 = 0) -> Entry {
        let command = StoreCommand.put(PutCommand(key: Array(key.utf8), value: Array("v\(index)".utf8)))
        let proposal = Proposal(
            origin: origin, requestID: RequestID(index), authRevision: authRevision, command: .store(command))
        return Entry(term: Term(1), index: LogIndex(index), payload: proposal.encoded())
    }

    @Test func onlyTheOriginAnswers() throws {
        var machine = try machine()
        let batch = try machine.apply([put(1, "a", by: us), put(2, "b", by: other)])
        #expect(batch.answers.map(\.requestID) == [RequestID(1)])
        #expect(batch.answers.map(\.revision) == [2])
        #expect(machine.store.revision == 3)
        #expect(machine.applied == LogIndex(2))
    }

    @Test func aNewLeadersEmptyEntryChangesNothing() throws {
        var machine = try machine()
        let batch = try machine.apply([Entry(term: Term(1), index: LogIndex(1), payload: [])])
        #expect(batch.answers.isEmpty && machine.store.revision == 1 && machine.applied == LogIndex(1))
    }

    @Test func aProposalAdmittedUnderOtherPermissionsChangesNothing() throws {
        var machine = try machine()
        let batch = try machine.apply([put(1, "a", by: us, authRevision: 4)])
        guard case .authRevisionOld = try #require(batch.answers.first).outcome else {
            Issue.record("the proposal was carried out")
            return
        }
        #expect(machine.store.revision == 1)
    }

    @Test func anEntryThatCannotBeReadStopsTheMember() throws {
        var machine = try machine()
        #expect(throws: ProposalError.unknownFormat(9)) {
            try machine.apply([Entry(term: Term(1), index: LogIndex(1), payload: [9])])
        }
    }

    @Test func aLeaderThatStoodStillGivesLeasesBackTheTimeThatWasLost() throws {
        let second: Int64 = 1_000_000_000
        var machine = try machine()
        machine.leadershipChanged(isLeader: true, now: 0, leaseExtension: 0)
        let proposal = Proposal(
            origin: us, requestID: RequestID(1),
            command: .store(.leaseGrant(LeaseGrantCommand(id: 7, ttl: 5))))
        _ = try machine.apply([Entry(term: Term(1), index: LogIndex(1), payload: proposal.encoded())])
        func expires(at now: Int64) -> Bool {
            let lost = machine.lookedAtClock(now: now)
            #expect(lost == 0 || lost > second)
            return !machine.expiredLeases(now: now, limit: 9).isEmpty
        }
        // Two looks a second, as the driver has them; then the process is stopped for two minutes.
        for turn: Int64 in 0...4 { #expect(!expires(at: turn * second / 2)) }
        #expect(!expires(at: 122 * second))
        #expect(try machine.renewLease(7, now: 122 * second).get() == 5)
        for turn: Int64 in 0...9 { #expect(!expires(at: 122 * second + turn * second / 2)) }
        #expect(expires(at: 127 * second))
    }

    @Test func membersAreFoundAgainInTheHistory() throws {
        var first = try machine()
        first.bootstrap([
            MemberAttributes(id: other, name: "b", peerURLs: ["p"], clientURLs: []),
            MemberAttributes(id: us, name: "a", peerURLs: [], clientURLs: []),
        ])
        let published = MemberAttributes(id: other, name: "c", peerURLs: ["p"], clientURLs: ["http://c"])
        let proposal = Proposal(origin: other, requestID: RequestID(1), command: .publish(published))
        let batch = try first.apply([Entry(term: Term(1), index: LogIndex(1), payload: proposal.encoded())])
        #expect(batch.published == [other])
        #expect(first.configuration == ConfState(voters: [us, other]))
        let again = try ApplyMachine(
            id: us, history: first.store.history, applied: LogIndex(1), term: Term(1),
            configuration: first.configuration)
        #expect(again.members == first.members)
        #expect(again.members.map(\.name) == ["a", "c"])
    }

    /// A snapshot brings a state whose events were never published here.
    @Test func watchesOutliveAnInstalledSnapshotAndMissNothing() throws {
        var late = try machine()
        var ahead = try machine()
        let entries = (1...6).map { put(UInt64($0), "k\($0 % 2)", by: other) }
        _ = try ahead.apply(entries)
        _ = try late.apply(Array(entries[..<2]))
        let watch = try late.createWatch(WatchRequest(key: Array("k".utf8), rangeEnd: Array("l".utf8))).get()

        try late.replaceState(
            ahead.store.history, applied: LogIndex(6), term: Term(1), configuration: ahead.configuration)
        #expect(late.store.revision == 7 && late.applied == LogIndex(6))
        var seen: [[UInt8]] = []
        var rounds = 0
        while late.watchesNeedCatchUp, rounds < 10 {
            rounds += 1
            for delivery in try late.catchUpWatches() where delivery.watch == watch {
                if case .events(let events) = delivery.content { seen += events }
            }
        }
        #expect(seen.count == 4)
        let more = try late.apply([put(7, "k0", by: other)])
        #expect(more.deliveries.map(\.watch) == [watch])
        #expect(try late.store.digest() != ahead.store.digest())
        _ = try ahead.apply([put(7, "k0", by: other)])
        #expect(try late.store.digest() == ahead.store.digest())
    }

    @Test func onlyTheLeaderLetsLeasesRunOut() throws {
        var machine = try machine()
        let grant = Proposal(
            origin: us, requestID: RequestID(1), command: .store(.leaseGrant(LeaseGrantCommand(id: 5, ttl: 2))))
        _ = try machine.apply([Entry(term: Term(1), index: LogIndex(1), payload: grant.encoded())])
        let second: Int64 = 1_000_000_000
        #expect(machine.expiredLeases(now: 100 * second, limit: 10).isEmpty)
        #expect(machine.renewLease(5, now: 100 * second) == .failure(.notPrimary))
        machine.leadershipChanged(isLeader: true, now: 100 * second, leaseExtension: second)
        #expect(machine.expiredLeases(now: 102 * second + 1, limit: 10).isEmpty, "an election timeout is added")
        #expect(machine.renewLease(5, now: 102 * second) == .success(2))
        #expect(machine.expiredLeases(now: 105 * second, limit: 10) == [5])
        machine.leadershipChanged(isLeader: false, now: 105 * second, leaseExtension: 0)
        #expect(machine.expiredLeases(now: 200 * second, limit: 10).isEmpty)
    }

    @Test func aStatePastItsQuotaRaisesTheAlarmOnce() throws {
        var machine = try machine()
        #expect(machine.alarm(forSize: 100, quota: 100) == nil)
        let command = try #require(machine.alarm(forSize: 101, quota: 100))
        #expect(command == .alarm(AlarmCommand(.activate, Alarm(.noSpace, member: us.rawValue))))
        let proposal = Proposal(origin: us, requestID: RequestID(1), command: .store(command))
        _ = try machine.apply([Entry(term: Term(1), index: LogIndex(1), payload: proposal.encoded())])
        #expect(machine.alarm(forSize: 101, quota: 100) == nil)
        let batch = try machine.apply([put(2, "a", by: us)])
        guard case .command(.failure(.noSpace)) = try #require(batch.answers.first).outcome else {
            Issue.record("a put was accepted")
            return
        }
    }
}
