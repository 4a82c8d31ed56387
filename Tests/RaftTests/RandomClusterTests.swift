import Testing

@testable import Raft

/// Whole clusters under random crashes, losses, repetitions and reorderings, checked for the
/// properties of figure 3.2 of the dissertation at every step. Small and quick; the simulator does
/// the same to the whole replica.
@Suite struct RandomClusterTests {
    @Test(arguments: 0..<12) func nothingCommittedIsLostOrDiffersAndReadsAreFresh(seed: Int) throws {
        var run = try RandomRun(seed: UInt64(seed))
        for _ in 0..<10_000 { try run.step() }
        try run.heal()
    }
}

private struct RandomRun {
    var cluster: TestCluster
    var random: RandomSequence
    let hasChanges: Bool
    var leaders: [Term: MemberID] = [:]
    /// Index by index, what was first seen committed, and the configuration after it.
    var committed: [Entry] = []
    var configurations: [ConfState] = []
    /// The commit index seen anywhere when each read began.
    var reads: [(context: [UInt8], atLeast: LogIndex)] = []
    var proposals = 0

    init(seed: UInt64) throws {
        random = RandomSequence(seed: seed)
        hasChanges = seed % 2 == 1
        cluster = try TestCluster(voters: 3, spare: 2) {
            $0.randomSeed = $0.id.rawValue &+ seed &* 1000
            $0.electionTimeoutTicks = 3
            $0.preVote = seed % 3 != 0
            $0.checkQuorum = seed % 5 != 0
            $0.maxInflightMessages = 3
            $0.maxInflightBytes = seed % 4 == 0 ? 70 : 0
            $0.maxBytesPerMessage = 60
            $0.maxCommittedBytesPerReady = 100
            $0.maxUncommittedBytes = 1000
        }
    }

    mutating func step() throws {
        let index = random.next(below: cluster.members.count)
        let choice = random.next(below: 100)
        if cluster.members[index].isDown {
            if choice < 30 { try cluster.members[index].restart() }
            return
        }
        // Messages flow faster than anything else happens, or the network would fill with stale ones.
        for _ in 0..<3 { deliver() }
        switch choice {
        case 0..<6: cluster.members[index].node.tick()
        case 6..<34: if cluster.members[index].node.hasReady { cluster.network += cluster.members[index].takeReady() }
        case 34..<56:
            if !cluster.members[index].writes.isEmpty { cluster.network += cluster.finishWrite(index) }
        case 56..<72: try apply(index)
        case 72..<90:
            proposals += 1
            try? cluster.members[index].node.propose([Array("p\(proposals)".utf8)])
        case 90..<94:
            let context = Array("r\(reads.count)".utf8)
            reads.append((context, LogIndex(UInt64(committed.count))))
            cluster.members[index].node.readIndex(context: context)
        case 94:
            // A crash: what was not written is lost, what was on its way to this member too.
            if random.next(below: 3) > 0 { break }
            cluster.members[index].isDown = true
            cluster.members[index].readStates = []
        case 95: changeMembers(index)
        case 96: compact(index)
        case 97: if random.next(below: 4) == 0 { rare(index) }
        default: cluster.isolated = []
        }
        try check()
    }

    private mutating func deliver() {
        guard !cluster.network.isEmpty else { return }
        let position = random.next(below: min(cluster.network.count, 6))
        let message = cluster.network[position]
        // Some arrive twice, some never.
        if random.next(below: 20) > 0 { cluster.network.remove(at: position) }
        if random.next(below: 20) == 0 || !cluster.carries(message) { return }
        try? cluster.members[Int(message.to.rawValue) - 1].node.step(message)
        if message.kind == .snapshot, random.next(below: 2) == 0, cluster.carries(message) {
            cluster.members[Int(message.from.rawValue) - 1].node.reportSnapshot(
                message.to, succeeded: random.next(below: 2) == 0)
        }
    }

