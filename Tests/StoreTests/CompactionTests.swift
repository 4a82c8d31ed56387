import Testing

@testable import Store

@Suite struct CompactionTests {
    private func rows(_ store: MemoryStore) -> [String] {
        var rows: [String] = []
        store.history.scan(from: Revision(main: 0), through: Revision(main: .max)) { revision, tombstone, _ in
            rows.append("\(revision.main)" + (tombstone ? "t" : ""))
            return true
        }
        return rows
    }

    /// 2: a, 3: a, 4: b, 5: -b, 6: c, 7: -c, 8: a, 9: b.
    private func store() throws -> MemoryStore {
        var store = try MemoryStore(history: MemoryHistory(), cacheBytes: 0)
        try store.run(
            put("a", "1"), put("a", "2"), put("b", "3"), delete("b"), put("c", "4"), delete("c"), put("a", "5"),
            put("b", "6"))
        return store
    }

    @Test func onlyRevisionsBelowAreRefused() throws {
        var store = try store()
        #expect(store.compactedRevision == -1)
        #expect(try store.apply(.compact(CompactCommand(revision: 10))) == .failure(.futureRevision))
        #expect(try store.apply(.compact(CompactCommand(revision: 5))) == .success(.compact(revision: 9)))
        #expect(try store.apply(.compact(CompactCommand(revision: 5))) == .failure(.compacted))
        #expect(try store.range(RangeQuery(key: bytes("a"), revision: 4)) == .failure(.compacted))
        for _ in 0..<2 {
            #expect(try store.all(revision: 5) == ["a=2"])
            #expect(try store.all(revision: 6) == ["a=2", "c=4"])
            #expect(try store.all() == ["a=5", "b=6"])
            while store.compactStep(budget: 1) {}
        }
    }

    @Test func theRemovalKeepsEachKeysStateAndADeletionExactlyThere() throws {
        var store = try store()
        try store.run(.compact(CompactCommand(revision: 7)))
        #expect(store.isCompacting)
        while store.compactStep(budget: 2) {}
        #expect(!store.isCompacting)
        #expect(rows(store) == ["3", "7t", "8", "9"])
        try store.run(.compact(CompactCommand(revision: 8)))
        while store.compactStep(budget: 2) {}
        #expect(rows(store) == ["8", "9"])
        #expect(store.core.index.count == 2)
    }

    @Test func aRestartTakesTheRemovalUpAgain() throws {
        var store = try store()
        for number in 0..<50 { try store.run(put("hot", "\(number)")) }
        try store.run(.compact(CompactCommand(revision: store.revision)))
        #expect(store.compactStep(budget: 3) == true)
        let digest = try store.digest()
        store = try MemoryStore(history: store.history)
        #expect(store.compactedRevision == 59 && store.isCompacting)
        #expect(try store.digest() == digest)
        var steps = 0
        while store.compactStep(budget: 3) { steps += 1 }
        #expect(steps > 10)
        #expect(rows(store) == ["8", "9", "59"])
        store = try MemoryStore(history: store.history)
        #expect(try !store.isCompacting && store.digest() == digest && store.revision == 59)
        let hot = try KeyValueRecord(decoding: store.range(RangeQuery(key: bytes("hot"))).get().kvs[0])
        #expect(hot.version == 50 && hot.createRevision == 10)
    }

    @Test func theRevisionSurvivesTheCompactionOfEverything() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(put("a", "1"), delete("a"), .compact(CompactCommand(revision: 3)))
        while store.compactStep(budget: 9) {}
        store = try MemoryStore(history: store.history)
        #expect(store.revision == 3)
        #expect(try store.apply(put("a", "2")) == .success(.put(PutResult(revision: 4))))
    }
}
