import EtcdAPI
import Foundation

/// A key with its value and history, as the store keeps it.
public struct KeyValue: Sendable, Hashable {
    public var key: [UInt8]
    public var value: [UInt8]
    /// The revision that created the key, after it was last deleted if it ever was.
    public var createRevision: Int64
    /// The revision that wrote it last.
    public var modRevision: Int64
    /// How many times it was written since it was created; 0 in the event of its deletion.
    public var version: Int64
    /// The lease that deletes it when it ends, if any.
    public var lease: LeaseID?

    /// Key and value as text; bytes that are not UTF-8 are replaced.
    public var keyText: String { String(decoding: key, as: UTF8.self) }
    public var valueText: String { String(decoding: value, as: UTF8.self) }

    init(_ message: Mvccpb_KeyValue) {
        key = Array(message.key)
        value = Array(message.value)
        createRevision = message.createRevision
        modRevision = message.modRevision
        version = message.version
        lease = message.lease == 0 ? nil : LeaseID(rawValue: message.lease)
    }
}

/// Who answered, and where the store stood.
public struct ResponseHeader: Sendable, Hashable {
    public var clusterID: UInt64
    public var memberID: UInt64
    /// The store's revision when the call was applied; of a write, the revision it made.
    public var revision: Int64
    public var raftTerm: UInt64

    init(_ message: Etcdserverpb_ResponseHeader) {
        clusterID = message.clusterID
        memberID = message.memberID
        revision = message.revision
        raftTerm = message.raftTerm
    }
}

/// How ``EtcdClient/get(_:options:timeout:)`` reads.
public struct GetOptions: Sendable, Hashable {
    /// What keys can be sorted by.
    public enum Target: Sendable, Hashable { case key, version, createRevision, modRevision, value }
    /// Which way.
    public enum Order: Sendable, Hashable { case ascending, descending }

    /// At most so many keys; 0: all.
    public var limit: Int64 = 0
    /// As of this revision; 0: the newest.
    public var revision: Int64 = 0
    /// By what the keys are sorted, before the limit cuts them; nil: by key, ascending.
    public var sortTarget: Target?
    public var sortOrder = Order.ascending
    /// Answered by the member asked from what it has, which may be stale, without the cluster's majority.
    public var isSerializable = false
    /// Values are left out.
    public var keysOnly = false
    /// Only `count` is answered.
    public var countOnly = false
    /// Keys written, and created, before or after these revisions are left out; 0: no bound.
    public var minModRevision: Int64 = 0
    public var maxModRevision: Int64 = 0
    public var minCreateRevision: Int64 = 0
    public var maxCreateRevision: Int64 = 0

    public init() {}

    /// The newest or oldest of the range by `target`: the first of that order alone.
    public static func first(by target: Target, _ order: Order = .ascending) -> GetOptions {
        var options = GetOptions()
        options.limit = 1
        options.sortTarget = target
        options.sortOrder = order
        return options
    }
}

/// What a get read, with the options' limit.
public struct GetResponse: Sendable, Hashable {
    public var header: ResponseHeader
    public var kvs: [KeyValue]
    /// There are keys beyond the limit.
    public var hasMore: Bool
    /// How many keys the range has, whatever the limit.
    public var count: Int64

    /// The first key; of a get of one key, that one, or nil if there is none.
    public var first: KeyValue? { kvs.first }

    init(_ message: Etcdserverpb_RangeResponse) {
        header = ResponseHeader(message.header)
        kvs = message.kvs.map(KeyValue.init)
        hasMore = message.more
        count = message.count
    }
}

/// What a put did.
public struct PutResponse: Sendable, Hashable {
    public var header: ResponseHeader
    /// What the key was before, if it was asked for and there was something.
    public var previous: KeyValue?

    init(_ message: Etcdserverpb_PutResponse) {
        header = ResponseHeader(message.header)
        previous = message.hasPrevKv ? KeyValue(message.prevKv) : nil
    }
}

/// What a delete did.
public struct DeleteResponse: Sendable, Hashable {
    public var header: ResponseHeader
    /// How many keys there were.
    public var deleted: Int64
    /// What they were, if it was asked for.
    public var previous: [KeyValue]

    init(_ message: Etcdserverpb_DeleteRangeResponse) {
        header = ResponseHeader(message.header)
        deleted = message.deleted
        previous = message.prevKvs.map(KeyValue.init)
    }
}

// MARK: As messages

extension Etcdserverpb_RangeRequest {
    init(_ range: KeyRange, _ options: GetOptions) {
        self.init()
        key = Data(range.key)
        rangeEnd = Data(range.end)
        limit = options.limit
        revision = options.revision
        if let target = options.sortTarget {
            sortTarget =
                switch target {
                case .key: .key
                case .version: .version
                case .createRevision: .create
                case .modRevision: .mod
                case .value: .value
                }
            sortOrder = options.sortOrder == .ascending ? .ascend : .descend
        } else if options.sortOrder == .descending {
            sortOrder = .descend
        }
        serializable = options.isSerializable
        keysOnly = options.keysOnly
        countOnly = options.countOnly
        minModRevision = options.minModRevision
        maxModRevision = options.maxModRevision
        minCreateRevision = options.minCreateRevision
        maxCreateRevision = options.maxCreateRevision
    }
}

extension Etcdserverpb_PutRequest {
    init(key: [UInt8], value: [UInt8]?, lease: LeaseID?, keepsLease: Bool, wantsPrevious: Bool) {
        self.init()
        self.key = Data(key)
        if let value { self.value = Data(value) } else { ignoreValue = true }
        self.lease = lease?.rawValue ?? 0
        ignoreLease = keepsLease
        prevKv = wantsPrevious
    }
}

extension Etcdserverpb_DeleteRangeRequest {
    init(_ range: KeyRange, wantsPrevious: Bool) {
        self.init()
        key = Data(range.key)
        rangeEnd = Data(range.end)
        prevKv = wantsPrevious
    }
}
