/// A leader's log: proposals, appends to followers, their answers, and what commits by them.
/// (Dissertation, 3.5, 3.6.2, 10.2.1.)

extension RaftNode {
    // MARK: Proposals

    /// Appends one entry for each payload, all or none; a follower passes them on to the leader. That
    /// an entry was accepted does not mean that it will commit: only `committed` says so.
    /// - Throws: `.proposalDropped`.
    public mutating func propose(_ payloads: [[UInt8]]) throws(RaftError) {
        if payloads.isEmpty { return }
        try propose(entries: payloads.map { Entry(term: .zero, index: .zero, payload: $0) }, from: id)
    }

    mutating func propose(entries: [Entry], from: MemberID) throws(RaftError) {
        guard role == .leader else { return try forward(entries, from: from) }
        // A leader that was removed but has not stepped down cannot count itself; let a member lead.
        guard membership.progress.position(of: id) != nil else { throw .proposalDropped(.notMember) }
        // The transferee must be able to catch up. (Dissertation, 3.10.)
        guard transferee == .none else { throw .proposalDropped(.transferring) }
        var entries = entries
        let changeAccepted = try admitConfChanges(&entries)
        guard appendAsLeader(entries) else { throw .proposalDropped(.tooMuchUncommitted) }
        if let changeAccepted { pendingConfIndex = changeAccepted }
        broadcastAppend()
    }

    private mutating func forward(_ entries: [Entry], from: MemberID) throws(RaftError) {
        guard role == .follower, leader != .none else { throw .proposalDropped(.noLeader) }
        if configuration.disableProposalForwarding { throw .proposalDropped(.forwardingDisabled) }
        send(Message(kind: .propose, to: leader, from: from, entries: entries))
    }

    /// Gives `entries` their term and place and appends them.
    /// - Returns: false if too much is uncommitted already.
    mutating func appendAsLeader(_ entries: [Entry]) -> Bool {
        var entries = entries
        var bytes = 0
        var index = log.lastIndex
        for position in entries.indices {
            index = index.next
            entries[position].term = term
            entries[position].index = index
            bytes += entries[position].payload.count
        }
        let limit = configuration.maxUncommittedBytes
        // A first proposal passes whatever its size, and an empty one always: else a cluster could not
        // elect a leader or leave a joint configuration.
        if limit > 0, uncommittedBytes > 0, bytes > 0, uncommittedBytes + bytes > limit { return false }
        uncommittedBytes += bytes
        log.append(entries)
        // The leader's own copy counts once it is durable, like anyone's; followers may be faster. (10.2.1)
        send(Message(kind: .appendResponse, to: id, index: index))
        return true
    }

    // MARK: Sending

    /// Entries read from the log for one follower, for the next one that needs the same.
    struct SharedSlice {
        var start = LogIndex.zero
        var entries: [Entry] = []
        var bytes = 0
    }

    mutating func broadcastAppend() {
        // Most followers need the same entries. The log does not change meanwhile.
        var shared = SharedSlice()
        for position in membership.progress.rows.indices where membership.progress.rows[position].id != id {
            sendAppend(position, evenIfEmpty: true, &shared)
        }
    }

    /// Sends the next entries, or none, to bring the commit index.
    mutating func sendAppend(_ position: Int) { sendAppend(position, evenIfEmpty: true) }

    /// - Returns: whether a message was sent.
    @discardableResult
    mutating func sendAppend(_ position: Int, evenIfEmpty: Bool) -> Bool {
        var shared = SharedSlice()
        return sendAppend(position, evenIfEmpty: evenIfEmpty, &shared)
    }

    /// - Returns: whether a message was sent.
    @discardableResult
    private mutating func sendAppend(_ position: Int, evenIfEmpty: Bool, _ shared: inout SharedSlice) -> Bool {
        // Field by field: a copy of the row would make its window be copied when the message is noted in it.
        if membership.progress.rows[position].isPaused { return false }
        let next = membership.progress.rows[position].next
        guard let previousTerm = log.term(at: next.previous) else { return sendSnapshot(position) }
        // With a full window only empty messages are sent: if all in it were lost, the answer
        // to one of these gets things going again.
        let isFull =
            membership.progress.rows[position].state == .replicate
            && membership.progress.rows[position].inflights.isFull
        if !isFull, next <= log.lastIndex, shared.start != next {
            let slice = log.slice(from: next, through: log.lastIndex, maxBytes: configuration.maxBytesPerMessage)
            shared = SharedSlice(start: next, entries: slice.entries, bytes: slice.bytes)
        }
        let hasEntries = !isFull && next <= log.lastIndex
        if !hasEntries && !evenIfEmpty { return false }
        membership.progress.rows[position].sent(
            entries: hasEntries ? shared.entries.count : 0, bytes: hasEntries ? shared.bytes : 0)
        membership.progress.rows[position].sent(commit: log.commit)
        send(
            Message(
                kind: .append, to: membership.progress.rows[position].id, logTerm: previousTerm, index: next.previous,
                entries: hasEntries ? shared.entries : [], commit: log.commit))
        return true
    }

    private mutating func sendSnapshot(_ position: Int) -> Bool {
        // Snapshots are costly, so not into the void: the next heartbeat's answer brings us back here.
        guard membership.progress.rows[position].isRecentlyActive else { return false }
        membership.progress.rows[position].becomeSnapshot(snapshot.index)
        send(Message(kind: .snapshot, to: membership.progress.rows[position].id, snapshot: snapshot))
        return true
    }

