/// What a leader knows of each member, and how it sends to it.

/// Append messages under way to one follower: the index each ends at and its bytes, oldest first.
package struct Inflights: Sendable {
    private struct Item: Sendable {
        var last: LogIndex
        var bytes: Int
    }
    let maxMessages: Int
    /// 0 means no limit.
    let maxBytes: Int
    /// A ring that grows as needed up to `maxMessages`.
    private var ring: [Item] = []
    private var start = 0
    package private(set) var count = 0
    package private(set) var bytes = 0

    package init(maxMessages: Int, maxBytes: Int) {
        self.maxMessages = maxMessages
        self.maxBytes = maxBytes
    }

    /// Whether nothing more may be sent. The byte limit is crossed by at most one message, so that a
    /// message larger than the limit still gets through.
    package var isFull: Bool { count >= maxMessages || (maxBytes > 0 && bytes >= maxBytes) }

    mutating func add(last: LogIndex, bytes size: Int) {
        precondition(!isFull, "sent an append although the follower's window is full")
        if count == ring.count { grow() }
        ring[(start + count) % ring.count] = Item(last: last, bytes: size)
        count += 1
        bytes += size
    }

    /// Forgets the messages that end at or before `index`.
    mutating func free(upTo index: LogIndex) {
        while count > 0, ring[start].last <= index {
            bytes -= ring[start].bytes
            start = (start + 1) % ring.count
            count -= 1
        }
    }

    mutating func reset() {
        start = 0
        count = 0
        bytes = 0
    }

    private mutating func grow() {
        var larger: [Item] = []
        larger.reserveCapacity(min(maxMessages, max(4, ring.count * 2)))
        for offset in 0..<count { larger.append(ring[(start + offset) % ring.count]) }
        let size = min(maxMessages, max(4, ring.count * 2))
        while larger.count < size { larger.append(Item(last: .zero, bytes: 0)) }
        ring = larger
        start = 0
    }
}

/// One member as its leader sees it. A follower is *probed* until the point where the logs agree is
/// found, then *replicated* to in a pipeline (dissertation, 10.2.1), and waits in *snapshot* while the
/// entries it misses are no longer in the leader's log.
package struct Progress: Sendable {
    package enum State: Sendable {
        case probe, replicate, snapshot
    }
    package let id: MemberID
    package private(set) var state = State.probe
    /// Everything up to here is known to be on the follower's disk.
    package private(set) var match: LogIndex
    /// The first entry to send next; always past `match`.
    package private(set) var next: LogIndex
    /// The commit index last told, so that it is not repeated.
    private var sentCommit = LogIndex.zero
    /// The snapshot being sent, in state `snapshot`.
    package private(set) var pendingSnapshot = LogIndex.zero
    /// Heard from since the last quorum check.
    package var isRecentlyActive: Bool
    /// A probe is out, or the window is full: nothing is sent until an answer or a heartbeat's.
    package var isFlowPaused = false
    package private(set) var inflights: Inflights
    package var isLearner: Bool
    /// The latest round of leadership confirmation this member answered. (See `ReadQueue`.)
    var confirmedReadRound: UInt64 = 0

    init(
        id: MemberID, match: LogIndex = .zero, next: LogIndex, inflights: Inflights, isLearner: Bool,
        isRecentlyActive: Bool = false
    ) {
        self.id = id
        self.match = match
        self.next = next
        self.inflights = inflights
        self.isLearner = isLearner
        self.isRecentlyActive = isRecentlyActive
    }

    /// Whether sending must wait.
    package var isPaused: Bool { state == .snapshot || isFlowPaused }

    private mutating func enter(_ new: State) {
        state = new
        isFlowPaused = false
        pendingSnapshot = .zero
        inflights.reset()
    }

    mutating func becomeProbe() {
        // After a snapshot was sent, the follower is expected to have what it contains.
        let expected = state == .snapshot ? max(match, pendingSnapshot) : match
        enter(.probe)
        next = expected.next
        forgetCommit()
    }

    /// As `becomeProbe`, for a snapshot that did not arrive.
    mutating func snapshotFailed() {
        pendingSnapshot = .zero
        becomeProbe()
    }

    mutating func becomeReplicate() {
        enter(.replicate)
        next = match.next
    }

    mutating func becomeSnapshot(_ index: LogIndex) {
        enter(.snapshot)
        pendingSnapshot = index
        next = index.next
        sentCommit = index
    }

    mutating func sent(entries count: Int, bytes: Int) {
        switch state {
        case .replicate:
            if count > 0 {
                next = next + UInt64(count)
                inflights.add(last: next.previous, bytes: bytes)
            }
            isFlowPaused = inflights.isFull
        case .probe:
            // One probe at a time, until answered or until a heartbeat's answer asks for another.
            if count > 0 { isFlowPaused = true }
        case .snapshot:
            preconditionFailure("sent entries to a member that waits for a snapshot")
        }
    }

    mutating func sent(commit: LogIndex) { sentCommit = commit }

    /// Whether telling `commit` can raise the follower's commit index beyond what was last told.
    func canRaise(commit: LogIndex) -> Bool { commit > sentCommit && sentCommit < next.previous }

    /// The follower may have missed what was told about entries past `next`.
    private mutating func forgetCommit() { sentCommit = min(sentCommit, next.previous) }

    /// Notes an acknowledgement up to `index`; false when it says nothing new.
    mutating func acknowledged(upTo index: LogIndex) -> Bool {
        guard index > match else { return false }
        match = index
        next = max(next, index.next)
        isFlowPaused = false
        return true
    }

    mutating func freeInflights(upTo index: LogIndex) { inflights.free(upTo: index) }

    /// Notes that the append after `rejected` was refused and that the logs may agree at `hint`;
    /// false when the refusal is an old one.
    mutating func rejected(at rejected: LogIndex, hint: LogIndex) -> Bool {
        // What was acknowledged agrees. Only a late answer says otherwise, or a follower that lost what it had: asked
        // again at once, that one would refuse again at once.
        guard rejected > match else { return false }
        if state == .replicate {
            next = match.next
        } else {
            // Probes go one at a time, so an answer to anything else is stale.
            guard next.previous == rejected else { return false }
            next = max(min(rejected, hint.next), match.next)
            isFlowPaused = false
        }
        forgetCommit()
        return true
    }
}

