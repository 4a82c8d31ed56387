/// Names a group of reads that wait for one confirmed index; the driver's, opaque here.
public struct ReadToken: Hashable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// An encoded ``Proposal`` on its way into the log.
public struct ProposedEntry: Sendable {
    public var requestID: RequestID
    public var payload: [UInt8]
    /// Set for what a member decides as the leader of a term: it enters the log only while the member leads that term, and
    /// is neither held nor forwarded. (The end of a lease, say, which a later leader may have renewed meanwhile.)
    public var leadingTerm: Term?
    @inlinable public init(requestID: RequestID, payload: [UInt8], leadingTerm: Term? = nil) {
        self.requestID = requestID
        self.payload = payload
        self.leadingTerm = leadingTerm
    }
}

/// What consensus wants done now, in this order; see ``ConsensusMachine``.
public struct ConsensusEffects: Sendable {
    /// Term, vote and commit index; durable with `entriesToAppend`.
    public var hardState: HardState?
    /// Installed, state and log, before the entries that follow; then report ``ConsensusMachine/snapshotInstalled(index:)``.
    public var snapshotToInstall: SnapshotMetadata?
    public var entriesToAppend: [Entry] = []
    /// Entries, term or vote changed (or a commit index that must survive before it is applied): the write is synced
    /// before `messagesAfterAppend` leave. Otherwise only the commit index moved, and it may ride with a later write.
    public var mustSync = false
    /// May leave at once, before the entries are durable. (Dissertation, 10.2.1.)
    public var messages: [Message] = []
    /// Leave when the entries and the hard state are durable. Those addressed to this member are stepped back in then.
    public var messagesAfterAppend: [Message] = []
    /// In log order, each exactly once, and durable in the local log.
    public var committed: [Entry] = []
    /// `committed` holds a membership change: neither it nor what follows is applied before this and all earlier hard
    /// states are durable, lest a restarted member campaign with the old majority. (etcd-io/raft issues 456 and 469.)
    public var commitMustBeDurableBeforeApply = false
    /// Followers that need the state; the transport sends it beside the message.
    public var snapshotsToSend: [Message] = []
    /// Reads that may be answered once the index is applied.
    public var confirmedReads: [ConfirmedReads] = []
    /// Reads only a leader may answer, asked of a member that is not it.
    public var redirectedReads: [(token: ReadToken, leader: MemberID)] = []
    /// Proposals that did not enter the log and never will; their clients hear it now.
    public var refusedProposals: [(requestID: RequestID, reason: RefusalReason)] = []
    /// Set when the leader, the term or this member's role changed.
    public var leadership: Leadership?
    /// Entries up to here are no longer needed on disk.
    public var truncateLogUpTo: LogIndex?

    public init() {}

    /// Whether the log thread has something to do.
    public var needsAppend: Bool {
        hardState != nil || snapshotToInstall != nil || !entriesToAppend.isEmpty || !messagesAfterAppend.isEmpty
            || truncateLogUpTo != nil || commitMustBeDurableBeforeApply
    }
}

public struct ConfirmedReads: Sendable {
    public var index: LogIndex
    public var tokens: [ReadToken]
}

public enum RefusalReason: Sendable, Equatable {
    /// More is waiting to be committed than the member allows (`etcdserver: too many requests`).
    case tooManyRequests
    /// Only the leader knows whether a learner may be promoted; it is to be asked.
    case notLeader(MemberID)
    /// A learner that is to be promoted has too little of the log yet.
    case learnerNotReady
    /// A change of the members that consensus would never let into the log.
    case membership(MembershipError)
}

/// Who leads, as this member knows it.
public struct Leadership: Sendable, Equatable {
    public var term: Term
    public var leader: MemberID
    public var isLeader: Bool
    public init(term: Term, leader: MemberID, isLeader: Bool) {
        self.term = term
        self.leader = leader
        self.isLeader = isLeader
    }
}

