import EtcdAPI
import GRPC
import NIOCore
import Replica

/// What the services of all loops share; each part is safe from any thread.
struct ServiceContext: Sendable {
    var clusterID: UInt64
    var memberID: MemberID
    var configuration: MemberConfiguration
    var consensus: Mailbox<ConsensusEvent>
    var apply: Mailbox<ApplyEvent>
    var board: StatusBoard
    var metrics: Metrics

    /// The least TTL granted: 1.5 election timeouts, rounded up to seconds.
    var minimumLeaseTTL: Int64 {
        Int64((3 * configuration.electionTimeoutMilliseconds / 2 + 999) / 1_000)
    }

}

extension MemberConfiguration {
    /// A request that has not been answered by then never will be: etcd's five seconds for the disk and
    /// two elections.
    var requestTimeoutMilliseconds: Int { 5_000 + 2 * electionTimeoutMilliseconds }
}

/// The client API on one event loop: decodes what arrived in one turn, hands it on as one batch of proposals
/// and one of reads, and writes the answers when they come back. Everything here happens on its loop.
///
/// The services themselves are extensions in files of their own (`KVService`, `WatchService`, …).
final class ClientService: RPCLoopService {
    /// A call that waits for its answer.
    struct Pending {
        var call: RPCCall
        var method: APIMethod
        var startedAt: Int64
        /// Bytes that its proposal holds until it is answered.
        var proposedBytes: Int
        /// For a keep-alive and others that answer with what was asked.
        var lease: Int64 = 0
        /// A compaction that is answered when the records are gone.
        var isPhysical = false
    }

    let loop: Int
    let eventLoop: any EventLoop
    let context: ServiceContext
    var pending: [CallID: Pending] = [:]
    var watchStreams: [RPCCall: WatchStream] = [:]
    var watchCalls: [UInt64: RPCCall] = [:]
    var watchOwners: [WatchID: WatchOwner] = [:]
    var watchCreations: [UInt64: WatchOwner] = [:]
    var keepAliveStreams: [RPCCall: KeepAliveStream] = [:]
    var nextWatch: UInt64 = 0
    var leadership: Leadership

    private var nextCount: UInt64
    private var proposals: [ProposedEntry] = []
    private var reads: [ReadItem] = []
    private var serializableReads: [ReadItem] = []
    private var leaderReads: [ReadItem] = []
    private var proposedBytes = 0
    private var leaderlessSince: Int64?
    /// When the present leader became known.
    private var leaderSince: Int64?
    private var pendingHTTP: [CallID: (exchange: HTTPExchange, startedAt: Int64)] = [:]

    /// Proposals that may wait at once, in bytes, on this loop; past it the answer is `too many requests`.
    private static let maximumProposedBytes = 128 << 20

    init(loop: Int, eventLoop: any EventLoop, context: ServiceContext, firstCount: UInt64) {
        self.loop = loop
        self.eventLoop = eventLoop
        self.context = context
        nextCount = firstCount
        leadership = context.board.current.leadership
        leaderlessSince = leadership.leader == .none ? monotonicNanoseconds() : nil
    }

    func header(revision: Int64) -> ResponseHeader {
        ResponseHeader(
            clusterID: context.clusterID, memberID: context.memberID.rawValue, revision: revision,
            term: leadership.term.rawValue)
    }

    // MARK: From the connections

    func handle(_ batch: [RPCEvent]) {
        var bytes = 0
        for event in batch {
            switch event {
            case .message(let call, let message):
                bytes += message.readableBytes
                handle(message, of: call)
            case .requestEnd(let call): requestEnded(call)
            case .cancelled(let call): streamEnded(call)
            }
        }
        if bytes > 0 { context.metrics.clientBytesReceived.add(UInt64(bytes), ordering: .relaxed) }
        handOn()
    }

