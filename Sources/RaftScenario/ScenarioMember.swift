import Raft

/// A member of a scenario's cluster: the node, a stand-in for its disk, and a state machine that only notes how far it is.
struct ScenarioMember {
    let configuration: RaftConfiguration
    var node: RaftNode
    /// After `crash`, until `restart`.
    private(set) var isDown = false

    // Its disk.
    private var hardState: HardState
    /// As of the last write that had to be synced: what a crash can throw `hardState` back to.
    private var syncedHardState: HardState
    private var base: (index: LogIndex, term: Term)
    /// The log after `base`.
    private var entries: [Entry]
    /// The state after each entry applied, oldest first, as snapshots; never empty.
    private var history: [SnapshotMetadata]

    /// What its threads have still to do.
    var appendWork: [Envelope] = []
    var applyWork: [Envelope] = []
    /// Writes handed to the append thread and performed by it.
    private var appendsQueued = 0
    private var appendsDone = 0

    init(_ configuration: RaftConfiguration, members: ConfState, index: LogIndex) throws(RaftError) {
        self.configuration = configuration
        base = (index, Term(index > .zero ? 1 : 0))
        hardState = HardState(commit: index)
        syncedHardState = hardState
        entries = []
        history = [SnapshotMetadata(index: index, term: base.term, configuration: members)]
        node = try RaftNode(
            configuration,
            InitialState(hardState: hardState, configuration: members, base: base, applied: index))
    }

    var id: MemberID { configuration.id }
    var isAsynchronous: Bool { configuration.asynchronousStorage }
    /// The state machine as it stands.
    var applied: SnapshotMetadata { history[history.count - 1] }

    /// The durable log, as `raft-log` shows it.
    var logLines: [String] {
        if entries.isEmpty { return ["log is empty: first index=\(base.index.next), last index=\(base.index)"] }
        return entries.map(describe)
    }

    /// - Returns: why not, if it could not be done.
    mutating func compact(_ index: LogIndex) -> String? {
        if index <= base.index { return "requested index is unavailable due to compaction" }
        guard index <= applied.index, let last = entries.first(where: { $0.index == index }) else {
            return "requested index is not applied"
        }
        // The configuration at hand may be newer than `index`: so a snapshot that is sent stands for all that is applied.
        node.offerSnapshot(applied)
        node.compactLog(upTo: index, configuration: applied.configuration)
        base = (index, last.term)
        entries.removeAll { $0.index <= index }
        return nil
    }

    // MARK: Its disk and state

    private mutating func write(_ state: HardState?, _ new: [Entry], _ snapshot: SnapshotMetadata?, isSynced: Bool) {
        if let state { hardState = state }
        if isSynced { syncedHardState = hardState }
        if let snapshot {
            base = (snapshot.index, snapshot.term)
            entries = []
            history.append(snapshot)
        }
        if let first = new.first { entries.removeAll { $0.index >= first.index } }
        entries += new
    }

    private mutating func apply(_ committed: [Entry]) {
        for entry in committed {
            var members = applied.configuration
            // What arrived was decoded before, so a change that cannot be is none of ours.
            if let change = try? ConfChangeV2(entry) { members = node.applyConfChange(change) }
            history.append(SnapshotMetadata(index: entry.index, term: entry.term, configuration: members))
            node.offerSnapshot(applied)
        }
    }

    /// The process ends: what its threads had not done is lost, and, if so wished, all that need not have been synced.
    mutating func crash(losingUnsynced: Bool) {
        isDown = true
        appendWork = []
        applyWork = []
        appendsDone = appendsQueued
        if losingUnsynced { hardState = syncedHardState }
    }

    /// A disk that lied: of the log, nothing after `index` is there although it was reported as synced. The state, on a
    /// disk or in a file of its own, is not touched.
    mutating func loseLog(after index: LogIndex) {
        entries.removeAll { $0.index > index }
        let last = entries.last?.index ?? base.index
        hardState.commit = min(hardState.commit, last)
        syncedHardState.commit = min(syncedHardState.commit, last)
    }

    /// Starts again from its disk. `applied` is where the state machine's last flush was; all of it by default.
    /// - Returns: why it does not start, if it does not.
    mutating func restart(applied index: LogIndex?) -> String? {
        if !isDown { crash(losingUnsynced: false) }
        if let index {
            guard let kept = history.lastIndex(where: { $0.index <= index }) else {
                return "there is no state at or before \(index)"
            }
            history.removeLast(history.count - 1 - kept)
        }
        do throws(RaftError) {
            node = try RaftNode(
                configuration,
                InitialState(
                    hardState: hardState, configuration: applied.configuration, base: base, entries: entries,
                    applied: applied.index))
        } catch {
            return error.description
        }
        isDown = false
        return nil
    }

    // MARK: Readies

