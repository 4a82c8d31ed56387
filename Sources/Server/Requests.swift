import GRPC
import Replica

/// A call that waits on one event loop for its answer: the loop in the upper bits, a count in the others.
/// For a proposal it is also the request id in the log, so it is unique across restarts of this member:
/// the count starts at the time of the start.
struct CallID: Hashable, Sendable {
    let rawValue: UInt64
    private static let countBits: UInt64 = 56

    init(loop: Int, count: UInt64) {
        rawValue = UInt64(loop) << CallID.countBits | (count & ((1 << CallID.countBits) - 1))
    }
    init(_ request: RequestID) { rawValue = request.rawValue }

    var loop: Int { Int(rawValue >> CallID.countBits) }
    var requestID: RequestID { RequestID(rawValue) }

    /// The "loop" of what the member itself proposes (lease expiry, publishing): nobody waits on a loop for it.
    static let internalLoop = 255
    static let publisherLoop = 254
    /// A first count that no earlier run of this member has reached: microseconds since 1970, of which a run
    /// would have to answer more than a million a second to outrun the clock.
    static func firstCount(wallMicroseconds: UInt64) -> UInt64 { wallMicroseconds & ((1 << countBits) - 1) }
}

/// What the apply thread is asked without a log entry.
enum ReadOperation: Sendable {
    case range(RangeQuery)
    case transaction(TransactionCommand)
    case hashKV(revision: Int64)
    case leases
    case memberList
    case health
    /// Those of one kind, or all.
    case alarms(Alarm.Kind?)
    /// The records of a compaction were removed; answered with the revision of its own answer.
    case compacted(revision: Int64)
    /// Answered by the leader only: the remaining time is the leader's knowledge.
    case leaseTimeToLive(Int64, withKeys: Bool)
    case leaseKeepAlive(Int64)

    /// Only the leader, which keeps the leases' time, may answer.
    var needsLeader: Bool {
        switch self {
        case .leaseTimeToLive, .leaseKeepAlive: true
        default: false
        }
    }
}

struct ReadItem: Sendable {
    var call: CallID
    var operation: ReadOperation
}

/// Reads that are confirmed together and answered to the same place.
struct ReadBatch: Sendable {
    enum Origin: Sendable {
        case loop(Int)
        /// Forwarded by another member, which knows the request by this number.
        case peer(MemberID, request: UInt64)
    }
    var origin: Origin
    var items: [ReadItem]
}

/// The answer to one call, on its way back to its event loop.
struct LoopAnswer: Sendable {
    enum Body: Sendable {
        case command(CommandOutcome)
        case range(Result<RangeResult, StoreError>)
        case hashKV(Result<HashKVResult, StoreError>)
        case leases([Int64])
        case members([MemberAttributes])
        case timeToLive(LeaseTimeToLive?)
        /// The renewed TTL in seconds, or nil for a lease that does not exist.
        case keepAlive(Int64?)
        case healthy
        case alarms([Alarm])
        case failed(GRPCStatus)
    }
    var call: CallID
    var body: Body
    /// The store's revision for the answer's header.
    var revision: Int64
}

/// Everything one turn of a thread has for one event loop.
struct LoopBatch: Sendable {
    var answers: [LoopAnswer] = []
    var watches: [WatchOutput] = []
    /// Set when the leader was lost or found again: streams that asked for `hasleader` care.
    var leadership: Leadership?
    var isEmpty: Bool { answers.isEmpty && watches.isEmpty && leadership == nil }
}

/// Where batches for the event loops go; the loops' services stand behind it.
protocol LoopOutlet: Sendable {
    func deliver(_ batch: LoopBatch, toLoop loop: Int)
    var loopCount: Int { get }
}

extension LoopOutlet {
    /// Sends each loop what it has, and empties the batches.
    func flush(_ batches: inout [LoopBatch]) {
        for loop in batches.indices where !batches[loop].isEmpty {
            deliver(batches[loop], toLoop: loop)
            batches[loop] = LoopBatch()
        }
    }
}
