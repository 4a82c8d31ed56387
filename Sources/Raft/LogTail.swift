/// The log in memory: every entry since the last compaction, and how far each is on its way.
///
/// ```
///   base ≤ applied ≤ handedToApply ≤ commit ≤ last
///                    handedToApply ≤ durable ≤ handedToWrite ≤ last      (asynchronous storage)
/// ```
/// Dropping a prefix costs what it drops, amortised; looking up a term is an array access; the
/// entries' payloads are shared with messages and Readies, never copied.
struct LogTail: Sendable {
    /// The last entry that is no longer held: its term is what a follower's log is compared with.
    private(set) var baseIndex: LogIndex
    private(set) var baseTerm: Term
    private(set) var commit: LogIndex
    private(set) var applied: LogIndex
    /// Committed entries up to here have been handed out.
    private(set) var handedToApply: LogIndex
    /// Entries up to here have been handed out to be written.
    private(set) var handedToWrite: LogIndex
    /// Entries up to here are known to be on disk as they are here.
    private(set) var durable: LogIndex
    /// A snapshot to be installed before anything after `baseIndex` counts.
    private(set) var pendingSnapshot: SnapshotMetadata?
    private var isSnapshotHandedOut = false

    /// Entries in front of `head` are dropped (their payloads released) but still take up a slot.
    private var entries: [Entry]
    private var head = 0

    /// Where each term begins, oldest first: conflict hints skip whole terms by it.
    private var termStarts: [(index: LogIndex, term: Term)] = []
    /// The membership changes among the entries, in order; there are few.
    private var confChanges: [LogIndex] = []

    /// A write handed out and not yet reported: `stillValid` shrinks when a later truncation replaces
    /// part of what it wrote.
    private struct Write: Sendable {
        var last: LogIndex
        var lastTerm: Term
        var stillValid: LogIndex
    }
    private var writes: [Write] = []
    /// Handed out to be applied and not yet reported: up to which index, and how many bytes.
    private var applying: [(last: LogIndex, bytes: Int, payload: Int)] = []
    private var applyingBytes = 0

    init(_ initial: InitialState) throws(RaftError) {
        func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws(RaftError) {
            if !condition { throw .invalidInitialState(reason: reason()) }
        }
        try require(
            (initial.base.index == .zero) == (initial.base.term == .zero),
            "base \(initial.base.index) has term \(initial.base.term)")
        baseIndex = initial.base.index
        baseTerm = initial.base.term
        entries = []
        var previous = (index: baseIndex, term: baseTerm)
        for entry in initial.entries {
            try require(
                previous.index.rawValue < RaftNode.largestNumber && entry.index == previous.index.next
                    && entry.term >= previous.term && entry.term > .zero,
                "entry \(entry.term)/\(entry.index) follows \(previous.term)/\(previous.index)")
            previous = (entry.index, entry.term)
        }
        let last = previous.index
        try require(initial.applied <= last, "applied index \(initial.applied) is past the log's end \(last)")
        try require(
            initial.applied >= baseIndex, "applied index \(initial.applied) is before the log's start \(baseIndex)")
        try require(
            initial.hardState.commit <= last, "commit index \(initial.hardState.commit) is past the log's end \(last)")
        try require(
            max(last.rawValue, previous.term.rawValue, initial.hardState.term.rawValue) < RaftNode.largestNumber,
            "a term or an index is beyond all reason")
        // A member that starts from a snapshot may have no term yet, but its first election must not
        // go below what it holds.
        let least =
            initial.entries.isEmpty ? previous.term.rawValue - min(previous.term.rawValue, 1) : previous.term.rawValue
        try require(
            initial.hardState.term.rawValue >= least,
            "term \(initial.hardState.term) is older than the last entry's \(previous.term)")
        // What has been applied was committed, even if the commit index on disk lags behind.
        commit = max(initial.hardState.commit, initial.applied)
        applied = initial.applied
        handedToApply = initial.applied
        durable = last
        handedToWrite = last
        add(initial.entries[...])
    }

    var firstIndex: LogIndex { baseIndex.next }
    var lastIndex: LogIndex { baseIndex + UInt64(entries.count - head) }
    var lastTerm: Term { entries.count > head ? entries[entries.count - 1].term : baseTerm }

    private func slot(_ index: LogIndex) -> Int { head + Int(index.rawValue - baseIndex.rawValue) - 1 }

    /// The term of the entry at `index`; nil outside of `baseIndex ... lastIndex`.
    func term(at index: LogIndex) -> Term? {
        if index == baseIndex { return baseTerm }
        guard index > baseIndex, index <= lastIndex else { return nil }
        return entries[slot(index)].term
    }

