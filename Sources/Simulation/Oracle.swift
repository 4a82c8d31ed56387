/// What a run must never show; thrown or noted, it ends the run.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A change that happened, as every watch must show it.
struct KnownEvent {
    var revision: Int64
    var key: [UInt8]
    var isDelete: Bool
    /// The stored record; of a deletion what a watch shows.
    var record: [UInt8]
}

/// Knows what happened: the one log that all members must apply, and a store of its own that applies it first.
///
/// - Election safety: a term has one leader (Raft paper, figure 3; so below), and a member one vote in it.
/// - Leader completeness: a new leader's log reaches at least to whatever was committed in earlier terms and applied.
/// - A leader counts copies of its own term's entries alone, and nothing is applied before it is durable in the member's
///   own log.
/// - Log matching: an entry's index and term determine its payload and the term before it.
/// - State machine safety: members apply the same entries, and have the same state at the same index.
/// - A lease lives as long as was promised when it was granted or renewed.
/// - Every answer is that of the one log; reads show the state of their revision, and that is not older than anything
///   that was acknowledged before they were asked.
struct Oracle {
    /// Members compare their whole states at the multiples of this index.
    static let digestInterval: UInt64 = 200

    private(set) var log: [Entry] = []
    private var reference: Store<MemoryHistory>
    private(set) var events: [KnownEvent] = []
    /// Per key, which events changed it.
    private var eventsOfKey: [[UInt8]: [Int]] = [:]
    private var outcomes: [UInt64: (outcome: CommandOutcome, revision: Int64)] = [:]
    /// The reference's revision after each entry.
    private var revisions: [Int64] = []
    /// Leases in use, and how long at least they must live.
    private var protected: [Int64: Int64] = [:]
    private var digests: [UInt64: UInt64] = [:]
    /// By term: who led it, where its log ended when it was elected, and what had been applied when it was first seen to.
    private var leaders: [UInt64: (member: MemberID, lastIndex: LogIndex, applied: LogIndex)] = [:]
    private var votes: [UInt64: [MemberID: MemberID]] = [:]
    /// By index: the entries of each term that were ever appended there.
    private var appended: [[(entry: Entry, previousTerm: Term)]] = []
    private var firstViolation: Violation?

    init() throws { reference = try Store(history: MemoryHistory()) }

    var lastApplied: LogIndex { LogIndex(UInt64(log.count)) }
    var revision: Int64 { reference.revision }
    var compactedRevision: Int64 { reference.compactedRevision }

    /// The first violation noted where none could be thrown.
    mutating func takeViolation() -> Violation? { firstViolation.take() }

    private mutating func note(_ description: String) {
        if firstViolation == nil { firstViolation = Violation(description) }
    }

    // MARK: Consensus

    /// - Parameter lastIndex: where the member's log ended when it was elected.
    /// - Returns: whether the term had no leader yet.
    mutating func checkLeader(_ member: MemberID, _ term: Term, lastIndex: LogIndex) -> Bool {
        if let known = leaders[term.rawValue] {
            if known.member != member { note("term \(term) has two leaders, \(known.member) and \(member)") }
            return false
        }
        // The last vote it needed, its own perhaps, may have been so slow that a later term already has a leader.
        // What that one commits binds only its successors; what was applied before it led is of earlier terms.
        let committed = leaders.lazy.filter { $0.key > term.rawValue }.map(\.value.applied).min() ?? lastApplied
        leaders[term.rawValue] = (member, lastIndex, lastApplied)
        if lastIndex < committed {
            note("member \(member) leads term \(term) with a log that ended at \(lastIndex); applied is \(committed)")
        }
        return true
    }

    /// A leader's commit index rises. Entries of earlier terms commit only with one of its own. (Dissertation, 3.6.2.)
    mutating func checkCommit(of leader: MemberID, _ term: Term, to index: LogIndex) {
        guard let known = leaders[term.rawValue], known.member == leader, index <= known.lastIndex else { return }
        note("member \(leader), leader of term \(term), commits up to \(index), an entry of an earlier term")
    }

    /// Entries are about to be applied.
    /// - Parameter log: what of the member's log is synced.
    func checkDurable(_ entries: [Entry], by member: MemberID, in log: SimulatedLog) throws {
        for entry in entries where log.term(at: entry.index) != entry.term {
            throw Violation("member \(member) applies entry \(entry.index) before it is durable in its log")
        }
    }

    /// A vote leaves its member.
    mutating func checkVote(of member: MemberID, for candidate: MemberID, _ term: Term) {
        let known = votes[term.rawValue, default: [:]].updateValue(candidate, forKey: member)
        if let known, known != candidate {
            note("member \(member) votes for \(candidate) in term \(term), and has voted for \(known) before")
        }
    }

    /// A member asks for votes. Its own counts only later, when it is durable; one that it gave before binds it.
    mutating func checkCampaign(of member: MemberID, _ term: Term) {
        if let known = votes[term.rawValue]?[member] {
            note("member \(member) campaigns in term \(term), in which it has voted for \(known)")
        }
    }

