import Testing

@testable import Raft

@Suite struct ReadTests {
    @Test func readsOnLeaderAndFollowersGetTheCommitIndexOnceAMajorityConfirms() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        try cluster.propose(1, "a")
        try cluster.settle()
        for number in 1...3 { cluster[number].readIndex(context: [UInt8(number)]) }
        try cluster.settle()
        for number in 1...3 {
            #expect(cluster.members[number - 1].readStates == [ReadState(index: 2, context: [UInt8(number)])])
        }
    }

    @Test func allReadsWaitingShareOneRoundOfHeartbeats() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        for number in 0..<100 { cluster[1].readIndex(context: [UInt8(number)]) }
        let ready = cluster[1].takeReady()
        #expect(ready.messages.map(\.kind) == [.heartbeat, .heartbeat])
        cluster.network += ready.messages
        try cluster.settle()
        #expect(cluster.members[0].readStates.map(\.context) == (0..<100).map { [$0] })
    }

    @Test func aLeaderThatWasReplacedAnswersNoReads() throws {
        var cluster = try TestCluster(voters: 3)
        try cluster.elect(1)
        cluster.isolated = [1]
        cluster.tick(3, times: 10)
        try cluster.elect(2)
        cluster[1].readIndex(context: [1])
        cluster.tick(1)
        try cluster.settle()
        #expect(cluster.members[0].readStates.isEmpty)
        cluster.isolated = []
        cluster.tick(1)
        try cluster.settle()
        cluster.tick(2)
        try cluster.settle()
        #expect(cluster.members[0].readStates.isEmpty)
        #expect(cluster[1].status.leader == 2)
    }

    @Test func aNewLeaderPostponesReadsUntilItHasCommittedInItsTerm() throws {
        for voters in [1, 3] {
            var cluster = try TestCluster(voters: voters)
            try cluster[1].campaign()
            while cluster[1].status.role != .leader {
                for index in cluster.members.indices {
                    cluster.network += cluster.members[index].takeReady()
                    while !cluster.members[index].writes.isEmpty { cluster.network += cluster.finishWrite(index) }
                }
                let arriving = cluster.network
                cluster.network = []
                for message in arriving { try cluster[Int(message.to.rawValue)].step(message) }
            }
            cluster[1].readIndex(context: [9])
            #expect(cluster[1].takeReady().readStates.isEmpty)
            // That Ready was thrown away; the heartbeats and answers that follow make up for it.
            try cluster[1].step(Message(kind: .appendResponse, to: 1, from: 1, term: cluster[1].currentTerm, index: 1))
            cluster.tick(1)
            try cluster.settle()
            cluster.tick(1)
            try cluster.settle()
            #expect(cluster.members[0].readStates == [ReadState(index: 1, context: [9])])
        }
    }

    @Test func aLeaseIsEnoughWhereItIsTrusted() throws {
        var cluster = try TestCluster(voters: 3) { $0.readOnlyOption = .leaseBased }
        try cluster.elect(1)
        cluster.tick(1)
        try cluster.settle()
        cluster.isolated = [2, 3]
        cluster[1].readIndex(context: [1])
        #expect(cluster[1].takeReady().readStates == [ReadState(index: 1, context: [1])])
    }

    @Test func readsAreDroppedWithoutALeader() throws {
        var cluster = try TestCluster(voters: 3)
        cluster[1].readIndex(context: [1])
        #expect(!cluster[1].hasReady)
    }
}
