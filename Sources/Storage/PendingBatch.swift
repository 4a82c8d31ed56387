import Store

/// What the uncommitted batch would change, for reads through the writer.
///
/// Revisions are appended in rising order, so an array that stays sorted finds them faster than a hash table.
struct PendingBatch {
    private var appended: [(key: HistoryKey, record: [UInt8])] = []
    private(set) var removed: Set<HistoryKey> = []
    /// A note's new value, or nil for one removed.
    var notes: [[UInt8]: [UInt8]?] = [:]

    mutating func append(_ key: HistoryKey, _ record: [UInt8]) {
        if !removed.isEmpty { removed.remove(key) }
        let place = appended.last.map { $0.key < key } ?? true ? appended.count : position(of: key)
        if place < appended.count, appended[place].key == key {
            appended[place].record = record
        } else {
            appended.insert((key, record), at: place)
        }
    }

    mutating func remove(_ key: HistoryKey) {
        let place = position(of: key)
        if place < appended.count, appended[place].key == key { appended.remove(at: place) }
        removed.insert(key)
    }

    func record(_ key: HistoryKey) -> [UInt8]? {
        let place = position(of: key)
        return place < appended.count && appended[place].key == key ? appended[place].record : nil
    }

    func records(from first: Revision, through last: Revision) -> ArraySlice<(key: HistoryKey, record: [UInt8])> {
        guard first <= last else { return [] }
        let end = position(of: HistoryKey(last, tombstone: true))
        let includesEnd = end < appended.count && appended[end].key.revision == last
        return appended[position(of: HistoryKey(first, tombstone: false))..<(includesEnd ? end + 1 : end)]
    }

    mutating func clear() {
        appended.removeAll(keepingCapacity: true)
        if !removed.isEmpty { removed.removeAll(keepingCapacity: true) }
        if !notes.isEmpty { notes.removeAll(keepingCapacity: true) }
    }

    /// Where the key is, or would be.
    private func position(of key: HistoryKey) -> Int {
        var low = 0
        var high = appended.count
        while low < high {
            let middle = (low + high) / 2
            if appended[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
