import Testing

@testable import Raft

@Suite struct SnapshotTests {
    private func clusterWithABehindFollower() throws -> TestCluster {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [3]
        try cluster.propose(1, "a", "b", "c")
        try cluster.settle()
        cluster.compact(1, upTo: 4)
        try cluster.propose(1, "d")
        try cluster.settle()
        cluster.isolated = []
        return cluster
    }

    @Test func aFollowerThatMissedCompactedEntriesCatchesUpFromASnapshotAndTheLog() throws {
        var cluster = try clusterWithABehindFollower()
        for _ in 0..<3 {
            cluster.tick(1)
            try cluster.settle()
        }
        try cluster.propose(1, "e")
        try cluster.settle()
        #expect(cluster.appliedPayloads(3) == ["a", "b", "c", "d", "e"])
        #expect(cluster[3].entriesInMemory.map(\.index) == [6])
        #expect(cluster[1].status.progress.map(\.replication) == [.replicate, .replicate, .replicate])
    }

    @Test func aFollowerThatMissedASnapshotCatchesUpFromTheNextOne() throws {
        var cluster = try clusterWithABehindFollower()
        cluster.isLost = { $0.kind == .snapshot }
        for _ in 0..<3 {
            cluster.tick(1)
            try cluster.settle()
        }
        #expect(cluster.appliedPayloads(3).isEmpty)
        #expect(cluster[1].status.progress[2].replication == .snapshot)
        cluster.isLost = { _ in false }
        cluster[1].reportSnapshot(3, succeeded: false)
        cluster.compact(1, upTo: 5)
        for _ in 0..<4 {
            cluster.tick(1)
            try cluster.settle()
        }
        #expect(cluster.appliedPayloads(3) == ["a", "b", "c", "d"])
    }

    @Test func aNewerSnapshotThanTheOneAskedForServesAsWell() throws {
        var cluster = try clusterWithABehindFollower()
        cluster.tick(1)
        var asked: LogIndex?
        while asked == nil {
            // Up to the moment when the leader asks for the snapshot of its compaction.
            let node = cluster[1]
            var copy = node
            asked = copy.takeReady().messages.first { $0.kind == .snapshot }?.snapshot?.index
            if asked == nil { try cluster.exchange() }
        }
        #expect(asked == 4)
        // `TestMember` sends its state of now, which is at 5.
        try cluster.settle()
        #expect(cluster[3].status.firstIndex == 6)
        #expect(cluster[1].status.progress[2].replication == .replicate)
    }

    @Test func whileASnapshotIsBeingInstalledNothingIsAppliedAndNoElectionStarted() throws {
        var node = try RaftNode(
            RaftConfiguration(id: 1, randomSeed: 1), InitialState(configuration: ConfState(voters: [1, 2, 3])))
        let snapshot = SnapshotMetadata(index: 10, term: 1, configuration: ConfState(voters: [1, 2, 3]))
        try node.step(Message(kind: .snapshot, to: 1, from: 2, term: 1, snapshot: snapshot))
        try node.step(
            Message(
                kind: .append, to: 1, from: 2, term: 1, logTerm: 1, index: 10,
                entries: [Entry(term: 1, index: 11, payload: [])], commit: 11))
        let ready = node.takeReady()
        #expect(ready.snapshot == snapshot && ready.entriesToAppend.map(\.index) == [11])
        #expect(ready.messagesAfterAppend.map(\.index) == [10, 11])
        node.appended(term: 1, index: 11)
        #expect(!node.hasReady)
        #expect(throws: RaftError.cannotCampaign(.installingSnapshot)) { try node.campaign() }
        node.snapshotInstalled(index: 10)
        #expect(node.status.applied == 10)
        #expect(node.takeReady().committed.map(\.index) == [11])
    }

    @Test func aSnapshotOfWhatTheLogAlreadyHoldsOnlyMovesTheCommitIndex() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        let snapshot = SnapshotMetadata(index: 1, term: 1, configuration: ConfState(voters: [1, 2, 3]))
        try cluster[2].step(Message(kind: .snapshot, to: 2, from: 1, term: 1, snapshot: snapshot))
        #expect(cluster[2].takeReady().snapshot == nil)
    }
}
