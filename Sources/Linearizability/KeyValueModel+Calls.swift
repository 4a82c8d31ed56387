/// What can be asked of a `KeyValueModel`, and answered.
extension KeyValueModel {
    public enum Call: Sendable, Hashable {
        case query(Query)
        case put(Put)
        case delete(Deletion)
        case transaction(Transaction)
        /// A lease ends, and its keys with it.
        case revoke(lease: Int64)
        /// Somebody has seen the store at this revision or a later one.
        case reached(Int64)
    }

    /// A read of keys; the options are etcd's.
    public struct Query: Sendable, Hashable {
        public enum Order: Sendable, Hashable { case key, version, createRevision, modRevision, value }
        public var keys: Range<Int>
        /// 0 or less for the newest.
        public var revision: Int64
        /// 0 for no limit.
        public var limit: Int
        public var order: Order
        public var descending: Bool
        public var keysOnly: Bool
        public var countOnly: Bool
        /// nil for all. They bound what is shown, not what is counted.
        public var modRevisions: ClosedRange<Int64>?
        public var createRevisions: ClosedRange<Int64>?

        public init(
            keys: Range<Int>, revision: Int64 = 0, limit: Int = 0, order: Order = .key, descending: Bool = false,
            keysOnly: Bool = false, countOnly: Bool = false, modRevisions: ClosedRange<Int64>? = nil,
            createRevisions: ClosedRange<Int64>? = nil
        ) {
            self.keys = keys
            self.revision = revision
            self.limit = limit
            self.order = order
            self.descending = descending
            self.keysOnly = keysOnly
            self.countOnly = countOnly
            self.modRevisions = modRevisions
            self.createRevisions = createRevisions
        }
    }

    public struct Put: Sendable, Hashable {
        public var key: Int
        public var value: UInt64
        /// 0 for none.
        public var lease: Int64
        public var wantsPrevious: Bool
        /// Only the rest changes; the key must exist.
        public var keepsValue: Bool
        public var keepsLease: Bool

        public init(
            _ key: Int, _ value: UInt64, lease: Int64 = 0, wantsPrevious: Bool = false, keepsValue: Bool = false,
            keepsLease: Bool = false
        ) {
            self.key = key
            self.value = value
            self.lease = lease
            self.wantsPrevious = wantsPrevious
            self.keepsValue = keepsValue
            self.keepsLease = keepsLease
        }
    }

    public struct Deletion: Sendable, Hashable {
        public var keys: Range<Int>
        public var wantsPrevious: Bool

        public init(_ keys: Range<Int>, wantsPrevious: Bool = false) {
            self.keys = keys
            self.wantsPrevious = wantsPrevious
        }
    }

    /// Of every key there is in a range; if there is none, of numbers that all are 0, and of no value.
    public struct Condition: Sendable, Hashable {
        public enum Relation: Sendable, Hashable { case equal, greater, less, notEqual }
        public enum Target: Sendable, Hashable {
            case version(Int64)
            case createRevision(Int64)
            case modRevision(Int64)
            case lease(Int64)
            case value(UInt64)
        }
        public var keys: Range<Int>
        public var relation: Relation
        public var target: Target

        public init(_ keys: Range<Int>, _ relation: Relation, _ target: Target) {
            self.keys = keys
            self.relation = relation
            self.target = target
        }
    }

    /// All conditions, those of transactions within transactions, too, are of the state before any write.
    public struct Transaction: Sendable, Hashable {
        public var conditions: [Condition]
        public var success: [Call]
        public var failure: [Call]

        public init(if conditions: [Condition], then success: [Call], else failure: [Call] = []) {
            self.conditions = conditions
            self.success = success
            self.failure = failure
        }
    }

    public enum Answer: Sendable, Hashable {
        /// - Parameter revision: the store's, when the call had taken effect.
        case done(Outcome, revision: Int64)
        /// Nothing was changed.
        case refused(Refusal, revision: Int64?)
    }

    public indirect enum Outcome: Sendable, Hashable {
        case page(Page)
        case put(previous: Found?)
        case deleted(Int, previous: [Found])
        case transaction(succeeded: Bool, [Outcome])
        /// Of a `revoke` and of `reached`.
        case nothing
    }

    public enum Refusal: Error, Sendable, Hashable {
        /// What a put was to keep is not there.
        case keyNotFound
        case futureRevision
        /// For a reason that this model does not know about.
        case other(String)
    }

    public struct Page: Sendable, Hashable {
        public var found: [Found]
        public var more: Bool
        public var count: Int

        public init(_ found: [Found], more: Bool = false, count: Int? = nil) {
            self.found = found
            self.more = more
            self.count = count ?? found.count
        }
    }

    public struct Found: Sendable, Hashable {
        public var key: Int
        /// nil where only keys were asked for.
        public var value: UInt64?
        public var createRevision: Int64
        public var modRevision: Int64
        public var version: Int64
        public var lease: Int64

        public init(
            _ key: Int, _ value: UInt64?, createRevision: Int64, modRevision: Int64, version: Int64, lease: Int64 = 0
        ) {
            self.key = key
            self.value = value
            self.createRevision = createRevision
            self.modRevision = modRevision
            self.version = version
            self.lease = lease
        }
    }

    /// A change to one key, as a watch shows it.
    public struct Change: Sendable, Hashable {
        public var key: Int
        /// nil for a deletion.
        public var found: Found?

        public init(key: Int, found: Found?) {
            self.key = key
            self.found = found
        }
    }
}

extension KeyValueModel.Outcome {
    /// Whether it says that something was written.
    var wrote: Bool {
        switch self {
        case .page, .nothing: false
        case .put: true
        case .deleted(let count, _): count > 0
        case .transaction(_, let outcomes): outcomes.contains { $0.wrote }
        }
    }

    /// Every record that it shows.
    func visitFound(_ body: (KeyValueModel.Found) -> Void) {
        switch self {
        case .page(let page): page.found.forEach(body)
        case .put(let previous): previous.map(body)
        case .deleted(_, let previous): previous.forEach(body)
        case .transaction(_, let outcomes): for outcome in outcomes { outcome.visitFound(body) }
        case .nothing: break
        }
    }
}
