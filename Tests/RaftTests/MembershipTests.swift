import Testing

@testable import Raft

@Suite struct MembershipTests {
    @Test func aMemberIsAddedAsLearnerCatchesUpAndIsPromoted() throws {
        var cluster = try TestCluster(voters: 3, spare: 1)
        try cluster.elect(1)
        try cluster.propose(1, "a")
        try cluster.settle()
        try cluster[1].proposeConfChange(ConfChange(MemberChange(.addLearner, 4)))
        try cluster.settle()
        cluster.tick(1)
        try cluster.settle()
        #expect(cluster.appliedPayloads(4).contains("a"))
        #expect(cluster[4].status.configuration.learners == [4], "it knows the founders by a snapshot")
        try cluster[2].proposeConfChange(ConfChangeV2(changes: [MemberChange(.addVoter, 4)]))
        try cluster.settle()
        #expect((1...4).allSatisfy { cluster[$0].status.configuration == ConfState(voters: [1, 2, 3, 4]) })
    }

    @Test func severalChangesGoThroughAJointConfigurationThatIsLeftByItself() throws {
        var cluster = try TestCluster(voters: 3, spare: 2)
        try cluster.elect(1)
        try cluster[1].proposeConfChange(
            ConfChangeV2(changes: [
                MemberChange(.addVoter, 4), MemberChange(.addVoter, 5), MemberChange(.remove, 2),
                MemberChange(.addLearner, 3),
            ]))
        for _ in 0..<4 {
            try cluster.settle()
            cluster.tick(1)
        }
        try cluster.settle()
        let expected = ConfState(voters: [1, 4, 5], learners: [3])
        for number in [1, 3, 4, 5] { #expect(cluster[number].status.configuration == expected) }
    }

    @Test func whileJointBothMajoritiesAreNeeded() throws {
        var cluster = try TestCluster(voters: 3, spare: 2)
        try cluster.elect(1)
        try cluster[1].proposeConfChange(
            ConfChangeV2(
                transition: .jointExplicit,
                changes: [
                    MemberChange(.addVoter, 4), MemberChange(.addVoter, 5), MemberChange(.remove, 2),
                    MemberChange(.remove, 3),
                ]))
        for _ in 0..<4 {
            try cluster.settle()
            cluster.tick(1)
        }
        try cluster.settle()
        cluster.isolated = [2, 3]
        try cluster.propose(1, "needs the old majority")
        try cluster.settle()
        #expect(!cluster.appliedPayloads(4).contains("needs the old majority"))
        cluster.isolated = []
        for _ in 0..<3 {
            cluster.tick(1)
            try cluster.settle()
        }
        #expect(cluster.appliedPayloads(4).contains("needs the old majority"))
        try cluster[1].proposeConfChange(ConfChangeV2())
        try cluster.settle()
        #expect(cluster[1].status.configuration == ConfState(voters: [1, 4, 5]))
    }

    @Test func aChangeThatDoesNotFitEntersTheLogAsAnEmptyEntry() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        try cluster[1].proposeConfChange(ConfChange(MemberChange(.remove, 3)))
        try cluster[1].proposeConfChange(ConfChange(MemberChange(.remove, 2)))
        try cluster.settle()
        #expect(cluster[1].status.configuration.voters == [1, 2])
        #expect(cluster[1].entriesInMemory.map(\.kind) == [.normal, .confChange, .normal])
        try cluster[1].proposeConfChange(ConfChangeV2())
        try cluster.settle()
        #expect(cluster[1].entriesInMemory.last?.kind == .normal, "there is no joint configuration to leave")
    }

    @Test func theLastVoterCannotBeRemoved() throws {
        var cluster = try TestCluster(voters: 1)
        try cluster.elect(1)
        try cluster[1].proposeConfChange(ConfChange(MemberChange(.remove, 1)))
        try cluster.settle()
        #expect(cluster[1].status.configuration.voters == [1])
        #expect(cluster[1].applyConfChange(ConfChangeV2(changes: [MemberChange(.remove, 1)])).voters == [1])
    }

    @Test func aRemovedLeaderStepsDownAndTheOthersGoOn() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        try cluster[1].proposeConfChange(ConfChange(MemberChange(.remove, 1)))
        try cluster.settle()
        #expect(cluster[1].status.role == .follower)
        #expect(throws: RaftError.cannotCampaign(.notVoter)) { try cluster[1].campaign() }
        cluster.tick(3, times: 10)
        try cluster.elect(2)
        try cluster.propose(2, "a")
        try cluster.settle()
        #expect(cluster.appliedPayloads(3) == ["a"])
    }

    @Test func changesSurviveTheirEncoding() throws {
        let change = ConfChangeV2(
            transition: .jointExplicit, changes: [MemberChange(.addLearner, 7), MemberChange(.remove, MemberID(.max))],
            context: [1, 2, 3])
        #expect(try ConfChangeV2(decoding: change.encoded()) == change)
        #expect(try ConfChangeV2(decoding: []) == ConfChangeV2())
        let single = ConfChange(MemberChange(.addVoter, 3), context: [9])
        #expect(try ConfChange(decoding: single.encoded()) == single)
        for length in 0..<21 {
            #expect(throws: RaftError.self) { try ConfChangeV2(decoding: Array(change.encoded()[..<max(1, length)])) }
        }
        #expect(throws: RaftError.self) { try ConfChange(decoding: []) }
        #expect(throws: RaftError.self) { try ConfChangeV2(decoding: [1, 0, 255, 255]) }
        #expect(throws: RaftError.self) { try ConfChangeV2(decoding: [2, 0, 0, 0]) }
    }
}
