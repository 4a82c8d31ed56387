/// One member of the cluster. See `Raft.swift` for what it promises and what its driver owes it.
public struct RaftNode: Sendable {
    let configuration: RaftConfiguration

    // What survives a restart.
    var term: Term
    var vote: MemberID
    var log: LogTail

    // What does not.
    var role = Role.follower
    var leader = MemberID.none
    var membership: Membership
    var ticksSinceContact = 0
    /// Since a leader was last heard, whatever this member has become since: the promise that leases rest on.
    var ticksSinceLeaderHeard: Int
    /// Ticks so far; what leases are measured in.
    var now = 0
    var ticksSinceHeartbeat = 0
    /// Redrawn at every change of role, in `electionTimeoutTicks ..< 2 * electionTimeoutTicks`, so
    /// that candidates rarely meet. (Dissertation, 3.4.)
    package var randomizedElectionTimeoutTicks = 0
    var random: RandomSequence
    /// The answers a candidate has, sorted by member.
    var votes: [(member: MemberID, granted: Bool)] = []

    // What only a leader uses.
    var transferee = MemberID.none
    /// A transferee was asked to campaign in this term. That message may arrive whenever it likes.
    var hasAskedForElection = false
    /// No membership change may be proposed until the entry here is applied. (Dissertation, 4.1: one
    /// change at a time.)
    var pendingConfIndex = LogIndex.zero
    var uncommittedBytes = 0
    var reads = ReadQueue()
    /// What followers are offered that need entries which are no longer in the log.
    var snapshot: SnapshotMetadata

    // What the next Ready will hold, and what the last one said.
    var messages: [Message] = []
    var messagesAfterAppend: [Message] = []
    var readStates: [ReadState] = []
    private var toldSoftState = SoftState()
    private var toldHardState: HardState

    /// A member as it comes back from its disk, or as it is bootstrapped: always a follower.
    /// - Throws: `.invalidConfiguration`, `.invalidInitialState`.
    public init(_ configuration: RaftConfiguration, _ initial: InitialState) throws(RaftError) {
        try configuration.validate()
        self.configuration = configuration
        term = initial.hardState.term
        vote = initial.hardState.vote
        log = try LogTail(initial)
        random = RandomSequence(seed: configuration.randomSeed)
        // A restarted member may have heard a leader just before. In term 0 there has been none.
        ticksSinceLeaderHeard = term > .zero ? 0 : configuration.electionTimeoutTicks
        membership = Membership(
            progress: ProgressTable(
                maxInflightMessages: configuration.maxInflightMessages, maxInflightBytes: configuration.maxInflightBytes
            ))
        membership.restore(try ClusterConfiguration(initial.configuration), lastIndex: log.lastIndex)
        snapshot = SnapshotMetadata(
            index: log.applied, term: log.term(at: log.applied) ?? .zero, configuration: initial.configuration)
        toldHardState = HardState(term: term, vote: vote, commit: log.commit)
        becomeFollower(term, leader: .none)
    }

    var id: MemberID { configuration.id }
    var isPromotable: Bool { membership.configuration.isVoter(id) && !isOwnLearner && log.pendingSnapshot == nil }
    private var isOwnLearner: Bool { membership.progress[id]?.isLearner ?? true }

    // MARK: Time

    /// One tick of the driver's clock has passed.
    public mutating func tick() {
        ticksSinceContact += 1
        ticksSinceLeaderHeard += 1
        now += 1
        if role == .leader { return tickLeader() }
        if isPromotable, ticksSinceContact >= randomizedElectionTimeoutTicks {
            ticksSinceContact = 0
            // Refused while committed membership changes wait to be applied; the next timeout tries again.
            _ = startElection(configuration.preVote ? .preElection : .election)
        }
    }

    private mutating func tickLeader() {
        ticksSinceHeartbeat += 1
        if ticksSinceContact >= configuration.electionTimeoutTicks {
            ticksSinceContact = 0
            if configuration.checkQuorum { checkQuorum() }
            // A transfer that did not end within an election timeout is given up. (Dissertation, 3.10.)
            if role == .leader { transferee = .none }
        }
        if role == .leader, ticksSinceHeartbeat >= configuration.heartbeatTicks {
            ticksSinceHeartbeat = 0
            broadcastHeartbeat()
        }
    }

    // MARK: Effects out

    private var softState: SoftState { SoftState(leader: leader, role: role) }
    private var hardState: HardState { HardState(term: term, vote: vote, commit: log.commit) }
    private var maxApplyingBytes: Int {
        configuration.maxCommittedBytesPerReady == 0 ? .max : configuration.maxCommittedBytesPerReady
    }

