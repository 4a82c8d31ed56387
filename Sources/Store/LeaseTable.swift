/// The leases and the keys attached to them.
///
/// Grants, revocations, attachments and checkpoints are part of the replicated state. Expiry is not: only the leader
/// keeps it (`promote`), by times the caller reads from its monotonic clock, in nanoseconds. A lease that ran out is
/// merely reported; it ends when the leader's revocation is applied on every member.
public struct LeaseTable: Sendable {
    /// The longest TTL granted, in seconds.
    public static let maximumTTL: Int64 = 9_000_000_000
    /// After this long an expired lease is reported again: its revocation may have been lost with a leader.
    public static let reportAgainAfter: Int64 = 3_000_000_000
    /// Leases let to run out per second after a change of leader; more are spread over the time that follows.
    public static let expiriesPerSecond = 750

    struct Lease: Sendable {
        let id: Int64
        /// Seconds.
        let ttl: Int64
        /// From the last checkpoint, 0 for none.
        var remainingTTL: Int64
        var keys: Set<[UInt8]> = []
        /// When it runs out; nil while nobody counts.
        var expiry: Int64?
        /// When it is due to be reported or to be looked at again.
        var reportAt: Int64 = 0
        /// Its place in the queue, so that renewing it need not touch the queue.
        var queuedAt: Int64?
        var checkpointAt: Int64?

        var secondsToRun: Int64 { remainingTTL > 0 ? remainingTTL : ttl }
    }

    private var leases: [Int64: Lease] = [:]
    private var leaseOfKey: [[UInt8]: Int64] = [:]
    private var queue = DueQueue()
    private var checkpointQueue = DueQueue()
    /// Granted or checkpointed while leading, not yet timed: a command is applied without a clock.
    private var untimed: [Int64] = []
    /// True on the leader.
    public private(set) var isPrimary = false
    /// How often what a long lease has left is checkpointed, in nanoseconds; nil for never, as is etcd's default.
    public var checkpointInterval: Int64?

    public init() {}

    public var count: Int { leases.count }

    // MARK: Replicated state

    /// Ids in ascending order.
    public var ids: [Int64] { leases.keys.sorted() }

    public func contains(_ id: Int64) -> Bool { leases[id] != nil }

    public func lease(of key: [UInt8]) -> Int64 { leaseOfKey.isEmpty ? 0 : leaseOfKey[key] ?? 0 }

    /// The keys attached, sorted: every member deletes them in the same order.
    public func keys(of id: Int64) -> [[UInt8]] {
        (leases[id]?.keys ?? []).sorted { compareBytes($0, $1) < 0 }
    }

    mutating func grant(id: Int64, ttl: Int64) -> StoreError? {
        if id == 0 { return .leaseNotFound }
        if ttl > Self.maximumTTL { return .leaseTTLTooLarge }
        if leases[id] != nil { return .leaseExists }
        restore(id: id, ttl: max(1, ttl), remainingTTL: 0)
        return nil
    }

    mutating func restore(id: Int64, ttl: Int64, remainingTTL: Int64) {
        leases[id] = Lease(id: id, ttl: ttl, remainingTTL: remainingTTL)
        if isPrimary { untimed.append(id) }
    }

    mutating func remove(id: Int64) {
        for key in leases.removeValue(forKey: id)?.keys ?? [] where leaseOfKey[key] == id { leaseOfKey[key] = nil }
    }

    mutating func attach(_ key: [UInt8], to id: Int64) {
        leases[id]?.keys.insert(key)
        leaseOfKey[key] = id
    }

    mutating func detach(_ key: [UInt8]) {
        if leaseOfKey.isEmpty { return }
        if let id = leaseOfKey.removeValue(forKey: key) { leases[id]?.keys.remove(key) }
    }

    /// Answers the TTL granted; nil if there is no such lease.
    mutating func checkpoint(_ checkpoint: LeaseCheckpoint) -> Int64? {
        guard let lease = leases[checkpoint.id] else { return nil }
        leases[checkpoint.id]?.remainingTTL = checkpoint.remainingTTL
        return lease.ttl
    }

