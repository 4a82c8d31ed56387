/// What came of applying some entries; see ``ApplyMachine/apply(_:)``.
public struct AppliedBatch: Sendable {
    /// To the requests that this member proposed, in log order.
    public var answers: [Answer] = []
    /// For the watches on this member.
    public var deliveries: [WatchDelivery] = []
    /// Members that made their name and client URLs known.
    public var published: [MemberID] = []
    /// This member's own requests among them.
    public var ownPublications: [RequestID] = []
    /// Changes of the configuration that consensus has to follow.
    public var membershipChanges: [ConfChangeV2] = []
    public init() {}
}

/// The answer to a proposal of this member.
public struct Answer: Sendable {
    public enum Outcome: Sendable {
        case command(CommandOutcome)
        /// The proposal was admitted under permissions that have changed since; it changed nothing.
        case authRevisionOld
    }
    public var requestID: RequestID
    public var outcome: Outcome
    /// The store's revision after the command, for the answer's header.
    public var revision: Int64
}

/// What committed entries mean: the store, the watches on it, the leases and the list of members.
/// A value; the driver owns it on one thread, and writes the history's batch with ``commit()`` in between.
public struct ApplyMachine<History: HistoryLog> {
    public private(set) var store: Store<History>
    public private(set) var watches: WatchHub
    /// The last entry applied.
    public private(set) var applied: LogIndex
    public private(set) var appliedTerm: Term
    /// The configuration after the last entry applied.
    public private(set) var configuration: ConfState
    /// Sorted by id.
    public private(set) var members: [MemberAttributes]
    /// When the driver looked at the clock last.
    private var lastLook: Int64?
    private let id: MemberID

    /// - Parameter applied: what the history contains, as it recorded it.
    public init(id: MemberID, history: History, applied: LogIndex, term: Term, configuration: ConfState) throws {
        self.id = id
        self.applied = applied
        self.appliedTerm = term
        self.configuration = configuration
        members = try MemberNotes.read(history)
        store = try Store(history: history)
        watches = WatchHub(revision: store.revision)
    }

    /// Writes the founding members into an empty state.
    public mutating func bootstrap(_ founders: [MemberAttributes]) {
        precondition(applied == .zero && members.isEmpty, "a state is founded once, before anything is applied")
        for member in founders { record(member) }
        configuration = ConfState(voters: members.map(\.id))
    }

    /// Hands the history's batch to its owner, with what it brings the state to.
    public mutating func commit(
        _ body: (_ history: inout History, LogIndex, Term, ConfState) throws -> Void
    ) rethrows {
        try body(&store.history, applied, appliedTerm, configuration)
    }

    /// Goes on with another state, that of an installed snapshot. Watches stay and catch up from its history.
    public mutating func replaceState(
        _ history: History, applied: LogIndex, term: Term, configuration: ConfState
    ) throws {
        precondition(applied >= self.applied, "a snapshot at \(applied) is behind the applied \(self.applied)")
        store = try Store(history: history)
        members = try MemberNotes.read(history)
        self.applied = applied
        appliedTerm = term
        self.configuration = configuration
        watches.historyReplaced(upTo: store.revision)
    }

    // MARK: Commands

    /// Applies committed entries, in order. The driver commits the history afterwards, before answers leave.
    /// - Throws: the disk's errors and entries that cannot be read; both stop the member.
    public mutating func apply(_ entries: [Entry]) throws -> AppliedBatch {
        var batch = AppliedBatch()
        for entry in entries {
            precondition(
                entry.index.rawValue == applied.rawValue + 1,
                "entry \(entry.index.rawValue) does not follow the applied \(applied.rawValue)")
            switch entry.kind {
            case .normal:
                // A new leader's first entry carries nothing.
                if !entry.payload.isEmpty { try apply(Proposal(decoding: entry.payload), into: &batch) }
            case .confChange:
                try change(ConfChange(decoding: entry.payload).general, into: &batch)
            case .confChangeV2:
                try change(ConfChangeV2(decoding: entry.payload), into: &batch)
            }
            applied = entry.index
            appliedTerm = entry.term
        }
        let events = store.takeEvents()
        if !events.isEmpty { batch.deliveries = try watches.publish(events, from: store) }
        return batch
    }