    private func handle(_ message: ByteBuffer, of call: RPCCall) {
        guard let method = APIMethod(rawValue: call.method) else { return }
        // A stream is asked when it begins; one that is open is ended by `sweep`.
        if leadership.leader == .none, watchStreams[call] == nil, keepAliveStreams[call] == nil,
            call.header("hasleader") == "true"
        {
            call.finish(.noLeader)
            return
        }
        do {
            switch method {
            case .range: try range(message, call)
            case .put: try put(message, call)
            case .deleteRange: try deleteRange(message, call)
            case .txn: try transaction(message, call)
            case .compact: try compact(message, call)
            case .watch: try watch(message, call)
            case .leaseGrant: try leaseGrant(message, call)
            case .leaseRevoke: try leaseRevoke(message, call)
            case .leaseKeepAlive: try leaseKeepAlive(message, call)
            case .leaseTimeToLive: try leaseTimeToLive(message, call)
            case .leaseLeases: try leaseLeases(message, call)
            case .memberList: try memberList(message, call)
            case .status: try status(message, call)
            case .hashKV: try hashKV(message, call)
            case .alarm: try alarm(message, call)
            case .authStatus: try authStatus(message, call)
            }
        } catch {
            end(call, method, error)
        }
    }

    /// Ends a call, and with it what is kept of a stream: no `.cancelled` follows an end of our own.
    private func end(_ call: RPCCall, _ method: APIMethod, _ status: GRPCStatus) {
        switch method {
        case .watch: endWatchStream(call, status: status)
        case .leaseKeepAlive:
            keepAliveStreams[call] = nil
            call.finish(status)
        default: call.finish(status)
        }
    }

    private func requestEnded(_ call: RPCCall) {
        switch APIMethod(rawValue: call.method) {
        case .watch: endWatchStream(call, status: .ok)
        case .leaseKeepAlive: endKeepAliveRequests(call)
        default: break
        }
    }

    private func streamEnded(_ call: RPCCall) {
        switch APIMethod(rawValue: call.method) {
        case .watch: endWatchStream(call, status: nil)
        case .leaseKeepAlive: keepAliveStreams[call] = nil
        default: break
        }
    }

    // MARK: Towards the replica

    /// Puts a command on its way into the log.
    @discardableResult
    func propose(
        _ command: StoreCommand, for call: RPCCall, as method: APIMethod, requestBytes: Int
    ) throws(GRPCStatus) -> CallID {
        guard requestBytes <= context.configuration.maxRequestBytes else { throw .requestTooLarge }
        guard proposedBytes + requestBytes <= ClientService.maximumProposedBytes else { throw .tooManyRequests }
        let id = register(call, method, proposedBytes: requestBytes)
        let proposal = Proposal(origin: context.memberID, requestID: id.requestID, command: .store(command))
        proposals.append(ProposedEntry(requestID: id.requestID, payload: proposal.encoded()))
        return id
    }

    /// Asks the apply thread, by default once what was acknowledged before now is applied.
    func read(_ operation: ReadOperation, for call: RPCCall, as method: APIMethod, serializable: Bool = false) {
        let item = ReadItem(call: register(call, method, proposedBytes: 0), operation: operation)
        if serializable { serializableReads.append(item) } else { reads.append(item) }
    }

    /// Asks the leader, wherever it is.
    func readOnLeader(_ operation: ReadOperation, lease: Int64, for call: RPCCall, as method: APIMethod) {
        leaderReads.append(
            ReadItem(call: register(call, method, proposedBytes: 0, lease: lease), operation: operation))
    }

    /// Answers a compaction only when its records are removed, however long that takes.
    private func awaitRemoval(_ waiting: Pending, compactedAt revision: Int64) {
        let id = nextCallID()
        pending[id] = Pending(call: waiting.call, method: waiting.method, startedAt: .max, proposedBytes: 0)
        let item = ReadItem(call: id, operation: .compacted(revision: revision))
        context.apply.post(.afterCompaction(ReadBatch(origin: .loop(loop), items: [item])))
    }

    /// A read for an HTTP request.
    func read(_ operation: ReadOperation, for exchange: HTTPExchange) {
        let id = nextCallID()
        pendingHTTP[id] = (exchange, monotonicNanoseconds())
        reads.append(ReadItem(call: id, operation: operation))
        handOn()
    }