    /// Whether a candidate whose log ends with (`index`, `term`) has everything that is committed as
    /// far as this log knows. (Dissertation, 3.6.1.)
    func isUpToDate(_ index: LogIndex, _ term: Term) -> Bool {
        term > lastTerm || (term == lastTerm && index >= lastIndex)
    }

    /// The entries from `start` through `end`, as many as fit into `maxBytes` but at least one; and their size.
    func slice(from start: LogIndex, through end: LogIndex, maxBytes: Int) -> (entries: [Entry], bytes: Int) {
        guard start <= end else { return ([], 0) }
        let first = slot(start)
        let limit = slot(end) + 1
        var stop = first
        var bytes = 0
        while stop < limit {
            let size = entries[stop].logBytes
            if stop > first, bytes + size > maxBytes { break }
            bytes += size
            stop += 1
        }
        return (Array(entries[first..<stop]), bytes)
    }

    /// The last entry at or before `index` whose term is at most `term`, with its term: where a log
    /// that has `term` at `index` may agree with this one. Term zero where this log no longer knows.
    /// Both sides use it, so that one round trip skips a whole term of conflicting entries on either
    /// side. (Dissertation, 3.5, sketches the leader's half.)
    func agreement(from index: LogIndex, term: Term) -> (LogIndex, Term) {
        if index > lastIndex || index < baseIndex { return (index, .zero) }
        var end = index
        for start in termStarts.reversed() where start.index <= index {
            if start.term <= term { return (end, start.term) }
            end = start.index.previous
        }
        if baseTerm <= term { return (baseIndex, baseTerm) }
        return (baseIndex == .zero ? .zero : baseIndex.previous, .zero)
    }

    var hasUnappliedConfChange: Bool {
        confChanges.contains { $0 > applied && $0 <= commit }
    }

    // MARK: Growing and cutting

    private mutating func add(_ new: ArraySlice<Entry>) {
        var term = lastTerm
        for entry in new {
            if entry.term != term || termStarts.isEmpty {
                termStarts.append((entry.index, entry.term))
                term = entry.term
            }
            if entry.kind != .normal { confChanges.append(entry.index) }
        }
        entries.append(contentsOf: new)
    }

    /// Appends the leader's own entries.
    mutating func append(_ new: [Entry]) {
        precondition(new.first.map { $0.index == lastIndex.next } ?? true, "entries do not continue the log")
        add(new[...])
    }

    /// Makes the log continue with `new` after an entry that matched: entries already here are kept,
    /// so that an old message cannot cut off what a newer one brought (figure 3.1, AppendEntries 3 and 4).
    /// - Returns: false, and changes nothing, if a committed entry would have to go.
    mutating func reconcile(with new: [Entry]) -> Bool {
        guard let conflict = new.firstIndex(where: { term(at: $0.index) != $0.term }) else { return true }
        let index = new[conflict].index
        if index <= commit { return false }
        if index <= lastIndex { truncate(from: index) }
        add(new[conflict...])
        return true
    }

    private mutating func truncate(from index: LogIndex) {
        precondition(index > commit, "cutting the log at \(index), which is committed (\(commit))")
        let kept = index.previous
        entries.removeLast(Int(lastIndex.rawValue - kept.rawValue))
        handedToWrite = min(handedToWrite, kept)
        durable = min(durable, kept)
        // A write under way that contains `index` may still be reported: it then proves nothing about
        // the entries that replace it, even if terms and indexes come to be the same again.
        for position in writes.indices { writes[position].stillValid = min(writes[position].stillValid, kept) }
        while let last = termStarts.last, last.index >= index { termStarts.removeLast() }
        while let last = confChanges.last, last >= index { confChanges.removeLast() }
    }

    /// Forgets the entries up to `index`, which must be applied.
    mutating func dropPrefix(through index: LogIndex) {
        precondition(index <= applied, "dropping entry \(index), which is not applied (\(applied))")
        guard index > baseIndex, let term = term(at: index) else { return }
        let end = slot(index) + 1
        for position in head..<end { entries[position].payload = [] }
        head = end
        baseIndex = index
        baseTerm = term
        if head * 2 >= entries.count {
            entries.removeFirst(head)
            head = 0
        }
        let started = termStarts.lastIndex { $0.index <= index.next } ?? 0
        termStarts.removeFirst(started)
        if entries.count == head { termStarts = [] }
        confChanges.removeAll { $0 <= index }
    }

    mutating func commit(to index: LogIndex) {
        precondition(index <= lastIndex, "commit index \(index) is past the log's end \(lastIndex)")
        commit = max(commit, index)
    }

