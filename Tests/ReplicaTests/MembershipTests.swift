import Testing

@testable import Replica

@Suite struct MembershipTests {
    private func joiner(_ number: UInt64, isLearner: Bool = false) -> MemberAttributes {
        var member = TestReplicas.attributes(MemberID(number))
        member.isLearner = isLearner
        return member
    }

    private func error(_ outcome: Answer.Outcome?) -> MembershipError? {
        if case .membership(.failure(let error)) = outcome { error } else { nil }
    }

    private func list(_ outcome: Answer.Outcome?) -> [UInt64]? {
        if case .membership(.success(let members)) = outcome { members.map(\.id.rawValue) } else { nil }
    }

    /// Nothing in the log says who founded the cluster, so the log alone, though all of it is there, makes no member.
    @Test func aMemberThatJoinsGetsTheStateAndThenTheLog() throws {
        var cluster = try TestReplicas(3)
        try cluster.elect(1)
        try cluster.put(1, on: 1, "a")
        try cluster.start(4)
        try cluster.change(2, on: 2, .add(joiner(4)))
        try cluster.tick(3)
        #expect(list(cluster[2].answer(to: 2)) == [1, 2, 3, 4])
        try cluster.put(3, on: 4, "b")
        try cluster.tick()
        for number: UInt64 in 1...4 {
            #expect(cluster[number].apply.members.map(\.id.rawValue) == [1, 2, 3, 4])
            #expect(cluster[number].apply.configuration == cluster[1].apply.configuration)
            #expect(cluster[number].consensus.status.configuration == cluster[1].apply.configuration)
            #expect(try cluster[number].apply.store.digest() == cluster[1].apply.store.digest())
        }
        #expect(cluster[4].apply.store.revision == 3)
        // Its vote is needed now, and counts.
        cluster.isolated = [1, 3]
        try cluster.elect(2)
        #expect(!cluster[2].consensus.leadership.isLeader)
        cluster.isolated = [1]
        try cluster.tick(25, only: [2, 3, 4])
        #expect([2, 3, 4].contains { cluster[$0].consensus.leadership.isLeader })
    }

    @Test func aLearnerIsPromotedByTheLeaderOnceItHasCaughtUp() throws {
        var cluster = try TestReplicas(3)
        try cluster.elect(1)
        for number: UInt64 in 10..<40 { try cluster.put(number, on: 1, "k\(number)") }
        try cluster.change(1, on: 1, .add(joiner(4, isLearner: true)))
        #expect(cluster[1].apply.configuration.learners == [MemberID(4)])
        try cluster.change(2, on: 1, .promote(MemberID(4)))
        #expect(cluster[1].refused.map(\.reason) == [.learnerNotReady])
        try cluster.start(4)
        try cluster.tick(3)
        try cluster.change(3, on: 2, .promote(MemberID(4)))
        #expect(cluster[2].refused.map(\.reason) == [.notLeader(MemberID(1))])
        try cluster.change(4, on: 1, .promote(MemberID(4)))
        #expect(list(cluster[1].answer(to: 4)) == [1, 2, 3, 4])
        #expect(cluster[3].apply.configuration.voters.map(\.rawValue) == [1, 2, 3, 4])
        #expect(cluster[4].apply.members.allSatisfy { !$0.isLearner })
        try cluster.change(5, on: 1, .demote(MemberID(2)))
        #expect(cluster[4].apply.members.filter(\.isLearner).map(\.id) == [MemberID(2)])
    }

    @Test func aRemovedMemberHearsItAndItsIDIsNeverUsedAgain() throws {
        var cluster = try TestReplicas(3)
        try cluster.elect(1)
        try cluster.change(1, on: 1, .remove(MemberID(3)))
        #expect(list(cluster[1].answer(to: 1)) == [1, 2])
        try cluster.tick(2)
        #expect(cluster[2].removed == [MemberID(3)])
        try cluster.change(2, on: 1, .add(joiner(3)))
        #expect(error(cluster[1].answer(to: 2)) == .memberRemoved)
        try cluster.change(3, on: 1, .remove(MemberID(3)))
        #expect(error(cluster[1].answer(to: 3)) == .memberRemoved)
        // What it publishes late makes it no member again.
        let late = Proposal(origin: MemberID(3), requestID: RequestID(9), command: .publish(joiner(3)))
        cluster[1].consensus.propose([ProposedEntry(requestID: RequestID(9), payload: late.encoded())])
        try cluster.exchange()
        #expect(cluster[2].apply.members.map(\.id.rawValue) == [1, 2])
        let again = try ApplyMachine(
            id: MemberID(2), history: cluster[2].apply.store.history, applied: cluster[2].apply.applied,
            term: cluster[2].apply.appliedTerm, configuration: cluster[2].apply.configuration)
        #expect(again.removedMembers == [MemberID(3)] && again.members == cluster[2].apply.members)
    }

