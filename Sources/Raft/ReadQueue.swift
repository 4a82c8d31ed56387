/// Reads that wait for the leader to prove that it still leads. (Dissertation, 6.4.)
///
/// A read is safe at the commit index it met once a majority has confirmed, *after* the read
/// arrived, that this is still the leader. All reads that arrive between two Readies share one *round* of
/// heartbeats; its number travels in the heartbeats' context and comes back in the answers. Numbers grow, so
/// an answer to a round confirms all earlier ones. Answers from other terms never get this far,
/// and a term has one leader, so numbers of different leaders cannot be confused.
struct ReadQueue: Sendable {
    struct Request: Sendable {
        /// The member that asked; this one for a local read.
        var from: MemberID
        var context: [UInt8]
    }
    struct Waiting: Sendable {
        var request: Request
        var index: LogIndex
        var round: UInt64
    }
    /// Requests beyond this are dropped: whoever asked asks again.
    static let limit = 1 << 16

    private(set) var waiting: [Waiting] = []
    /// Requests that came before the leader committed an entry of its own term: until then it does not
    /// know what is committed.
    private(set) var postponed: [Request] = []
    /// The last round sent.
    private(set) var round: UInt64 = 0
    /// The first round of each tick, oldest first; what leases are counted from.
    private var roundsByTick: [(round: UInt64, tick: Int)] = []

    mutating func add(_ request: Request, index: LogIndex) {
        guard waiting.count < Self.limit else { return }
        waiting.append(Waiting(request: request, index: index, round: round + 1))
    }

    mutating func postpone(_ request: Request) {
        if postponed.count < Self.limit { postponed.append(request) }
    }

    mutating func takePostponed() -> [Request] {
        defer { postponed = [] }
        return postponed
    }

    /// Whether reads wait for a round that has not begun.
    var needsRound: Bool { (waiting.last?.round ?? 0) > round }

    mutating func beginRound(at tick: Int) {
        round += 1
        guard roundsByTick.last?.tick != tick else { return }
        if roundsByTick.count == 64 { roundsByTick.removeFirst(32) }
        roundsByTick.append((round, tick))
    }

    /// When `round` was sent, or a little before; nil for a round that was not sent, or so long ago that it is forgotten.
    func tick(of round: UInt64) -> Int? { roundsByTick.last { $0.round <= round }?.tick }

    /// What heartbeats carry: the current round while anybody waits for one, or if it is wanted anyway; else nothing.
    func heartbeatContext(always: Bool) -> [UInt8] {
        if waiting.isEmpty && !always { return [] }
        return (0..<8).map { UInt8(truncatingIfNeeded: round >> (8 * $0)) }
    }

    /// The round that a heartbeat's answer confirms; nil if it carries none, or one never begun.
    func confirmedRound(_ context: [UInt8]) -> UInt64? {
        guard context.count == 8 else { return nil }
        let confirmed = context.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return confirmed <= round ? confirmed : nil
    }

    /// Takes the reads that `round` confirms.
    mutating func take(confirmedBy round: UInt64) -> ArraySlice<Waiting> {
        let end = waiting.firstIndex { $0.round > round } ?? waiting.count
        let done = waiting[..<end]
        waiting.removeFirst(end)
        return done
    }
}