/// The members' progress, sorted by id: found by binary search, visited in the same order everywhere.
package struct ProgressTable: Sendable {
    package var rows: [Progress] = []
    let maxInflightMessages: Int
    let maxInflightBytes: Int

    package init(maxInflightMessages: Int, maxInflightBytes: Int) {
        self.maxInflightMessages = maxInflightMessages
        self.maxInflightBytes = maxInflightBytes
    }

    private func lowerBound(_ id: MemberID) -> Int {
        var low = 0
        var high = rows.count
        while low < high {
            let middle = (low + high) / 2
            if rows[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    package func position(of id: MemberID) -> Int? {
        let position = lowerBound(id)
        return position < rows.count && rows[position].id == id ? position : nil
    }

    package subscript(id: MemberID) -> Progress? { position(of: id).map { rows[$0] } }

    private var emptyWindow: Inflights { Inflights(maxMessages: maxInflightMessages, maxBytes: maxInflightBytes) }

    /// Adds a member that is about to be probed from `lastIndex`: a new one most likely needs a
    /// snapshot, and counts as alive until the next quorum check.
    mutating func add(_ id: MemberID, lastIndex: LogIndex, isLearner: Bool) {
        let row = Progress(
            id: id, next: max(lastIndex, LogIndex(1)), inflights: emptyWindow, isLearner: isLearner,
            isRecentlyActive: true)
        rows.insert(row, at: lowerBound(id))
    }

    mutating func remove(_ id: MemberID) {
        if let position = position(of: id) { rows.remove(at: position) }
    }

    /// Forgets everything known of the others, as at the start of a term.
    mutating func reset(lastIndex: LogIndex, own: MemberID) {
        for position in rows.indices {
            let old = rows[position]
            rows[position] = Progress(
                id: old.id, match: old.id == own ? lastIndex : .zero, next: lastIndex.next, inflights: emptyWindow,
                isLearner: old.isLearner)
        }
    }
}