    /// - Parameter entries: about to be written by a member.
    mutating func checkAppended(_ entries: [Entry], by member: MemberID) {
        var previousTerm: Term?
        for entry in entries {
            defer { previousTerm = entry.term }
            let index = Int(entry.index.rawValue)
            while appended.count <= index { appended.append([]) }
            guard let position = appended[index].firstIndex(where: { $0.entry.term == entry.term }) else {
                appended[index].append((entry, previousTerm ?? .zero))
                continue
            }
            let known = appended[index][position]
            if known.entry != entry {
                note("member \(member) appends another entry \(entry.index) of term \(entry.term) than is known")
            }
            guard let previousTerm else { continue }
            if known.previousTerm == .zero {
                appended[index][position].previousTerm = previousTerm
            } else if known.previousTerm != previousTerm {
                note(
                    "before entry \(entry.index) of term \(entry.term), member \(member) has another term than is known"
                )
            }
        }
    }

    // MARK: Commands

    /// A member is about to apply entries. Those that nobody has applied yet are applied here.
    mutating func observe(_ entries: [Entry], by member: MemberID, now: Int64) throws {
        for entry in entries {
            let position = Int(entry.index.rawValue) - 1
            guard position >= log.count else {
                if log[position] != entry {
                    throw Violation(
                        "member \(member) applies another entry \(entry.index) (term \(entry.term)) than was applied before "
                            + "(term \(log[position].term))")
                }
                continue
            }
            guard position == log.count else {
                throw Violation("member \(member) applies entry \(entry.index); nobody has applied those before it")
            }
            log.append(entry)
            if !entry.payload.isEmpty { try apply(Proposal(decoding: entry.payload), now: now) }
            revisions.append(reference.revision)
        }
    }

    /// Until this time no member may let a lease run out.
    mutating func protect(_ lease: Int64, until time: Int64) { protected[lease] = max(protected[lease] ?? 0, time) }

    private mutating func apply(_ proposal: Proposal, now: Int64) throws {
        guard case .store(let command) = proposal.command else { return }
        if case .leaseRevoke(let revoke) = command, let time = protected.removeValue(forKey: revoke.id), now < time {
            throw Violation("lease \(revoke.id) ran out \((time - now) / 1_000) ms before its time")
        }
        let before = reference.revision
        let outcome = try reference.apply(command)
        var last = before
        for event in reference.takeEvents() {
            guard event.revision.main == last || event.revision.main == last + 1, event.revision.main > before else {
                throw Violation("revision \(event.revision.main) follows \(last)")
            }
            last = event.revision.main
            eventsOfKey[event.key, default: []].append(events.count)
            let record =
                event.isDelete
                ? KeyValueRecord(key: event.key, modRevision: event.revision.main).encoded() : event.record
            events.append(
                KnownEvent(revision: event.revision.main, key: event.key, isDelete: event.isDelete, record: record))
        }
        guard last == reference.revision else { throw Violation("revision \(reference.revision) has no event") }
        guard outcomes.updateValue((outcome, reference.revision), forKey: proposal.requestID.rawValue) == nil else {
            throw Violation("request \(proposal.requestID.rawValue) was applied twice")
        }
    }

    /// After a member has applied something.
    mutating func checkState(_ machine: ApplyMachine<MemoryHistory>, of member: MemberID, _ census: inout Census) throws
    {
        let index = machine.applied.rawValue
        guard index > 0, Int(index) <= revisions.count else { return }
        let expected = revisions[Int(index) - 1]
        guard machine.store.revision == expected else {
            throw Violation(
                "member \(member) has revision \(machine.store.revision) at index \(index), not \(expected)")
        }
        if index % Self.digestInterval == 0 { try compareDigest(machine, of: member, &census) }
    }

    mutating func compareDigest(
        _ machine: ApplyMachine<MemoryHistory>, of member: MemberID, _ census: inout Census
    ) throws {
        let digest = try machine.store.digest()
        let index = machine.applied.rawValue
        census.count(.digestsCompared)
        let known = try digests[index] ?? (machine.applied == lastApplied ? reference.digest() : digest)
        digests[index] = known
        if known != digest { throw Violation("member \(member) has another state at index \(index) than is known") }
    }

    // MARK: Answers

    /// - Parameter floor: the newest revision that was acknowledged, or read, before the request was sent.
    func checkAnswer(_ request: RequestID, _ outcome: CommandOutcome, revision: Int64, floor: Int64) throws {
        guard let known = outcomes[request.rawValue] else {
            throw Violation("request \(request.rawValue) was answered but never applied")
        }
        guard known.outcome == outcome, known.revision == revision else {
            throw Violation("request \(request.rawValue) was answered otherwise than it was applied")
        }
        guard revision >= floor else {
            throw Violation("a write at revision \(revision) was asked for after revision \(floor) was acknowledged")
        }
    }

    func checkRead(_ key: [UInt8], _ result: RangeResult, floor: Int64) throws {
        guard result.revision >= floor else {
            throw Violation(
                "a read at revision \(result.revision) was asked for after revision \(floor) was acknowledged")
        }
        guard result.revision <= revision else {
            throw Violation("a read at revision \(result.revision), which is not applied")
        }
        let changes = eventsOfKey[key] ?? []
        let event = changes.last { events[$0].revision <= result.revision }.map { events[$0] }
        let expected = event.flatMap { $0.isDelete ? nil : $0.record }
        guard result.kvs.first == expected, result.kvs.count <= 1 else {
            throw Violation("a read at revision \(result.revision) does not show what was written")
        }
    }

    /// Where a watch from a revision begins.
    func firstEvent(from revision: Int64) -> Int {
        var low = 0
        var high = events.count
        while low < high {
            let middle = (low + high) / 2
            if events[middle].revision < revision { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
