/// Where the removal of what a compaction made unreachable stands. The compaction itself is done at once, by moving
/// `compactedRevision`; the removal follows in slices, and begins anew after a restart.
struct Compaction: Sendable {
    /// The first key not yet looked at; nil when nothing is left to remove.
    var cursor: [UInt8]?
}

extension StoreCore {
    /// From now on reads below `target` are refused.
    mutating func compact(_ target: Int64) -> StoreError? {
        if target <= compactedRevision { return .compacted }
        if target > revision { return .futureRevision }
        compactedRevision = target
        notes.append((StoreNote.compacted, StoreNote.revisionValue(target)))
        compaction.cursor = []
        return nil
    }

    /// Removes at most `budget` revisions, and looks at as many keys; answers what to remove from the history.
    mutating func compactStep(budget: Int) -> [(revision: Revision, tombstone: Bool)] {
        guard let cursor = compaction.cursor else { return [] }
        var removals: [(revision: Revision, tombstone: Bool)] = []
        var dropped: [(key: [UInt8], count: Int)] = []
        var next: [UInt8]?
        var looked = 0
        index.visit(KeyRange(key: cursor, rangeEnd: [0])) { key, entry in
            guard looked < budget, removals.count < budget else {
                next = key
                return false
            }
            looked += 1
            let count = entry.unreachableCount(at: compactedRevision)
            guard count > 0 else { return true }
            // A key with very many revisions is dropped in several slices, oldest first.
            let now = min(count, budget - removals.count)
            entry.visitOldest(now) { removals.append(($0.revision, $0.isTombstone)) }
            dropped.append((key, now))
            if now == count { return true }
            next = key
            return false
        }
        for (key, count) in dropped { index.removeOldest(count, of: key) }
        compaction.cursor = next
        if next == nil {
            notes.append((StoreNote.compactionDone, StoreNote.revisionValue(compactedRevision)))
        }
        return removals
    }
}

extension KeyEntry {
    /// How many of the oldest revisions no read at or after `compacted` can see. The newest at or below it stays, unless it is a
    /// deletion before it: one exactly at it stays for watches that start there (etcd issue 18474).
    func unreachableCount(at compacted: Int64) -> Int {
        var count = 0
        var last: OlderRevision?
        visitOldest(revisionCount) { revision in
            guard revision.main <= compacted else { return false }
            last = revision
            count += 1
            return true
        }
        guard let last else { return 0 }
        return last.isTombstone && last.main < compacted ? count : count - 1
    }

    /// Calls `body` with the oldest `count` revisions, in order.
    func visitOldest(_ count: Int, _ body: (OlderRevision) -> Void) {
        visitOldest(count) {
            body($0)
            return true
        }
    }

    private func visitOldest(_ count: Int, _ body: (OlderRevision) -> Bool) {
        var left = count
        var goOn = true
        older?.visit { revision in
            guard left > 0 else { return false }
            left -= 1
            goOn = body(revision)
            return goOn
        }
        if left > 0, goOn { _ = body(OlderRevision(revision, tombstone: !isLive)) }
    }
}