    private func nextCallID() -> CallID {
        nextCount &+= 1
        return CallID(loop: loop, count: nextCount)
    }

    private func register(
        _ call: RPCCall, _ method: APIMethod, proposedBytes bytes: Int, lease: Int64 = 0
    ) -> CallID {
        let id = nextCallID()
        pending[id] = Pending(
            call: call, method: method, startedAt: monotonicNanoseconds(), proposedBytes: bytes, lease: lease)
        proposedBytes += bytes
        return id
    }

    func handOn() {
        if !proposals.isEmpty {
            context.metrics.proposalsPending.add(proposals.count, ordering: .relaxed)
            context.consensus.post(.proposals(proposals))
            proposals.removeAll(keepingCapacity: true)
        }
        if !reads.isEmpty {
            context.consensus.post(.reads(ReadBatch(origin: .loop(loop), items: reads)))
            reads.removeAll(keepingCapacity: true)
        }
        if !serializableReads.isEmpty {
            context.apply.post(.serializableReads(ReadBatch(origin: .loop(loop), items: serializableReads)))
            serializableReads.removeAll(keepingCapacity: true)
        }
        for item in leaderReads {
            context.consensus.post(.leaderRead(ReadBatch(origin: .loop(loop), items: [item])))
        }
        leaderReads.removeAll(keepingCapacity: true)
    }

    // MARK: Back to the connections

    /// What a turn of a thread has for this loop.
    func deliver(_ batch: LoopBatch) {
        if let leadership = batch.leadership { noteLeadership(leadership) }
        var answered = 0
        for answer in batch.answers {
            if let waiting = pending.removeValue(forKey: answer.call) {
                proposedBytes -= waiting.proposedBytes
                if waiting.proposedBytes > 0 { answered += 1 }
                self.answer(waiting, answer)
            } else if let waiting = pendingHTTP.removeValue(forKey: answer.call) {
                answerHTTP(waiting.exchange, answer.body)
            }
        }
        if answered > 0 { context.metrics.proposalsPending.subtract(answered, ordering: .relaxed) }
        for output in batch.watches { deliver(output) }
    }

    private func answer(_ waiting: Pending, _ answer: LoopAnswer) {
        let call = waiting.call
        if waiting.method == .leaseKeepAlive {
            answerKeepAlive(waiting, answer)
            return
        }
        let header = self.header(revision: answer.revision)
        switch answer.body {
        case .failed(let status): call.finish(status)
        case .command(.failure(let error)): call.finish(GRPCStatus(error))
        case .command(.success(.compact(let revision))) where waiting.isPhysical:
            awaitRemoval(waiting, compactedAt: revision)
        case .command(.success(let result)): answerCommand(call, result, header)
        case .range(.success(let result)): answerRange(call, result, header)
        case .range(.failure(let error)), .hashKV(.failure(let error)): call.finish(GRPCStatus(error))
        case .hashKV(.success(let result)): answerHashKV(call, result, header)
        case .leases(let leases): answerLeases(call, leases, header)
        case .members(let members): answerMembers(call, members, header)
        case .timeToLive(let lease): answerTimeToLive(waiting, lease, header)
        case .alarms(let alarms): answerAlarms(call, alarms, header)
        case .keepAlive, .healthy: call.finish(GRPCStatus(.internal, "another question was answered"))
        }
    }

