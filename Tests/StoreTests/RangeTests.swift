import Testing

@testable import Store

@Suite struct RangeTests {
    /// Revisions 2...7: a=3 (rewritten at 7), b=1, c=2, d=1, and x which was deleted.
    private func store() throws -> MemoryStore {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(
            put("a", "9"), put("b", "1"), put("c", "2"), put("d", "1"), put("x", "0"), put("a", "3"), delete("x"))
        return store
    }

    private func query(_ change: (inout RangeQuery) -> Void) -> RangeQuery {
        var query = RangeQuery(key: [0], rangeEnd: [0])
        change(&query)
        return query
    }

    @Test func keysAreNamedOneByOneByRangeOrFromAKeyOn() throws {
        let store = try store()
        #expect(try store.texts(RangeQuery(key: bytes("b"))) == ["b=1"])
        #expect(try store.texts(RangeQuery(key: bytes("x"))) == [])
        #expect(try store.texts(RangeQuery(key: bytes("b"), rangeEnd: bytes("d"))) == ["b=1", "c=2"])
        #expect(try store.texts(RangeQuery(key: bytes("c"), rangeEnd: [0])) == ["c=2", "d=1"])
        #expect(try store.texts(RangeQuery(key: bytes("c"), rangeEnd: bytes("b"))) == [])
        #expect(try store.all() == ["a=3", "b=1", "c=2", "d=1"])
    }

    @Test func aLimitCutsTheRecordsButNotTheCount() throws {
        let store = try store()
        for revision in [0, 7, 8] as [Int64] {
            let result = try store.range(
                query {
                    $0.limit = 2
                    $0.revision = revision
                }
            ).get()
            #expect(result.kvs.count == 2 && result.more)
            #expect(result.count == (revision == 7 ? 5 : 4))
        }
        let whole = try store.range(query { $0.limit = 4 }).get()
        #expect(whole.kvs.count == 4 && !whole.more)
        #expect(try store.range(query { $0.limit = .max }).get().kvs.count == 4)
        let count = try store.range(
            query {
                $0.countOnly = true
                $0.limit = 1
            }
        ).get()
        #expect(count.count == 4 && count.kvs.isEmpty && !count.more)
    }

    @Test func recordsAreSortedByAnyField() throws {
        let store = try store()
        func sorted(_ target: RangeQuery.SortTarget, _ order: RangeQuery.SortOrder, limit: Int64 = 0) throws -> String {
            try store.texts(
                query {
                    $0.sortTarget = target
                    $0.sortOrder = order
                    $0.limit = limit
                }
            )
            .map { String($0.prefix(1)) }.joined()
        }
        #expect(try sorted(.key, .ascend) == "abcd")
        #expect(try sorted(.key, .descend, limit: 3) == "dcb")
        #expect(try sorted(.modRevision, .ascend) == "bcda")
        #expect(try sorted(.createRevision, .descend) == "dcba")
        #expect(try sorted(.version, .descend, limit: 1) == "a")
        #expect(try sorted(.value, .ascend) == "bdca")
        // etcd: without an order, a limit cuts in key order first, and only what is left is sorted.
        #expect(try sorted(.modRevision, .none, limit: 2) == "bc")
        #expect(try sorted(.modRevision, .none) == "bcda")
    }

    @Test func boundsOnRevisionsFilterButDoNotCount() throws {
        let store = try store()
        #expect(try store.texts(query { $0.minModRevision = 5 }) == ["a=3", "d=1"])
        #expect(try store.texts(query { $0.maxModRevision = 4 }) == ["b=1", "c=2"])
        #expect(
            try store.texts(
                query {
                    $0.minCreateRevision = 3
                    $0.maxCreateRevision = 4
                }) == ["b=1", "c=2"])
        #expect(
            try store.texts(
                query {
                    $0.maxCreateRevision = 3
                    $0.revision = 6
                }) == ["a=9", "b=1"])
        let limited = try store.range(
            query {
                $0.minModRevision = 4
                $0.limit = 1
            }
        ).get()
        #expect(limited.kvs.count == 1 && limited.more && limited.count == 4)
        #expect(try store.texts(RangeQuery(key: bytes("b"), minModRevision: 4)) == [])
    }

    @Test func keysOnlyLeavesTheValueOut() throws {
        let store = try store()
        let record = try KeyValueRecord(decoding: store.range(RangeQuery(key: bytes("a"), keysOnly: true)).get().kvs[0])
        #expect(record == KeyValueRecord(key: bytes("a"), createRevision: 2, modRevision: 7, version: 2))
    }

    @Test func aViewWhoseRecordsWereCompactedSaysSo() throws {
        var store = try MemoryStore(history: MemoryHistory(), cacheBytes: 0)
        try store.run(put("a", "1"))
        let view = StoreView(read: store.view().read, history: MemoryHistory().reader())
        #expect(try view.range(RangeQuery(key: bytes("a"))) == .failure(.compacted))
        #expect(try view.range(RangeQuery(key: bytes("a"), rangeEnd: [0])) == .failure(.compacted))
    }
}