    private mutating func apply(_ proposal: Proposal, into batch: inout AppliedBatch) throws {
        let isOurs = proposal.origin == id
        // Auth is off and its revision has never moved: a proposal admitted under another one is refused.
        guard proposal.authRevision == 0 else {
            if isOurs {
                batch.answers.append(
                    Answer(requestID: proposal.requestID, outcome: .authRevisionOld, revision: store.revision))
            }
            return
        }
        switch proposal.command {
        case .store(let command):
            let outcome = try store.apply(command)
            if isOurs {
                batch.answers.append(
                    Answer(requestID: proposal.requestID, outcome: .command(outcome), revision: store.revision))
            }
        case .publish(let member):
            record(member)
            batch.published.append(member.id)
            if isOurs { batch.ownPublications.append(proposal.requestID) }
        }
    }

    private mutating func change(_ change: ConfChangeV2, into batch: inout AppliedBatch) throws {
        configuration = try configuration.applying(change)
        batch.membershipChanges.append(change)
    }
}

extension ApplyMachine {
    // MARK: Watches

    /// True if ``catchUpWatches()`` has something to do.
    public var watchesNeedCatchUp: Bool { watches.needsCatchUp }

    public mutating func createWatch(_ request: WatchRequest) -> Result<WatchID, StoreError> { watches.create(request) }

    public mutating func cancelWatch(_ id: WatchID) { watches.cancel(id) }

    /// The client is slow: the watch is told nothing until it is resumed, and then catches up from the history.
    public mutating func pauseWatch(_ id: WatchID) { watches.pause(id) }
    public mutating func resumeWatch(_ id: WatchID) { watches.resume(id) }

    /// Lets watches that are behind catch up by one slice of the history.
    public mutating func catchUpWatches() throws -> [WatchDelivery] { try watches.catchUp(from: store) }

    // MARK: Leases

    /// This member began or ceased to lead: only the leader keeps the leases' time.
    /// - Parameters:
    ///   - now: the monotonic clock, in nanoseconds; so below.
    ///   - leaseExtension: added to every lease, since renewals sent during the election went nowhere.
    public mutating func leadershipChanged(isLeader: Bool, now: Int64, leaseExtension: Int64) {
        if isLeader { store.leases.promote(now: now, extend: leaseExtension) } else { store.leases.demote() }
    }

    /// The driver looks at the clock, at least twice in ``longestUnservedNanoseconds``, and before it renews a lease or
    /// lets one run out, which it does by the time it has seen here.
    ///
    /// If it could not look for longer (the process was stopped, or a read held the thread up), no renewal was
    /// served either, and no lease may end for that: each runs longer by what was lost.
    ///
    /// - Returns: what was lost, in nanoseconds; 0 for nothing.
    public mutating func lookedAtClock(now: Int64) -> Int64 {
        defer { lastLook = now }
        guard store.leases.isPrimary, let lastLook, now - lastLook > Self.longestUnservedNanoseconds else { return 0 }
        store.leases.extend(by: now - lastLook, since: lastLook)
        return now - lastLook
    }

    /// How long the driver may look away before that counts as time lost; less than any lease runs for.
    public static var longestUnservedNanoseconds: Int64 { 1_000_000_000 }

    /// Leases that have run out, to be revoked through the log.
    public mutating func expiredLeases(now: Int64, limit: Int) -> [Int64] {
        store.leases.isPrimary ? store.leases.expired(now: now, limit: limit) : []
    }

    public mutating func renewLease(_ id: Int64, now: Int64) -> Result<Int64, StoreError> {
        store.leases.renew(id, now: now)
    }

    // MARK: Compaction

    /// Removes a slice of what a compaction made unreachable; the driver commits it.
    public mutating func compactStep(budget: Int) { _ = store.compactStep(budget: budget) }

    // MARK: Members

    private mutating func record(_ member: MemberAttributes) {
        members.removeAll { $0.id == member.id }
        let place = members.firstIndex { $0.id > member.id } ?? members.endIndex
        members.insert(member, at: place)
        store.history.setNote(MemberNotes.key(member.id), MemberNotes.value(member))
    }
}

/// How members lie among the state's notes: under their ids, big-endian, so that a scan is in their order.
private enum MemberNotes {
    static let prefix = Array("member/".utf8)

    static func key(_ member: MemberID) -> [UInt8] {
        withUnsafeBytes(of: member.rawValue.bigEndian) { prefix + $0 }
    }

    static func value(_ member: MemberAttributes) -> [UInt8] {
        var out: [UInt8] = []
        member.encode(into: &out)
        return out
    }

    static func read(_ history: some HistoryLog) throws -> [MemberAttributes] {
        var members: [MemberAttributes] = []
        try history.scanNotes(prefix: prefix) { _, value in
            members.append(try MemberAttributes(decoding: value))
            return true
        }
        return members
    }
}
