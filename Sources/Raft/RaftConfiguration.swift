/// How reads are made linearizable. (Dissertation, 6.4.)
public enum ReadOnlyOption: Sendable {
    /// The leader confirms with a majority that it still leads. Needs no assumption about clocks.
    case quorum
    /// The leader trusts its lease: members that hear it vote for nobody else for an election timeout. Saves the round
    /// trip but is wrong when clocks run apart by more than a tenth, or when ticks are not passed on after a pause;
    /// requires `checkQuorum`, on all members alike. See ``RaftNode`` in `RaftNode+Lease.swift` for what it rests on.
    case leaseBased
}

/// The constants of one member. Times are in ticks: the driver decides how long one is.
public struct RaftConfiguration: Sendable {
    /// This member; never `.none`.
    public var id: MemberID
    /// A follower that hears nothing for this long (randomly stretched to at most twice) campaigns.
    public var electionTimeoutTicks: Int
    /// A leader sends heartbeats this often; less than the election timeout.
    public var heartbeatTicks: Int
    /// Ask whether an election could be won before raising the term. (Dissertation, 9.6.)
    public var preVote: Bool
    /// A leader without contact to a majority for an election timeout steps down, and members that
    /// hear a leader refuse to vote. (Dissertation, 6.2 and 4.2.3.)
    public var checkQuorum: Bool
    /// Entries in one append message, in bytes; a single larger entry still travels.
    public var maxBytesPerMessage: Int
    /// Append messages under way to one follower.
    public var maxInflightMessages: Int
    /// Bytes of entries under way to one follower; 0 means no limit.
    public var maxInflightBytes: Int
    /// Payload bytes that may wait for commitment before proposals are dropped; 0 means no limit.
    public var maxUncommittedBytes: Int
    /// Committed bytes handed out in one Ready, and handed out but not yet reported as applied; one
    /// larger entry still leaves. 0 means no limit.
    public var maxCommittedBytesPerReady: Int
    public var readOnlyOption: ReadOnlyOption
    /// A follower drops proposals instead of passing them to the leader.
    public var disableProposalForwarding: Bool
    /// A leader that applies its own removal (or demotion) becomes a follower at once.
    public var stepDownOnRemoval: Bool
    /// Accept membership changes into the log although they do not fit the present configuration
    /// (they then apply as no change).
    public var disableConfChangeValidation: Bool
    /// True: `committed` holds only entries reported by `appended`, and Readies may be taken while
    /// earlier ones are still being written. False: the driver writes each Ready completely before it
    /// applies what the Ready commits and before it takes the next.
    public var asynchronousStorage: Bool
    /// Seed of everything random here. Members of a cluster must differ in it.
    public var randomSeed: UInt64

    public init(
        id: MemberID, electionTimeoutTicks: Int = 10, heartbeatTicks: Int = 1, preVote: Bool = true,
        checkQuorum: Bool = true, maxBytesPerMessage: Int = 1 << 20, maxInflightMessages: Int = 256,
        maxInflightBytes: Int = 0, maxUncommittedBytes: Int = 64 << 20, maxCommittedBytesPerReady: Int = 16 << 20,
        readOnlyOption: ReadOnlyOption = .quorum, disableProposalForwarding: Bool = false,
        stepDownOnRemoval: Bool = true, disableConfChangeValidation: Bool = false,
        asynchronousStorage: Bool = true, randomSeed: UInt64
    ) {
        self.id = id
        self.electionTimeoutTicks = electionTimeoutTicks
        self.heartbeatTicks = heartbeatTicks
        self.preVote = preVote
        self.checkQuorum = checkQuorum
        self.maxBytesPerMessage = maxBytesPerMessage
        self.maxInflightMessages = maxInflightMessages
        self.maxInflightBytes = maxInflightBytes
        self.maxUncommittedBytes = maxUncommittedBytes
        self.maxCommittedBytesPerReady = maxCommittedBytesPerReady
        self.readOnlyOption = readOnlyOption
        self.disableProposalForwarding = disableProposalForwarding
        self.stepDownOnRemoval = stepDownOnRemoval
        self.disableConfChangeValidation = disableConfChangeValidation
        self.asynchronousStorage = asynchronousStorage
        self.randomSeed = randomSeed
    }

    /// Refuses what cannot work or is not safe; each message begins with the field at fault.
    /// - Throws: `.invalidConfiguration`.
    func validate() throws(RaftError) {
        func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws(RaftError) {
            if !condition { throw .invalidConfiguration(reason: reason()) }
        }
        try require(id != .none, "id is 0, which stands for no member")
        try require(heartbeatTicks > 0, "heartbeatTicks is \(heartbeatTicks), but must be at least one tick")
        try require(
            electionTimeoutTicks > heartbeatTicks,
            "electionTimeoutTicks is \(electionTimeoutTicks), but must be more than heartbeatTicks (\(heartbeatTicks)): "
                + "followers would campaign between two heartbeats")
        try require(
            electionTimeoutTicks <= 1 << 30, "electionTimeoutTicks is \(electionTimeoutTicks), but must be at most 2^30"
        )
        try require(
            maxInflightMessages > 0, "maxInflightMessages is \(maxInflightMessages), but at least one must be allowed")
        let bytes = [
            ("maxBytesPerMessage", maxBytesPerMessage), ("maxInflightBytes", maxInflightBytes),
            ("maxUncommittedBytes", maxUncommittedBytes), ("maxCommittedBytesPerReady", maxCommittedBytesPerReady),
        ]
        for (field, value) in bytes { try require(value >= 0, "\(field) is \(value), but must not be negative") }
        try require(
            maxInflightBytes == 0 || maxInflightBytes >= maxBytesPerMessage,
            "maxInflightBytes is \(maxInflightBytes), but must be 0 (no limit) or at least maxBytesPerMessage "
                + "(\(maxBytesPerMessage))")
        // Without check-quorum a leader that was cut off goes on believing in its lease. (Dissertation, 6.4.1.)
        try require(
            readOnlyOption != .leaseBased || checkQuorum,
            "readOnlyOption is leaseBased, which is only safe with checkQuorum")
    }
}

/// What a member knows when it starts: what its disk gave back, or the configuration it is bootstrapped with.
public struct InitialState: Sendable {
    public var hardState: HardState
    /// The membership as of `applied`: the founders', for one of them that starts anew; empty for a member that
    /// joins, which asks its leader for a snapshot.
    public var configuration: ConfState
    /// The entry before `entries[0]`: (0, 0) for a log that is whole.
    public var base: (index: LogIndex, term: Term)
    /// The durable log after `base`, contiguous.
    public var entries: [Entry]
    /// The last entry the state machine contains; at least `base.index`. Committed entries after it
    /// are handed out again.
    public var applied: LogIndex

    public init(
        hardState: HardState = HardState(), configuration: ConfState,
        base: (index: LogIndex, term: Term) = (.zero, .zero),
        entries: [Entry] = [], applied: LogIndex = .zero
    ) {
        self.hardState = hardState
        self.configuration = configuration
        self.base = base
        self.entries = entries
        self.applied = applied
    }
}
