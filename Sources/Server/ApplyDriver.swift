import Discovery
import GRPC
import Logging
import Replica
import Storage
import Transport

/// What reaches the apply thread.
enum ApplyEvent: Sendable {
    case committed([Entry])
    /// Answered once everything up to the index is applied.
    case reads(after: LogIndex, [ReadBatch])
    /// Answered from what is applied now.
    case serializableReads(ReadBatch)
    /// Answered once no compaction has records left to remove.
    case afterCompaction(ReadBatch)
    case watch(WatchOperation)
    case leadership(Leadership)
    case sendSnapshot(Message)
    case install(SnapshotMetadata, SnapshotReceiver?, Completion)
    case stop
}

/// The apply thread: applies what is committed as one write batch, answers reads, feeds the watches and
/// keeps the leases' time.
final class ApplyDriver {
    private let mailbox: Mailbox<ApplyEvent>
    private let consensusMailbox: Mailbox<ConsensusEvent>
    private let transport: PeerTransport
    private let outlet: any LoopOutlet
    private let board: StatusBoard
    private let metrics: Metrics
    private let logger: Logger
    private let id: MemberID
    private let flushThread: FlushThread
    private let flushPolicy: FlushPolicy
    private let electionTimeoutNanoseconds: Int64
    private let onPublished: @Sendable (RequestID) -> Void
    private let onMembers: @Sendable ([MemberAttributes]) -> Void
    private let fail: @Sendable (any Error) -> Void

    private var machine: ApplyMachine<StateDatabase>
    private var waitingReads: [(index: LogIndex, batches: [ReadBatch])] = []
    private var outbound: [LoopBatch]
    private var waitingCompactions: [ReadBatch] = []
    private var watchPlaces: [WatchID: WatchPlace] = [:]
    private var waitingProgress: [(place: WatchPlace, watches: [WatchID])] = []
    private var isLeader = false
    private var term = Term.zero
    private var nextInternalCount: UInt64

    /// etcd looks for expired leases as often.
    private static let leaseInterval: Int64 = 500_000_000
    /// How many leases one turn revokes: the rest waits for the next, so that no burst holds up the writes.
    private static let revokesPerTurn = 1_000
    /// Records that one turn of a compaction removes.
    private static let compactionRecords = 2_000
    /// How often quiet watches that asked for it hear of the revision: etcd's default.
    private static let progressInterval: Int64 = 600_000_000_000

    init(
        machine: ApplyMachine<StateDatabase>, id: MemberID, firstInternalCount: UInt64, flushPolicy: FlushPolicy,
        electionTimeoutMilliseconds: Int, onPublished: @escaping @Sendable (RequestID) -> Void,
        onMembers: @escaping @Sendable ([MemberAttributes]) -> Void, mailboxes: Mailboxes, transport: PeerTransport,
        outlet: any LoopOutlet, flushThread: FlushThread, board: StatusBoard, metrics: Metrics, logger: Logger,
        fail: @escaping @Sendable (any Error) -> Void
    ) {
        self.machine = machine
        self.flushPolicy = flushPolicy
        self.electionTimeoutNanoseconds = Int64(electionTimeoutMilliseconds) * 1_000_000
        self.onPublished = onPublished
        self.id = id
        self.nextInternalCount = firstInternalCount
        self.onMembers = onMembers
        self.mailbox = mailboxes.apply
        self.consensusMailbox = mailboxes.consensus
        self.transport = transport
        self.outlet = outlet
        self.flushThread = flushThread
        self.board = board
        self.metrics = metrics
        self.logger = logger
        self.fail = fail
        outbound = Array(repeating: LoopBatch(), count: outlet.loopCount)
    }

