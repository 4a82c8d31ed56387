/// What a member's three threads tell each other.
enum ConsensusEvent {
    case messages([Message])
    case proposal(ProposedEntry)
    case withdrawn(RequestID)
    case read(WaitingRead)
    case appended(term: Term, index: LogIndex, toSelf: [Message])
    case snapshotInstalled(LogIndex)
    case snapshotReceived(Message, StateImage)
    case snapshotReported(MemberID, succeeded: Bool)
    case unreachable(MemberID)
    case applied(LogIndex)
    case flushed(LogIndex, ConfState)
    case transferLeadership(MemberID)
}

struct LogJob {
    var hardState: HardState?
    var snapshot: (metadata: SnapshotMetadata, state: StateImage?)?
    var entries: [Entry] = []
    var mustSync = false
    var messages: [Message] = []
    var truncateUpTo: LogIndex?
}

enum ApplyEvent {
    case committed([Entry])
    case reads(after: LogIndex, [WaitingRead])
    case serializableRead(WaitingRead)
    case watch(client: Int, WatchRequest)
    case leadership(Leadership)
    case sendSnapshot(Message)
    case install(SnapshotMetadata, StateImage?)
    case leaseTurn
}

/// A read on its way through a member.
struct WaitingRead {
    enum Question {
        case range(RangeQuery)
        case renewLease(Int64)
    }
    enum Asker {
        case client(ClientAddress)
        /// Another member, for the request it knows by the token.
        case member(Int, token: UInt64)
    }
    var question: Question
    var asker: Asker
    var onLeader: Bool { if case .renewLease = question { true } else { false } }
}

/// A member from a start to a crash: the real machines, and the edges that `Server` would put around them.
///
/// The three threads are mailboxes with turns on the agenda: whatever arrived before a turn is handled in it, as one
/// batch, and nothing else interleaves with the turn. Crashes fall between turns, while a sync or a flush is under way, or
/// between any two steps of a snapshot's installation.
final class MemberLife {
    enum Thread: UInt8 { case consensus, log, apply }

    /// What the log thread waits for.
    enum LogPhase {
        case idle
        case syncing(LogJob)
        /// The hard state that comes with a snapshot is being written.
        case preparing(LogJob)
        /// The apply thread has the state of a snapshot.
        case installing(LogJob)
        /// The state is in place, the log being reset to it.
        case resetting(LogJob)
    }

    let place: Int
    let number: Int
    let id: MemberID
    unowned let cluster: SimulatedCluster

    // Consensus thread.
    var consensus: ConsensusMachine
    var consensusMail: [ConsensusEvent] = []
    var isConsensusAwake = false
    var stalledUntil: Int64 = 0
    var nextToken: UInt64 = 0
    var waitingReads: [UInt64: WaitingRead] = [:]
    /// Until a leader is known.
    var parked: [ReadToken] = []
    /// Parked until a moment ago.
    var retriedReads: [ReadToken] = []
    var askedOfLeader: [UInt64: WaitingRead] = [:]
    var staged: StateImage?
    /// The commit index last told.
    var knownCommit: LogIndex

    // Log thread.
    var logMail: [LogJob] = []
    var isLogAwake = false
    var logPhase = LogPhase.idle
    /// The last one, written or not.
    var hardState: HardState
    var waitingHardState: HardState?

    // Apply thread.
    var apply: ApplyMachine<MemoryHistory>
    var applyMail: [ApplyEvent] = []
    var isApplyAwake = false
    var readsByIndex: [(index: LogIndex, reads: [WaitingRead])] = []
    var watchers: [WatchID: Int] = [:]
    var isLeader = false
    var leadingTerm = Term.zero
    var flushing: StateImage?
    var lastFlushed: LogIndex
    var internalRequests: UInt64 = 0

    // For the census.
    let startApplied: LogIndex
    var hasCaughtUp = false
    var hasInstalled = false

    /// Starts from what the disk holds, with the same checks as `Storage`'s.
    init(place: Int, number: Int, cluster: SimulatedCluster) throws {
        self.place = place
        self.number = number
        self.cluster = cluster
        id = cluster.ids[place]
        var disk = cluster.disks[place]
        let image = disk.state
        guard disk.log.base.index <= image.applied else {
            throw Violation("the log begins at \(disk.log.base.index), past the state's \(image.applied)")
        }
        if disk.log.term(at: image.applied) != image.term {
            guard image.isInstalled else {
                throw Violation("the log ends before what is applied: \(disk.log.lastIndex) before \(image.applied)")
            }
            disk.log.write(.reset(to: image.applied, term: image.term))
            disk.log.sync()
            cluster.census.count(.interruptedInstallsFinished)
        }
        var hardState = disk.log.hardState
        let commit = hardState.commit
        hardState.commit = commit <= disk.log.lastIndex ? max(image.applied, commit) : image.applied
        if hardState.commit > image.applied { cluster.census.count(.stateRollbacks) }
        apply = try ApplyMachine(
            id: id, history: image.history, applied: image.applied, term: image.term, configuration: image.configuration
        )
        if apply.members.isEmpty {
            apply.bootstrap(
                cluster.ids.map { MemberAttributes(id: $0, name: "m\($0)", peerURLs: [], clientURLs: []) })
            disk.state.history = apply.store.history
            disk.state.configuration = apply.configuration
        }
        cluster.disks[place] = disk
        self.hardState = hardState
        knownCommit = hardState.commit
        startApplied = image.applied
        lastFlushed = image.applied
        consensus = try ConsensusMachine(
            cluster.configuration(of: place, life: number),
            initial: InitialState(
                hardState: hardState, configuration: apply.configuration, base: disk.log.base,
                entries: disk.log.entries,
                applied: image.applied), startCount: UInt64(number) << 32)
    }

    // MARK: Mail

    func post(_ event: ConsensusEvent) {
        consensusMail.append(event)
        if !isConsensusAwake { isConsensusAwake = wake(.consensus) }
    }

    func post(_ job: LogJob) {
        logMail.append(job)
        if !isLogAwake { isLogAwake = wake(.log) }
    }

    func post(_ event: ApplyEvent) {
        applyMail.append(event)
        if !isApplyAwake { isApplyAwake = wake(.apply) }
    }

    private func wake(_ thread: Thread) -> Bool {
        let delay = cluster.swarm.wakeDelay
        var time = cluster.now + (delay > 0 ? cluster.random.below(delay) : 0)
        if thread == .consensus { time = max(time, stalledUntil) }
        cluster.agenda.schedule(.turn(place: place, life: number, thread), at: time)
        return true
    }

    func turn(_ thread: Thread) throws {
        switch thread {
        case .consensus:
            isConsensusAwake = false
            consensusTurn()
        case .log:
            isLogAwake = false
            logTurn()
        case .apply:
            isApplyAwake = false
            try applyTurn()
        }
    }

    /// This member's monotonic clock, in nanoseconds.
    var clock: Int64 { cluster.now &* (1_000 + cluster.drifts[place]) }
}