    @Test func aLeaderThatRemovesItselfAnswersAndLeavesTheRestToOthers() throws {
        var cluster = try TestReplicas(3)
        try cluster.elect(1)
        try cluster.change(1, on: 1, .remove(MemberID(1)))
        #expect(list(cluster[1].answer(to: 1)) == [2, 3])
        #expect(cluster[1].removed == [MemberID(1)] && !cluster[1].consensus.leadership.isLeader)
        try cluster.tick(25, only: [2, 3])
        #expect([2, 3].contains { cluster[$0].consensus.leadership.isLeader })
    }

    @Test func severalMembersAreReplacedThroughAJointConfiguration() throws {
        var cluster = try TestReplicas(3)
        try cluster.elect(1)
        for number: UInt64 in 4...5 { try cluster.start(number) }
        try cluster.change(
            1, on: 1, .add(joiner(4)), .add(joiner(5)), .remove(MemberID(2)), .remove(MemberID(3)))
        // Joint until the new majority has the log; who goes is a member until then.
        try cluster.tick(5)
        #expect(list(cluster[1].answer(to: 1)) == [1, 2, 3, 4, 5])
        #expect(cluster[1].apply.configuration == ConfState(voters: [1, 4, 5].map(MemberID.init)))
        for number: UInt64 in [1, 4, 5] {
            #expect(cluster[number].apply.members.map(\.id.rawValue) == [1, 4, 5])
            #expect(cluster[number].apply.removedMembers.map(\.rawValue) == [2, 3])
        }
        cluster.isolated = [2, 3]
        try cluster.put(2, on: 5, "after")
        #expect(cluster[5].answer(to: 2) != nil)
    }

    @Test func whatDoesNotFitTheMembersIsAnsweredAndChangesNothing() throws {
        var cluster = try TestReplicas(3)
        try cluster.elect(1)
        let before = cluster[2].apply.configuration
        var twin = joiner(4)
        twin.peerURLs = joiner(2).peerURLs
        let cases: [(MembershipError, [MemberListChange])] = [
            (.memberExists, [.add(joiner(2))]), (.peerURLExists, [.add(twin)]),
            (.memberNotFound, [.remove(MemberID(9))]), (.memberNotFound, [.promote(MemberID(9))]),
            (.memberNotFound, [.demote(MemberID(9))]), (.memberNotFound, [.update(MemberID(9), peerURLs: [])]),
            (.notLearner, [.promote(MemberID(2))]),
            (.peerURLExists, [.update(MemberID(3), peerURLs: joiner(2).peerURLs)]),
            (.memberNotFound, [.add(joiner(4)), .remove(MemberID(9))]),
        ]
        for (number, (expected, changes)) in cases.enumerated() {
            let request = UInt64(number + 1)
            cluster[1].consensus.proposeMembershipChange(
                MembershipProposal(requestID: RequestID(request), changes: changes))
            try cluster.tick(2)
            #expect(error(cluster[1].answer(to: request)) == expected, "\(changes)")
        }
        cluster[1].consensus.proposeMembershipChange(
            MembershipProposal(requestID: RequestID(80), changes: [1, 2, 3].map { .remove(MemberID($0)) }))
        try cluster.exchange()
        #expect(cluster[1].refused.map(\.reason) == [.membership(.noVoters)])
        #expect(cluster[2].apply.configuration == before && cluster[2].apply.members.count == 3)
        #expect(cluster[2].consensus.status.configuration == before)
        // A refusal holds up nobody: the next change is accepted.
        try cluster.change(90, on: 1, .update(MemberID(3), peerURLs: ["http://new:1"]))
        #expect(list(cluster[1].answer(to: 90)) == [1, 2, 3])
        #expect(cluster[2].apply.members.last?.peerURLs == ["http://new:1"])
    }

    @Test func aChangeOfSeveralMembersIsFinishedBeforeTheNextBegins() throws {
        var machine = try ApplyMachine(
            id: MemberID(1), history: MemoryHistory(), applied: .zero, term: .zero, configuration: ConfState())
        machine.bootstrap((1...3).map { TestReplicas.attributes(MemberID($0)) })
        func entry(_ index: UInt64, _ changes: MemberListChange...) -> Entry {
            let proposal = MembershipProposal(requestID: RequestID(index), changes: changes)
            return Entry(
                term: Term(1), index: LogIndex(index), kind: .confChangeV2,
                payload: proposal.confChange(origin: MemberID(1)).encoded())
        }
        let joint = try machine.apply([entry(1, .add(joiner(4)), .remove(MemberID(1)))])
        #expect(joint.membershipChanges.count == 1 && joint.removed.isEmpty)
        let early = try machine.apply([entry(2, .add(joiner(5)))])
        #expect(error(early.answers.first?.outcome) == .inTransition && early.membershipChanges.isEmpty)
        let leave = Entry(term: Term(1), index: LogIndex(3), kind: .confChangeV2, payload: [])
        let left = try machine.apply([leave])
        #expect(left.removed == [MemberID(1)] && machine.members.map(\.id.rawValue) == [2, 3, 4])
        #expect(throws: ProposalError.misplacedMembershipChange) {
            try machine.apply([
                Entry(
                    term: Term(1), index: LogIndex(4),
                    payload: Proposal(
                        origin: MemberID(1), requestID: RequestID(4), command: .members([.remove(MemberID(2))])
                    ).encoded())
            ])
        }
    }
}
