import Testing

@testable import Raft

/// What is refused before anything runs, and what an operator is shown.
@Suite struct ConfigurationTests {
    private static let faults: [(field: String, change: @Sendable (inout RaftConfiguration) -> Void)] = [
        ("id", { $0.id = .none }),
        ("heartbeatTicks", { $0.heartbeatTicks = 0 }),
        ("electionTimeoutTicks", { $0.electionTimeoutTicks = 1 }),
        ("electionTimeoutTicks", { $0.electionTimeoutTicks = .max }),
        ("maxInflightMessages", { $0.maxInflightMessages = 0 }),
        ("maxBytesPerMessage", { $0.maxBytesPerMessage = -1 }),
        ("maxInflightBytes", { $0.maxInflightBytes = -1 }),
        ("maxInflightBytes", { $0.maxInflightBytes = 100 }),
        ("maxUncommittedBytes", { $0.maxUncommittedBytes = -1 }),
        ("maxCommittedBytesPerReady", { $0.maxCommittedBytesPerReady = .min }),
        (
            "readOnlyOption",
            {
                $0.readOnlyOption = .leaseBased
                $0.checkQuorum = false
            }
        ),
    ]

    @Test func aConfigurationThatCannotWorkIsRefusedByTheNameOfItsField() {
        for fault in Self.faults {
            var configuration = RaftConfiguration(id: 1, randomSeed: 1)
            fault.change(&configuration)
            do throws(RaftError) {
                _ = try RaftNode(configuration, InitialState(configuration: ConfState(voters: [1])))
                Issue.record("a wrong \(fault.field) was accepted")
            } catch {
                guard case .invalidConfiguration(let reason) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(reason.hasPrefix(fault.field + " "))
            }
        }
    }

    @Test(arguments: [
        ("id 0", ConfState(voters: [0])),
        ("learners has 2", ConfState(voters: [1, 2], learners: [2])),
        ("learnersNext has 2", ConfState(voters: [1], learnersNext: [2])),
        ("learnersNext has 1", ConfState(voters: [1], votersOutgoing: [1], learnersNext: [1])),
        ("voters is empty", ConfState(votersOutgoing: [1])),
        ("autoLeave", ConfState(voters: [1], autoLeave: true)),
    ]) func aMembershipThatContradictsItselfIsRefusedByTheNameOfItsList(words: String, members: ConfState) {
        let error = #expect(throws: RaftError.self) { try ClusterConfiguration(members) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test func everyRefusalSaysWhatToDo() {
        let errors: [RaftError] = [
            .proposalDropped(.noLeader), .proposalDropped(.transferring), .proposalDropped(.notMember),
            .proposalDropped(.tooMuchUncommitted), .proposalDropped(.forwardingDisabled), .cannotCampaign(.notVoter),
            .cannotCampaign(.installingSnapshot), .cannotCampaign(.unappliedConfChange), .cannotCampaign(.leaseHeld),
        ]
        #expect(Set(errors.map(\.description)).count == errors.count)
        #expect(errors.allSatisfy { $0.description.contains(" ") && !$0.description.contains("DropReason") })
    }

    @Test func theStatusOfALeaderShowsWhatEachMemberHasAndWhatIsUnderWay() throws {
        var cluster = try TestCluster(voters: 3, learners: 1) { $0.maxInflightMessages = 2 }
        try cluster.elect(1)
        cluster.isolated = [3]
        try cluster.propose(1, "abc")
        try cluster.settle()
        for text in ["d", "ef"] { try cluster[1].propose([Array(text.utf8)]) }
        cluster[1].readIndex(context: [1])
        let status = cluster[1].status
        #expect(status.role == .leader && status.leader == 1 && status.term == 1)
        #expect(status.commit == 2 && status.lastIndex == 4 && status.durable == 2)
        #expect(status.uncommittedBytes == 3 && status.waitingReads == 1)
        #expect(!status.isInstallingSnapshot && !status.hasUnappliedConfChange)
        #expect(status.progress.map(\.id) == [1, 2, 3, 4])
        #expect(status.progress.map(\.match) == [2, 2, 1, 2])
        #expect(status.progress[2].inflightMessages == 2 && status.progress[2].isPaused)
        #expect(status.progress[2].inflightBytes == 16 + 3 + 16 + 1)
        #expect(status.progress[3].isLearner)
        let text = status.description
        #expect(text.contains("1: leader, term 1, leader 1, log 1...4, durable 2, commit 2, applied 2"))
        #expect(text.contains("3: replicate, match 1, next 4, 2 messages and 36 bytes in flight, paused"))
    }

    @Test func theStatusOfAFollowerShowsASnapshotThatIsBeingInstalled() throws {
        var node = try RaftNode(
            RaftConfiguration(id: 1, randomSeed: 1), InitialState(configuration: ConfState(voters: [1, 2, 3])))
        let snapshot = SnapshotMetadata(index: 10, term: 1, configuration: ConfState(voters: [1, 2, 3]))
        try node.step(Message(kind: .snapshot, to: 1, from: 2, term: 1, snapshot: snapshot))
        #expect(node.status.isInstallingSnapshot && node.status.progress.isEmpty)
        #expect(node.status.description.contains("installing a snapshot"))
    }
}