    func run() {
        var events: [ApplyEvent] = []
        var nextLeaseTurn = monotonicNanoseconds() + ApplyDriver.leaseInterval
        noteSize()
        var nextProgress = monotonicNanoseconds() + ApplyDriver.progressInterval
        do {
            while true {
                // A watch that is catching up must not wait for the next event.
                let deadline = machine.watchesNeedCatchUp || machine.store.isCompacting ? 0 : nextLeaseTurn
                mailbox.take(into: &events, deadline: deadline)
                _ = now()
                var committed: [Entry] = []
                for event in events {
                    if case .committed(let entries) = event {
                        committed.append(contentsOf: entries)
                        continue
                    }
                    try apply(&committed)
                    if case .stop = event {
                        outlet.flush(&outbound)
                        return
                    }
                    try handle(event)
                }
                try apply(&committed)
                try answerWaitingReads()
                if machine.watchesNeedCatchUp {
                    deliver(try machine.catchUpWatches())
                    answerProgress()
                }
                if machine.store.isCompacting {
                    machine.compactStep(budget: ApplyDriver.compactionRecords)
                    try commit()
                }
                try answerWaitingCompactions()
                let now = now()
                if now >= nextProgress {
                    nextProgress = now + ApplyDriver.progressInterval
                    notifyQuietWatches()
                }
                if now >= nextLeaseTurn {
                    nextLeaseTurn = now + ApplyDriver.leaseInterval
                    noteSize()
                    if isLeader { revokeExpiredLeases(now: now) }
                }
                outlet.flush(&outbound)
            }
        } catch {
            fail(error)
            refuseUntilStopped()
        }
    }

    /// The state cannot be trusted any more, but the log thread may wait for an answer, and must not for ever.
    private func refuseUntilStopped() {
        var events: [ApplyEvent] = []
        while true {
            mailbox.take(into: &events, deadline: nil)
            for event in events {
                if case .install(_, _, let completion) = event { completion.finish(false) }
                if case .stop = event { return }
            }
        }
    }

    private func handle(_ event: ApplyEvent) throws {
        switch event {
        case .committed, .stop:
            break
        case .reads(let index, let batches):
            if index <= machine.applied {
                for batch in batches { try answer(batch) }
            } else {
                waitingReads.append((index, batches))
            }
        case .serializableReads(let batch):
            try answer(batch)
        case .afterCompaction(let batch):
            waitingCompactions.append(batch)
        case .watch(let operation):
            handle(operation)
        case .leadership(let leadership):
            noteLeadership(leadership)
        case .sendSnapshot(let message):
            sendSnapshot(message)
        case .install(let metadata, let staged, let completion):
            do {
                try install(metadata, staged)
                completion.finish(true)
            } catch {
                completion.finish(false)
                throw error
            }
        }
    }

    // MARK: Commands

    private func apply(_ committed: inout [Entry]) throws {
        guard !committed.isEmpty else { return }
        let applied = try machine.apply(committed)
        committed.removeAll(keepingCapacity: true)
        try commit()
        for answer in applied.answers {
            let call = CallID(answer.requestID)
            guard call.loop < outbound.count else { continue }
            let body: LoopAnswer.Body =
                switch answer.outcome {
                case .command(let outcome): .command(outcome)
                case .authRevisionOld: .failed(.oldAuthRevision)
                case .membership(.success(let members)): .members(members)
                case .membership(.failure(let error)): .failed(GRPCStatus(error))
                }
            outbound[call.loop].answers.append(LoopAnswer(call: call, body: body, revision: answer.revision))
        }
        deliver(applied.deliveries)
        for request in applied.ownPublications { onPublished(request) }
        if !applied.published.isEmpty || !applied.membershipChanges.isEmpty { onMembers(machine.members) }
        for change in applied.membershipChanges { consensusMailbox.post(.membershipChanged(change)) }
        consensusMailbox.post(.applied(machine.applied))
        if applied.removed.contains(id) {
            outlet.flush(&outbound)
            throw ServerError.removed
        }
    }

    /// Hands the batch to the state's database, with the index that it brings the state to.
    private func commit() throws {
        try machine.commit { try $0.commit(applied: $1, term: $2, configuration: $3) }
        noteProgress()
        let state = machine.store.history
        if state.needsFlush {
            state.flushStarted()
            flushThread.request(state.flusher)
        }
    }

