/// What a client's request asks of the store, as plain values: the payload of a log entry.
/// Everything random or taken from a clock (lease ids, the least TTL) is settled before a command is proposed.
public enum StoreCommand: Sendable, Equatable {
    case put(PutCommand)
    case deleteRange(DeleteRangeCommand)
    case transaction(TransactionCommand)
    case compact(CompactCommand)
    case leaseGrant(LeaseGrantCommand)
    case leaseRevoke(LeaseRevokeCommand)
    case leaseCheckpoint([LeaseCheckpoint])
    case alarm(AlarmCommand)
}

public struct PutCommand: Sendable, Equatable {
    public var key: [UInt8]
    public var value: [UInt8]
    /// 0 for none.
    public var lease: Int64
    /// Answer the record the put replaced.
    public var previousKV: Bool
    /// Keep the present value; `value` must be empty and the key exist.
    public var ignoreValue: Bool
    /// Keep the present lease; `lease` must be 0 and the key exist.
    public var ignoreLease: Bool

    public init(
        key: [UInt8], value: [UInt8], lease: Int64 = 0, previousKV: Bool = false, ignoreValue: Bool = false,
        ignoreLease: Bool = false
    ) {
        self.key = key
        self.value = value
        self.lease = lease
        self.previousKV = previousKV
        self.ignoreValue = ignoreValue
        self.ignoreLease = ignoreLease
    }
}

public struct DeleteRangeCommand: Sendable, Equatable {
    public var key: [UInt8]
    /// See `KeyRange.init(key:rangeEnd:)`.
    public var rangeEnd: [UInt8]
    public var previousKV: Bool

    public init(key: [UInt8], rangeEnd: [UInt8] = [], previousKV: Bool = false) {
        self.key = key
        self.rangeEnd = rangeEnd
        self.previousKV = previousKV
    }
}

/// A condition on a key, or on each key of a range.
public struct Compare: Sendable, Equatable {
    public enum Result: UInt8, Sendable { case equal, greater, less, notEqual }
    /// What of the key is compared, and with what.
    public enum Target: Sendable, Equatable {
        case version(Int64)
        case createRevision(Int64)
        case modRevision(Int64)
        case value([UInt8])
        case lease(Int64)
    }
    public var result: Result
    public var target: Target
    public var key: [UInt8]
    public var rangeEnd: [UInt8]

    public init(key: [UInt8], rangeEnd: [UInt8] = [], _ target: Target, _ result: Result = .equal) {
        self.result = result
        self.target = target
        self.key = key
        self.rangeEnd = rangeEnd
    }
}

/// One operation of a transaction's branch.
public enum Operation: Sendable, Equatable {
    case range(RangeQuery)
    case put(PutCommand)
    case deleteRange(DeleteRangeCommand)
    case transaction(TransactionCommand)
}

/// If all compares hold, the operations of `success`, else those of `failure`: all at one revision, each seeing those before.
public struct TransactionCommand: Sendable, Equatable {
    public var compares: [Compare]
    public var success: [Operation]
    public var failure: [Operation]

    public init(compares: [Compare] = [], success: [Operation] = [], failure: [Operation] = []) {
        self.compares = compares
        self.success = success
        self.failure = failure
    }

    /// True if neither branch writes, at any depth: then it needs no log entry.
    public var isReadOnly: Bool {
        (success + failure).allSatisfy { operation in
            switch operation {
            case .range: true
            case .put, .deleteRange: false
            case .transaction(let nested): nested.isReadOnly
            }
        }
    }

    /// True if each read in it may be answered from a member's own state (`serializable`).
    public var isSerializable: Bool {
        (success + failure).allSatisfy { operation in
            switch operation {
            case .range(let query): query.serializable
            case .put, .deleteRange: false
            case .transaction(let nested): nested.isSerializable
            }
        }
    }
}

/// Forgets what only reads below `revision` could see.
public struct CompactCommand: Sendable, Equatable {
    public var revision: Int64
    public init(revision: Int64) { self.revision = revision }
}

public struct LeaseGrantCommand: Sendable, Equatable {
    /// Chosen by the client or by the proposer; never 0.
    public var id: Int64
    /// Seconds, already raised to the least that the proposer grants.
    public var ttl: Int64
    public init(id: Int64, ttl: Int64) {
        self.id = id
        self.ttl = ttl
    }
}

public struct LeaseRevokeCommand: Sendable, Equatable {
    public var id: Int64
    public init(id: Int64) { self.id = id }
}

/// What a lease has left, so that a new leader does not start it from its full TTL.
public struct LeaseCheckpoint: Sendable, Equatable {
    public var id: Int64
    /// Seconds; 0 clears the checkpoint.
    public var remainingTTL: Int64
    public init(id: Int64, remainingTTL: Int64) {
        self.id = id
        self.remainingTTL = remainingTTL
    }
}
