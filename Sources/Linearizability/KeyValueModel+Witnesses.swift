extension KeyValueModel {
    /// What is known of the state at a revision, or of how it came about, from whoever saw it, at whatever time.
    public enum Witness: Sendable, Hashable {
        /// A read of that revision.
        case read(Query, Page)
        /// The record that this revision wrote.
        case record(Found)
        /// What changed in a range, all of it and in order.
        case changes(Range<Int>, [Change])
    }

    struct Witnesses: Sendable {
        private var byRevision: [Int64: [Witness]] = [:]

        mutating func add(_ witness: Witness, at revision: Int64) {
            byRevision[revision, default: []].append(witness)
        }

        /// Whether an unanswered call can have made a revision, as far as can be told without trying.
        func mayBe(_ call: Call, at revision: Int64) -> Bool {
            let keys: Range<Int>
            var value: UInt64?
            switch call {
            case .put(let put):
                keys = put.key..<put.key + 1
                if !put.keepsValue { value = put.value }
            case .delete(let deletion): keys = deletion.keys
            case .query, .reached: return false
            case .transaction, .revoke: return true
            }
            for witness in byRevision[revision] ?? [] {
                switch witness {
                case .record(let found):
                    guard keys.contains(found.key) else { return false }
                    if case .delete = call { return false }
                    if let value, let shown = found.value, shown != value { return false }
                case .changes(_, let changes):
                    for change in changes {
                        guard keys.contains(change.key) else { return false }
                        if let value, let shown = change.found?.value, shown != value { return false }
                    }
                case .read: break
                }
            }
            return true
        }

        func visit(_ body: (Witness, Int64) -> Void) {
            for (revision, witnesses) in byRevision { for witness in witnesses { body(witness, revision) } }
        }

        func agree(with changes: [Change], _ after: State) -> Bool {
            guard let known = byRevision[after.revision] else { return true }
            return known.allSatisfy { witness in
                switch witness {
                case .read(let query, let page):
                    return after.page(query) == page
                case .record(let found):
                    var present = Found(found.key, after.slots[found.key])
                    if found.value == nil { present.value = nil }
                    return present == found
                case .changes(let keys, let expected):
                    var position = 0
                    for change in changes where keys.contains(change.key) {
                        guard position < expected.count, expected[position] == change else { return false }
                        position += 1
                    }
                    return position == expected.count
                }
            }
        }

        func describe(at revision: Int64) -> String {
            (byRevision[revision] ?? []).prefix(4).map { "\($0)" }.joined(separator: ", ")
        }
    }
}
