/// Leases: how long a leader may answer reads without asking anybody, and what members promise for it. (Dissertation,
/// 6.4.1.)
///
/// A member that hears from a leader grants nobody a vote for an election timeout. So when a majority has answered a
/// heartbeat, no other leader can be elected for an election timeout from when that heartbeat was *sent*, if clocks run
/// about equally fast. That the leader has not yet stepped down by check-quorum proves less: it looks at whole election
/// timeouts, and may go on for nearly two after the last word from a majority.
///
/// What could break the promise, and what is done about it:
/// - Clocks run at different speeds, and ticks are coarse: a lease is shorter than the promise by a tenth and two ticks.
/// - A member campaigns or forgets its leader at somebody's wish: refused while it hears one.
/// - A message of a later term makes a member forget its leader: the promise is counted apart from that.
/// - A member restarts: it counts as having heard a leader just before.
/// - A transfer overrides the promise, and the wish to campaign may arrive late: once it has been sent, there is no lease
///   in that term any more.
/// - Members change: a lease is judged by the configuration at the time of the read, of which a majority must have answered.
/// - The process stands still and its ticks with it: that is the driver's to notice. It passes on the ticks it missed before it
///   passes on reads.
///
/// Without a lease a read takes a round like any other.
extension RaftNode {
    /// Whether this member must not help another leader into office, as it hears one.
    var keepsToLeader: Bool {
        // (4.2.3: without this a member that was removed would disturb the cluster.)
        hasPromisedLease
            || (configuration.checkQuorum && leader != .none && ticksSinceContact < configuration.electionTimeoutTicks)
    }

    /// Whether a leader may be counting on this member.
    var hasPromisedLease: Bool {
        configuration.readOnlyOption == .leaseBased && ticksSinceLeaderHeard < configuration.electionTimeoutTicks
    }

    /// Whether nobody else can be leader now.
    var holdsLease: Bool {
        guard transferee == .none, !hasAskedForElection else { return false }
        let progress = membership.progress
        let confirmed = membership.configuration.voters.reached { member in
            member == id ? reads.round : progress[member]?.confirmedReadRound
        }
        guard let sent = reads.tick(of: confirmed) else { return false }
        let timeout = configuration.electionTimeoutTicks
        return now - sent < timeout - timeout / 10 - 2
    }
}
