/// A read of a key or a range, with all options of etcd's `RangeRequest`.
public struct RangeQuery: Sendable, Equatable {
    public enum SortOrder: UInt8, Sendable { case none, ascend, descend }
    public enum SortTarget: UInt8, Sendable { case key, version, createRevision, modRevision, value }

    public var key: [UInt8]
    /// See `KeyRange.init(key:rangeEnd:)`.
    public var rangeEnd: [UInt8]
    /// The most records answered; 0 for no limit.
    public var limit: Int64
    /// The revision to read at; 0 or less for the newest.
    public var revision: Int64
    public var sortOrder: SortOrder
    public var sortTarget: SortTarget
    /// May be answered from a member's own state. For the caller; the store answers the same either way.
    public var serializable: Bool
    public var keysOnly: Bool
    public var countOnly: Bool
    /// Bounds on the records' revisions; 0 for none. They do not change `count`.
    public var minModRevision: Int64
    public var maxModRevision: Int64
    public var minCreateRevision: Int64
    public var maxCreateRevision: Int64

    public init(
        key: [UInt8], rangeEnd: [UInt8] = [], limit: Int64 = 0, revision: Int64 = 0, sortOrder: SortOrder = .none,
        sortTarget: SortTarget = .key, serializable: Bool = false, keysOnly: Bool = false, countOnly: Bool = false,
        minModRevision: Int64 = 0, maxModRevision: Int64 = 0, minCreateRevision: Int64 = 0,
        maxCreateRevision: Int64 = 0
    ) {
        self.key = key
        self.rangeEnd = rangeEnd
        self.limit = limit
        self.revision = revision
        self.sortOrder = sortOrder
        self.sortTarget = sortTarget
        self.serializable = serializable
        self.keysOnly = keysOnly
        self.countOnly = countOnly
        self.minModRevision = minModRevision
        self.maxModRevision = maxModRevision
        self.minCreateRevision = minCreateRevision
        self.maxCreateRevision = maxCreateRevision
    }

    var isFiltered: Bool {
        minModRevision != 0 || maxModRevision != 0 || minCreateRevision != 0 || maxCreateRevision != 0
    }

    func admits(createRevision: Int64, modRevision: Int64) -> Bool {
        (minModRevision == 0 || modRevision >= minModRevision) && (maxModRevision == 0 || modRevision <= maxModRevision)
            && (minCreateRevision == 0 || createRevision >= minCreateRevision)
            && (maxCreateRevision == 0 || createRevision <= maxCreateRevision)
    }
}

public struct RangeResult: Sendable, Equatable {
    /// The store's revision at the read, for the answer's header.
    public var revision: Int64
    /// Encoded `mvccpb.KeyValue`s, ready to be copied into an answer.
    public var kvs: [[UInt8]]
    /// The limit cut records off.
    public var more: Bool
    /// The number of keys in the range, whatever the limit and the filters.
    public var count: Int64

    public init(revision: Int64, kvs: [[UInt8]] = [], more: Bool = false, count: Int64 = 0) {
        self.revision = revision
        self.kvs = kvs
        self.more = more
        self.count = count
    }
}

/// Fetches the record of a put from the history; nil when compaction removed it.
typealias RecordSource = (Revision) throws -> [UInt8]?

/// A read of an index: what `Store`, its views and transactions share.
struct RangeRead {
    let index: KeyIndex
    /// The revision a read of revision 0 is answered at.
    let currentRevision: Int64
    let compactedRevision: Int64

    /// A record that qualifies, not yet fetched if the cache does not have it.
    private struct Candidate {
        var revision: Revision
        var createRevision: Int64
        var version: Int64
        var record: [UInt8]?
    }

    static func check(_ revision: Int64, current: Int64, compacted: Int64) -> StoreError? {
        if revision > current { return .futureRevision }
        if revision > 0, revision < compacted { return .compacted }
        return nil
    }

