/// What members send each other.
final class Parcel {
    enum Content {
        case messages([Message])
        /// A state and the message it travels beside.
        case snapshot(Message, StateImage)
        /// A lease to be renewed by the leader, for a request at the sender.
        case leaseRenewal(lease: Int64, token: UInt64)
        case leaseRenewed(token: UInt64, outcome: Result<Int64, StoreError>?)
    }
    let from: Int
    let to: Int
    let content: Content
    init(from: Int, to: Int, _ content: Content) {
        self.from = from
        self.to = to
        self.content = content
    }
}

/// Decides what becomes of a parcel: which links are cut, what is lost, how long the rest takes.
struct SimulatedNetwork {
    private let swarm: Swarm
    private let members: Int
    /// How many partitions cut a link; row `from`, column `to`.
    private var cuts: [Int]
    private var lastArrival: [Int64]
    /// After the faults have stopped.
    var isCalm = false

    init(_ swarm: Swarm, members: Int) {
        self.swarm = swarm
        self.members = members
        cuts = Array(repeating: 0, count: members * members)
        lastArrival = Array(repeating: 0, count: members * members)
    }

    func isCut(from: Int, to: Int) -> Bool { cuts[from * members + to] > 0 }

    mutating func cut(from: Int, to: Int) { cuts[from * members + to] += 1 }
    mutating func mend(from: Int, to: Int) { cuts[from * members + to] -= 1 }

    /// When it arrives; nil for never.
    mutating func arrival(
        from: Int, to: Int, now: Int64, _ random: inout SimulationRandom, _ census: inout Census
    ) -> Int64? {
        if isCut(from: from, to: to) || (!isCalm && random.chance(perMille: swarm.loss)) {
            census.count(.messagesLost)
            return nil
        }
        var delay = swarm.latency + (swarm.jitter > 0 ? random.below(swarm.jitter) : 0)
        if !isCalm, random.chance(perMille: swarm.straggling) { delay += random.below(swarm.straggleDelay) }
        let time = now + delay
        if time < lastArrival[from * members + to] {
            census.count(.messagesReordered)
        } else {
            lastArrival[from * members + to] = time
        }
        return time
    }

    /// Proposals are never doubled: a connection delivers what it is given once or not at all, and a command that
    /// is applied twice would be a broken promise to its client.
    func mayDuplicate(_ messages: [Message], _ random: inout SimulationRandom) -> Bool {
        !isCalm && random.chance(perMille: swarm.duplication) && !messages.contains { $0.kind == .propose }
    }
}