/// Consensus for one member: events in, effects out. A value; the driver owns it on one thread.
///
/// Beyond the Raft node it holds what a server needs around it: reads gathered into ReadIndex rounds,
/// proposals held while there is no leader, and the decision when the log is cut.
public struct ConsensusMachine: Sendable {
    public struct Configuration: Sendable {
        public var raft: RaftConfiguration
        /// The log is cut only when it has grown by this many entries past the last cut (`--snapshot-count`).
        public var snapshotCount: UInt64 = 100_000
        /// Entries kept behind the flushed state, so that a follower that is a little late needs no snapshot.
        public var catchUpEntries: UInt64 = 5_000
        /// Bytes of payload past which the log is cut at the flushed state, whatever their number.
        public var catchUpBytes: Int = 64 << 20
        /// A ReadIndex round without an answer is asked again after so many ticks.
        public var readRetryTicks: Int = 5
        public init(raft: RaftConfiguration) { self.raft = raft }
    }

    private struct ReadRound {
        var context: [UInt8]
        var followerSafe: [ReadToken]
        var leaderOnly: [ReadToken]
        var ticks = 0
    }

    private let configuration: Configuration
    private var node: RaftNode
    private var effects = ConsensusEffects()
    private var heldProposals: [ProposedEntry] = []
    private var heldMembershipChanges: [MembershipProposal] = []
    private var waitingReads: [ReadToken] = []
    private var waitingLeaderReads: [ReadToken] = []
    private var round: ReadRound?
    private var nextRound: UInt64
    private var known: Leadership
    /// The last cut of the log: no entry at or below it is in memory.
    private var logBase: LogIndex
    /// Payload appended since then.
    private var bytesSinceCut: Int

    /// - Parameter startCount: distinguishes this run's read rounds from those of earlier runs of the same member;
    ///   any number not used before (the start's time, say).
    public init(_ configuration: Configuration, initial: InitialState, startCount: UInt64) throws {
        self.configuration = configuration
        node = try RaftNode(configuration.raft, initial)
        nextRound = startCount
        logBase = initial.base.index
        bytesSinceCut = initial.entries.reduce(0) { $0 + $1.payload.count }
        known = Leadership(term: initial.hardState.term, leader: .none, isLeader: false)
    }

    public var status: RaftStatus { node.status }
    public var leadership: Leadership { known }

    // MARK: Events

    /// One heartbeat interval has passed.
    public mutating func tick() {
        node.tick()
        if var current = round {
            current.ticks += 1
            if current.ticks >= configuration.readRetryTicks {
                current.ticks = 0
                node.readIndex(context: current.context)
            }
            round = current
        }
        noteLeadership()
        // Held while leadership was being handed over, which may have come to nothing.
        submitHeldProposals()
    }

    /// Messages from other members, or this member's own that waited for the disk. What is malformed is dropped:
    /// Raft repeats what matters, and a peer's mistake must not stop this member.
    /// - Returns: how many messages were refused.
    @discardableResult
    public mutating func receive(_ messages: [Message]) -> Int {
        var refused = 0
        for message in messages {
            do {
                try node.step(message)
            } catch .proposalDropped {
                // Forwarded to a leader that no longer is one: its client asks again.
            } catch {
                refused += 1
            }
        }
        noteLeadership()
        return refused
    }

    public mutating func propose(_ proposals: [ProposedEntry]) {
        guard proposals.contains(where: { $0.leadingTerm != nil }) else {
            heldProposals.append(contentsOf: proposals)
            return submitHeldProposals()
        }
        heldProposals.append(
            contentsOf: proposals.filter { $0.leadingTerm == nil || known.isLeader && $0.leadingTerm == known.term })
        submitHeldProposals()
        heldProposals.removeAll { $0.leadingTerm != nil }
    }

    /// Proposes a change of the members; what became of it is answered when it is applied.
    public mutating func proposeMembershipChange(_ proposal: MembershipProposal) {
        if let reason = refusal(of: proposal) {
            effects.refusedProposals.append((proposal.requestID, reason))
            return
        }
        heldMembershipChanges.append(proposal)
        submitHeldProposals()
    }

    /// What can be said before it is in the log. A learner that is far behind would hold up whatever then needs its vote,
    /// so it must have nine tenths of the leader's log. (etcd's rule.)
    private func refusal(of proposal: MembershipProposal) -> RefusalReason? {
        let status = node.status
        var voters = Set(status.configuration.voters)
        for change in proposal.changes.map(\.memberChange) {
            switch change.kind {
            case .addVoter: voters.insert(change.member)
            case .addLearner, .remove: voters.remove(change.member)
            case .update: break
            }
        }
        // (A member that joins does not know the voters yet.)
        if voters.isEmpty, !status.configuration.voters.isEmpty { return .membership(.noVoters) }
        let promoted = proposal.promoted
        if promoted.isEmpty { return nil }
        guard known.isLeader else { return .notLeader(known.leader) }
        for learner in status.progress where learner.isLearner && promoted.contains(learner.id) {
            let behind = Double(learner.match.rawValue) < 0.9 * Double(status.lastIndex.rawValue)
            if behind { return .learnerNotReady }
        }
        return nil
    }

