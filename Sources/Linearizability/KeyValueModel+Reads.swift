extension KeyValueModel.State {
    /// What a query of this very state shows.
    func page(_ query: KeyValueModel.Query) -> KeyValueModel.Page {
        let live = query.keys.filter { slots[$0].version > 0 }
        if query.countOnly { return KeyValueModel.Page([], count: live.count) }
        var shown = live.filter { key in
            query.modRevisions?.contains(slots[key].modRevision) ?? true
                && query.createRevisions?.contains(slots[key].createRevision) ?? true
        }
        // Equals stay in the order of their keys, whichever way the rest is sorted.
        func sort(by number: (KeyValueModel.Slot) -> UInt64) {
            shown.sort { a, b in
                let (first, second) = (number(slots[a]), number(slots[b]))
                if first == second { return a < b }
                return query.descending ? first > second : first < second
            }
        }
        switch query.order {
        case .key: if query.descending { shown.reverse() }
        case .version: sort { UInt64($0.version) }
        case .createRevision: sort { UInt64($0.createRevision) }
        case .modRevision:
            // Keys written by one transaction are equal in this.
            sort { UInt64($0.modRevision) }
        case .value: sort { $0.value }
        }
        let more = query.limit > 0 && shown.count > query.limit
        if more { shown.removeSubrange(query.limit...) }
        let found = shown.map { key in
            var found = KeyValueModel.Found(key, slots[key])
            if query.keysOnly { found.value = nil }
            return found
        }
        return KeyValueModel.Page(found, more: more, count: live.count)
    }

    func meets(_ condition: KeyValueModel.Condition) -> Bool {
        func holds<Number: Comparable>(_ is: Number, _ wanted: Number) -> Bool {
            switch condition.relation {
            case .equal: `is` == wanted
            case .greater: `is` > wanted
            case .less: `is` < wanted
            case .notEqual: `is` != wanted
            }
        }
        func holds(_ slot: KeyValueModel.Slot) -> Bool {
            switch condition.target {
            case .version(let version): holds(slot.version, version)
            case .createRevision(let revision): holds(slot.createRevision, revision)
            case .modRevision(let revision): holds(slot.modRevision, revision)
            case .lease(let lease): holds(slot.lease, lease)
            case .value(let value): holds(slot.value, value)
            }
        }
        let live = condition.keys.filter { slots[$0].version > 0 }
        if live.isEmpty {
            if case .value = condition.target { return false }
            return holds(KeyValueModel.Slot())
        }
        return live.allSatisfy { holds(slots[$0]) }
    }
}
