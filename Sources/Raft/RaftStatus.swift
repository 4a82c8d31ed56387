/// A member's state at one moment, for operators, metrics and tests.
public struct RaftStatus: Sendable, Equatable {
    /// What a leader knows of one member.
    public struct Member: Sendable, Equatable {
        public enum Replication: Sendable {
            /// Looking for the point where the logs agree.
            case probe
            /// Entries flow in a pipeline.
            case replicate
            /// A snapshot is on its way.
            case snapshot
        }
        public var id: MemberID
        public var replication: Replication
        /// Durable on that member up to here.
        public var match: LogIndex
        public var next: LogIndex
        public var isLearner: Bool
        /// Heard from since the last look of check-quorum.
        public var isRecentlyActive: Bool
        /// Nothing is sent to it until it answers.
        public var isPaused: Bool
        /// Append messages under way to it, and the bytes of their entries.
        public var inflightMessages: Int
        public var inflightBytes: Int
        /// The snapshot that is under way to it; zero if none is.
        public var pendingSnapshot: LogIndex
    }
    public var id: MemberID
    public var role: Role
    public var leader: MemberID
    public var term: Term
    public var vote: MemberID
    public var commit: LogIndex
    public var applied: LogIndex
    /// The first entry still in memory (one past `lastIndex` when there is none).
    public var firstIndex: LogIndex
    public var lastIndex: LogIndex
    /// The log is known to be durable here up to this entry.
    public var durable: LogIndex
    /// The member leadership is being handed to, or `.none`.
    public var transferee: MemberID
    /// Payload bytes that this leader has accepted and not seen applied; what `maxUncommittedBytes` bounds.
    public var uncommittedBytes: Int
    /// Reads that wait for a round of confirmation, or for the leader's first commit.
    public var waitingReads: Int
    /// A snapshot is being installed: nothing is applied, and no election started.
    public var isInstallingSnapshot: Bool
    /// A committed membership change waits to be applied, which keeps this member from campaigning.
    public var hasUnappliedConfChange: Bool
    /// Sorted by id; empty unless this member leads.
    public var progress: [Member]
    public var configuration: ConfState
}

extension RaftNode {
    /// A copy of the state now; costs an allocation or two.
    public var status: RaftStatus {
        let members = role == .leader ? membership.progress.rows : []
        return RaftStatus(
            id: id, role: role, leader: leader, term: term, vote: vote, commit: log.commit, applied: log.applied,
            firstIndex: log.firstIndex, lastIndex: log.lastIndex, durable: log.durable, transferee: transferee,
            uncommittedBytes: uncommittedBytes, waitingReads: reads.waiting.count + reads.postponed.count,
            isInstallingSnapshot: log.pendingSnapshot != nil, hasUnappliedConfChange: log.hasUnappliedConfChange,
            progress: members.map { row in
                RaftStatus.Member(
                    id: row.id,
                    replication: row.state == .probe ? .probe : row.state == .replicate ? .replicate : .snapshot,
                    match: row.match, next: row.next, isLearner: row.isLearner,
                    isRecentlyActive: row.isRecentlyActive, isPaused: row.isPaused,
                    inflightMessages: row.inflights.count, inflightBytes: row.inflights.bytes,
                    pendingSnapshot: row.pendingSnapshot)
            }, configuration: membership.configuration.confState)
    }

    /// Cheap looks at what changes most often.
    public var currentTerm: Term { term }
    public var currentLeader: MemberID { leader }
    public var currentRole: Role { role }
    public var commitIndex: LogIndex { log.commit }
    public var appliedIndex: LogIndex { log.applied }
}

extension RaftStatus: CustomStringConvertible {
    /// One line for the member, and one for each that it sends to.
    public var description: String {
        var text =
            "\(id): \(role), term \(term), leader \(leader == .none ? "unknown" : "\(leader)"), log \(firstIndex)...\(lastIndex), "
        text += "durable \(durable), commit \(commit), applied \(applied)"
        if transferee != .none { text += ", handing over to \(transferee)" }
        if isInstallingSnapshot { text += ", installing a snapshot" }
        if hasUnappliedConfChange { text += ", with a membership change to apply" }
        if role == .leader { text += ", \(uncommittedBytes) bytes uncommitted, \(waitingReads) reads waiting" }
        for member in progress {
            text += "\n  \(member.id): \(member.replication), match \(member.match), next \(member.next)"
            text += ", \(member.inflightMessages) messages and \(member.inflightBytes) bytes in flight"
            if member.pendingSnapshot > .zero { text += ", snapshot \(member.pendingSnapshot) under way" }
            if member.isLearner { text += ", learner" }
            if member.isPaused { text += ", paused" }
            if !member.isRecentlyActive { text += ", inactive" }
        }
        return text
    }
}