    private mutating func apply(_ index: Int) throws {
        let before = cluster.members[index].disk.applied.count
        let batch = try cluster.members[index].applyBatch()
        for (offset, entry) in batch.enumerated() {
            let position = before + offset
            #expect(entry.index.rawValue == UInt64(position + 1), "member \(index + 1) applied out of order")
            if position == committed.count {
                committed.append(entry)
            } else {
                #expect(committed[position] == entry, "members disagree on entry \(position + 1)")
            }
        }
    }

    private mutating func changeMembers(_ index: Int) {
        guard hasChanges else { return }
        let kinds: [MemberChange.Kind] = [.addVoter, .addLearner, .remove]
        let changes = (0...random.next(below: 2)).map { _ in
            MemberChange(kinds[random.next(below: 3)], MemberID(UInt64(random.next(below: 5) + 1)))
        }
        let leave = random.next(below: 3) == 0
        try? cluster.members[index].node.proposeConfChange(leave ? ConfChangeV2() : ConfChangeV2(changes: changes))
    }

    private mutating func compact(_ index: Int) {
        let member = cluster.members[index]
        // The configuration at hand is that of the applied index; compact exactly there.
        let applied = member.node.status.applied
        guard applied == member.disk.appliedIndex, applied > member.disk.base.index else { return }
        // A disk that still waits for writes keeps its log; only memory is compacted.
        if member.writes.isEmpty {
            cluster.compact(index + 1, upTo: applied)
        } else {
            cluster.members[index].node.compactLog(upTo: applied, configuration: member.disk.configuration)
        }
    }

    private mutating func rare(_ index: Int) {
        switch random.next(below: 4) {
        case 0: cluster.members[index].node.transferLeadership(to: MemberID(UInt64(random.next(below: 5) + 1)))
        case 1: cluster.members[index].node.reportUnreachable(MemberID(UInt64(random.next(below: 5) + 1)))
        case 2: cluster.members[index].node.forgetLeader()
        default: cluster.isolated = random.next(below: 2) == 0 ? [] : [UInt64(random.next(below: 5) + 1)]
        }
    }

    private mutating func check() throws {
        for index in cluster.members.indices where !cluster.members[index].isDown {
            let status = cluster.members[index].node.status
            if status.role == .leader {
                #expect(leaders[status.term, default: status.id] == status.id, "two leaders in term \(status.term)")
                leaders[status.term] = status.id
            }
            for state in cluster.members[index].readStates {
                guard let read = reads.first(where: { $0.context == state.context }) else { continue }
                #expect(state.index >= read.atLeast, "a read missed what was committed before it")
            }
            cluster.members[index].readStates = []
        }
    }

    /// With everything up and connected, the cluster comes to agree.
    mutating func heal() throws {
        cluster.isolated = []
        for index in cluster.members.indices where cluster.members[index].isDown {
            try cluster.members[index].restart()
        }
        for _ in 0..<400 {
            for index in cluster.members.indices { cluster.members[index].node.tick() }
            for index in cluster.members.indices where cluster.members[index].node.status.role == .leader {
                // The transport reports snapshots that were lost.
                for row in cluster.members[index].node.status.progress where row.replication == .snapshot {
                    cluster.members[index].node.reportSnapshot(row.id, succeeded: false)
                }
            }
            try cluster.settle()
            try check()
        }
        let voters = cluster.members.map(\.node.status).first { $0.role == .leader }?.configuration.voters ?? []
        let states = cluster.members.map { "\($0.node.status)" }.joined(separator: "\n")
        try #require(!voters.isEmpty, "no leader after healing:\n\(states)")
        let applied = voters.map { cluster.members[Int($0.rawValue) - 1].disk.applied }
        #expect(applied.allSatisfy { $0 == applied[0] }, "voters do not agree after healing:\n\(states)")
        #expect(applied[0].starts(with: committed), "committed entries were lost")
    }
}