    mutating func broadcastHeartbeat() {
        let isLeaseBased = configuration.readOnlyOption == .leaseBased
        if reads.needsRound || isLeaseBased { reads.beginRound(at: now) }
        let context = reads.heartbeatContext(always: isLeaseBased)
        for position in membership.progress.rows.indices where membership.progress.rows[position].id != id {
            // A follower's log may differ from ours past what it acknowledged: told of a commit beyond that, it would
            // take its own entries there for committed. (3.5; figure 3.1, AppendEntries 5)
            let commit = min(membership.progress.rows[position].match, log.commit)
            membership.progress.rows[position].sent(commit: commit)
            send(Message(kind: .heartbeat, to: membership.progress.rows[position].id, commit: commit, context: context))
        }
        if !context.isEmpty { answerConfirmedReads() }
    }

    // MARK: Answers

    mutating func receiveAppendResponse(_ message: Message) throws(RaftError) {
        guard role == .leader, let position = membership.progress.position(of: message.from) else { return }
        guard message.index <= log.lastIndex else {
            throw .invalidMessage(
                .appendResponse, from: message.from,
                reason: "index \(message.index) is past the leader's last, \(log.lastIndex)")
        }
        membership.progress.rows[position].isRecentlyActive = true
        if message.reject {
            if message.from != id { receiveRejection(message, position) }
            return
        }

        let old = (state: membership.progress.rows[position].state, match: membership.progress.rows[position].match)
        let isNew = membership.progress.rows[position].acknowledged(upTo: message.index)
        // A probe answered at what was known already still says that the follower is there.
        guard isNew || (old.match == message.index && old.state == .probe) else { return }
        switch old.state {
        case .probe: membership.progress.rows[position].becomeReplicate()
        case .snapshot:
            // Whatever snapshot it was, what matters is that the log can take over from there.
            guard membership.progress.rows[position].match.next >= log.firstIndex else { break }
            membership.progress.rows[position].becomeProbe()
            membership.progress.rows[position].becomeReplicate()
        case .replicate: membership.progress.rows[position].freeInflights(upTo: message.index)
        }
        if advanceCommit(by: message.index) {
            broadcastAppend()
        } else if message.from != id, membership.progress.rows[position].canRaise(commit: log.commit) {
            sendAppend(position)
        }
        guard message.from != id else { return }
        // The window may have room for several messages now.
        while sendAppend(position, evenIfEmpty: false) {}
        if message.from == transferee, membership.progress.rows[position].match == log.lastIndex {
            askForElection(message.from)
        }
    }

    private mutating func receiveRejection(_ message: Message, _ position: Int) {
        let row = membership.progress.rows[position]
        if message.index == .zero {
            // No log differs before its first entry: the follower does not know the configuration.
            if row.match == .zero, row.state != .snapshot { _ = sendSnapshot(position) }
            return
        }
        // The follower named the last place where its term is not above ours; ours may in turn be
        // above its term there. Between the two, nothing can agree.
        var hint = message.rejectHint
        if message.logTerm > .zero { hint = log.agreement(from: hint, term: message.logTerm).0 }
        guard membership.progress.rows[position].rejected(at: message.index, hint: hint) else { return }
        if membership.progress.rows[position].state == .replicate { membership.progress.rows[position].becomeProbe() }
        sendAppend(position)
    }

    mutating func receiveHeartbeatResponse(_ message: Message) {
        guard role == .leader, let position = membership.progress.position(of: message.from) else { return }
        membership.progress.rows[position].isRecentlyActive = true
        membership.progress.rows[position].isFlowPaused = false
        // Entries in flight may all have been lost, and a probe's answer too: ask again.
        let row = membership.progress.rows[position]
        if row.match < log.lastIndex || row.state == .probe { sendAppend(position) }
        if let round = reads.confirmedRound(message.context) {
            membership.progress.rows[position].confirmedReadRound = max(row.confirmedReadRound, round)
            answerConfirmedReads()
        }
    }

    /// Commits what a majority has, given that somebody acknowledged `index`.
    /// - Returns: whether the commit index moved.
    mutating func advanceCommit(by index: LogIndex) -> Bool {
        // Acknowledgements below the commit index cannot move it; most of a pipeline's are such.
        if index <= log.commit { return false }
        let progress = membership.progress
        let reached = LogIndex(membership.configuration.voters.reached { progress[$0]?.match.rawValue })
        // Only entries of the leader's own term commit by counting replicas; older ones commit with
        // them. An older entry on a majority can still be overwritten. (3.6.2, figure 3.7)
        guard reached > log.commit, log.term(at: reached) == term else { return false }
        log.commit(to: reached)
        admitPostponedReads()
        return true
    }

    // MARK: The transport's reports

    /// Messages to `member` were lost: it is probed before the pipeline resumes.
    public mutating func reportUnreachable(_ member: MemberID) {
        guard role == .leader, let position = membership.progress.position(of: member) else { return }
        if membership.progress.rows[position].state == .replicate { membership.progress.rows[position].becomeProbe() }
    }

    /// The snapshot sent to `member` was delivered, or was not. Without this report the member would
    /// get no entries until it acknowledges the snapshot.
    public mutating func reportSnapshot(_ member: MemberID, succeeded: Bool) {
        guard role == .leader, let position = membership.progress.position(of: member),
            membership.progress.rows[position].state == .snapshot
        else { return }
        if succeeded {
            membership.progress.rows[position].becomeProbe()
        } else {
            membership.progress.rows[position].snapshotFailed()
        }
        // Delivered: wait for its acknowledgement. Failed: wait for a sign of life. Either ends the pause.
        membership.progress.rows[position].isFlowPaused = true
    }
}
