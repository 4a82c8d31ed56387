import Discovery
import GRPC
import Logging
import Replica
import Storage
import Transport

/// What reaches the consensus thread.
enum ConsensusEvent: Sendable {
    case messages([Message])
    case proposals([ProposedEntry])
    case withdrawn(Set<RequestID>)
    case reads(ReadBatch)
    /// One read that only the leader answers, wherever it is.
    case leaderRead(ReadBatch)
    case peerResponse(request: UInt64, body: [UInt8])
    case appended(term: Term, index: LogIndex, messagesToSelf: [Message])
    /// So many batches of committed entries were handed on after the sync that they waited for.
    case commitsHandedOn(Int)
    case snapshotInstalled(LogIndex)
    case snapshotReceived(Message, SnapshotReceiver)
    case snapshotReported(MemberID, succeeded: Bool)
    case unreachable(MemberID)
    case applied(LogIndex)
    case flushed(LogIndex, ConfState)
    case status(@Sendable (RaftStatus) -> Void)
    case membershipChanged(ConfChangeV2)
    /// Hand leadership to the follower that has most of the log; answered at once with whether there is one.
    case handOver(@Sendable (Bool) -> Void)
    case stop
}

/// The consensus thread: drains what has arrived, lets the machine decide, and hands its effects on.
/// It waits for nothing but its mailbox and the next tick.
final class ConsensusDriver {
    private let mailbox: Mailbox<ConsensusEvent>
    private let logMailbox: Mailbox<LogJob>
    private let applyMailbox: Mailbox<ApplyEvent>
    private let transport: PeerTransport
    private let outlet: any LoopOutlet
    private let board: StatusBoard
    private let logger: Logger
    private let id: MemberID
    private let tickNanoseconds: Int64

    private var machine: ConsensusMachine
    private var ticks = 0
    /// Begins where no earlier run of this member has been: an answer to that must not pass for one to this.
    private var nextToken = UInt64.random(in: 0..<1 << 62)
    private var waitingReads: [ReadToken: WaitingRead] = [:]
    /// Those asked of the leader over the peer connection, and at which tick; the answer comes back under the token.
    private var askedOfLeader: [ReadToken: Int] = [:]
    /// An answer that has not come by then was lost on the way.
    private static let askAgainTicks = 10
    /// To be asked of the leader, again or when one is known.
    private var parked: [ReadToken] = []
    /// Parked until a moment ago.
    private var retriedReads: [ReadToken] = []
    /// By then a read's client has given up.
    private let patienceTicks: Int
    /// Batches of committed entries that go by way of the log thread.
    private var commitsBehindSync = 0

    private struct WaitingRead {
        var batch: ReadBatch
        var sinceTick: Int
    }
    /// Received whole, its message stepped; kept until the log thread asks for it.
    private var staged: SnapshotReceiver?

    init(
        machine: ConsensusMachine, id: MemberID, tickMilliseconds: Int, requestTimeoutMilliseconds: Int,
        mailboxes: Mailboxes, transport: PeerTransport, outlet: any LoopOutlet, board: StatusBoard, logger: Logger
    ) {
        patienceTicks = requestTimeoutMilliseconds / tickMilliseconds + 10
        self.machine = machine
        self.id = id
        self.tickNanoseconds = Int64(tickMilliseconds) * 1_000_000
        self.mailbox = mailboxes.consensus
        self.logMailbox = mailboxes.log
        self.applyMailbox = mailboxes.apply
        self.transport = transport
        self.outlet = outlet
        self.board = board
        self.logger = logger
    }

    func run() {
        var events: [ConsensusEvent] = []
        var nextTick = monotonicNanoseconds() + tickNanoseconds
        // Alone, there is nobody to wait for.
        if machine.status.configuration.voters == [id] { try? machine.campaign() }
        while true {
            mailbox.take(into: &events, deadline: nextTick)
            for event in events {
                if case .stop = event { return }
                handle(event)
            }
            let now = monotonicNanoseconds()
            if now >= nextTick {
                machine.tick()
                ticks += 1
                retryParkedReads()
                if ticks.isMultiple(of: ConsensusDriver.askAgainTicks) { forgetOldReads() }
                // After a pause of the process the missed ticks are not made up: they would only
                // start elections that nobody needs.
                nextTick = max(nextTick + tickNanoseconds, now)
            }
            perform(machine.takeEffects())
            if !retriedReads.isEmpty {
                for token in retriedReads where waitingReads[token] != nil { machine.read(token, onLeader: true) }
                retriedReads.removeAll()
                perform(machine.takeEffects())
            }
        }
    }

