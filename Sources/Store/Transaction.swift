extension StoreCore {
    /// Compares, checks what could fail, then performs the chosen branches: nothing is changed when the outcome is an error.
    /// The compares of nested transactions see the state before any write, as in etcd.
    mutating func transact(
        _ transaction: TransactionCommand, _ write: inout Write, _ source: RecordSource
    ) throws -> Result<TransactionResult, StoreError> {
        var path: [Bool] = []
        try choose(transaction, &path, source)
        if !transaction.isReadOnly {
            var position = 0
            if let error = checkPuts(transaction, path, &position) { return .failure(error) }
        }
        var position = 0
        if let error = checkRanges(transaction, path, &position, write.begin) { return .failure(error) }
        position = 0
        do {
            var result = try perform(transaction, path, &position, &write, source)
            result.revision = write.current
            return .success(result)
        } catch let error as StoreError {
            // Everything that could fail was checked. What is left would be half a transaction.
            throw CodecError("a checked transaction failed: \(error.message)")
        }
    }

    /// Which branch each transaction takes, in the order of a depth-first walk.
    private func choose(_ transaction: TransactionCommand, _ path: inout [Bool], _ source: RecordSource) throws {
        let succeeded = try transaction.compares.allSatisfy { try holds($0, source) }
        path.append(succeeded)
        for case .transaction(let nested) in transaction.branch(succeeded) { try choose(nested, &path, source) }
    }

    private func holds(_ compare: Compare, _ source: RecordSource) throws -> Bool {
        var seen = false
        var holds = true
        try index.visit(KeyRange(key: compare.key, rangeEnd: compare.rangeEnd)) { key, entry in
            guard entry.isLive else { return true }
            seen = true
            let order: Int
            switch compare.target {
            case .version(let version): order = Self.order(entry.version, version)
            case .createRevision(let revision): order = Self.order(entry.createRevision, revision)
            case .modRevision(let revision): order = Self.order(entry.modMain, revision)
            case .lease(let lease): order = Self.order(leases.lease(of: key), lease)
            case .value(let value):
                let record = try Self.record(of: entry, source)
                order = compareBytes(Array(record[try KeyValueLayout(record).value]), value)
            }
            holds = compare.result.admits(order)
            return holds
        }
        if seen { return holds }
        switch compare.target {
        // A missing key has no value to compare, not even an empty one; all its numbers are 0.
        case .value: return false
        case .version(let number), .createRevision(let number), .modRevision(let number), .lease(let number):
            return compare.result.admits(Self.order(0, number))
        }
    }

    private static func order(_ a: Int64, _ b: Int64) -> Int { a == b ? 0 : a < b ? -1 : 1 }

    private func checkPuts(_ transaction: TransactionCommand, _ path: [Bool], _ position: inout Int) -> StoreError? {
        let succeeded = path[position]
        position += 1
        for operation in transaction.branch(succeeded) {
            switch operation {
            case .put(let put):
                if put.ignoreValue || put.ignoreLease, index.entry(put.key)?.isLive != true { return .keyNotFound }
                if put.lease != 0, !leases.contains(put.lease) { return .leaseNotFound }
            case .transaction(let nested):
                if let error = checkPuts(nested, path, &position) { return error }
            case .range, .deleteRange: break
            }
        }
        return nil
    }

    private func checkRanges(
        _ transaction: TransactionCommand, _ path: [Bool], _ position: inout Int, _ current: Int64
    ) -> StoreError? {
        let succeeded = path[position]
        position += 1
        for operation in transaction.branch(succeeded) {
            switch operation {
            case .range(let query):
                let error = RangeRead.check(query.revision, current: current, compacted: compactedRevision)
                if let error { return error }
                // Outside of transactions etcd takes a negative revision for the newest.
                if query.revision < 0, query.revision < compactedRevision { return .compacted }
            case .transaction(let nested):
                if let error = checkRanges(nested, path, &position, current) { return error }
            case .put, .deleteRange: break
            }
        }
        return nil
    }

    private mutating func perform(
        _ transaction: TransactionCommand, _ path: [Bool], _ position: inout Int, _ write: inout Write,
        _ source: RecordSource
    ) throws -> TransactionResult {
        let succeeded = path[position]
        position += 1
        var result = TransactionResult(revision: 0, succeeded: succeeded)
        for operation in transaction.branch(succeeded) {
            switch operation {
            case .range(let query):
                result.responses.append(.range(try read(at: write.current)(query, source).get()))
            case .put(let put):
                result.responses.append(.put(try performPut(put, &write, source)))
            case .deleteRange(let delete):
                result.responses.append(.deleteRange(try deleteRange(delete, &write, source)))
            case .transaction(let nested):
                result.responses.append(.transaction(try perform(nested, path, &position, &write, source)))
            }
        }
        return result
    }

    /// A put whose key was there when it was checked but was deleted by an earlier nested transaction has nothing to keep.
    private mutating func performPut(
        _ command: PutCommand, _ write: inout Write, _ source: RecordSource
    ) throws -> PutResult {
        switch try put(command, &write, source) {
        case .success(let result): return result
        case .failure:
            var plain = command
            plain.ignoreValue = false
            plain.ignoreLease = false
            return try put(plain, &write, source).get()
        }
    }
}

extension TransactionCommand {
    func branch(_ succeeded: Bool) -> [Operation] { succeeded ? success : failure }
}

extension Compare.Result {
    func admits(_ order: Int) -> Bool {
        switch self {
        case .equal: order == 0
        case .greater: order > 0
        case .less: order < 0
        case .notEqual: order != 0
        }
    }
}