    /// Asks for an index that is not older than any write acknowledged before now. (Dissertation, 6.4.)
    /// - Parameter onLeader: the reads concern what only the leader knows (leases' remaining time).
    public mutating func read(_ token: ReadToken, onLeader: Bool = false) {
        if onLeader {
            guard known.isLeader else {
                effects.redirectedReads.append((token, known.leader))
                return
            }
            waitingLeaderReads.append(token)
        } else {
            waitingReads.append(token)
        }
    }

    /// The local log is durable up to this entry, which had this term.
    public mutating func appended(term: Term, index: LogIndex) {
        node.appended(term: term, index: index)
    }

    public mutating func snapshotInstalled(index: LogIndex) {
        node.snapshotInstalled(index: index)
        logBase = max(logBase, index)
    }

    public mutating func applied(upTo index: LogIndex) {
        node.applied(upTo: index)
    }

    /// A membership change was applied to the state; the node follows.
    public mutating func applyConfChange(_ change: ConfChangeV2) {
        _ = node.applyConfChange(change)
        noteLeadership()
    }

    public mutating func reportUnreachable(_ member: MemberID) { node.reportUnreachable(member) }
    public mutating func reportSnapshot(to member: MemberID, succeeded: Bool) {
        node.reportSnapshot(member, succeeded: succeeded)
    }
    public mutating func transferLeadership(to member: MemberID) { node.transferLeadership(to: member) }
    public mutating func campaign() throws(RaftError) { try node.campaign() }

    /// The state up to `flushed` survives a crash, so the log need not repeat it; cuts the log when it has grown enough.
    public mutating func stateFlushed(upTo flushed: LogIndex, configuration state: ConfState) {
        // The report of what was applied may still be on its way.
        let index = min(flushed, node.appliedIndex)
        guard index > logBase else { return }
        let grown = index.rawValue - logBase.rawValue
        let isLarge = bytesSinceCut > configuration.catchUpBytes
        guard isLarge || grown > configuration.snapshotCount + configuration.catchUpEntries else { return }
        // Large entries are not worth the memory: a late follower gets the state instead.
        let cut = isLarge ? index : LogIndex(index.rawValue - configuration.catchUpEntries)
        node.compactLog(upTo: cut, configuration: state)
        logBase = cut
        bytesSinceCut = 0
        effects.truncateLogUpTo = cut
    }

    // MARK: Effects

    /// What has to be done now, all of it before more is taken: effects out of order would be writes out of order.
    /// Empty effects mean that there is nothing to do before the next event.
    public mutating func takeEffects() -> ConsensusEffects {
        startReadRound()
        while node.hasReady {
            collect(node.takeReady())
            noteLeadership()
            startReadRound()
        }
        defer { effects = ConsensusEffects() }
        return effects
    }

    private mutating func collect(_ ready: Ready) {
        if let hardState = ready.hardState { effects.hardState = hardState }
        if let snapshot = ready.snapshot { effects.snapshotToInstall = snapshot }
        if ready.mustSync || ready.commitMustBeDurableBeforeApply { effects.mustSync = true }
        if ready.commitMustBeDurableBeforeApply { effects.commitMustBeDurableBeforeApply = true }
        for entry in ready.entriesToAppend { bytesSinceCut += entry.payload.count }
        if effects.entriesToAppend.isEmpty {
            effects.entriesToAppend = ready.entriesToAppend
        } else if let first = ready.entriesToAppend.first {
            // A later Ready may rewrite a tail that an earlier one, not yet performed, meant to write.
            while let last = effects.entriesToAppend.last, last.index >= first.index {
                effects.entriesToAppend.removeLast()
            }
            effects.entriesToAppend.append(contentsOf: ready.entriesToAppend)
        }
        for message in ready.messages {
            if message.kind == .snapshot {
                effects.snapshotsToSend.append(message)
            } else {
                effects.messages.append(message)
            }
        }
        effects.messagesAfterAppend.append(contentsOf: ready.messagesAfterAppend)
        effects.committed.append(contentsOf: ready.committed)
        for state in ready.readStates { finishReadRound(state) }
    }