    /// Whether `takeReady` would have something to say.
    public var hasReady: Bool {
        !messages.isEmpty || !messagesAfterAppend.isEmpty || !readStates.isEmpty || log.hasEntriesToWrite
            || log.hasCommittedToHandOut(
                allowUnwritten: !configuration.asynchronousStorage, maxBytes: maxApplyingBytes)
            || reads.needsRound || log.hasSnapshotToHandOut || hardState != toldHardState || softState != toldSoftState
    }

    /// Takes what there is to do now. With asynchronous storage it may be called again before the
    /// effects of earlier ones are finished, but they must be carried out in order.
    public mutating func takeReady() -> Ready {
        if reads.needsRound { beginReadRound() }
        var ready = Ready()
        if softState != toldSoftState {
            toldSoftState = softState
            ready.softState = softState
        }
        if hardState != toldHardState {
            ready.mustSync = hardState.term != toldHardState.term || hardState.vote != toldHardState.vote
            toldHardState = hardState
            ready.hardState = hardState
        }
        ready.snapshot = log.takeSnapshot()
        ready.entriesToAppend = log.takeEntriesToWrite()
        ready.mustSync = ready.mustSync || !ready.entriesToAppend.isEmpty
        ready.committed = log.takeCommitted(
            allowUnwritten: !configuration.asynchronousStorage, maxBytes: maxApplyingBytes)
        ready.commitMustBeDurableBeforeApply = ready.committed.contains { $0.kind != .normal }
        swap(&ready.messages, &messages)
        swap(&ready.messagesAfterAppend, &messagesAfterAppend)
        swap(&ready.readStates, &readStates)
        return ready
    }

    // MARK: The driver's reports

    /// The entries of a Ready are durable up to and including the last of them, which had `term` and
    /// `index`. Reported exactly once for each Ready with entries, in order; Readies that were written
    /// together may be reported once, by the last of them. A report proves nothing about entries that
    /// have replaced what it wrote: see `LogTail.wrote`.
    public mutating func appended(term: Term, index: LogIndex) {
        log.wrote(term: term, index: index)
    }

    /// The snapshot of a Ready is installed and durable, and the state machine stands at `index`.
    public mutating func snapshotInstalled(index: LogIndex) {
        log.installed(snapshot: index)
    }

    /// The committed entries up to `index` are applied (with `applyConfChange` called for those that
    /// change the membership).
    /// - Precondition: `index` was handed out as committed.
    public mutating func applied(upTo index: LogIndex) {
        let bytes = log.apply(upTo: index)
        uncommittedBytes = max(0, uncommittedBytes - bytes)
        leaveJointIfDue()
    }

    /// Drops the log up to `index` from memory. Followers that need it get `.snapshot` messages from
    /// now on. `configuration` is the membership as of `index`.
    /// - Precondition: `index` is applied.
    public mutating func compactLog(upTo index: LogIndex, configuration: ConfState) {
        guard index > log.baseIndex, let term = log.term(at: index) else { return }
        offerSnapshot(SnapshotMetadata(index: index, term: term, configuration: configuration))
        log.dropPrefix(through: index)
    }

    /// A snapshot newer than the last compaction is at hand; followers in need are sent this one. (The
    /// sender may replace it by a still newer one. It should: a member that was added later than the
    /// snapshot it gets ignores it.)
    /// - Precondition: what it stands for is committed.
    public mutating func offerSnapshot(_ metadata: SnapshotMetadata) {
        precondition(metadata.index <= log.commit, "snapshot \(metadata.index) is past the commit index \(log.commit)")
        if metadata.index > snapshot.index { snapshot = metadata }
    }

    // MARK: Looking in

    /// Whether there is an entry not yet known to be durable.
    package var hasUnwrittenEntries: Bool { log.hasUnwrittenEntries }
    /// Term and index of the log's last entry.
    package var lastEntry: (term: Term, index: LogIndex) { (log.lastTerm, log.lastIndex) }
    package var isInstallingSnapshot: Bool { log.pendingSnapshot != nil }
    package var progressRows: [Progress] { membership.progress.rows }
    package var clusterConfiguration: ClusterConfiguration { membership.configuration }
    /// The entries held in memory.
    package var entriesInMemory: [Entry] {
        log.slice(from: log.firstIndex, through: log.lastIndex, maxBytes: .max).entries
    }
}

/// The generator known as SplitMix64: tiny, seedable and good enough to spread timeouts.
struct RandomSequence: Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next(below bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        mixed ^= mixed >> 31
        return Int(mixed % UInt64(bound))
    }
}
