/// Which faults one run knows, how hard they strike and how its members are set up. Drawn from the seed: a run
/// without partitions reaches depths that one with everything switched on never sees. (Groce and others, "Swarm
/// testing", 2012.) Times are microseconds, probabilities per mille.
struct Swarm {
    let isTurmoil: Bool
    // Members.
    let tick: Int64
    let electionTimeoutTicks: Int
    let preVote: Bool
    let checkQuorum: Bool
    let snapshotCount: UInt64
    let catchUpEntries: UInt64
    let flushEntries: UInt64
    let maxBytesPerMessage: Int
    let maxInflightMessages: Int
    let maxUncommittedBytes: Int
    let maxCommittedBytes: Int
    /// Ticks run fast or slow by up to this many per mille.
    let drift: Int
    let wakeDelay: Int64

    // Network.
    let latency: Int64
    let jitter: Int64
    let loss: Int
    let duplication: Int
    /// A message that takes much longer than its neighbours.
    let straggling: Int
    let straggleDelay: Int64
    let snapshotLoss: Int

    // Disk.
    let syncTime: Int64
    let slowSync: Int
    let slowSyncTime: Int64
    let flushTime: Int64

    // Faults that come now and then.
    let faultInterval: Int64
    let faults: [Fault]
    /// A crash while a sync runs, or a snapshot is being installed: aimed, since chance alone seldom hits.
    let crashInWindow: Int
    let longestDown: Int64

    // Clients.
    let clients: Int
    let operationsPerSecond: Int
    let keys: Int
    let patience: Int64
    let compaction: Bool
    let largeValues: Bool

    enum Fault: CaseIterable {
        case crash, crashAll, crashMost, fullPartition, oneWayPartition, isolateLeader, transfer, stall
    }

    init(from random: inout SimulationRandom, members: Int) {
        func draw<Value>(_ values: [Value]) -> Value { random.pick(values) }
        func maybe(_ chance: Int, _ values: [Int]) -> Int { random.chance(perMille: chance) ? random.pick(values) : 0 }
        // Some runs are hardly more than elections that cross each other, with one slow member to vote in them.
        isTurmoil = members > 2 && random.chance(perMille: 200)
        tick = isTurmoil ? 50_000 : draw([50_000, 100_000, 100_000])
        electionTimeoutTicks = isTurmoil ? 8 : draw([5, 10, 10, 15])
        preVote = !isTurmoil && random.chance(perMille: 800)
        checkQuorum = random.chance(perMille: 850)
        snapshotCount = draw([5, 10, 30, 1_000])
        catchUpEntries = draw([0, 0, 5, 100])
        flushEntries = max(1, draw([snapshotCount / 2, snapshotCount / 2, 3, 40]))
        maxBytesPerMessage = draw([0, 300, 4_096, 1 << 20])
        // One entry a round trip would be less than clients ask for.
        maxInflightMessages = maxBytesPerMessage < 4_096 ? draw([8, 256]) : draw([1, 4, 256])
        largeValues = random.chance(perMille: 200)
        maxUncommittedBytes = random.chance(perMille: 150) ? (largeValues ? 2_500 : 150) : 64 << 20
        maxCommittedBytes = draw([200, 16 << 20, 16 << 20])
        drift = maybe(600, [5, 50, 200])
        wakeDelay = draw([0, 50, 2_000])
        latency = isTurmoil ? 5_000 : draw([100, 1_000, 20_000])
        jitter = isTurmoil ? 60_000 : draw([0, 500, 5_000, 60_000])
        loss = maybe(600, [5, 30, 150])
        duplication = maybe(500, [5, 50, 200])
        straggling = isTurmoil ? 250 : maybe(500, [5, 30, 100])
        straggleDelay = isTurmoil ? 300_000 : draw([100_000, 500_000, 2_000_000])
        snapshotLoss = maybe(500, [100, 400])
        syncTime = isTurmoil ? 30_000 : draw([200, 2_000, 10_000])
        slowSync = maybe(500, [10, 100])
        slowSyncTime = draw([50_000, 300_000, 1_500_000])
        flushTime = draw([0, 1_000, 100_000])
        faultInterval = isTurmoil ? 700_000 : draw([700_000, 2_000_000, 5_000_000, 12_000_000])
        var faults = Fault.allCases.filter { _ in random.chance(perMille: 500) }
        if members < 3 { faults.removeAll { ![.crash, .crashAll, .stall].contains($0) } }
        self.faults = faults
        crashInWindow = isTurmoil ? 20 : maybe(700, [1, 4, 16])
        longestDown = draw([20_000, 500_000, 8_000_000])
        clients = draw([5, 8, 12])
        operationsPerSecond = 20
        keys = draw([3, 8, 24])
        patience = draw([300_000, 1_000_000, 3_000_000])
        compaction = random.chance(perMille: 400)
    }

    var electionTimeout: Int64 { tick * Int64(electionTimeoutTicks) }
}
