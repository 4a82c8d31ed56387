/// A revision of a key that is not its newest: 16 bytes.
struct OlderRevision: Sendable {
    var main: Int64
    private var tag: UInt32

    init(_ revision: Revision, tombstone: Bool) {
        main = revision.main
        tag = UInt32(truncatingIfNeeded: revision.sub) << 1 | (tombstone ? 1 : 0)
    }

    var isTombstone: Bool { tag & 1 == 1 }
    var revision: Revision { Revision(main: main, sub: Int64(tag >> 1)) }
}

/// A key's older revisions in ascending order, those a read at an old revision may still ask for.
///
/// Filled chunks never change, so that copying the list after a view was taken costs the open chunk and the table of
/// the filled ones, however often the key was written.
// Sendable: `KeyIndex` mutates it only while it holds the sole reference (`isKnownUniquelyReferenced`).
final class OlderRevisions: @unchecked Sendable {
    private static let chunkSize = 128
    private var filled: ContiguousArray<ContiguousArray<OlderRevision>>
    private var open: ContiguousArray<OlderRevision>
    private(set) var count: Int

    init(_ first: OlderRevision) {
        filled = []
        open = [first]
        count = 1
    }

    private init(copying other: OlderRevisions) {
        filled = other.filled
        open = other.open
        count = other.count
    }

    func copy() -> OlderRevisions { OlderRevisions(copying: self) }

    func append(_ revision: OlderRevision) {
        if open.count == Self.chunkSize {
            filled.append(open)
            open = []
        }
        open.append(revision)
        count += 1
    }

    /// The newest revision whose main part is at most `main`.
    func newest(atOrBelow main: Int64) -> OlderRevision? {
        if let first = open.first, first.main <= main { return Self.newest(in: open, atOrBelow: main) }
        var low = 0
        var high = filled.count
        while low < high {
            let middle = (low + high) / 2
            if filled[middle][0].main <= main { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : Self.newest(in: filled[low - 1], atOrBelow: main)
    }

    private static func newest(in chunk: ContiguousArray<OlderRevision>, atOrBelow main: Int64) -> OlderRevision? {
        var low = 0
        var high = chunk.count
        while low < high {
            let middle = (low + high) / 2
            if chunk[middle].main <= main { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : chunk[low - 1]
    }

    /// Calls `body` with each, oldest first, until it answers false.
    func visit(_ body: (OlderRevision) -> Bool) {
        for chunk in filled {
            for revision in chunk where !body(revision) { return }
        }
        for revision in open where !body(revision) { return }
    }

    func removeFirst(_ removed: Int) {
        precondition(removed <= count)
        count -= removed
        var rest = removed
        var wholeChunks = 0
        while wholeChunks < filled.count, filled[wholeChunks].count <= rest {
            rest -= filled[wholeChunks].count
            wholeChunks += 1
        }
        filled.removeFirst(wholeChunks)
        if rest > 0 {
            if filled.isEmpty { open.removeFirst(rest) } else { filled[0].removeFirst(rest) }
        }
    }
}

/// What the index knows of a key: its newest revision, and the older ones.
struct KeyEntry: Sendable {
    /// The newest record, while the cache has room for it.
    var record: [UInt8]?
    var older: OlderRevisions?
    var modMain: Int64
    var createRevision: Int64
    var version: Int64
    /// The sub revision, and in the lowest bit whether the newest revision is a deletion.
    private var tag: UInt32

    init(created revision: Revision, record: [UInt8]?) {
        self.record = record
        older = nil
        modMain = revision.main
        createRevision = revision.main
        version = 1
        tag = UInt32(truncatingIfNeeded: revision.sub) << 1
    }

    var isLive: Bool { tag & 1 == 0 }
    var revision: Revision { Revision(main: modMain, sub: Int64(tag >> 1)) }
    var revisionCount: Int { 1 + (older?.count ?? 0) }

    /// The key's state as of a main revision: nil when it had none yet (or compaction dropped it).
    func newest(atOrBelow main: Int64) -> OlderRevision? {
        if modMain <= main { return OlderRevision(revision, tombstone: !isLive) }
        return older?.newest(atOrBelow: main)
    }

    /// The live revision before main revision `main`, whose value an event's `prev_kv` shows.
    func previous(of main: Int64) -> Revision? {
        guard let before = newest(atOrBelow: main - 1), !before.isTombstone else { return nil }
        return before.revision
    }

    private mutating func retire() {
        let retired = OlderRevision(revision, tombstone: !isLive)
        if older == nil {
            older = OlderRevisions(retired)
        } else {
            makeOlderUnique()
            older?.append(retired)
        }
    }

    private mutating func makeOlderUnique() {
        if !isKnownUniquelyReferenced(&older) { older = older?.copy() }
    }

    /// The entry after a put; `createRevision` and `version` continue, or begin anew after a deletion.
    mutating func put(at new: Revision) {
        let wasLive = isLive
        retire()
        modMain = new.main
        tag = UInt32(truncatingIfNeeded: new.sub) << 1
        createRevision = wasLive ? createRevision : new.main
        version = wasLive ? version + 1 : 1
    }

    mutating func delete(at new: Revision) {
        retire()
        modMain = new.main
        tag = UInt32(truncatingIfNeeded: new.sub) << 1 | 1
        createRevision = 0
        version = 0
        record = nil
    }

    /// For an entry whose only known revision is a deletion.
    mutating func markDeleted() {
        tag |= 1
        createRevision = 0
        version = 0
    }

    /// Drops the oldest revisions; at least the newest stays.
    mutating func removeOldest(_ count: Int) {
        guard count > 0, let olderCount = older?.count else { return }
        if count == olderCount {
            older = nil
        } else {
            makeOlderUnique()
            older?.removeFirst(count)
        }
    }
}