    /// Called a few times a second: ends what has waited too long, and streams that need a leader when there is none.
    func sweep(now: Int64) {
        let limit = now - Int64(context.configuration.requestTimeoutMilliseconds) * 1_000_000
        let late = pending.filter { $0.value.startedAt < limit }
        for (id, waiting) in late {
            pending[id] = nil
            proposedBytes -= waiting.proposedBytes
            if waiting.method == .leaseKeepAlive {
                finishKeepAliveStream(waiting.call, .timedOut)
            } else {
                waiting.call.finish(timeoutStatus(of: waiting))
            }
        }
        for (id, waiting) in pendingHTTP where waiting.startedAt < limit {
            pendingHTTP[id] = nil
            respondHealth(waiting.exchange, "RANGE ERROR")
        }
        var withdrawn = Set(late.filter { $0.value.proposedBytes > 0 }.map(\.key.requestID))
        if isLeaderless {
            // Streams and calls that asked for a leader end once none has been known for three elections, as in etcd.
            for call in watchStreams.keys where call.header("hasleader") == "true" {
                endWatchStream(call, status: .noLeader)
            }
            for call in keepAliveStreams.keys where call.header("hasleader") == "true" {
                finishKeepAliveStream(call, .noLeader)
            }
            for (id, waiting) in pending where waiting.call.header("hasleader") == "true" {
                pending[id] = nil
                proposedBytes -= waiting.proposedBytes
                if waiting.proposedBytes > 0 { withdrawn.insert(id.requestID) }
                waiting.call.finish(.noLeader)
            }
        }
        if !withdrawn.isEmpty {
            context.metrics.proposalsPending.subtract(withdrawn.count, ordering: .relaxed)
            context.metrics.proposalsFailed.add(UInt64(withdrawn.count), ordering: .relaxed)
            context.consensus.post(.withdrawn(withdrawn))
        }
    }

    /// A proposal made within two elections before the leader came was probably lost with the former one, as etcd says.
    private func timeoutStatus(of waiting: Pending) -> GRPCStatus {
        guard waiting.proposedBytes > 0, let leaderSince else { return .timedOut }
        let lost = leaderSince - 2 * Int64(context.configuration.electionTimeoutMilliseconds) * 1_000_000
        return (lost..<leaderSince).contains(waiting.startedAt) ? .timedOutWithLeader : .timedOut
    }

    /// The member stops: nobody waits any longer.
    func finishAll(_ status: GRPCStatus) {
        for call in watchStreams.keys { endWatchStream(call, status: status) }
        for call in keepAliveStreams.keys { finishKeepAliveStream(call, status) }
        for waiting in pending.values { waiting.call.finish(status) }
        pending.removeAll()
        proposedBytes = 0
        for waiting in pendingHTTP.values { respondHealth(waiting.exchange, "SERVER STOPPED") }
        pendingHTTP.removeAll()
    }

    private var isLeaderless: Bool {
        guard let since = leaderlessSince else { return false }
        return monotonicNanoseconds() - since > 3 * Int64(context.configuration.electionTimeoutMilliseconds) * 1_000_000
    }

    private func noteLeadership(_ leadership: Leadership) {
        if leadership.leader != .none, leadership.leader != self.leadership.leader {
            leaderSince = monotonicNanoseconds()
        }
        self.leadership = leadership
        if leadership.leader != .none {
            leaderlessSince = nil
            return
        }
        if leaderlessSince == nil { leaderlessSince = monotonicNanoseconds() }
        for waiting in pendingHTTP.values { respondHealth(waiting.exchange, "RAFT NO LEADER") }
        pendingHTTP.removeAll()
    }
}

extension RPCCall {
    /// Ends the call with an error, or with OK for a stream that is over.
    func finish(_ status: GRPCStatus) { finish(code: status.code, message: status.message) }

    /// Answers a call with one message built by swift-protobuf.
    func respond(_ message: some SwiftProtobuf.Message) {
        guard let bytes: [UInt8] = try? message.serializedBytes() else {
            finish(GRPCStatus(.internal, "the answer could not be encoded"))
            return
        }
        respond { $0.writeBytes(bytes) }
    }
}

extension ResponseHeader {
    /// The header as a message, for answers that swift-protobuf encodes.
    var message: Etcdserverpb_ResponseHeader {
        var header = Etcdserverpb_ResponseHeader()
        header.clusterID = clusterID
        header.memberID = memberID
        header.revision = revision
        header.raftTerm = term
        return header
    }
}

/// Decodes a request that is not on the hottest paths.
func decode<Request: SwiftProtobuf.Message>(_ type: Request.Type, _ bytes: ByteBuffer) throws(GRPCStatus) -> Request {
    do {
        return try Request(serializedBytes: Array(bytes.readableBytesView))
    } catch {
        throw .malformed
    }
}
