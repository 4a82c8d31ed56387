/// What a member does with its leader's messages. (Dissertation, 3.5 and 5.)

extension RaftNode {
    mutating func receiveFromLeader(_ message: Message) throws(RaftError) {
        // Whoever leads in this term has won its election. There is at most one. (3.4)
        switch role {
        case .leader:
            throw .invalidMessage(message.kind, from: message.from, reason: "this member leads term \(term)")
        case .candidate, .preCandidate: becomeFollower(message.term, leader: message.from)
        case .follower:
            if leader != .none, leader != message.from {
                throw .invalidMessage(message.kind, from: message.from, reason: "\(leader) leads term \(term)")
            }
            ticksSinceContact = 0
            leader = message.from
        }
        ticksSinceLeaderHeard = 0
        switch message.kind {
        case .append: try receiveAppend(message)
        case .heartbeat:
            try commit(to: message.commit, toldBy: message)
            send(Message(kind: .heartbeatResponse, to: message.from, context: message.context))
        default:
            if let snapshot = message.snapshot { receiveSnapshot(snapshot, from: message.from) }
        }
    }

    private mutating func commit(to index: LogIndex, toldBy message: Message) throws(RaftError) {
        guard index <= log.lastIndex else {
            // The leader tells no more than this member acknowledged as durable: it lost what it had.
            throw .invalidMessage(
                message.kind, from: message.from,
                reason: "commit index \(index) is past this log's end \(log.lastIndex); entries were lost here")
        }
        log.commit(to: index)
    }

    private mutating func receiveAppend(_ message: Message) throws(RaftError) {
        // What is committed agrees with the leader's log already. (3.6.3: leader completeness)
        if message.index < log.commit {
            return send(Message(kind: .appendResponse, to: message.from, index: log.commit))
        }
        // The members that founded the cluster stand in no entry. Whoever does not know them cannot make
        // sense of the changes in the log; refusing even the log's start asks for a snapshot.
        // Else the logs agree up to there, if they agree there. (3.5: log matching; figure 3.1, AppendEntries 2)
        let knowsMembers = !membership.configuration.voters.incoming.voters.isEmpty
        guard knowsMembers, log.term(at: message.index) == message.logTerm else { return rejectAppend(message) }
        guard log.reconcile(with: message.entries) else {
            throw .invalidMessage(.append, from: message.from, reason: "it contradicts entries that are committed")
        }
        // Past the last entry of this message the logs may still differ. (Figure 3.1, AppendEntries 5.)
        let last = message.index + UInt64(message.entries.count)
        log.commit(to: min(message.commit, last))
        send(Message(kind: .appendResponse, to: message.from, index: last))
    }

    private mutating func rejectAppend(_ message: Message) {
        let (hint, hintTerm) = log.agreement(from: min(message.index, log.lastIndex), term: message.logTerm)
        send(
            Message(
                kind: .appendResponse, to: message.from, logTerm: hintTerm, index: message.index, reject: true,
                rejectHint: hint))
    }

    private mutating func receiveSnapshot(_ snapshot: SnapshotMetadata, from leader: MemberID) {
        let restored = restore(snapshot)
        send(Message(kind: .appendResponse, to: leader, index: restored ? log.lastIndex : log.commit))
    }

    /// - Returns: whether the log now is the snapshot's.
    private mutating func restore(_ snapshot: SnapshotMetadata) -> Bool {
        // What is committed here is never undone. (Chapter 5; figure 5.3, InstallSnapshot)
        guard snapshot.index > log.commit, let members = try? ClusterConfiguration(snapshot.configuration) else {
            return false
        }
        // A snapshot that does not know this member would leave it unable to tell who it listens to.
        guard members.contains(id) else { return false }
        // The log already has all that the snapshot stands for: only the commit index was behind.
        if log.term(at: snapshot.index) == snapshot.term {
            log.commit(to: snapshot.index)
            return false
        }
        log.restore(snapshot)
        self.snapshot = snapshot
        membership.restore(members, lastIndex: log.lastIndex)
        return true
    }

    mutating func receiveTimeoutNow() {
        // The old leader asks for an election at once. Pre-vote would only cost time: its log is known to
        // be up to date. (Dissertation, 3.10.)
        if role == .follower { _ = startElection(.transfer) }
    }

    /// Forgets the leader without changing the term, so that this member votes for another before
    /// its election timeout. No effect on a leader or candidate, nor with lease based reads, whose
    /// safety depends on members keeping to their leader.
    public mutating func forgetLeader() {
        if role == .follower, configuration.readOnlyOption != .leaseBased { leader = .none }
    }
}
