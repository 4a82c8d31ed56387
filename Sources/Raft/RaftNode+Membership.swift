/// Membership changes: into the log, and out of it. (Dissertation, chapter 4.)

extension RaftNode {
    /// Proposes a change of the membership; a follower passes it on. A change that does not fit
    /// (another is pending, or the configuration is joint, or not) enters the log as an empty entry.
    /// - Throws: `.proposalDropped`.
    public mutating func proposeConfChange(_ change: ConfChangeV2) throws(RaftError) {
        let isEmpty = change == ConfChangeV2()
        try propose(
            entries: [
                Entry(term: .zero, index: .zero, kind: .confChangeV2, payload: isEmpty ? [] : change.encoded())
            ], from: id)
    }

    /// The same for a single change, in the form members of before `ConfChangeV2` understand.
    public mutating func proposeConfChange(_ change: ConfChange) throws(RaftError) {
        try propose(
            entries: [Entry(term: .zero, index: .zero, kind: .confChange, payload: change.encoded())], from: id)
    }

    /// Replaces the changes among `entries` that may not enter the log now by empty entries.
    /// - Returns: the index at which a change will stand, if one was let through.
    func admitConfChanges(_ entries: inout [Entry]) throws(RaftError) -> LogIndex? {
        var accepted: LogIndex?
        for position in entries.indices where entries[position].kind != .normal {
            guard let change = try ConfChangeV2(entries[position]) else { continue }
            // One change at a time, so that each is judged by the configuration it will meet. (4.1)
            let isPending = accepted != nil || pendingConfIndex > log.applied
            let fits = (try? membership.applying(change, lastIndex: log.lastIndex)) != nil
            if configuration.disableConfChangeValidation || (!isPending && fits) {
                accepted = log.lastIndex + UInt64(position - entries.startIndex) + 1
            } else {
                entries[position].kind = .normal
                entries[position].payload = []
            }
        }
        return accepted
    }

    /// Makes a committed change effective, when its entry is applied. A change that does not fit the
    /// configuration it meets changes nothing, on every member alike.
    /// - Returns: the membership from here on, to be stored with the state.
    public mutating func applyConfChange(_ change: ConfChangeV2) -> ConfState {
        guard let new = try? membership.applying(change, lastIndex: log.lastIndex) else {
            return membership.configuration.confState
        }
        membership = new
        configurationChanged()
        return membership.configuration.confState
    }

    private mutating func configurationChanged() {
        guard role == .leader else { return }
        guard let own = membership.progress[id], !own.isLearner else {
            // A removed leader leads until its removal is committed, which now is the case. (4.2.2)
            if configuration.stepDownOnRemoval { becomeFollower(term, leader: .none) }
            return
        }
        continueAsLeader()
    }

    private mutating func continueAsLeader() {
        // A smaller quorum may have more entries already, and may have confirmed more reads.
        if advanceCommit(by: log.lastIndex) {
            broadcastAppend()
        } else {
            // New members need not wait for a heartbeat.
            for position in membership.progress.rows.indices where membership.progress.rows[position].id != id {
                sendAppend(position, evenIfEmpty: false)
            }
        }
        if !reads.waiting.isEmpty { answerConfirmedReads() }
        if transferee != .none, !membership.configuration.isVoter(transferee) { transferee = .none }
    }

    /// Once a joint configuration that is to be left automatically is applied, its leader proposes
    /// to leave it. An empty entry is never refused for its size; one dropped because of a transfer
    /// is proposed again with the next entry applied, by this leader or the next.
    mutating func leaveJointIfDue() {
        guard role == .leader, membership.configuration.autoLeave, log.applied >= pendingConfIndex else { return }
        try? proposeConfChange(ConfChangeV2())
    }
}