    // MARK: Time, on the leader

    /// This member leads now: every lease runs anew from its TTL, or from what a checkpoint left of it, plus `extend`
    /// (an election timeout: renewals sent meanwhile went nowhere).
    public mutating func promote(now: Int64, extend: Int64) {
        isPrimary = true
        queue = DueQueue()
        checkpointQueue = DueQueue()
        untimed = []
        for id in ids { start(id, now: now, extend: extend) }
        spreadExpiries()
    }

    /// Another member leads: no lease runs out here.
    public mutating func demote() {
        isPrimary = false
        queue = DueQueue()
        checkpointQueue = DueQueue()
        untimed = []
        for id in ids {
            leases[id]?.expiry = nil
            leases[id]?.queuedAt = nil
            leases[id]?.checkpointAt = nil
        }
    }

    /// Nobody could renew from `start` on, for `gap` nanoseconds (the process was paused, or its thread was held up): every
    /// lease that ran then runs that much longer. One that had run out before stays so: its end may be on its way.
    public mutating func extend(by gap: Int64, since start: Int64) {
        for (id, lease) in leases {
            guard let expiry = lease.expiry, expiry > start else { continue }
            expire(id, at: saturating(expiry, gap))
        }
    }

    /// Starts the lease over; answers its TTL in seconds. One that has run out is on its way to be revoked: not found.
    public mutating func renew(_ id: Int64, now: Int64) -> Result<Int64, StoreError> {
        guard isPrimary else { return .failure(.notPrimary) }
        startUntimed(now: now)
        guard let lease = leases[id], lease.expiry ?? .max > now else { return .failure(.leaseNotFound) }
        start(id, now: now, extend: 0, seconds: lease.ttl)
        return .success(lease.ttl)
    }

    /// True if renewing the lease must also propose a checkpoint of 0, lest a new leader go by the old one.
    public func needsCheckpointCleared(_ id: Int64) -> Bool { leases[id].map { $0.remainingTTL > 0 } ?? false }

    /// At most `limit` leases that have run out, those due longest first. Each is reported again after a while.
    public mutating func expired(now: Int64, limit: Int) -> [Int64] {
        startUntimed(now: now)
        var expired: [Int64] = []
        while expired.count < limit, let due = queue.next(through: now) {
            guard let lease = leases[due.id], lease.queuedAt == due.time else { continue }
            if let expiry = lease.expiry, expiry <= now {
                expired.append(due.id)
                leases[due.id]?.reportAt = saturating(now, Self.reportAgainAfter)
            }
            leases[due.id]?.queuedAt = nil
            enqueue(due.id)
        }
        return expired
    }

    /// When `expired` may next have something to report; nil for never.
    public var nextExpiry: Int64? { untimed.isEmpty ? queue.first?.time : .min }

    /// At most `limit` checkpoints to propose now.
    public mutating func checkpointsDue(now: Int64, limit: Int) -> [LeaseCheckpoint] {
        startUntimed(now: now)
        var checkpoints: [LeaseCheckpoint] = []
        while checkpoints.count < limit, let due = checkpointQueue.next(through: now) {
            guard let lease = leases[due.id], lease.checkpointAt == due.time, let expiry = lease.expiry else {
                continue
            }
            leases[due.id]?.checkpointAt = nil
            guard expiry > now else { continue }
            let remaining = (expiry - now + 999_999_999) / 1_000_000_000
            if remaining < lease.ttl { checkpoints.append(LeaseCheckpoint(id: due.id, remainingTTL: remaining)) }
            scheduleCheckpoint(due.id, now: now)
        }
        return checkpoints
    }