    private func handle(_ event: ConsensusEvent) {
        switch event {
        case .messages(let messages):
            let refused = machine.receive(messages)
            if refused > 0 { logger.debug("refused messages from a peer", metadata: ["count": "\(refused)"]) }
        case .proposals(let proposals):
            machine.propose(proposals)
        case .withdrawn(let requests):
            machine.withdraw(requests)
        case .reads(let batch):
            machine.read(remember(batch))
        case .leaderRead(let batch):
            machine.read(remember(batch), onLeader: true)
        case .peerResponse(let request, let body):
            handleLeaderAnswer(ReadToken(request), body)
        case .appended(let term, let index, let messagesToSelf):
            if index > .zero { machine.appended(term: term, index: index) }
            machine.receive(messagesToSelf)
        case .commitsHandedOn(let count):
            commitsBehindSync -= count
        case .snapshotInstalled(let index):
            machine.snapshotInstalled(index: index)
        case .snapshotReceived(let message, let snapshot):
            // Apart from what came before, so that the effects say whether Raft wants this very one.
            perform(machine.takeEffects())
            staged = snapshot
            machine.receive([message])
            perform(machine.takeEffects())
        case .snapshotReported(let member, let succeeded):
            machine.reportSnapshot(to: member, succeeded: succeeded)
        case .unreachable(let member):
            machine.reportUnreachable(member)
        case .applied(let index):
            machine.applied(upTo: index)
        case .flushed(let index, let configuration):
            machine.stateFlushed(upTo: index, configuration: configuration)
        case .status(let answer):
            answer(machine.status)
        case .membershipChanged(let change):
            machine.applyConfChange(change)
        case .handOver(let answer):
            let heir = successor()
            if let heir { machine.transferLeadership(to: heir) }
            answer(heir != nil)
        case .stop:
            break
        }
    }

    private func perform(_ effects: ConsensusEffects) {
        if let leadership = effects.leadership { noteLeadership(leadership) }
        if !effects.messages.isEmpty {
            transport.send(effects.messages.map { ($0.to, .raft($0)) })
        }
        for message in effects.snapshotsToSend { applyMailbox.post(.sendSnapshot(message)) }
        if let snapshot = effects.snapshotToInstall { board.update { $0.committed = snapshot.index } }
        // Before the log's job: a snapshot that it installs stands for what comes after these.
        let committedAfterSync = handOnCommitted(effects)
        if effects.needsAppend || !committedAfterSync.isEmpty {
            logMailbox.post(
                .append(
                    LogJob.Append(
                        hardState: effects.hardState,
                        snapshot: effects.snapshotToInstall.map { ($0, staged) },
                        entries: effects.entriesToAppend, mustSync: effects.mustSync,
                        messages: effects.messagesAfterAppend,
                        committed: committedAfterSync.isEmpty ? [] : [committedAfterSync],
                        truncateUpTo: effects.truncateLogUpTo)))
        }
        if staged != nil {
            // Either the log thread owns it now, or Raft had no use for it and it goes.
            staged = nil
        }
        for reads in effects.confirmedReads {
            let batches = reads.tokens.compactMap { waitingReads.removeValue(forKey: $0)?.batch }
            applyMailbox.post(.reads(after: reads.index, batches))
        }
        for (token, leader) in effects.redirectedReads { redirect(token, to: leader) }
        if !effects.refusedProposals.isEmpty { refuse(effects.refusedProposals) }
    }

    /// Gives committed entries to the apply thread.
    /// - Returns: those that have to wait for the log's next sync instead, and with it everything after them.
    private func handOnCommitted(_ effects: ConsensusEffects) -> [Entry] {
        guard let last = effects.committed.last else { return [] }
        board.update { $0.committed = last.index }
        if effects.commitMustBeDurableBeforeApply || commitsBehindSync > 0 {
            commitsBehindSync += 1
            return effects.committed
        }
        applyMailbox.post(.committed(effects.committed))
        return []
    }

