import Testing

@testable import Raft

/// Asynchronous writes: what may be believed before, and after, they are reported.
@Suite struct StorageTests {
    private func follower() throws -> RaftNode {
        try RaftNode(
            RaftConfiguration(id: 1, randomSeed: 1), InitialState(configuration: ConfState(voters: [1, 2, 3])))
    }

    private func append(from: MemberID, term: Term, after: (LogIndex, Term), commit: LogIndex = 0, _ terms: Term...)
        -> Message
    {
        var entries: [Entry] = []
        for (offset, term) in terms.enumerated() {
            entries.append(Entry(term: term, index: after.0 + UInt64(offset + 1), payload: []))
        }
        return Message(
            kind: .append, to: 1, from: from, term: term, logTerm: after.1, index: after.0, entries: entries,
            commit: commit)
    }

    @Test func votesAndAcknowledgementsWaitForTheWriteAndNothingElseDoes() throws {
        var node = try follower()
        try node.step(append(from: 2, term: 1, after: (0, 0), 1))
        try node.step(Message(kind: .heartbeat, to: 1, from: 2, term: 1))
        let ready = node.takeReady()
        #expect(ready.messages.map(\.kind) == [.heartbeatResponse])
        #expect(ready.messagesAfterAppend.map(\.kind) == [.appendResponse])
        #expect(ready.mustSync)
    }

    @Test func committedEntriesWaitUntilTheyAreDurableHere() throws {
        var node = try follower()
        try node.step(append(from: 2, term: 1, after: (0, 0), commit: 2, 1, 1))
        #expect(node.takeReady().committed.isEmpty)
        #expect(!node.hasReady)
        node.appended(term: 1, index: 2)
        #expect(node.takeReady().committed.map(\.index) == [1, 2])
        #expect(!node.hasReady, "each is handed out once")
    }

    /// The same (term, index) is written, replaced and written again before the first write is reported.
    @Test func aReportOfAWriteThatWasReplacedSaysNothingOfItsSuccessor() throws {
        var node = try follower()
        try node.step(append(from: 2, term: 1, after: (0, 0), 1, 1))
        _ = node.takeReady()
        try node.step(append(from: 3, term: 2, after: (1, 1), 2))
        _ = node.takeReady()
        try node.step(append(from: 2, term: 3, after: (1, 1), commit: 2, 1))
        let third = node.takeReady()
        #expect(third.entriesToAppend.map(\.term) == [1])

        node.appended(term: 1, index: 2)
        #expect(node.takeReady().committed.map(\.index) == [1], "the first write proves only entry 1")
        node.appended(term: 2, index: 2)
        #expect(node.takeReady().committed.isEmpty)
        node.appended(term: 1, index: 2)
        #expect(node.takeReady().committed.map(\.index) == [2])
    }

    @Test func oneReportMayStandForSeveralWrites() throws {
        var node = try follower()
        try node.step(append(from: 2, term: 1, after: (0, 0), commit: 1, 1))
        _ = node.takeReady()
        try node.step(append(from: 2, term: 1, after: (1, 1), commit: 3, 1, 1))
        _ = node.takeReady()
        node.appended(term: 1, index: 3)
        #expect(node.takeReady().committed.map(\.index) == [1, 2, 3])
    }

    @Test func anOldAppendDoesNotCutOffNewerEntries() throws {
        var node = try follower()
        let old = append(from: 2, term: 1, after: (0, 0), 1)
        try node.step(append(from: 2, term: 1, after: (0, 0), 1, 1, 1))
        try node.step(old)
        #expect(node.status.lastIndex == 3)
    }

    @Test func aMemberComesBackWithWhatWasDurableAndAppliesTheRestAgain() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        try cluster.propose(1, "a", "b")
        try cluster.settle()
        for index in 0..<3 { try cluster.members[index].restart() }
        #expect((1...3).allSatisfy { cluster[$0].status.lastIndex == 3 && cluster[$0].status.applied == 3 })
        try cluster.elect(3)
        try cluster.propose(3, "c")
        try cluster.settle()
        #expect((1...3).allSatisfy { cluster.appliedPayloads($0) == ["a", "b", "c"] })
    }

    @Test func stateThatContradictsItselfIsRefused() {
        let members = ConfState(voters: [1])
        func isRefused(_ state: InitialState) -> Bool {
            do throws(RaftError) {
                _ = try RaftNode(RaftConfiguration(id: 1, randomSeed: 1), state)
                return false
            } catch {
                return true
            }
        }
        let gap = [Entry(term: 1, index: 1, payload: []), Entry(term: 1, index: 3, payload: [])]
        let back = [Entry(term: 2, index: 1, payload: []), Entry(term: 1, index: 2, payload: [])]
        #expect(isRefused(InitialState(hardState: HardState(term: 2), configuration: members, entries: gap)))
        #expect(isRefused(InitialState(hardState: HardState(term: 2), configuration: members, entries: back)))
        #expect(isRefused(InitialState(hardState: HardState(term: 2, commit: 1), configuration: members)))
        #expect(isRefused(InitialState(configuration: members, applied: 4)))
        #expect(isRefused(InitialState(configuration: members, base: (5, 1), applied: 4)))
        #expect(isRefused(InitialState(configuration: ConfState(voters: [1, 2], learners: [2]))))
    }
}