    /// What is left of a lease in whole seconds (of its full time where nobody counts), what was granted, and,
    /// if asked for, its keys in order.
    public func timeToLive(_ id: Int64, now: Int64, keys withKeys: Bool) -> Result<LeaseTimeToLive, StoreError> {
        guard let lease = leases[id] else { return .failure(.leaseNotFound) }
        let left = lease.expiry.map { max(0, $0 - now) / 1_000_000_000 } ?? lease.secondsToRun
        return .success(
            LeaseTimeToLive(id: id, ttl: left, grantedTTL: lease.ttl, keys: withKeys ? keys(of: id) : []))
    }

    private mutating func startUntimed(now: Int64) {
        if untimed.isEmpty { return }
        let waiting = untimed
        untimed = []
        for id in waiting { start(id, now: now, extend: 0) }
    }

    private mutating func start(_ id: Int64, now: Int64, extend: Int64, seconds: Int64? = nil) {
        guard let lease = leases[id] else { return }
        let nanoseconds = (seconds ?? lease.secondsToRun).multipliedReportingOverflow(by: 1_000_000_000)
        expire(id, at: saturating(now, saturating(nanoseconds.overflow ? .max : nanoseconds.partialValue, extend)))
        scheduleCheckpoint(id, now: now)
    }

    private mutating func expire(_ id: Int64, at expiry: Int64) {
        leases[id]?.expiry = expiry
        leases[id]?.reportAt = expiry
        enqueue(id)
    }

    private mutating func enqueue(_ id: Int64) {
        // A later time needs no new place: the old one comes up first and finds the lease renewed.
        guard let lease = leases[id], lease.queuedAt ?? .max > lease.reportAt else { return }
        leases[id]?.queuedAt = lease.reportAt
        queue.insert(.init(time: lease.reportAt, id: id))
    }

    private mutating func scheduleCheckpoint(_ id: Int64, now: Int64) {
        guard let interval = checkpointInterval, let lease = leases[id], lease.checkpointAt == nil,
            let expiry = lease.expiry, expiry - now > interval
        else { return }
        leases[id]?.checkpointAt = saturating(now, interval)
        checkpointQueue.insert(.init(time: saturating(now, interval), id: id))
    }

    /// No second lets more than `expiriesPerSecond` leases run out, in the order they would have.
    private mutating func spreadExpiries() {
        guard leases.count > Self.expiriesPerSecond else { return }
        let step = 1_000_000_000 / Int64(Self.expiriesPerSecond)
        var earliest = Int64.min
        let order = leases.values.map { (time: $0.expiry ?? .max, id: $0.id) }.sorted { $0 < $1 }
        for (time, id) in order {
            let expiry = max(time, earliest)
            if expiry > time { expire(id, at: expiry) }
            earliest = saturating(expiry, step)
        }
    }
}

private func saturating(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : sum
}

public struct LeaseTimeToLive: Sendable, Equatable {
    public var id: Int64
    /// Seconds.
    public var ttl: Int64
    public var grantedTTL: Int64
    public var keys: [[UInt8]]

    public init(id: Int64, ttl: Int64, grantedTTL: Int64, keys: [[UInt8]]) {
        self.id = id
        self.ttl = ttl
        self.grantedTTL = grantedTTL
        self.keys = keys
    }
}

/// A binary heap of things to look at when their time comes, equal times by id.
struct DueQueue: Sendable {
    struct Item: Sendable {
        var time: Int64
        var id: Int64
    }
    private var heap: [Item] = []

    var first: Item? { heap.first }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        heap[a].time != heap[b].time ? heap[a].time < heap[b].time : heap[a].id < heap[b].id
    }

    mutating func insert(_ item: Item) {
        heap.append(item)
        var index = heap.count - 1
        while index > 0, precedes(index, (index - 1) / 2) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    /// Takes the earliest item if its time is at most `now`.
    mutating func next(through now: Int64) -> Item? {
        guard let first = heap.first, first.time <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < heap.count && precedes(child, least) {
                least = child
            }
            if least == index { return first }
            heap.swapAt(index, least)
            index = least
        }
    }
}
