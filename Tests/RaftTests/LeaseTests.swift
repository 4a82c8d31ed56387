import Testing

@testable import Raft

/// Reads by lease: never older than what was committed anywhere before they began, if clocks run about equally fast.
@Suite struct LeaseTests {
    private func cluster() throws -> TestCluster {
        try TestCluster(voters: 3) {
            $0.readOnlyOption = .leaseBased
            $0.electionTimeoutTicks = 10
        }
    }

    /// Whether a read at member 1 is answered without anybody's help.
    private func isAnsweredAtOnce(_ cluster: inout TestCluster) -> Bool {
        cluster[1].readIndex(context: [7])
        return cluster[1].takeReady().readStates.map(\.context) == [[7]]
    }

    /// Check-quorum looks at whole election timeouts: a leader that is cut off just after it looked goes on for nearly two,
    /// while its followers are free after one.
    @Test func aLeaseEndsBeforeAnotherLeaderCanBeElected() throws {
        var cluster = try cluster()
        try cluster.elect(1)
        cluster.tick(1, times: 10)
        try cluster.settle()
        cluster.isolated = [1]
        var ticks = 0
        while cluster[2].status.role != .leader, cluster[3].status.role != .leader {
            for number in 1...3 { cluster.tick(number) }
            try cluster.settle()
            ticks += 1
            try #require(ticks < 100, "no leader besides the one that is cut off")
        }
        #expect(cluster[1].status.role == .leader, "it does not know yet")
        #expect(!isAnsweredAtOnce(&cluster))
    }

    @Test func aMemberThatRestartsKeepsThePromiseItMayHaveGiven() throws {
        var cluster = try cluster()
        try cluster.elect(1)
        cluster.tick(1)
        try cluster.settle()
        cluster.isolated = [1]
        try cluster.members[2].restart()
        for _ in 0..<20 { cluster.tick(2) }
        try cluster.exchange()
        try cluster.exchange()
        #expect(cluster[2].status.role == .preCandidate, "3 has just started and grants nothing")
        #expect(isAnsweredAtOnce(&cluster))
    }

    @Test func aMemberThatHearsALeaderDoesNotCampaignAtWish() throws {
        var cluster = try cluster()
        try cluster.elect(1)
        #expect(throws: RaftError.cannotCampaign(.leaseHeld)) { try cluster[2].campaign() }
        cluster.tick(2, times: 9)
        #expect(throws: RaftError.cannotCampaign(.leaseHeld)) { try cluster[2].campaign() }
        cluster[2].forgetLeader()
        #expect(cluster[2].status.leader == 1)
        cluster.tick(2)
        try cluster[2].campaign()
    }

    @Test func afterAWishToCampaignWasSentThereIsNoLeaseInThatTerm() throws {
        var cluster = try cluster()
        try cluster.elect(1)
        cluster.isLost = { $0.kind == .timeoutNow }
        cluster[1].transferLeadership(to: 3)
        try cluster.settle()
        for _ in 0..<12 {
            cluster.tick(1)
            try cluster.settle()
        }
        #expect(cluster[1].status.role == .leader && cluster[1].status.transferee == .none)
        #expect(!isAnsweredAtOnce(&cluster))
    }

    /// A response of a later term makes a member forget its leader, not its promise.
    @Test func aMessageOfALaterTermDoesNotEndThePromise() throws {
        var cluster = try cluster()
        try cluster.elect(1)
        cluster.tick(1)
        try cluster.settle()
        try cluster[2].step(Message(kind: .heartbeatResponse, to: 2, from: 3, term: 5))
        #expect(cluster[2].status.leader == .none && cluster[2].status.term == 5)
        try cluster[2].step(Message(kind: .vote, to: 2, from: 3, term: 6, logTerm: 9, index: 9))
        #expect(cluster[2].status.vote == .none && cluster[2].status.term == 5)
    }

    /// Random partitions, losses, delays, crashes and transfers, with clocks that differ by up to a twentieth.
    @Test(arguments: 0..<8) func readsByLeaseAreFreshWhileClocksRunAboutEquallyFast(seed: Int) throws {
        var run = try LeaseRun(seed: UInt64(seed))
        for _ in 0..<3000 { try run.tick() }
        #expect(run.answered > 100, "only \(run.answered) reads were answered at once")
        #expect(run.leaders > 5, "only \(run.leaders) terms had a leader")
    }
}

private struct LeaseRun {
    var cluster: TestCluster
    var random: RandomSequence
    /// By payload position: how many entries are committed, anywhere.
    var committed = LogIndex.zero
    var answered = 0
    var leaders = 0
    private var lastTerm = Term.zero
    private var reads = 0

    init(seed: UInt64) throws {
        random = RandomSequence(seed: seed)
        cluster = try TestCluster(voters: 3) {
            $0.readOnlyOption = .leaseBased
            $0.preVote = seed % 2 == 0
            $0.randomSeed = $0.id.rawValue &+ seed &* 77
        }
    }

    /// One tick of real time; each clock misses or adds one now and then.
    mutating func tick() throws {
        for index in cluster.members.indices where !cluster.members[index].isDown {
            let pace = random.next(below: 40)
            cluster.members[index].node.tick()
            if pace == 0 { cluster.members[index].node.tick() }
        }
        for _ in 0..<random.next(below: 12) { try act() }
        if random.next(below: 60) == 0 {
            cluster.isolated = random.next(below: 2) == 0 ? [] : [UInt64(random.next(below: 3) + 1)]
        }
        if random.next(below: 80) == 0 {
            let index = random.next(below: 3)
            // Messages to it and from it that are on their way stay there.
            try cluster.members[index].restart()
        }
        if random.next(below: 100) == 0 {
            let index = random.next(below: 3)
            cluster.members[index].node.transferLeadership(to: MemberID(UInt64(random.next(below: 3) + 1)))
        }
    }

    private mutating func act() throws {
        for index in cluster.members.indices {
            if cluster.members[index].node.hasReady { cluster.network += cluster.members[index].takeReady() }
            while !cluster.members[index].writes.isEmpty { cluster.network += cluster.finishWrite(index) }
            while try !cluster.members[index].applyBatch().isEmpty {}
            let status = cluster.members[index].node.status
            committed = max(committed, status.commit)
            if status.role == .leader, status.term > lastTerm {
                lastTerm = status.term
                leaders += 1
            }
            cluster.members[index].readStates = []
        }
        for index in cluster.members.indices {
            reads += 1
            let context = Array("\(reads)".utf8)
            cluster.members[index].node.readIndex(context: context)
            // Only a lease answers at once; everything else waits for a round.
            for state in cluster.members[index].node.readStates where state.context == context {
                answered += 1
                #expect(state.index >= committed, "member \(index + 1) answered a read with an old index")
            }
        }
        if random.next(below: 3) == 0 { try? cluster.members[random.next(below: 3)].node.propose([[1]]) }
        for _ in 0..<4 where !cluster.network.isEmpty {
            let position = random.next(below: min(cluster.network.count, 8))
            let message = cluster.network.remove(at: position)
            if random.next(below: 30) == 0 || !cluster.carries(message) { continue }
            try? cluster.members[Int(message.to.rawValue) - 1].node.step(message)
        }
    }
}