    private func noteProgress() {
        let (revision, applied) = (machine.store.revision, machine.applied)
        board.update {
            $0.revision = revision
            $0.applied = applied
        }
    }

    private func noteSize() {
        let size = machine.store.history.files.size
        board.update {
            $0.databaseBytes = Int64(size.total)
            $0.databaseBytesInUse = Int64(size.inUse)
        }
    }

    private func deliver(_ deliveries: [WatchDelivery]) {
        for delivery in deliveries {
            guard let place = watchPlaces[delivery.watch] else { continue }
            if case .compacted = delivery.content { watchPlaces[delivery.watch] = nil }
            outbound[place.loop].watches.append(.delivery(delivery))
        }
    }

    // MARK: Watches

    private func handle(_ operation: WatchOperation) {
        switch operation {
        case .create(let place, let token, let request):
            let outcome = machine.createWatch(request)
            if case .success(let watch) = outcome { watchPlaces[watch] = place }
            outbound[place.loop].watches.append(
                .created(token: token, outcome: outcome, revision: machine.store.revision))
        case .cancel(let watches):
            for watch in watches {
                watchPlaces[watch] = nil
                machine.cancelWatch(watch)
            }
            answerProgress()
        case .pause(let watches):
            for watch in watches { machine.pauseWatch(watch) }
        case .resume(let watches):
            for watch in watches { machine.resumeWatch(watch) }
        case .progress(let place):
            waitingProgress.append((place, watchPlaces.filter { $0.value == place }.map(\.key)))
            answerProgress()
        }
    }

    /// A progress answer stands behind all events that it covers: it waits until its watches have caught up.
    private func answerProgress() {
        waitingProgress.removeAll { progress in
            guard progress.watches.allSatisfy({ watchPlaces[$0] == nil || machine.watches.isSynced($0) }) else {
                return false
            }
            outbound[progress.place.loop].watches.append(
                .progress(stream: progress.place.stream, revision: machine.store.revision))
            return true
        }
    }

    private func notifyQuietWatches() {
        for watch in machine.watches.progressWatches {
            guard let place = watchPlaces[watch] else { continue }
            outbound[place.loop].watches.append(.quiet(watch, revision: machine.store.revision))
        }
    }

    // MARK: Reads

    private func answerWaitingReads() throws {
        guard !waitingReads.isEmpty else { return }
        let applied = machine.applied
        for (index, batches) in waitingReads where index <= applied {
            for batch in batches { try answer(batch) }
        }
        waitingReads.removeAll { $0.index <= applied }
    }

    private func answerWaitingCompactions() throws {
        guard !waitingCompactions.isEmpty, !machine.store.isCompacting else { return }
        for batch in waitingCompactions { try answer(batch) }
        waitingCompactions.removeAll()
    }

    /// A question of which only the leader knows the answer, confirmed while this member led and come up after it
    /// ceased to: a lease must not seem gone for that. Whoever leads now is asked.
    private func handBack(_ item: ReadItem, from origin: ReadBatch.Origin) {
        switch origin {
        case .loop: consensusMailbox.post(.leaderRead(ReadBatch(origin: origin, items: [item])))
        case .peer(let member, let request):
            transport.send([(member, .response(id: request, body: LeaderAnswer.notLeader.encoded()))])
        }
    }

    private func answer(_ batch: ReadBatch) throws {
        let now = now()
        for item in batch.items {
            if item.operation.needsLeader, !machine.store.leases.isPrimary {
                handBack(item, from: batch.origin)
                continue
            }
            let body = try answer(item.operation, now: now)
            let answer = LoopAnswer(call: item.call, body: body, revision: machine.store.revision)
            switch batch.origin {
            case .loop(let loop):
                outbound[loop].answers.append(answer)
            case .peer(let member, let request):
                let reply = LeaderAnswer.answer(body, revision: answer.revision)
                transport.send([(member, .response(id: request, body: reply.encoded()))])
            }
        }
    }

