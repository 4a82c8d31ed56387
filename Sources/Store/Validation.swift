extension StoreCommand {
    /// What can be said against a command without looking at the state, in etcd's order; nil for nothing. To be asked before
    /// proposing. (Reads are checked by `RangeQuery.validate`.)
    public func validate(maxTxnOps: Int) -> StoreError? {
        switch self {
        case .put(let put): put.validate()
        case .deleteRange(let delete): delete.key.isEmpty ? .emptyKey : nil
        case .transaction(let transaction): transaction.validate(maxTxnOps: maxTxnOps)
        case .leaseGrant(let grant): grant.ttl > LeaseTable.maximumTTL ? .leaseTTLTooLarge : nil
        case .compact, .leaseRevoke, .leaseCheckpoint, .alarm: nil
        }
    }
}

extension RangeQuery {
    public func validate() -> StoreError? { key.isEmpty ? .emptyKey : nil }
}

extension PutCommand {
    public func validate() -> StoreError? {
        if key.isEmpty { return .emptyKey }
        if ignoreValue, !value.isEmpty { return .valueProvided }
        if ignoreLease, lease != 0 { return .leaseProvided }
        return nil
    }
}

extension TransactionCommand {
    /// At most `maxTxnOps` compares or operations (128 by default) in each list, nested ones counting against what the outer
    /// ones leave; and no key written twice.
    public func validate(maxTxnOps: Int) -> StoreError? {
        if let error = validateOperations(atMost: maxTxnOps, depth: 1) { return error }
        for branch in [success, failure] {
            var writes = WrittenKeys()
            if !writes.add(branch) { return .duplicateKey }
        }
        return nil
    }

    private func validateOperations(atMost limit: Int, depth: Int) -> StoreError? {
        let count = max(compares.count, success.count, failure.count)
        if count > limit || depth > StoreCommand.maximumDepth { return .tooManyOperations }
        if compares.contains(where: \.key.isEmpty) { return .emptyKey }
        for operation in success + failure {
            let error: StoreError? =
                switch operation {
                case .range(let query): query.validate()
                case .put(let put): put.validate()
                case .deleteRange(let delete): delete.key.isEmpty ? .emptyKey : nil
                case .transaction(let nested): nested.validateOperations(atMost: limit - count, depth: depth + 1)
                }
            if let error { return error }
        }
        return nil
    }
}

/// The keys that a branch puts and the ranges it deletes, to find a key that is written twice.
///
/// The rule is etcd's: a put must meet no other put and no deletion of its own level or of what came before it in nested
/// transactions; the two branches of one nested transaction may put the same key.
private struct WrittenKeys {
    var puts: Set<[UInt8]> = []
    var deletions = DeletedRanges()

    /// False if a key would be written twice.
    mutating func add(_ branch: [Operation]) -> Bool {
        for case .deleteRange(let delete) in branch { deletions.insert(key: delete.key, end: delete.rangeEnd) }
        for case .transaction(let nested) in branch {
            var then = WrittenKeys()
            var otherwise = WrittenKeys()
            guard then.add(nested.success), otherwise.add(nested.failure) else { return false }
            for key in then.puts where puts.contains(key) || deletions.contains(key) { return false }
            for key in otherwise.puts where puts.contains(key) || deletions.contains(key) { return false }
            puts.formUnion(then.puts)
            puts.formUnion(otherwise.puts)
            deletions.formUnion(then.deletions)
            deletions.formUnion(otherwise.deletions)
        }
        for case .put(let put) in branch {
            if deletions.contains(put.key) || !puts.insert(put.key).inserted { return false }
        }
        return true
    }
}

/// Half-open ranges of keys, kept sorted and disjoint when asked, so that a hostile request costs no more than its sort.
private struct DeletedRanges {
    private var ranges: [(first: [UInt8], end: [UInt8])] = []
    private var isNormal = true

    mutating func insert(key: [UInt8], end: [UInt8]) {
        // The end of one byte 0 is here, as in etcd's check, an ordinary end: such a range meets nothing.
        let end = end.isEmpty ? key + [0] : end
        guard compareBytes(key, end) < 0 else { return }
        ranges.append((key, end))
        isNormal = false
    }

    mutating func formUnion(_ other: DeletedRanges) {
        if other.ranges.isEmpty { return }
        ranges += other.ranges
        isNormal = false
    }

    mutating func contains(_ key: [UInt8]) -> Bool {
        normalize()
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if compareBytes(ranges[middle].first, key) <= 0 { low = middle + 1 } else { high = middle }
        }
        return low > 0 && compareBytes(key, ranges[low - 1].end) < 0
    }

    private mutating func normalize() {
        if isNormal { return }
        isNormal = true
        ranges.sort { compareBytes($0.first, $1.first) < 0 }
        var merged: [(first: [UInt8], end: [UInt8])] = []
        for range in ranges {
            if let last = merged.last, compareBytes(range.first, last.end) <= 0 {
                if compareBytes(last.end, range.end) < 0 { merged[merged.count - 1].end = range.end }
            } else {
                merged.append(range)
            }
        }
        ranges = merged
    }
}
