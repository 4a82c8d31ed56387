/// What a member is in its term.
public enum Role: UInt8, Sendable {
    case follower, preCandidate, candidate, leader
}

/// What is worth showing but need not survive a restart.
public struct SoftState: Sendable, Equatable {
    /// `.none` while no leader is known.
    public var leader: MemberID
    public var role: Role
    public init(leader: MemberID = .none, role: Role = .follower) {
        self.leader = leader
        self.role = role
    }
}

/// The answer to `readIndex`: once `index` is applied, a read of the local state is linearizable.
public struct ReadState: Sendable, Equatable {
    public var index: LogIndex
    public var context: [UInt8]
    public init(index: LogIndex, context: [UInt8]) {
        self.index = index
        self.context = context
    }
}

/// What the node wants done. Readies are carried out in the order they were taken; within one, the
/// fields below are in the order of their effects.
public struct Ready: Sendable, Equatable {
    /// Set when leader or role changed.
    public var softState: SoftState?
    /// Set when changed; durable together with `entriesToAppend`. With a snapshot its commit index counts that one's
    /// entries: term and vote may be durable before the snapshot is installed, the commit index may not, as a restart
    /// would take for committed what the log still has in their place.
    public var hardState: HardState?
    /// To be installed (its state has already come with the transport) before the entries that
    /// follow; the log before it is void. Answer with `snapshotInstalled(index:)`.
    public var snapshot: SnapshotMetadata?
    /// To be written durably. Where the first index is not past the stored log's end, the stored
    /// log is cut there first. Answer with `appended(term:index:)` of the last of them.
    public var entriesToAppend: [Entry] = []
    /// May leave at once, even before this Ready is durable.
    public var messages: [Message] = []
    /// Leave (or, when addressed to this member, are stepped back) once this Ready is durable.
    public var messagesAfterAppend: [Message] = []
    /// To be applied, in log order, each exactly once. Answer with `applied(upTo:)`.
    public var committed: [Entry] = []
    public var readStates: [ReadState] = []
    /// Whether the write must be synced before `messagesAfterAppend` leaves: entries, term or vote
    /// changed. A bare commit index need not be, a restart finds it again.
    public var mustSync = false
    /// `committed` holds a membership change: this Ready's hard state and those of all earlier Readies
    /// must be durable (synced, whatever `mustSync` says) before it is applied. A restarted member must
    /// not campaign with the old majority because it forgot that the change was committed.
    public var commitMustBeDurableBeforeApply = false

    public init() {}

    /// Whether there is nothing to do.
    public var isEmpty: Bool { self == Ready() }
}
