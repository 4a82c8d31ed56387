import Testing

@testable import Replica

@Suite struct ConsensusMachineTests {
    // MARK: Proposals

    @Test func proposalsAreHeldUntilThereIsALeader() throws {
        var cluster = try TestMachines(3)
        cluster[2].propose(1, [1])
        cluster[1].propose(2, [2])
        cluster.exchange()
        #expect(cluster[2].payloads.isEmpty)
        try cluster.elect(1)
        cluster.tick()
        #expect(Set(cluster[3].payloads) == [[1], [2]])
        #expect(cluster[3].payloads.count == 2)
    }

    @Test func aWithdrawnProposalNeverEntersTheLog() throws {
        var cluster = try TestMachines(3)
        cluster[2].propose(1, [1])
        cluster[2].propose(2, [2])
        cluster[2].machine.withdraw([RequestID(1)])
        try cluster.elect(1)
        cluster.tick()
        #expect(cluster[1].payloads == [[2]])
    }

    @Test func proposalsPastTheLimitAreRefusedAtOnce() throws {
        var cluster = try TestMachines(3) { $0.raft.maxUncommittedBytes = 4 }
        try cluster.elect(1)
        cluster.isolated = [1]
        cluster[1].propose(1, [1, 2, 3])
        cluster[1].propose(2, [4, 5, 6])
        #expect(cluster[1].refused == [RequestID(2)])
    }

    /// Its lead may be over when it reaches the log: a lease must not end by the word of a former leader.
    @Test func whatALeaderDecidesEntersTheLogOnlyWhileItLeads() throws {
        var cluster = try TestMachines(3)
        func decide(_ term: UInt64) -> ProposedEntry {
            ProposedEntry(requestID: RequestID(1), payload: [UInt8(term)], leadingTerm: Term(term))
        }
        cluster[1].machine.propose([decide(1)])
        try cluster.elect(1)
        let term = cluster[1].machine.status.term.rawValue
        cluster[1].machine.propose([decide(term + 1), decide(term)])
        cluster[2].machine.propose([decide(term)])
        cluster.tick(2)
        #expect(cluster[3].payloads == [[UInt8(term)]])
        cluster.isolated = [1]
        cluster.tick(12, only: [2, 3])
        try cluster.elect(2)
        cluster.isolated = []
        cluster.tick(12)
        cluster[1].machine.propose([decide(term)])
        cluster.tick(2)
        #expect(cluster[3].payloads.count == 1)
    }

    @Test func aProposalForwardedToAFormerLeaderIsNoMalformedMessage() throws {
        var member = try TestMachine(1, of: 3)
        let entry = Entry(term: .zero, index: .zero, payload: [1])
        let message = Message(kind: .propose, to: MemberID(1), from: MemberID(2), entries: [entry])
        #expect(member.machine.receive([message]) == 0)
        let stranger = Message(kind: .heartbeatResponse, to: MemberID(1), from: MemberID(9), term: Term(1))
        #expect(member.machine.receive([stranger]) == 1)
    }

    // MARK: Reads

    @Test func readsThatComeWhileARoundRunsGoWithTheNext() throws {
        var cluster = try TestMachines(3)
        try cluster.elect(1)
        cluster[1].machine.read(ReadToken(1))
        cluster[1].machine.read(ReadToken(2))
        cluster[1].settle()
        cluster[1].machine.read(ReadToken(3))
        cluster.exchange()
        #expect(cluster[1].confirmed.map(\.tokens) == [[ReadToken(1), ReadToken(2)], [ReadToken(3)]])
    }

    @Test func aReadSeesWhatWasCommittedBeforeIt() throws {
        var cluster = try TestMachines(3)
        try cluster.elect(1)
        cluster[1].propose(1)
        cluster.exchange()
        let last = try #require(cluster[1].committed.last?.index)
        cluster[3].machine.read(ReadToken(1))
        cluster.exchange()
        #expect(try #require(cluster[3].confirmed.first).index >= last)
    }

