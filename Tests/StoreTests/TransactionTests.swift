import Testing

@testable import Store

@Suite struct TransactionTests {
    private func put(_ key: String, _ value: String = "v", lease: Int64 = 0) -> Operation {
        .put(PutCommand(key: bytes(key), value: bytes(value), lease: lease))
    }
    private func get(_ key: String, revision: Int64 = 0) -> Operation {
        .range(RangeQuery(key: bytes(key), revision: revision))
    }
    private func delete(_ key: String, _ end: String = "") -> Operation {
        .deleteRange(DeleteRangeCommand(key: bytes(key), rangeEnd: bytes(end)))
    }

    private func run(_ transaction: TransactionCommand, on store: inout MemoryStore) throws -> TransactionResult {
        guard case .transaction(let result) = try store.apply(.transaction(transaction)).get() else {
            throw CodecError("no transaction result")
        }
        return result
    }

    @Test func comparesLookAtEveryField() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(
            .leaseGrant(LeaseGrantCommand(id: 5, ttl: 9)), putting("a", "1"), putting("a", "2", lease: 5),
            putting("b", "2"))
        func holds(_ key: String, _ target: Compare.Target, _ result: Compare.Result = .equal, end: String = "") throws
            -> Bool
        {
            let compare = Compare(key: bytes(key), rangeEnd: bytes(end), target, result)
            return try store.readTransaction(TransactionCommand(compares: [compare])).get().succeeded
        }
        #expect(try holds("a", .version(2)) && holds("a", .createRevision(2)) && holds("a", .modRevision(3)))
        #expect(try holds("a", .lease(5)) && holds("b", .lease(0)) && holds("a", .value(bytes("2"))))
        #expect(
            try holds("a", .version(1), .greater) && holds("a", .version(3), .less)
                && holds("a", .version(1), .notEqual))
        #expect(try !holds("a", .version(2), .notEqual) && !holds("a", .value(bytes("20")), .greater))
        // A key that is not there: all numbers are 0, and no value is equal or unequal to its.
        #expect(try holds("z", .version(0)) && holds("z", .lease(0)) && holds("z", .modRevision(1), .less))
        #expect(try !holds("z", .value([])) && !holds("z", .value([]), .notEqual))
        // A range: each key must do.
        #expect(try holds("a", .value(bytes("2")), end: "c") && !holds("a", .version(1), end: "c"))
        #expect(try holds("c", .version(0), end: "d"))
    }

    @Test func operationsShareARevisionAndSeeThoseBefore() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(putting("a", "1"), putting("x", "1"))
        _ = store.takeEvents()
        let result = try run(
            TransactionCommand(success: [
                get("a"), put("a", "2"), get("a"), get("a", revision: 2), delete("x"), get("x"), put("b"),
            ]),
            on: &store)
        #expect(result.succeeded && result.revision == 4 && store.revision == 4)
        let answers = try result.responses.map { response -> String in
            switch response {
            case .range(let range): return try "\(range.revision):" + range.kvs.map(text).joined()
            case .put(let put): return "\(put.revision)"
            case .deleteRange(let delete): return "\(delete.revision):\(delete.deleted)"
            case .transaction: return ""
            }
        }
        #expect(answers == ["3:a=1", "4", "4:a=2", "4:a=1", "4:1", "4:", "4"])
        let events = store.takeEvents()
        #expect(events.map(\.revision) == (0..<3).map { Revision(main: 4, sub: $0) })
        #expect(events.map(\.previous) == [Revision(main: 2), Revision(main: 3), nil])
    }

    @Test func readsAloneTakeNoRevision() throws {
        var store = try MemoryStore(history: MemoryHistory())
        let reading = TransactionCommand(success: [get("a"), .transaction(TransactionCommand(failure: [get("b")]))])
        #expect(
            reading.isReadOnly
                && !TransactionCommand(failure: [.transaction(TransactionCommand(success: [put("a")]))]).isReadOnly)
        #expect(try run(reading, on: &store).revision == 1)
        #expect(try run(TransactionCommand(success: [delete("a")]), on: &store).revision == 1)
        #expect(try store.readTransaction(reading).get() == run(reading, on: &store))
    }

    @Test func nestedComparesSeeTheStateBeforeAllWrites() throws {
        var store = try MemoryStore(history: MemoryHistory())
        let inner = TransactionCommand(
            compares: [Compare(key: bytes("a"), .version(0))], success: [put("then")], failure: [put("else")])
        let result = try run(TransactionCommand(success: [put("a"), .transaction(inner), get("then")]), on: &store)
        guard case .transaction(let nested) = result.responses[1] else {
            Issue.record("\(result)")
            return
        }
        #expect(nested.succeeded && nested.revision == 0)
        #expect(nested.responses == [.put(PutResult(revision: 2))])
        #expect(try store.all() == ["a=v", "then=v"])
    }

    @Test func whatCannotBeDoneChangesNothing() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(putting("a", "1"), putting("a", "2"), .compact(CompactCommand(revision: 3)))
        let digest = try store.digest()
        func refused(_ operations: [Operation]) throws -> StoreError? {
            guard case .failure(let error) = try store.apply(.transaction(TransactionCommand(success: operations)))
            else { return nil }
            return error
        }
        #expect(try refused([put("b"), put("c", lease: 4)]) == .leaseNotFound)
        #expect(
            try refused([put("b"), .put(PutCommand(key: bytes("z"), value: [], ignoreLease: true))]) == .keyNotFound)
        #expect(try refused([put("b"), get("a", revision: 2)]) == .compacted)
        // The revision the transaction itself makes is still the future.
        #expect(try refused([put("b"), get("b", revision: 4)]) == .futureRevision)
        #expect(
            try refused([put("b"), .transaction(TransactionCommand(success: [put("c", lease: 4)]))]) == .leaseNotFound)
        #expect(try store.digest() == digest)
    }

    @Test func aKeyPutAndDeletedInOneRevisionIsGone() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(putting("a", "1"))
        let both = TransactionCommand(success: [
            .transaction(TransactionCommand(success: [put("a", "2")])),
            .transaction(TransactionCommand(success: [delete("a")])),
        ])
        #expect(both.validate(maxTxnOps: 128) == nil)
        _ = try run(both, on: &store)
        #expect(try store.all() == [] && store.all(revision: 2) == ["a=1"])
        #expect(store.takeEvents().suffix(2).map(\.previous) == [Revision(main: 2), Revision(main: 2)])
        #expect(try MemoryStore(history: store.history).digest() == store.digest())
    }

    @Test func theStaticRulesAreEtcds() {
        func check(_ success: [Operation], _ limit: Int = 128) -> StoreError? {
            StoreCommand.transaction(TransactionCommand(success: success)).validate(maxTxnOps: limit)
        }
        func nested(_ success: [Operation], _ failure: [Operation] = []) -> Operation {
            .transaction(TransactionCommand(success: success, failure: failure))
        }
        #expect(check([put("a"), put("a")]) == .duplicateKey)
        #expect(check([put("a"), put("b"), delete("c")]) == nil)
        #expect(check([put("b"), delete("a", "c")]) == .duplicateKey)
        #expect(check([put("c"), delete("a", "c"), delete("b", "c")]) == nil)
        #expect(check([put("b"), .deleteRange(DeleteRangeCommand(key: bytes("a"), rangeEnd: [0]))]) == nil)
        #expect(check([put("a"), nested([put("a")])]) == .duplicateKey)
        #expect(check([nested([put("a")], [put("a")])]) == nil)
        #expect(check([nested([put("a")]), nested([], [put("a")])]) == .duplicateKey)
        #expect(check([delete("a"), nested([put("a")])]) == .duplicateKey)
        #expect(check([nested([delete("a")]), put("a")]) == .duplicateKey)
        #expect(check([put("a"), put("b"), put("c")], 2) == .tooManyOperations)
        #expect(check([nested([put("b"), put("c")])], 2) == .tooManyOperations)
        #expect(check([nested([put("b")])], 2) == nil)
        #expect(check([put("")]) == .emptyKey)
        #expect(PutCommand(key: [1], value: [1], ignoreValue: true).validate() == .valueProvided)
        #expect(PutCommand(key: [1], value: [], lease: 1, ignoreLease: true).validate() == .leaseProvided)
        #expect(RangeQuery(key: []).validate() == .emptyKey)
    }
}

private func putting(_ key: String, _ value: String, lease: Int64 = 0) -> StoreCommand {
    .put(PutCommand(key: bytes(key), value: bytes(value), lease: lease))
}
