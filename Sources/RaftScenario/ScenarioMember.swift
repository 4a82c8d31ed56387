import Raft

/// A member of a scenario's cluster: the node and a stand-in for its disk and its state machine.
struct ScenarioMember {
    var node: RaftNode
    let id: MemberID
    let electionTimeoutTicks: Int
    let heartbeatTicks: Int
    let isAsynchronous: Bool
    /// What is on its disk: the entries after `base`.
    private var base: LogIndex
    private var entries: [Entry]
    /// The state machine after the last entry applied, as a snapshot.
    private(set) var applied: SnapshotMetadata
    var appendWork: [Envelope] = []
    var applyWork: [Envelope] = []

    init(_ configuration: RaftConfiguration, members: ConfState, index: LogIndex) throws {
        let term = Term(index > .zero ? 1 : 0)
        node = try RaftNode(
            configuration,
            InitialState(
                hardState: HardState(commit: index), configuration: members, base: (index, term), applied: index))
        id = configuration.id
        electionTimeoutTicks = configuration.electionTimeoutTicks
        heartbeatTicks = configuration.heartbeatTicks
        isAsynchronous = configuration.asynchronousStorage
        base = index
        entries = []
        applied = SnapshotMetadata(index: index, term: term, configuration: members)
    }

    /// The durable log, as `raft-log` shows it.
    var logLines: [String] {
        if entries.isEmpty { return ["log is empty: first index=\(base.next), last index=\(base)"] }
        return entries.map(describe)
    }

    mutating func compact(_ index: LogIndex) {
        entries.removeAll { $0.index <= index }
        base = max(base, index)
        node.compactLog(upTo: index, configuration: applied.configuration)
    }

    mutating func write(_ new: [Entry], _ snapshot: SnapshotMetadata?) {
        if let snapshot {
            base = snapshot.index
            entries = []
            applied = snapshot
        }
        if let first = new.first { entries.removeAll { $0.index >= first.index } }
        entries += new
    }

    mutating func apply(_ committed: [Entry]) throws {
        for entry in committed {
            var members = applied.configuration
            if let change = try ConfChangeV2(entry) { members = node.applyConfChange(change) }
            applied = SnapshotMetadata(index: entry.index, term: entry.term, configuration: members)
            node.offerSnapshot(applied)
        }
    }

    /// Takes a Ready and carries it out, or hands it to the member's threads.
    /// - Returns: what it shows, and the messages that leave.
    mutating func processReady() throws -> (lines: [String], outgoing: [Envelope]) {
        // Whether the last entry needs reporting is judged before its write is handed out.
        let hadSnapshot = node.isInstallingSnapshot
        let ready = node.takeReady()
        var outgoing = ready.messages.map { Envelope(message: $0) }
        let after = ready.messagesAfterAppend.map { Envelope(message: $0) }
        if !isAsynchronous {
            outgoing += after.filter { $0.message.to != id }
            let lines = show(ready, outgoing)
            write(ready.entriesToAppend, ready.snapshot)
            try apply(ready.committed)
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
            work.append(storage)
        }
        if !ready.committed.isEmpty {
            let done = Message(
                kind: .storageApplyResponse, to: id, from: Envelope.applyThread, entries: ready.committed)
            let storage = Envelope(
                message: Message(kind: .storageApply, to: Envelope.applyThread, from: id, entries: ready.committed),
                responses: [Envelope(message: done)])
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
        return Envelope(message: message, responses: responses)
    }

    private func show(_ ready: Ready, _ messages: [Envelope]) -> [String] {
        var lines: [String] = []
        if let state = ready.softState { lines.append("Lead:\(state.leader.rawValue) State:\(describe(state.role))") }
        if let state = ready.hardState { lines.append("HardState " + describe(state)) }
        if !ready.entriesToAppend.isEmpty { lines += ["Entries:"] + ready.entriesToAppend.map(describe) }
        if let snapshot = ready.snapshot { lines.append("Snapshot " + describe(snapshot)) }
        if !ready.committed.isEmpty { lines += ["CommittedEntries:"] + ready.committed.map(describe) }
        if !messages.isEmpty { lines += ["Messages:"] + messages.flatMap(\.lines) }
        return lines.isEmpty ? ["<empty Ready>"] : ["Ready MustSync=\(ready.mustSync):"] + lines
    }

    /// Takes a message out of the network, or a thread's response.
    mutating func deliver(_ envelope: Envelope) throws(RaftError) {
        let message = envelope.message
        switch message.kind {
        case .storageAppendResponse:
            if envelope.reportsEntries { node.appended(term: message.logTerm, index: message.index) }
            if let snapshot = message.snapshot { node.snapshotInstalled(index: snapshot.index) }
        case .storageApplyResponse:
            if let last = message.entries.last { node.applied(upTo: last.index) }
        default: try node.step(message)
        }
    }
}
