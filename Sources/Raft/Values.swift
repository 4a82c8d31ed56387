/// The values that consensus is made of: terms, log positions, members, entries,
/// configurations and messages. They hold no behaviour beyond what keeps them consistent,
/// so that the transport and the log's storage can carry them without knowing the rules.

/// A Raft term: a period with at most one leader. Terms only grow. (Raft paper, section 5.1.)
public struct Term: Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (a: Term, b: Term) -> Bool { a.rawValue < b.rawValue }
    public static let zero = Term(0)
}

extension Term: CustomStringConvertible {
    public var description: String { String(rawValue) }
}

/// A position in the replicated log. The first entry has index 1; 0 means "before the log".
public struct LogIndex: Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (a: LogIndex, b: LogIndex) -> Bool { a.rawValue < b.rawValue }
    @inlinable public static func + (a: LogIndex, n: UInt64) -> LogIndex { LogIndex(a.rawValue + n) }
    public static let zero = LogIndex(0)
}

extension LogIndex: CustomStringConvertible {
    public var description: String { String(rawValue) }
    /// The position after this one.
    @inlinable public var next: LogIndex { LogIndex(rawValue + 1) }
    /// The position before this one; traps for `zero`.
    @inlinable public var previous: LogIndex { LogIndex(rawValue - 1) }
}

/// A member's identity in the cluster. 0 is never a member and stands for "none".
public struct MemberID: Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public static func < (a: MemberID, b: MemberID) -> Bool { a.rawValue < b.rawValue }
    public static let none = MemberID(0)
}

extension MemberID: CustomStringConvertible {
    /// Hexadecimal, as operators see member ids everywhere.
    public var description: String { String(rawValue, radix: 16) }
}

/// One entry of the replicated log.
public struct Entry: Sendable, Equatable {
    public enum Kind: UInt8, Sendable {
        case normal = 0
        /// A single membership change (one encoded `ConfChange`).
        case confChange = 1
        /// A joint membership change (an encoded `ConfChangeV2`).
        case confChangeV2 = 2
    }
    public var term: Term
    public var index: LogIndex
    public var kind: Kind
    /// Opaque to consensus. Empty for the entry a new leader appends.
    public var payload: [UInt8]

    public init(term: Term, index: LogIndex, kind: Kind = .normal, payload: [UInt8]) {
        self.term = term
        self.index = index
        self.kind = kind
        self.payload = payload
    }
}

/// What a member must never forget: it is durable before any message that depends on it leaves.
public struct HardState: Sendable, Equatable {
    public var term: Term
    public var vote: MemberID
    public var commit: LogIndex
    public init(term: Term = .zero, vote: MemberID = .none, commit: LogIndex = .zero) {
        self.term = term
        self.vote = vote
        self.commit = commit
    }
}

/// A configuration of the cluster, as it is stored with a snapshot. Lists are sorted by id.
public struct ConfState: Sendable, Equatable {
    public var voters: [MemberID]
    public var learners: [MemberID]
    /// The voters of the outgoing half while the configuration is joint; empty otherwise.
    public var votersOutgoing: [MemberID]
    /// Members that become learners when the joint configuration is left.
    public var learnersNext: [MemberID]
    public var autoLeave: Bool
    public init(
        voters: [MemberID] = [], learners: [MemberID] = [], votersOutgoing: [MemberID] = [],
        learnersNext: [MemberID] = [], autoLeave: Bool = false
    ) {
        self.voters = voters
        self.learners = learners
        self.votersOutgoing = votersOutgoing
        self.learnersNext = learnersNext
        self.autoLeave = autoLeave
    }
}

/// What a snapshot stands for: everything up to and including `index`.
public struct SnapshotMetadata: Sendable, Equatable {
    public var index: LogIndex
    public var term: Term
    public var configuration: ConfState
    public init(index: LogIndex = .zero, term: Term = .zero, configuration: ConfState = ConfState()) {
        self.index = index
        self.term = term
        self.configuration = configuration
    }
}

/// A message between members. One shape for all kinds, as in the field's libraries: which
/// fields are meaningful depends on `kind`.
public struct Message: Sendable, Equatable {
    /// Raw values are the peer protocol's and never change meaning.
    public enum Kind: UInt8, Sendable, CaseIterable {
        case hup = 0
        case beat = 1
        case propose = 2
        case append = 3
        case appendResponse = 4
        case vote = 5
        case voteResponse = 6
        case snapshot = 7
        case heartbeat = 8
        case heartbeatResponse = 9
        case unreachable = 10
        case snapshotStatus = 11
        case checkQuorum = 12
        case transferLeader = 13
        case timeoutNow = 14
        case readIndex = 15
        case readIndexResponse = 16
        case preVote = 17
        case preVoteResponse = 18
        case storageAppend = 19
        case storageAppendResponse = 20
        case storageApply = 21
        case storageApplyResponse = 22
        case forgetLeader = 23
    }
    public var kind: Kind
    public var to: MemberID
    public var from: MemberID
    public var term: Term
    /// Term and index of the entry before `entries` (append), or of the last entry (vote).
    public var logTerm: Term
    public var index: LogIndex
    public var entries: [Entry]
    public var commit: LogIndex
    public var vote: MemberID
    public var snapshot: SnapshotMetadata?
    public var reject: Bool
    public var rejectHint: LogIndex
    /// The read request's context, or the campaign's kind.
    public var context: [UInt8]

    public init(
        kind: Kind, to: MemberID, from: MemberID = .none, term: Term = .zero, logTerm: Term = .zero,
        index: LogIndex = .zero, entries: [Entry] = [], commit: LogIndex = .zero, vote: MemberID = .none,
        snapshot: SnapshotMetadata? = nil, reject: Bool = false, rejectHint: LogIndex = .zero, context: [UInt8] = []
    ) {
        self.kind = kind
        self.to = to
        self.from = from
        self.term = term
        self.logTerm = logTerm
        self.index = index
        self.entries = entries
        self.commit = commit
        self.vote = vote
        self.snapshot = snapshot
        self.reject = reject
        self.rejectHint = rejectHint
        self.context = context
    }
}