    func callAsFunction(_ query: RangeQuery, _ source: RecordSource) throws -> Result<RangeResult, StoreError> {
        if let error = Self.check(query.revision, current: currentRevision, compacted: compactedRevision) {
            return .failure(error)
        }
        var result = RangeResult(revision: currentRevision)
        let isAtNewest = query.revision <= 0 || query.revision == currentRevision
        if isAtNewest, query.rangeEnd.isEmpty, !query.isFiltered, !query.keysOnly {
            // One key as it is now, which is what most reads ask for.
            guard let entry = index.entry(query.key), entry.isLive else { return .success(result) }
            result.count = 1
            if query.countOnly { return .success(result) }
            guard let record = try entry.record ?? source(entry.revision) else { return .failure(.compacted) }
            result.kvs = [record]
            return .success(result)
        }
        let range = KeyRange(key: query.key, rangeEnd: query.rangeEnd)
        if isAtNewest { result.count = Int64(index.countLive(in: range)) }
        if isAtNewest, query.countOnly { return .success(result) }

        var candidates: [Candidate] = []
        let sorting = Sorting(query)
        // Filters and other orders need all that the range holds; the limit cuts what they leave.
        let wanted =
            sorting != nil && query.sortOrder != .none || query.isFiltered || query.limit <= 0
            ? Int.max : Int(clamping: query.limit) &+ (query.limit == .max ? 0 : 1)
        do {
            try index.visit(range) { _, entry in
                if isAtNewest {
                    guard entry.isLive else { return true }
                    candidates.append(
                        Candidate(
                            revision: entry.revision, createRevision: entry.createRevision, version: entry.version,
                            record: entry.record))
                    return candidates.count < wanted
                }
                guard let found = entry.newest(atOrBelow: query.revision), !found.isTombstone else { return true }
                result.count += 1
                if !query.countOnly, candidates.count < wanted {
                    candidates.append(try Self.candidate(found.revision, of: entry, source))
                }
                return true
            }
            if query.countOnly { return .success(result) }
            if query.isFiltered {
                candidates.removeAll {
                    !query.admits(createRevision: $0.createRevision, modRevision: $0.revision.main)
                }
            }
            if let sorting { try sort(&candidates, by: sorting, source) }
            if query.limit > 0, candidates.count > query.limit {
                candidates.removeSubrange(Int(query.limit)...)
                result.more = true
            }
            result.kvs.reserveCapacity(candidates.count)
            for candidate in candidates {
                let record = try Self.record(candidate, source)
                result.kvs.append(query.keysOnly ? try KeyValueRecord.withoutValue(record) : record)
            }
            return .success(result)
        } catch let error as StoreError {
            return .failure(error)
        }
    }

    private static func candidate(_ revision: Revision, of entry: KeyEntry, _ source: RecordSource) throws -> Candidate
    {
        if revision == entry.revision {
            return Candidate(
                revision: revision, createRevision: entry.createRevision, version: entry.version, record: entry.record)
        }
        guard let record = try source(revision) else { throw StoreError.compacted }
        let layout = try KeyValueLayout(record)
        return Candidate(
            revision: revision, createRevision: layout.createRevision, version: layout.version, record: record)
    }

    private static func record(_ candidate: Candidate, _ source: RecordSource) throws -> [UInt8] {
        if let record = candidate.record { return record }
        // A view may outlive its revision: compaction has then removed what it points to.
        guard let record = try source(candidate.revision) else { throw StoreError.compacted }
        return record
    }

    /// An order other than that of the keys.
    private struct Sorting: Equatable {
        var target: RangeQuery.SortTarget
        var descending: Bool

        init?(_ query: RangeQuery) {
            // etcd: records come in ascending key order anyway, and a target without an order means ascending.
            if query.sortTarget == .key, query.sortOrder != .descend { return nil }
            target = query.sortTarget
            descending = query.sortOrder == .descend
        }
    }

    private func sort(_ candidates: inout [Candidate], by sorting: Sorting, _ source: RecordSource) throws {
        func arrange<Key: Comparable>(_ key: (Candidate) -> Key) {
            // Stable, and equal ones stay in key order in either direction.
            candidates.sort { sorting.descending ? key($0) > key($1) : key($0) < key($1) }
        }
        switch sorting.target {
        case .key: candidates.reverse()
        case .version: arrange(\.version)
        case .createRevision: arrange(\.createRevision)
        case .modRevision: arrange(\.revision.main)
        case .value:
            var keyed: [(value: ArraySlice<UInt8>, candidate: Candidate)] = []
            for candidate in candidates {
                let record = try Self.record(candidate, source)
                var known = candidate
                known.record = record
                keyed.append((record[try KeyValueLayout(record).value], known))
            }
            keyed.sort { a, b in
                sorting.descending
                    ? b.value.lexicographicallyPrecedes(a.value) : a.value.lexicographicallyPrecedes(b.value)
            }
            candidates = keyed.map(\.candidate)
        }
    }
}