    /// Takes a Ready and carries it out, or hands it to the member's threads.
    /// - Returns: what it shows, and the messages that leave.
    mutating func processReady() throws(RaftError) -> (lines: [String], outgoing: [Envelope]) {
        // Whether the last entry needs reporting is judged before its write is handed out.
        let hadSnapshot = node.isInstallingSnapshot
        let ready = node.takeReady()
        var outgoing = ready.messages.map { Envelope(message: $0) }
        let after = ready.messagesAfterAppend.map { Envelope(message: $0) }
        if !isAsynchronous {
            outgoing += after.filter { $0.message.to != id }
            let lines = show(ready, outgoing)
            write(
                ready.hardState, ready.entriesToAppend, ready.snapshot,
                isSynced: ready.mustSync || ready.commitMustBeDurableBeforeApply)
            apply(ready.committed)
            for own in after where own.message.to == id { try node.step(own.message) }
            if let last = ready.entriesToAppend.last { node.appended(term: last.term, index: last.index) }
            if let snapshot = ready.snapshot { node.snapshotInstalled(index: snapshot.index) }
            if let last = ready.committed.last { node.applied(upTo: last.index) }
            return (lines, outgoing)
        }
        var work: [Envelope] = []
        if ready.hardState != nil || ready.snapshot != nil || !ready.entriesToAppend.isEmpty || !after.isEmpty {
            let storage = appendMessage(ready, after, reportsSnapshot: hadSnapshot)
            appendWork.append(storage)
            appendsQueued += 1
            work.append(storage)
        }
        if !ready.committed.isEmpty {
            let done = Message(
                kind: .storageApplyResponse, to: id, from: Envelope.applyThread, entries: ready.committed)
            var storage = Envelope(
                message: Message(kind: .storageApply, to: Envelope.applyThread, from: id, entries: ready.committed),
                responses: [Envelope(message: done)])
            if ready.commitMustBeDurableBeforeApply { storage.afterAppend = appendsQueued }
            applyWork.append(storage)
            work.append(storage)
        }
        return (show(ready, outgoing + work), outgoing)
    }

    private func appendMessage(_ ready: Ready, _ after: [Envelope], reportsSnapshot: Bool) -> Envelope {
        let state = ready.hardState ?? HardState()
        let message = Message(
            kind: .storageAppend, to: Envelope.appendThread, from: id, term: state.term,
            entries: ready.entriesToAppend, commit: state.commit, vote: state.vote, snapshot: ready.snapshot)
        var responses = after
        if node.hasUnwrittenEntries || reportsSnapshot {
            let last = node.hasUnwrittenEntries ? node.lastEntry : (.zero, .zero)
            let report = Message(
                kind: .storageAppendResponse, to: id, from: Envelope.appendThread, term: node.currentTerm,
                logTerm: last.0, index: last.1, snapshot: ready.snapshot)
            responses.append(Envelope(message: report, reportsEntries: !ready.entriesToAppend.isEmpty))
        }
        var storage = Envelope(message: message, responses: responses)
        storage.hardState = ready.hardState
        storage.mustSync = ready.mustSync || ready.commitMustBeDurableBeforeApply
        return storage
    }

    private func show(_ ready: Ready, _ messages: [Envelope]) -> [String] {
        var lines: [String] = []
        if let state = ready.softState { lines.append("Lead:\(state.leader.rawValue) State:\(describe(state.role))") }
        if let state = ready.hardState { lines.append("HardState " + describe(state)) }
        if !ready.readStates.isEmpty { lines += ["ReadStates:"] + ready.readStates.map(describe) }
        if !ready.entriesToAppend.isEmpty { lines += ["Entries:"] + ready.entriesToAppend.map(describe) }
        if let snapshot = ready.snapshot { lines.append("Snapshot " + describe(snapshot)) }
        if !ready.committed.isEmpty { lines += ["CommittedEntries:"] + ready.committed.map(describe) }
        if !messages.isEmpty { lines += ["Messages:"] + messages.flatMap(\.lines) }
        return lines.isEmpty ? ["<empty Ready>"] : ["Ready MustSync=\(ready.mustSync):"] + lines
    }

    // MARK: Threads

    /// The append thread performs its oldest write; nil if it has none.
    mutating func performAppend() -> Envelope? {
        guard !appendWork.isEmpty else { return nil }
        let work = appendWork.removeFirst()
        appendsDone += 1
        write(work.hardState, work.message.entries, work.message.snapshot, isSynced: work.mustSync)
        return work
    }

    /// Whether the oldest work of the apply thread holds a change of members whose commit index is not yet durable.
    var applyMustWait: Bool { (applyWork.first?.afterAppend ?? 0) > appendsDone }

    /// The apply thread performs its oldest work; nil if it has none.
    mutating func performApply() -> Envelope? {
        guard !applyWork.isEmpty, !applyMustWait else { return nil }
        let work = applyWork.removeFirst()
        apply(work.message.entries)
        return work
    }

    /// Takes a message out of the network, or a thread's response.
    mutating func deliver(_ envelope: Envelope) throws(RaftError) {
        let message = envelope.message
        switch message.kind {
        case .storageAppendResponse where message.from == Envelope.appendThread:
            if envelope.reportsEntries { node.appended(term: message.logTerm, index: message.index) }
            if let snapshot = message.snapshot { node.snapshotInstalled(index: snapshot.index) }
        case .storageApplyResponse where message.from == Envelope.applyThread:
            if let last = message.entries.last { node.applied(upTo: last.index) }
        default: try node.step(message)
        }
    }
}
