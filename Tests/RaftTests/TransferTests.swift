import Testing

@testable import Raft

@Suite struct TransferTests {
    @Test func leadershipMovesToTheMemberNamedEvenThoughTheOthersHearTheLeader() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster[1].transferLeadership(to: 3)
        try cluster.settle()
        #expect((1...3).allSatisfy { cluster[$0].status.leader == 3 })
    }

    @Test func aFollowerPassesTheWishOn() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster[2].transferLeadership(to: 2)
        try cluster.settle()
        #expect(cluster[2].status.role == .leader)
    }

    @Test func theTransfereeCatchesUpFirstAndProposalsAreDroppedMeanwhile() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [3]
        try cluster.propose(1, "a")
        try cluster.settle()
        cluster[1].transferLeadership(to: 3)
        try cluster.settle()
        #expect(throws: RaftError.proposalDropped(.transferring)) { try cluster.propose(1, "b") }
        cluster.isolated = []
        cluster.tick(1)
        try cluster.settle()
        #expect(cluster[3].status.role == .leader)
        #expect(cluster.appliedPayloads(3) == ["a"])
    }

    @Test func aTransferThatDoesNotEndIsGivenUp() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [3]
        cluster[1].transferLeadership(to: 3)
        try cluster.settle()
        for _ in 0..<10 {
            cluster.tick(1)
            try cluster.settle()
        }
        #expect(cluster[1].status.transferee == .none)
        try cluster.propose(1, "a")
    }

    @Test func aLearnerIsNoTransferee() throws {
        var cluster = try TestCluster(voters: 2, learners: 1)
        try cluster.elect(1)
        cluster[1].transferLeadership(to: 3)
        cluster[1].transferLeadership(to: 99)
        #expect(cluster[1].status.transferee == .none)
    }
}