    /// Replaces the whole log by a snapshot that is still to be installed.
    mutating func restore(_ snapshot: SnapshotMetadata) {
        precondition(snapshot.index > commit, "a snapshot at \(snapshot.index) would undo commit \(commit)")
        entries = []
        head = 0
        termStarts = []
        confChanges = []
        baseIndex = snapshot.index
        baseTerm = snapshot.term
        commit = snapshot.index
        durable = snapshot.index
        handedToWrite = snapshot.index
        for position in writes.indices { writes[position].stillValid = .zero }
        pendingSnapshot = snapshot
        isSnapshotHandedOut = false
    }

    // MARK: Handing out and hearing back

    var hasSnapshotToHandOut: Bool { pendingSnapshot != nil && !isSnapshotHandedOut }
    var hasEntriesToWrite: Bool { handedToWrite < lastIndex }
    /// Whether some entry is not known to be durable.
    var hasUnwrittenEntries: Bool { durable < lastIndex }

    mutating func takeSnapshot() -> SnapshotMetadata? {
        guard hasSnapshotToHandOut else { return nil }
        isSnapshotHandedOut = true
        return pendingSnapshot
    }

    mutating func takeEntriesToWrite() -> [Entry] {
        guard hasEntriesToWrite else { return [] }
        let new = Array(entries[slot(handedToWrite.next)...])
        handedToWrite = lastIndex
        writes.append(Write(last: lastIndex, lastTerm: lastTerm, stillValid: lastIndex))
        return new
    }

    /// The oldest write that ended with (`term`, `index`) is durable, and with it all before it.
    ///
    /// That pair is not unique: the same entry may be written, replaced and written again while the
    /// first write is still under way. Writes finish in order, so the report is matched with the oldest, of
    /// which `stillValid` says what it still proves.
    mutating func wrote(term: Term, index: LogIndex) {
        guard let position = writes.firstIndex(where: { $0.last == index && $0.lastTerm == term }) else { return }
        for write in writes[...position] { durable = max(durable, write.stillValid) }
        writes.removeFirst(position + 1)
    }

    /// Nothing is applied here that is not in the durable part of the log here, however safely it is committed elsewhere.
    /// The state would outrun its log: after a crash it holds entries, perhaps a membership, that the log does not have, and
    /// the member votes and counts majorities by a log that ends before them. (10.2.1 lets a leader commit before its own
    /// disk has written; it says nothing of applying. The schedules are in etcd-io/raft issues 456 and 469.)
    private func lastToApply(allowUnwritten: Bool) -> LogIndex { allowUnwritten ? commit : min(commit, durable) }

    func hasCommittedToHandOut(allowUnwritten: Bool, maxBytes: Int) -> Bool {
        pendingSnapshot == nil && handedToApply < lastToApply(allowUnwritten: allowUnwritten)
            && applyingBytes < maxBytes
    }

    mutating func takeCommitted(allowUnwritten: Bool, maxBytes: Int) -> [Entry] {
        guard hasCommittedToHandOut(allowUnwritten: allowUnwritten, maxBytes: maxBytes) else { return [] }
        let (new, bytes) = slice(
            from: handedToApply.next, through: lastToApply(allowUnwritten: allowUnwritten),
            maxBytes: maxBytes - applyingBytes)
        handedToApply = handedToApply + UInt64(new.count)
        applying.append((handedToApply, bytes, new.reduce(0) { $0 + $1.payload.count }))
        applyingBytes += bytes
        return new
    }

    /// Notes that everything up to `index` is applied.
    /// - Returns: the payload bytes of the batches that are done with it.
    mutating func apply(upTo index: LogIndex) -> Int {
        precondition(
            index <= commit && index <= handedToWrite,
            "applied \(index) past the commit index \(commit) or what was handed out (\(handedToWrite))")
        applied = max(applied, index)
        handedToApply = max(handedToApply, index)
        let done = applying.firstIndex { $0.last > index } ?? applying.count
        var payload = 0
        for batch in applying[..<done] {
            payload += batch.payload
            applyingBytes -= batch.bytes
        }
        applying.removeFirst(done)
        return payload
    }

    mutating func installed(snapshot index: LogIndex) {
        guard let pending = pendingSnapshot, isSnapshotHandedOut, index >= pending.index else { return }
        pendingSnapshot = nil
        _ = apply(upTo: pending.index)
    }
}

extension Entry {
    /// What an entry counts for against limits in bytes: its payload and what surrounds it.
    var logBytes: Int { payload.count + 16 }
}