    /// The voter to lead in this member's place: the one with most of the log; nil on a follower, or with nobody in reach.
    private func successor() -> MemberID? {
        let status = machine.status
        let inReach = status.progress.filter {
            $0.id != id && $0.isRecentlyActive && $0.replication == .replicate
                && status.configuration.voters.contains($0.id)
        }
        return inReach.max { $0.match < $1.match }?.id
    }

    private func noteLeadership(_ leadership: Leadership) {
        let before = board.update { status -> Leadership in
            defer { status.note(leadership) }
            return status.leadership
        }
        if leadership.leader != before.leader || leadership.term != before.term {
            logger.info(
                leadership.leader == .none ? "no leader" : "leader elected",
                metadata: [
                    "term": "\(leadership.term.rawValue)",
                    "leader": "\(leadership.leader.hexText)",
                ])
        }
        applyMailbox.post(.leadership(leadership))
        for loop in 0..<outlet.loopCount { outlet.deliver(LoopBatch(leadership: leadership), toLoop: loop) }
        if leadership.leader != .none {
            // Whoever was asked before may be gone; asking twice is harmless, these are reads and renewals.
            parked += askedOfLeader.keys.sorted { $0.rawValue < $1.rawValue }
            askedOfLeader.removeAll()
            retriedReads += parked
            parked.removeAll()
        }
    }

    private func refuse(_ proposals: [(requestID: RequestID, reason: RefusalReason)]) {
        var batches = [LoopBatch](repeating: LoopBatch(), count: outlet.loopCount)
        let revision = board.current.revision
        for (request, reason) in proposals {
            let call = CallID(request)
            guard call.loop < batches.count else { continue }
            batches[call.loop].answers.append(
                LoopAnswer(call: call, body: .failed(GRPCStatus(reason)), revision: revision))
        }
        outlet.flush(&batches)
    }

    // MARK: Reads that the leader answers

    private func remember(_ batch: ReadBatch) -> ReadToken {
        nextToken += 1
        let token = ReadToken(nextToken)
        waitingReads[token] = WaitingRead(batch: batch, sinceTick: ticks)
        return token
    }

    /// Asks the leader again what was lost on the way, and what a member that had just lost the lead declined.
    private func retryParkedReads() {
        for (token, asked) in askedOfLeader where ticks - asked >= ConsensusDriver.askAgainTicks {
            askedOfLeader[token] = nil
            parked.append(token)
        }
        guard machine.leadership.leader != .none, !parked.isEmpty else { return }
        retriedReads += parked
        parked.removeAll()
    }

    /// Lets go of reads whose clients have given up: with no leader they would gather without end.
    private func forgetOldReads() {
        let old = Set(waitingReads.filter { ticks - $0.value.sinceTick > patienceTicks }.keys)
        guard !old.isEmpty else { return }
        for token in old {
            waitingReads[token] = nil
            askedOfLeader[token] = nil
        }
        parked.removeAll { old.contains($0) }
        machine.withdrawReads(old)
    }

    private func redirect(_ token: ReadToken, to leader: MemberID) {
        guard let batch = waitingReads[token]?.batch else { return }
        if case .peer(let member, let request) = batch.origin {
            waitingReads[token] = nil
            transport.send([(member, .response(id: request, body: LeaderAnswer.notLeader.encoded()))])
        } else if leader == .none || leader == id {
            parked.append(token)
        } else if let item = batch.items.first, let question = LeaderQuestion(item.operation) {
            askedOfLeader[token] = ticks
            transport.send([(leader, .request(id: token.rawValue, body: question.encoded()))])
        }
    }

    private func handleLeaderAnswer(_ token: ReadToken, _ body: [UInt8]) {
        guard askedOfLeader.removeValue(forKey: token) != nil, let batch = waitingReads[token]?.batch,
            let item = batch.items.first, case .loop(let loop) = batch.origin
        else { return }
        switch LeaderAnswer(decoding: body) {
        case .answer(let answer, let revision):
            waitingReads[token] = nil
            outlet.deliver(
                LoopBatch(answers: [LoopAnswer(call: item.call, body: answer, revision: revision)]), toLoop: loop)
        case .notLeader, nil:
            // It lost the lead meanwhile; whoever leads at the next tick or later is asked.
            parked.append(token)
        }
    }
}