    private func answer(_ operation: ReadOperation, now: Int64) throws -> LoopAnswer.Body {
        switch operation {
        case .range(let query): .range(try machine.store.range(query))
        case .transaction(let transaction):
            .command(try machine.store.readTransaction(transaction).map { .transaction($0) })
        case .hashKV(let revision): .hashKV(try machine.store.hashKV(revision: revision))
        case .leases: .leases(machine.store.leases.ids)
        case .memberList: .members(machine.members)
        case .health: .healthy
        case .alarms(let kind): .alarms(machine.store.alarms.filter { kind == nil || $0.kind == kind })
        case .compacted(let revision): .command(.success(.compact(revision: revision)))
        case .leaseTimeToLive(let lease, let withKeys):
            .timeToLive(try? machine.store.leases.timeToLive(lease, now: now, keys: withKeys).get())
        case .leaseKeepAlive(let lease): .keepAlive(try? machine.renewLease(lease, now: now).get())
        }
    }

    // MARK: Leases

    /// The monotonic clock. All that concerns leases goes by it: what was lost while this thread stood still is given back to
    /// them before anything else is done.
    private func now() -> Int64 {
        let now = monotonicNanoseconds()
        let lost = machine.lookedAtClock(now: now)
        if lost > 0 {
            logger.warning(
                "no lease could be renewed for a while; all run longer by as much",
                metadata: ["milliseconds": "\(lost / 1_000_000)", "leases": "\(machine.store.leases.count)"])
        }
        return now
    }

    private func noteLeadership(_ leadership: Leadership) {
        term = leadership.term
        guard leadership.isLeader != isLeader else { return }
        isLeader = leadership.isLeader
        machine.leadershipChanged(
            isLeader: isLeader, now: now(), leaseExtension: electionTimeoutNanoseconds)
    }

    private func revokeExpiredLeases(now: Int64) {
        let expired = machine.expiredLeases(now: now, limit: ApplyDriver.revokesPerTurn)
        guard !expired.isEmpty else { return }
        consensusMailbox.post(
            .proposals(
                expired.map { lease in
                    nextInternalCount += 1
                    let call = CallID(loop: CallID.internalLoop, count: nextInternalCount)
                    let proposal = Proposal(
                        origin: id, requestID: call.requestID,
                        command: .store(.leaseRevoke(LeaseRevokeCommand(id: lease))))
                    return ProposedEntry(requestID: call.requestID, payload: proposal.encoded(), leadingTerm: term)
                }))
    }

    // MARK: Snapshots

    private func sendSnapshot(_ request: Message) {
        let snapshot = machine.store.history.makeSnapshot()
        let mark = snapshot.mark
        var message = request
        message.snapshot = SnapshotMetadata(index: mark.index, term: mark.term, configuration: mark.configuration)
        let target = request.to
        logger.info(
            "sending a snapshot",
            metadata: ["to": "\(target.hexText)", "index": "\(mark.index.rawValue)"])
        let chunks: @Sendable () throws -> [UInt8]? = { try snapshot.nextChunk(maxBytes: 1 << 20) }
        transport.sendSnapshot(to: target, message: message, chunks: chunks) { [consensusMailbox, logger] result in
            if case .failure(let error) = result {
                logger.warning(
                    "a snapshot was not delivered", metadata: ["to": "\(target.hexText)", "error": "\(error)"])
            }
            consensusMailbox.post(.snapshotReported(target, succeeded: (try? result.get()) != nil))
        }
    }

    private func install(_ metadata: SnapshotMetadata, _ staged: SnapshotReceiver?) throws {
        guard let staged, staged.mark?.index == metadata.index else {
            throw ServerError.snapshotNotInstalled(metadata.index)
        }
        logger.info("installing a snapshot", metadata: ["index": "\(metadata.index.rawValue)"])
        flushThread.waitUntilIdle()
        let state = try StateDatabase(staged.install(), policy: flushPolicy)
        try machine.replaceState(
            state, applied: metadata.index, term: metadata.term, configuration: metadata.configuration)
        onMembers(machine.members)
        noteProgress()
        machine.leadershipChanged(
            isLeader: isLeader, now: now(), leaseExtension: electionTimeoutNanoseconds)
    }
}