    // MARK: Proposals

    private mutating func submitHeldProposals() {
        submitHeldMembershipChanges()
        guard !heldProposals.isEmpty, known.leader != .none else { return }
        var submitted = 0
        defer { heldProposals.removeFirst(submitted) }
        do {
            while submitted < heldProposals.count {
                let end = sliceOfHeldProposals(from: submitted)
                try node.propose(heldProposals[submitted..<end].map(\.payload))
                submitted = end
            }
        } catch .proposalDropped(.tooMuchUncommitted) {
            effects.refusedProposals.append(
                contentsOf: heldProposals[submitted...].map { ($0.requestID, .tooManyRequests) })
            submitted = heldProposals.count
        } catch {
            // No leader after all, or leadership is being handed over: they wait for the next leader
            // until their clients' time is up.
        }
    }

    private mutating func submitHeldMembershipChanges() {
        guard known.leader != .none else { return }
        while let proposal = heldMembershipChanges.first {
            do {
                try node.proposeConfChange(proposal.confChange(origin: configuration.raft.id))
            } catch .proposalDropped(.tooMuchUncommitted) {
                effects.refusedProposals.append((proposal.requestID, .tooManyRequests))
            } catch {
                return
            }
            heldMembershipChanges.removeFirst()
        }
    }

    /// How many of the held proposals go with one call: a follower passes them on as one message.
    private func sliceOfHeldProposals(from start: Int) -> Int {
        var end = start
        var bytes = 0
        while end < heldProposals.count {
            bytes += heldProposals[end].payload.count
            if end > start, bytes > configuration.raft.maxBytesPerMessage { break }
            end += 1
        }
        return end
    }

    /// Forgets a proposal whose client has given up, if it has not entered the log.
    public mutating func withdraw(_ requests: Set<RequestID>) {
        heldProposals.removeAll { requests.contains($0.requestID) }
        heldMembershipChanges.removeAll { requests.contains($0.requestID) }
    }

    /// Forgets reads whose clients have given up, as far as no round has begun for them.
    public mutating func withdrawReads(_ tokens: Set<ReadToken>) {
        waitingReads.removeAll { tokens.contains($0) }
        waitingLeaderReads.removeAll { tokens.contains($0) }
    }

    // MARK: Reads

    /// One round for all reads waiting; those that come while it runs go with the next. A read may not join a round
    /// already under way: the index it returns may be older than a write acknowledged since.
    private mutating func startReadRound() {
        guard round == nil, known.leader != .none, !(waitingReads.isEmpty && waitingLeaderReads.isEmpty) else { return }
        nextRound &+= 1
        var context: [UInt8] = []
        context.reserveCapacity(16)
        context.appendInteger(configuration.raft.id.rawValue)
        context.appendInteger(nextRound)
        round = ReadRound(context: context, followerSafe: waitingReads, leaderOnly: waitingLeaderReads)
        waitingReads.removeAll(keepingCapacity: true)
        waitingLeaderReads.removeAll(keepingCapacity: true)
        node.readIndex(context: context)
    }

    private mutating func finishReadRound(_ state: ReadState) {
        guard let finished = round, finished.context == state.context else { return }
        round = nil
        var tokens = finished.followerSafe
        if known.isLeader {
            tokens.append(contentsOf: finished.leaderOnly)
        } else {
            for token in finished.leaderOnly { effects.redirectedReads.append((token, known.leader)) }
        }
        if !tokens.isEmpty {
            effects.confirmedReads.append(ConfirmedReads(index: state.index, tokens: tokens))
        }
    }

    // MARK: Leadership

    private mutating func noteLeadership() {
        let status = node.leadership
        guard status != known else { return }
        let leaderChanged = status.leader != known.leader || status.term != known.term
        known = status
        effects.leadership = status
        if !status.isLeader {
            for token in waitingLeaderReads { effects.redirectedReads.append((token, status.leader)) }
            waitingLeaderReads.removeAll()
        }
        if leaderChanged, status.leader != .none {
            // The old leader took the round with it.
            if let current = round { node.readIndex(context: current.context) }
            submitHeldProposals()
        }
    }
}

extension RaftNode {
    fileprivate var leadership: Leadership {
        Leadership(term: currentTerm, leader: currentLeader, isLeader: currentRole == .leader)
    }
}
