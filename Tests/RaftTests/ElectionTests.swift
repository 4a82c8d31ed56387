import Testing

@testable import Raft

@Suite struct ElectionTests {
    @Test func aMemberThatHearsNobodyIsElected() throws {
        var cluster = try TestCluster(voters: 3)
        cluster.tick(1, times: 20)
        try cluster.settle()
        #expect(cluster[1].status.role == .leader)
        #expect((1...3).allSatisfy { cluster[$0].status.leader == 1 && cluster[$0].status.term == 1 })
    }

    @Test func theSameSeedGivesTheSameTimeouts() throws {
        func timeouts(_ seed: UInt64) throws -> [Int] {
            var node = try RaftNode(
                RaftConfiguration(id: 1, randomSeed: seed), InitialState(configuration: ConfState(voters: [1, 2])))
            return (0..<20).map { _ in
                node.becomeFollower(1, leader: .none)
                return node.randomizedElectionTimeoutTicks
            }
        }
        #expect(try timeouts(7) == timeouts(7))
        #expect(try timeouts(7) != timeouts(8))
        #expect(try timeouts(7).allSatisfy { (10..<20).contains($0) })
    }

    @Test func aCutOffMemberDoesNotDisturbWhenItComesBack() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [3]
        cluster.tick(3, times: 100)
        try cluster.settle()
        #expect(cluster[3].status.term == 1, "a pre-vote must not raise the term")
        cluster.isolated = []
        cluster.tick(3, times: 20)
        try cluster.settle()
        #expect(cluster[1].status.role == .leader)
        #expect(cluster[1].status.term == 1)
        cluster.tick(1)
        try cluster.settle()
        #expect(cluster[3].status.leader == 1)
    }

    @Test func withoutPreVoteALoneCandidateRaisesItsTermAndDeposesTheLeaderThroughItsAnswer() throws {
        var cluster = try TestCluster(voters: 3) { $0.preVote = false }
        try cluster.elect(1)
        cluster.isolated = [3]
        cluster.tick(3, times: 40)
        try cluster.settle()
        let ahead = cluster[3].status.term
        #expect(ahead > 1)
        cluster.isolated = []
        cluster.tick(1)
        try cluster.settle()
        // The lease keeps the vote request from counting, but the stuck candidate's answer to the
        // heartbeat tells the leader its term, so that the cluster can move on.
        #expect(cluster[1].status.term == ahead)
    }

    @Test func aLeaderWithoutAMajorityStepsDown() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [1]
        cluster.tick(1, times: 21)
        try cluster.settle()
        #expect(cluster[1].status.role == .follower)
        #expect(cluster[1].status.leader == .none)
    }

    @Test func aVoteIsGivenOncePerTermAndSurvivesARestart() throws {
        var cluster = try TestCluster(voters: 3) { $0.preVote = false }
        let request = Message(kind: .vote, to: 3, from: 1, term: 5)
        try cluster[3].step(request)
        #expect(cluster[3].takeReady().messagesAfterAppend.isEmpty == false)
        #expect(cluster[3].status.vote == 1)
        try cluster.members[2].restart()
        #expect(cluster[3].status.vote == .none, "the vote was not durable, and its answer had not left")
        try cluster[3].step(request)
        try cluster.settle()
        try cluster.members[2].restart()
        #expect(cluster[3].status.vote == 1)
        try cluster[3].step(Message(kind: .vote, to: 3, from: 2, term: 5))
        #expect(cluster[3].takeReady().messagesAfterAppend.map(\.reject) == [true])
    }

    @Test func aCandidateWithAnOlderLogIsRefused() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [3]
        try cluster.propose(1, "a")
        try cluster.settle()
        cluster.isolated = [1]
        cluster.tick(2, times: 10)
        try cluster.elect(3)
        #expect(cluster[3].status.role != .leader)
        cluster.tick(3, times: 20)
        try cluster.elect(2)
        #expect(cluster[2].status.role == .leader)
        #expect(cluster.appliedPayloads(3) == ["a"])
    }

    @Test func aLearnerDoesNotCampaign() throws {
        var cluster = try TestCluster(voters: 1, learners: 1)
        #expect(throws: RaftError.cannotCampaign(.notVoter)) { try cluster[2].campaign() }
    }

    @Test func aMemberWithACommittedButUnappliedMembershipChangeDoesNotCampaign() throws {
        let change = Entry(
            term: 1, index: 1, kind: .confChangeV2,
            payload: ConfChangeV2(changes: [MemberChange(.addVoter, 2)]).encoded())
        var node = try RaftNode(
            RaftConfiguration(id: 1, randomSeed: 1),
            InitialState(
                hardState: HardState(term: 1, commit: 1), configuration: ConfState(voters: [1]), entries: [change]))
        #expect(throws: RaftError.cannotCampaign(.unappliedConfChange)) { try node.campaign() }
        let ready = node.takeReady()
        #expect(ready.committed == [change] && ready.commitMustBeDurableBeforeApply)
        #expect(node.applyConfChange(try #require(try ConfChangeV2(change))).voters == [1, 2])
        node.applied(upTo: 1)
        try node.campaign()
        #expect(node.status.role == .preCandidate)
    }

    /// Else it could lose the term in a crash, win it again by the same votes, and write another log in it.
    @Test func aCandidateDoesNotLeadBeforeItsOwnVoteIsDurable() throws {
        var node = try RaftNode(
            RaftConfiguration(id: 1, preVote: false, randomSeed: 1),
            InitialState(configuration: ConfState(voters: [1, 2, 3])))
        try node.campaign()
        let ready = node.takeReady()
        for voter in [MemberID(2), 3] {
            try node.step(Message(kind: .voteResponse, to: 1, from: voter, term: 1))
        }
        #expect(node.status.role == .candidate)
        for message in ready.messagesAfterAppend { try node.step(message) }
        #expect(node.status.role == .leader)
    }

    /// Its own vote is durable long after the other that it needs; meanwhile a later term has committed entries.
    @Test func aLeaderElectedTooLateCommitsNothingAndTakesItsSuccessorsLog() throws {
        var cluster = try TestCluster(voters: 3) {
            $0.preVote = false
            $0.checkQuorum = false
        }
        try cluster.elect(1)
        try cluster.propose(1, "a")
        try cluster.settle()
        // Member 3 has member 2's vote for term 2, not yet its own.
        try cluster[3].campaign()
        let campaign = cluster.members[2].takeReady()
        #expect(campaign.map(\.to) == [1, 2])
        try cluster[2].step(campaign[1])
        let votes = cluster.members[1].takeReady() + cluster.finishWrite(1)
        #expect(votes.map(\.reject) == [false])
        try cluster[3].step(votes[0])
        #expect(cluster[3].status.role == .candidate)
        // Term 3.
        cluster.members[2].isDown = true
        try cluster[1].step(campaign[0])
        try cluster.elect(1)
        try cluster.propose(1, "b")
        try cluster.settle()
        #expect(cluster[1].status.term == 3 && cluster.appliedPayloads(2) == ["a", "b"])
        cluster.members[2].isDown = false
        _ = cluster.finishWrite(2)
        #expect(cluster[3].status.role == .leader && cluster[3].status.term == 2)
        try cluster.propose(3, "c")
        try cluster.settle()
        cluster.tick(1)
        try cluster.settle()
        #expect(cluster[3].status.role == .follower && cluster[3].status.term == 3)
        #expect((1...3).allSatisfy { cluster.appliedPayloads($0) == ["a", "b"] })
    }
}
