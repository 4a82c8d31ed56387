/// The ordered index of all keys: a B+ tree whose inner nodes count the live keys below them, so that counting a range
/// costs O(log n) where a scan would visit it.
///
/// It is a value: copying it is O(1), and a mutation copies only the nodes on its path that another copy still shares.
/// Deleted keys stay, as not live, until `compact` drops them.
///
/// The newest records live in the entries themselves, which makes the index the cache of values too, shared with every
/// copy: `cachedBytes` says how much they take and `evict` sheds them in key order.
struct KeyIndex: Sendable {
    private var root = IndexNode(leaf: true)
    /// Keys, deleted ones included.
    private(set) var count = 0
    /// The size of the records held in entries.
    private(set) var cachedBytes = 0

    var liveCount: Int { root.liveCount }

    /// What a change replaced.
    struct Effect {
        /// The key's revision before this transaction's, if it lived; see `KeyEntry.previous(of:)`.
        var previous: Revision?
        /// The record at `previous`, if it was cached.
        var previousRecord: [UInt8]?

        init() {}

        init(_ entry: KeyEntry, before revision: Revision) {
            if entry.modMain < revision.main {
                guard entry.isLive else { return }
                previous = entry.revision
                previousRecord = entry.record
            } else {
                previous = entry.previous(of: revision.main)
            }
        }
    }

    func entry(_ key: [UInt8]) -> KeyEntry? {
        var node = root
        var known = 0
        while !node.isLeaf {
            let child = node.child(of: key, known: known)
            known = child.known
            node = node.children[child.index]
        }
        let (position, found) = node.lowerBound(key, known: known)
        return found ? node.entries[position] : nil
    }

    /// Makes `revision` the key's newest and remembers the record that `encode(createRevision, version)` makes for it.
    mutating func put(
        _ key: [UInt8], at revision: Revision, encode: (_ createRevision: Int64, _ version: Int64) -> [UInt8]
    ) -> Effect {
        var effect = Effect()
        var cached = 0
        var added = 0
        update { root in
            root.upsert(key) { entry in
                guard var updated = entry.take() else {
                    added = 1
                    let record = encode(revision.main, 1)
                    cached = record.count
                    entry = KeyEntry(created: revision, record: record)
                    return
                }
                effect = Effect(updated, before: revision)
                updated.put(at: revision)
                let record = encode(updated.createRevision, updated.version)
                cached = record.count - (updated.record?.count ?? 0)
                updated.record = record
                entry = updated
            }
        }
        count += added
        cachedBytes += cached
        return effect
    }

    /// Marks a live key deleted; answers what it was before this transaction. The key must be live.
    mutating func delete(_ key: [UInt8], at revision: Revision) -> Effect {
        var effect = Effect()
        var freed = 0
        update { root in
            root.upsert(key) { entry in
                guard let deleted = entry else { preconditionFailure("only a live key is deleted") }
                effect = Effect(deleted, before: revision)
                freed = entry?.record?.count ?? 0
                entry?.delete(at: revision)
            }
        }
        cachedBytes -= freed
        return effect
    }

    /// Adds a record found in the history at start; revisions come in ascending order.
    mutating func restore(_ key: [UInt8], at revision: Revision, createRevision: Int64, version: Int64, tombstone: Bool)
    {
        var added = 0
        update { root in
            root.upsert(key) { entry in
                if entry == nil {
                    added = 1
                    entry = KeyEntry(created: revision, record: nil)
                    if tombstone { entry?.markDeleted() }
                } else if tombstone {
                    entry?.delete(at: revision)
                } else {
                    entry?.put(at: revision)
                }
                if !tombstone {
                    // The record knows better: compaction may have dropped what came before.
                    entry?.createRevision = createRevision
                    entry?.version = version
                }
            }
        }
        count += added
    }

    /// Puts a record that a reader fetched from the history back into the cache, if it still is the key's newest.
    mutating func remember(_ record: [UInt8], of key: [UInt8], modRevision: Int64) {
        guard let current = entry(key), current.isLive, current.record == nil, current.modMain == modRevision else {
            return
        }
        update { root in root.upsert(key) { $0?.record = record } }
        cachedBytes += record.count
    }

    /// Drops the key's oldest revisions, or the key altogether when all are named.
    mutating func removeOldest(_ removed: Int, of key: [UInt8]) {
        guard let current = entry(key) else { return }
        if removed < current.revisionCount {
            update { root in root.upsert(key) { $0?.removeOldest(removed) } }
            return
        }
        precondition(!current.isLive, "compaction never drops a live key")
        IndexNode.makeUnique(&root)
        root.remove(key)
        while !root.isLeaf, root.children.count == 1 { root = root.children[0] }
        count -= 1
    }

    /// Drops cached records of the leaf that holds `cursor` (all keys at or after it) whose revision is at most
    /// `mainRevision`; answers where the next leaf begins, nil after the last.
    mutating func evict(at cursor: [UInt8], writtenBefore mainRevision: Int64) -> [UInt8]? {
        IndexNode.makeUnique(&root)
        var node = root
        var next: [UInt8]?
        while !node.isLeaf {
            let index = node.childIndex(of: cursor)
            if index < node.keys.count { next = node.keys[index] }
            IndexNode.makeUnique(&node.children[index])
            node = node.children[index]
        }
        cachedBytes -= node.dropRecords(writtenBefore: mainRevision)
        return next
    }

    private mutating func update(_ body: (IndexNode) -> IndexNode.Split?) {
        IndexNode.makeUnique(&root)
        if let split = body(root) { root = IndexNode(over: root, split) }
    }

    /// The number of live keys in the range, from the counts in the nodes.
    func countLive(in range: KeyRange) -> Int {
        switch range.end {
        case .single: entry(range.key)?.isLive == true ? 1 : 0
        case .before(let last): max(0, root.liveRank(of: last) - root.liveRank(of: range.key))
        case .unbounded: root.liveCount - root.liveRank(of: range.key)
        }
    }

    /// Calls `body` with each key of the range in order, deleted ones included, until it answers false.
    func visit(_ range: KeyRange, _ body: (_ key: [UInt8], _ entry: KeyEntry) throws -> Bool) rethrows {
        switch range.end {
        case .single:
            if let entry = entry(range.key) { _ = try body(range.key, entry) }
        case .before(let last):
            if !range.isEmpty { _ = try root.visit(from: range.key, before: last, body) }
        case .unbounded:
            _ = try root.visit(from: range.key, before: nil, body)
        }
    }
}

extension Optional {
    /// Moves the value out, so that what it refers to has one owner.
    @inline(__always)
    fileprivate mutating func take() -> Wrapped? {
        let taken = self
        self = nil
        return taken
    }
}
