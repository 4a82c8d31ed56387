/// How the data plane refuses a request. `message` is etcd's text on the wire.
public enum StoreError: Error, Sendable, Equatable, Hashable {
    case emptyKey
    case keyNotFound
    case valueProvided
    case leaseProvided
    case tooManyOperations
    case duplicateKey
    case compacted
    case futureRevision
    case noSpace
    /// A member's state differs from the others', and nothing is changed until that is cleared up.
    case corrupt
    case leaseNotFound
    case leaseExists
    case leaseTTLTooLarge
    /// Only the leader keeps the time of leases.
    case notPrimary
    /// A watch of a range that no key can be in.
    case emptyWatchRange

    public var message: String {
        switch self {
        case .emptyKey: "etcdserver: key is not provided"
        case .keyNotFound: "etcdserver: key not found"
        case .valueProvided: "etcdserver: value is provided"
        case .leaseProvided: "etcdserver: lease is provided"
        case .tooManyOperations: "etcdserver: too many operations in txn request"
        case .duplicateKey: "etcdserver: duplicate key given in txn request"
        case .compacted: "etcdserver: mvcc: required revision has been compacted"
        case .futureRevision: "etcdserver: mvcc: required revision is a future revision"
        case .noSpace: "etcdserver: mvcc: database space exceeded"
        case .corrupt: "etcdserver: corrupt cluster"
        case .leaseNotFound: "etcdserver: requested lease not found"
        case .leaseExists: "etcdserver: lease already exists"
        case .leaseTTLTooLarge: "etcdserver: too large lease TTL"
        case .notPrimary: "etcdserver: not leader"
        case .emptyWatchRange: "watcher range is empty"
        }
    }
}

/// What came of a command: its result, or why the store refused it. Either is the same on every member.
public typealias CommandOutcome = Result<CommandResult, StoreError>

public enum CommandResult: Sendable, Equatable {
    case put(PutResult)
    case deleteRange(DeleteRangeResult)
    case transaction(TransactionResult)
    case compact(revision: Int64)
    case leaseGrant(revision: Int64, id: Int64, ttl: Int64)
    case leaseRevoke(revision: Int64)
    case leaseCheckpoint(revision: Int64)
    /// The alarm that was asked for, if it is active, or was before it was cleared.
    case alarm(revision: Int64, [Alarm])
}

public struct PutResult: Sendable, Equatable {
    /// The revision for the answer's header; so in all results.
    public var revision: Int64
    /// The replaced record, if asked for and there was one.
    public var previous: [UInt8]?
    public init(revision: Int64, previous: [UInt8]? = nil) {
        self.revision = revision
        self.previous = previous
    }
}

public struct DeleteRangeResult: Sendable, Equatable {
    public var revision: Int64
    public var deleted: Int64
    /// The deleted records in key order, if asked for.
    public var previous: [[UInt8]]
    public init(revision: Int64, deleted: Int64, previous: [[UInt8]] = []) {
        self.revision = revision
        self.deleted = deleted
        self.previous = previous
    }
}

public struct TransactionResult: Sendable, Equatable {
    /// 0 for a nested transaction: etcd leaves its header empty.
    public var revision: Int64
    public var succeeded: Bool
    public var responses: [OperationResult]
    public init(revision: Int64, succeeded: Bool, responses: [OperationResult] = []) {
        self.revision = revision
        self.succeeded = succeeded
        self.responses = responses
    }
}

public enum OperationResult: Sendable, Equatable {
    case range(RangeResult)
    case put(PutResult)
    case deleteRange(DeleteRangeResult)
    case transaction(TransactionResult)
}

/// A change to one key, as watches show it.
public struct StoreEvent: Sendable, Equatable {
    public var revision: Revision
    public var isDelete: Bool
    public var key: [UInt8]
    /// The stored record: an encoded `KeyValue`, of a deletion with the key alone.
    public var record: [UInt8]
    /// Where the record before this transaction's is, for `prev_kv`; nil when the key did not live.
    public var previous: Revision?
    /// That record, if the cache still had it.
    public var previousRecord: [UInt8]?

    public init(
        revision: Revision, isDelete: Bool, key: [UInt8], record: [UInt8], previous: Revision? = nil,
        previousRecord: [UInt8]? = nil
    ) {
        self.revision = revision
        self.isDelete = isDelete
        self.key = key
        self.record = record
        self.previous = previous
        self.previousRecord = previousRecord
    }
}