    @Test func aReadWaitsForALeaderAndIsAskedAgainWhenTheLeaderGoes() throws {
        var cluster = try TestMachines(3)
        cluster[3].machine.read(ReadToken(1))
        cluster.exchange()
        #expect(cluster[3].confirmed.isEmpty)
        try cluster.elect(1)
        cluster.tick(6)
        #expect(cluster[3].confirmed.map(\.tokens) == [[ReadToken(1)]])
        cluster.isolated = [1]
        cluster[3].machine.read(ReadToken(2))
        cluster.exchange()
        cluster.tick(12, only: [2, 3])
        try cluster.elect(2)
        cluster.tick(6, only: [2, 3])
        #expect(cluster[3].confirmed.last?.tokens == [ReadToken(2)])
    }

    @Test func aLeaderThatIsCutOffConfirmsNothing() throws {
        var cluster = try TestMachines(3)
        try cluster.elect(1)
        cluster.isolated = [1]
        cluster[1].machine.read(ReadToken(1))
        cluster.tick(30)
        #expect(cluster[1].confirmed.isEmpty)
    }

    @Test func readsForTheLeaderAreRedirectedByWhoeverIsNot() throws {
        var cluster = try TestMachines(3)
        cluster[2].machine.read(ReadToken(1), onLeader: true)
        cluster[2].settle()
        #expect(cluster[2].redirected.map(\.leader) == [MemberID.none])
        try cluster.elect(1)
        cluster[2].machine.read(ReadToken(2), onLeader: true)
        cluster[1].machine.read(ReadToken(3), onLeader: true)
        cluster.exchange()
        #expect(cluster[2].redirected.map(\.leader) == [MemberID.none, MemberID(1)])
        #expect(cluster[1].confirmed.map(\.tokens) == [[ReadToken(3)]])
    }

    @Test func aReadForTheLeaderIsRedirectedWhenTheLeadIsLostWhileItWaits() throws {
        var cluster = try TestMachines(3)
        try cluster.elect(1)
        cluster.isolated = [1]
        // The first round gets no answer; the second read waits behind it.
        cluster[1].machine.read(ReadToken(1), onLeader: true)
        cluster[1].settle()
        cluster[1].machine.read(ReadToken(2), onLeader: true)
        cluster[1].settle()
        try cluster.elect(2)
        cluster.tick(30, only: [1])
        #expect(cluster[1].redirected.map(\.token).contains(ReadToken(2)))
        cluster.tick(12, only: [2, 3])
        try cluster.elect(2)
        cluster.isolated = []
        cluster.tick(12)
        #expect(cluster[1].redirected.map(\.token).contains(ReadToken(1)))
        #expect(cluster[1].confirmed.isEmpty)
    }

    // MARK: The log's length

    @Test func theLogIsCutBehindTheFlushedStateWhenItHasGrown() throws {
        var member = try TestMachines(1) {
            $0.snapshotCount = 10
            $0.catchUpEntries = 3
        }
        try member.elect(1)
        for number in 1...20 { member[1].propose(UInt64(number)) }
        let configuration = ConfState(voters: [MemberID(1)])
        member[1].machine.stateFlushed(upTo: LogIndex(13), configuration: configuration)
        member[1].settle()
        #expect(member[1].truncations.isEmpty)
        member[1].machine.stateFlushed(upTo: LogIndex(14), configuration: configuration)
        member[1].settle()
        #expect(member[1].truncations == [LogIndex(11)])
        #expect(member[1].machine.status.firstIndex == LogIndex(12))
    }

    /// Flush and apply report over different threads.
    @Test func aFlushMayBeReportedBeforeTheApplyThatItContains() throws {
        var member = try TestMachine(1, of: 1) {
            $0.snapshotCount = 2
            $0.catchUpEntries = 0
        }
        try member.machine.campaign()
        member.settle()
        let applied = try #require(member.committed.last).index
        for number in UInt64(1)...5 {
            member.machine.propose([ProposedEntry(requestID: RequestID(number), payload: [1])])
            member.settle(applying: false)
        }
        let last = try #require(member.committed.last).index
        member.machine.stateFlushed(upTo: last, configuration: ConfState(voters: [MemberID(1)]))
        member.settle()
        #expect(member.machine.status.firstIndex <= applied.next)
        member.machine.applied(upTo: last)
        member.machine.stateFlushed(upTo: last, configuration: ConfState(voters: [MemberID(1)]))
        #expect(member.machine.status.firstIndex == last.next)
    }
}
