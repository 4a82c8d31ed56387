/// Handing leadership to another member. (Dissertation, 3.10.)

extension RaftNode {
    /// Lets `member` catch up and then asks it to campaign at once; until then, or for an election
    /// timeout at most, proposals are dropped. A follower passes the wish on to the leader. No effect
    /// for a learner, an unknown member or the leader itself.
    public mutating func transferLeadership(to member: MemberID) {
        if role == .follower, leader != .none {
            return send(Message(kind: .transferLeader, to: leader, from: member))
        }
        guard role == .leader, let position = membership.progress.position(of: member),
            !membership.progress.rows[position].isLearner
        else { return }
        if transferee == member { return }
        transferee = .none
        if member == id { return }
        ticksSinceContact = 0
        transferee = member
        if membership.progress.rows[position].match == log.lastIndex {
            askForElection(member)
        } else {
            sendAppend(position)
        }
    }

    /// The transferee has all that this leader has: it may campaign, and will win unless others are faster.
    mutating func askForElection(_ member: MemberID) {
        hasAskedForElection = true
        send(Message(kind: .timeoutNow, to: member))
    }
}
