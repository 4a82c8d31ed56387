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
        public var isRecentlyActive: Bool
        public var isPaused: Bool
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
    /// The member leadership is being handed to, or `.none`.
    public var transferee: MemberID
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
            firstIndex: log.firstIndex, lastIndex: log.lastIndex, transferee: transferee,
            progress: members.map { row in
                RaftStatus.Member(
                    id: row.id,
                    replication: row.state == .probe ? .probe : row.state == .replicate ? .replicate : .snapshot,
                    match: row.match, next: row.next, isLearner: row.isLearner,
                    isRecentlyActive: row.isRecentlyActive, isPaused: row.isPaused)
            }, configuration: membership.configuration.confState)
    }

    /// Cheap looks at what changes most often.
    public var currentTerm: Term { term }
    public var currentLeader: MemberID { leader }
    public var currentRole: Role { role }
    public var commitIndex: LogIndex { log.commit }
    public var appliedIndex: LogIndex { log.applied }
}
