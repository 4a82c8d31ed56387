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
    /// Changes of the configuration that were accepted: consensus follows them, and only them.
    public var membershipChanges: [ConfChangeV2] = []
    /// Who is no member any more; this member stops if it is among them.
    public var removed: [MemberID] = []
    public init() {}
}

/// The answer to a proposal of this member.
public struct Answer: Sendable {
    public enum Outcome: Sendable {
        case command(CommandOutcome)
        /// The proposal was admitted under permissions that have changed since; it changed nothing.
        case authRevisionOld
        /// The members after the change, or why it changed nothing.
        case membership(Result<[MemberAttributes], MembershipError>)
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
    private var list: MemberList
    /// When the driver looked at the clock last.
    private var lastLook: Int64?
    private let id: MemberID

    /// - Parameter applied: what the history contains, as it recorded it.
    public init(id: MemberID, history: History, applied: LogIndex, term: Term, configuration: ConfState) throws {
        self.id = id
        self.applied = applied
        self.appliedTerm = term
        list = try MemberList(history, configuration: configuration)
        store = try Store(history: history)
        watches = WatchHub(revision: store.revision)
    }

    /// The configuration after the last entry applied.
    public var configuration: ConfState { list.configuration }
    /// Who stands in it, sorted by id. Nobody, until a member that joins has got its first snapshot.
    public var members: [MemberAttributes] { list.members }
    /// The ids of all that were members once, sorted.
    public var removedMembers: [MemberID] { list.removed }

    /// Writes the founding members into an empty state.
    public mutating func bootstrap(_ founders: [MemberAttributes]) {
        precondition(applied == .zero && members.isEmpty, "a state is founded once, before anything is applied")
        list.found(founders, &store.history)
    }

    /// Hands the history's batch to its owner, with what it brings the state to.
    public mutating func commit(
        _ body: (_ history: inout History, LogIndex, Term, ConfState) throws -> Void
    ) rethrows {
        try body(&store.history, applied, appliedTerm, list.configuration)
    }

    /// Goes on with another state, that of an installed snapshot. Watches stay and catch up from its history.
    public mutating func replaceState(
        _ history: History, applied: LogIndex, term: Term, configuration: ConfState
    ) throws {
        precondition(applied >= self.applied, "a snapshot at \(applied) is behind the applied \(self.applied)")
        store = try Store(history: history)
        list = try MemberList(history, configuration: configuration)
        self.applied = applied
        appliedTerm = term
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
        guard admits(proposal, &batch) else { return }
        switch proposal.command {
        case .store(let command):
            let outcome = try store.apply(command)
            answer(proposal, .command(outcome), &batch)
        case .publish(let member):
            if list.publish(member, &store.history) { batch.published.append(member.id) }
            if proposal.origin == id { batch.ownPublications.append(proposal.requestID) }
        case .members:
            throw ProposalError.misplacedMembershipChange
        }
    }

    /// Auth is off and its revision has never moved: a proposal admitted under another one is refused.
    private func admits(_ proposal: Proposal, _ batch: inout AppliedBatch) -> Bool {
        if proposal.authRevision == 0 { return true }
        answer(proposal, .authRevisionOld, &batch)
        return false
    }

    private func answer(_ proposal: Proposal, _ outcome: Answer.Outcome, _ batch: inout AppliedBatch) {
        guard proposal.origin == id else { return }
        batch.answers.append(Answer(requestID: proposal.requestID, outcome: outcome, revision: store.revision))
    }

    private mutating func change(_ change: ConfChangeV2, into batch: inout AppliedBatch) throws {
        if change.leavesJoint {
            batch.removed += try list.leaveJoint(change, &store.history)
            batch.membershipChanges.append(change)
            return
        }
        let proposal = try Proposal(decoding: change.context)
        guard case .members(let changes) = proposal.command, changes.map(\.memberChange) == change.changes else {
            throw ProposalError.misplacedMembershipChange
        }
        guard admits(proposal, &batch) else { return }
        switch try list.apply(changes, as: change, &store.history) {
        case .success(let removed):
            batch.removed += removed
            batch.membershipChanges.append(change)
            answer(proposal, .membership(.success(members)), &batch)
        case .failure(let error):
            answer(proposal, .membership(.failure(error)), &batch)
        }
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

    // MARK: Quota

    /// The state has grown past its quota: the alarm to be raised through the log, unless this member has raised it already.
    /// - Parameter bytes: what the history takes on this member.
    public func alarm(forSize bytes: Int, quota: Int) -> StoreCommand? {
        let alarm = Alarm(.noSpace, member: id.rawValue)
        guard bytes > quota, !store.alarms.contains(alarm) else { return nil }
        return .alarm(AlarmCommand(.activate, alarm))
    }

    // MARK: Compaction

    /// Removes a slice of what a compaction made unreachable; the driver commits it.
    public mutating func compactStep(budget: Int) { _ = store.compactStep(budget: budget) }
}
