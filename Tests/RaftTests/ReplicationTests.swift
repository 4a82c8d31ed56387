import Testing

@testable import Raft

@Suite struct ReplicationTests {
    @Test func whatTheLeaderAcceptsIsAppliedEverywhereInOrder() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        try cluster.propose(1, "a", "b")
        try cluster.propose(2, "c")
        try cluster.settle()
        #expect((1...3).allSatisfy { cluster.appliedPayloads($0) == ["a", "b", "c"] })
    }

    @Test func entriesThatNeverCommittedAreReplacedByTheNewLeadersOnes() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [1]
        try cluster.propose(1, "lost 1", "lost 2", "lost 3")
        try cluster.settle()
        cluster.tick(3, times: 10)
        try cluster.elect(2)
        try cluster.propose(2, "kept")
        try cluster.settle()
        cluster.isolated = []
        cluster.tick(2)
        try cluster.settle()
        #expect(cluster.log(1) == ["1/1 ", "2/2 ", "2/3 kept"])
        #expect(cluster.appliedPayloads(1) == ["kept"])
        #expect(cluster.members[0].disk.entries == cluster.members[1].disk.entries)
    }

    /// Figure 3.7 of the dissertation: an entry of an older term is on a majority, yet must not be
    /// taken for committed.
    @Test func anOldTermsEntryOnAMajorityCommitsOnlyTogetherWithOneOfTheLeadersTerm() throws {
        var node = try RaftNode(
            RaftConfiguration(id: 1, preVote: false, randomSeed: 1),
            InitialState(
                hardState: HardState(term: 3), configuration: ConfState(voters: [1, 2, 3]),
                entries: [Entry(term: 1, index: 1, payload: []), Entry(term: 2, index: 2, payload: [2])]))
        try node.campaign()
        try node.step(Message(kind: .voteResponse, to: 1, from: 1, term: 4))
        try node.step(Message(kind: .voteResponse, to: 1, from: 2, term: 4))
        #expect(node.status.role == .leader && node.status.lastIndex == 3)
        try node.step(Message(kind: .appendResponse, to: 1, from: 2, term: 4, index: 2))
        #expect(node.status.commit == 0)
        try node.step(Message(kind: .appendResponse, to: 1, from: 2, term: 4, index: 3))
        #expect(node.status.commit == 0, "the leader's own copy counts only once it is durable")
        let ready = node.takeReady()
        for own in ready.messagesAfterAppend where own.to == 1 { try node.step(own) }
        #expect(node.status.commit == 3)
    }

    @Test func aLeaderAndAFollowerSkipWholeTermsToFindWhereTheirLogsAgree() throws {
        func entries(_ terms: [UInt64]) -> [Entry] {
            terms.enumerated().map { Entry(term: Term($1), index: LogIndex(UInt64($0 + 1)), payload: []) }
        }
        let members = ConfState(voters: [1, 2, 3])
        var leader = try RaftNode(
            RaftConfiguration(id: 1, preVote: false, randomSeed: 1),
            InitialState(
                hardState: HardState(term: 5), configuration: members, entries: entries([1, 3, 3, 3, 5, 5, 5, 5])))
        var follower = try RaftNode(
            RaftConfiguration(id: 2, randomSeed: 2),
            InitialState(
                hardState: HardState(term: 5), configuration: members, entries: entries([1, 2, 2, 4, 4, 4, 4, 4])))
        try leader.campaign()
        try leader.step(Message(kind: .voteResponse, to: 1, from: 1, term: 6))
        try leader.step(Message(kind: .voteResponse, to: 1, from: 3, term: 6))
        var probes = 0
        for _ in 0..<10 {
            for message in leader.takeReady().messages where message.to == 2 && message.kind == .append {
                probes += 1
                try follower.step(message)
            }
            for answer in follower.takeReady().messagesAfterAppend { try leader.step(answer) }
        }
        #expect(follower.entriesInMemory == leader.entriesInMemory)
        #expect(probes <= 4, "it took \(probes) appends")
    }

    @Test func theWindowToAFollowerIsBoundedInMessagesAndBytes() throws {
        var cluster = try TestCluster(voters: 2) {
            $0.maxInflightMessages = 4
            $0.maxBytesPerMessage = 100
            $0.maxInflightBytes = 300
        }
        try cluster.elect(1)
        for _ in 0..<20 { try cluster[1].propose([[UInt8](repeating: 1, count: 84)]) }
        var appends = cluster[1].takeReady().messages.filter { $0.kind == .append }
        #expect(appends.count == 3, "three messages of 100 bytes fill 300 bytes")
        let small = try TestCluster(voters: 2) { $0.maxInflightMessages = 4 }
        cluster = small
        try cluster.elect(1)
        for _ in 0..<20 { try cluster[1].propose([[1]]) }
        appends = cluster[1].takeReady().messages.filter { $0.kind == .append }
        #expect(appends.count == 4)
    }

    @Test func lostAppendsAreRepeatedAfterAHeartbeat() throws {
        var cluster = try TestCluster(voters: 3) { $0.maxInflightMessages = 2 }
        try cluster.elect(1)
        cluster.isolated = [3]
        for text in ["a", "b", "c", "d"] {
            try cluster.propose(1, text)
            try cluster.settle()
        }
        cluster.isolated = []
        for _ in 0..<4 {
            cluster.tick(1)
            try cluster.settle()
        }
        #expect(cluster.appliedPayloads(3) == ["a", "b", "c", "d"])
    }

    /// It lost what it had acknowledged: nothing can help it, and it must not keep the leader busy.
    @Test func aFollowerThatRefusesWhatItAcknowledgedIsAskedAgainOnlyAfterAHeartbeat() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        try cluster.propose(1, "a", "b")
        try cluster.settle()
        cluster[1].reportUnreachable(2)
        let refusal = Message(
            kind: .appendResponse, to: 1, from: 2, term: 1, logTerm: 1, index: 3, reject: true, rejectHint: 1)
        for _ in 0..<3 { try cluster[1].step(refusal) }
        #expect(cluster[1].takeReady().messages.isEmpty)
        let follower = try #require(cluster[1].progressRows.first { $0.id == 2 })
        #expect(follower.state == .probe && follower.match == 3 && follower.next == 4)
        try cluster[1].step(Message(kind: .heartbeatResponse, to: 1, from: 2, term: 1))
        #expect(cluster[1].takeReady().messages.map(\.index) == [3])
        #expect(cluster[1].progressRows.first { $0.id == 2 }?.next == 4)
    }

    @Test func proposalsAreDroppedWithoutALeaderAndWhenTooMuchIsUncommitted() throws {
        var cluster = try TestCluster(voters: 3) { $0.maxUncommittedBytes = 10 }
        #expect(throws: RaftError.proposalDropped(.noLeader)) { try cluster.propose(1, "a") }
        try cluster.elect(1)
        cluster.isolated = [1]
        try cluster.propose(1, "a proposal that is larger than the limit passes when it is the first")
        #expect(throws: RaftError.proposalDropped(.tooMuchUncommitted)) { try cluster.propose(1, "a") }
        try cluster.settle()
        cluster.isolated = []
        for _ in 0..<3 {
            cluster.tick(1)
            try cluster.settle()
        }
        try cluster.propose(1, "b")
        try cluster.settle()
        #expect(cluster.appliedPayloads(2).last == "b")
    }

    @Test func committedEntriesAreHandedOutInBoundedPieces() throws {
        var cluster = try TestCluster(voters: 1) { $0.maxCommittedBytesPerReady = 100 }
        try cluster.elect(1)
        try cluster[1].propose((0..<10).map { _ in [UInt8](repeating: 0, count: 34) })
        _ = cluster.members[0].takeReady()
        _ = cluster.finishWrite(0)
        let first = cluster[1].takeReady()
        #expect(first.committed.count == 2)
        #expect(cluster[1].takeReady().committed.isEmpty, "what is handed out must be applied before more follows")
        cluster[1].applied(upTo: first.committed[1].index)
        #expect(cluster[1].takeReady().committed.count == 2)
    }

    /// A follower passed it on to its leader, which lost the lead to this very follower and passes it back.
    @Test func aProposalThatComesBackToItsOriginIsAccepted() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        let entry = Entry(term: .zero, index: .zero, payload: Array("a".utf8))
        try cluster[1].step(Message(kind: .propose, to: MemberID(1), from: MemberID(1), entries: [entry]))
        try cluster[1].step(Message(kind: .readIndex, to: MemberID(1), from: MemberID(1), context: [1]))
        try cluster.settle()
        #expect(cluster.appliedPayloads(2) == ["a"])
    }
}
