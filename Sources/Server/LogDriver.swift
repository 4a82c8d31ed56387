import Logging
import Replica
import Storage
import Transport

/// What reaches the log thread.
enum LogJob: Sendable {
    struct Append: Sendable {
        var hardState: HardState?
        var snapshot: (metadata: SnapshotMetadata, staged: SnapshotReceiver?)?
        var entries: [Entry] = []
        /// False when only the commit index moved: it may ride with the next write, a restart finds it again.
        var mustSync = false
        /// They leave when all of the above is durable.
        var messages: [Message] = []
        /// Committed entries that may be applied only after this sync; see `commitMustBeDurableBeforeApply`.
        var committed: [[Entry]] = []
        var truncateUpTo: LogIndex?
    }
    case append(Append)
    case stop
}

/// The log thread: everything that arrived while the last sync ran goes into the next one.
final class LogDriver {
    private let mailbox: Mailbox<LogJob>
    private let consensusMailbox: Mailbox<ConsensusEvent>
    private let applyMailbox: Mailbox<ApplyEvent>
    private let transport: PeerTransport
    private let id: MemberID
    private let log: RaftLog
    private let metrics: Metrics
    private let fail: @Sendable (any Error) -> Void
    /// The last one, written or not.
    private var hardState: HardState
    /// A commit index that rides with the next synced write.
    private var waitingHardState: HardState?
    private var endsInEntries = false
    private static let restNanoseconds: Int64 = 200_000_000

    /// - Parameter hardState: what the log holds.
    init(
        log: RaftLog, hardState: HardState, id: MemberID, mailboxes: Mailboxes, transport: PeerTransport,
        metrics: Metrics, fail: @escaping @Sendable (any Error) -> Void
    ) {
        self.log = log
        self.hardState = hardState
        self.id = id
        self.mailbox = mailboxes.log
        self.consensusMailbox = mailboxes.consensus
        self.applyMailbox = mailboxes.apply
        self.transport = transport
        self.metrics = metrics
        self.fail = fail
    }

    func run() {
        var jobs: [LogJob] = []
        do {
            while true {
                mailbox.take(
                    into: &jobs, deadline: isAtRest ? nil : monotonicNanoseconds() + LogDriver.restNanoseconds)
                if jobs.isEmpty { try rest() }
                var group = LogJob.Append()
                for job in jobs {
                    guard case .append(let append) = job else {
                        try write(group)
                        try rest()
                        return
                    }
                    if append.snapshot != nil {
                        // Nothing before the snapshot may be written after it, nor the other way round.
                        try write(group)
                        try install(append)
                        group = LogJob.Append()
                    } else {
                        merge(append, into: &group)
                    }
                }
                try write(group)
            }
        } catch {
            // Whether the failed write reached the disk is unknown, and a second try of a sync may
            // succeed without having written anything: the member stops.
            fail(error)
        }
    }

    private func merge(_ append: LogJob.Append, into group: inout LogJob.Append) {
        if let hardState = append.hardState { group.hardState = hardState }
        group.mustSync = group.mustSync || append.mustSync
        if let first = append.entries.first {
            while let last = group.entries.last, last.index >= first.index { group.entries.removeLast() }
            group.entries.append(contentsOf: append.entries)
        }
        group.messages.append(contentsOf: append.messages)
        group.committed.append(contentsOf: append.committed)
        if let truncate = append.truncateUpTo { group.truncateUpTo = truncate }
    }

    private var isAtRest: Bool { waitingHardState == nil && !endsInEntries }

    /// Writes the hard state by itself, so that a log at rest ends in a record whose loss costs nothing: a commit index
    /// that found no ride, or again the one that was written with the last entries.
    private func rest() throws {
        if !isAtRest { try write(LogJob.Append(hardState: hardState, mustSync: true)) }
    }

    private func write(_ group: LogJob.Append) throws {
        if let hardState = group.hardState {
            self.hardState = hardState
            waitingHardState = hardState
        }
        if group.mustSync {
            let start = monotonicNanoseconds()
            try log.append(hardState: waitingHardState, entries: group.entries)
            waitingHardState = nil
            endsInEntries = !group.entries.isEmpty
            metrics.logSyncs.observe(nanoseconds: monotonicNanoseconds() - start)
        }
        report(group)
        if let index = group.truncateUpTo { try log.truncatePrefix(upTo: index) }
    }

    private func install(_ append: LogJob.Append) throws {
        guard let snapshot = append.snapshot else { return }
        // The term first: a start refuses a log that holds less than the snapshot's. Not the commit index: it counts the
        // snapshot's entries, and what the log has in their place until it is reset may never have been committed.
        let former = hardState.commit
        hardState = append.hardState ?? hardState
        let committed = append.committed.last?.last?.index ?? former
        try log.append(
            hardState: HardState(term: hardState.term, vote: hardState.vote, commit: max(former, committed)),
            entries: [])
        waitingHardState = nil
        // They stand before the snapshot, and waited for the hard state alone.
        handOn(append.committed)
        // The state first: a crash in between leaves a log that lacks the state's (index, term), which the
        // start recognises and clears. The other way round would leave neither.
        let installed = Completion()
        applyMailbox.post(.install(snapshot.metadata, snapshot.staged, installed))
        guard installed.wait() else { throw ServerError.snapshotNotInstalled(snapshot.metadata.index) }
        try log.reset(toSnapshot: snapshot.metadata.index, term: snapshot.metadata.term)
        try log.append(hardState: hardState, entries: append.entries)
        endsInEntries = !append.entries.isEmpty
        consensusMailbox.post(.snapshotInstalled(snapshot.metadata.index))
        var rest = append
        rest.committed = []
        report(rest)
    }

    private func handOn(_ committed: [[Entry]]) {
        guard !committed.isEmpty else { return }
        for entries in committed { applyMailbox.post(.committed(entries)) }
        consensusMailbox.post(.commitsHandedOn(committed.count))
    }

    private func report(_ group: LogJob.Append) {
        handOn(group.committed)
        let others = group.messages.filter { $0.to != id }
        if !others.isEmpty { transport.send(others.map { ($0.to, .raft($0)) }) }
        let toSelf = group.messages.filter { $0.to == id }
        if let last = group.entries.last {
            consensusMailbox.post(.appended(term: last.term, index: last.index, messagesToSelf: toSelf))
        } else if !toSelf.isEmpty {
            consensusMailbox.post(.appended(term: .zero, index: .zero, messagesToSelf: toSelf))
        }
    }
}
