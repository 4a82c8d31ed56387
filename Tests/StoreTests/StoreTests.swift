import Testing

@testable import Store

@Suite struct StoreTests {
    @Test func everyChangeHasARevisionAndOldOnesStayReadable() throws {
        var store = try MemoryStore(history: MemoryHistory())
        #expect(store.revision == 1)
        #expect(try store.apply(put("a", "1")) == .success(.put(PutResult(revision: 2))))
        try store.run(put("a", "2"), put("b", "3"))
        let all = try store.range(RangeQuery(key: [0], rangeEnd: [0])).get()
        #expect(
            try all.kvs.map { try KeyValueRecord(decoding: $0) } == [
                KeyValueRecord(key: bytes("a"), createRevision: 2, modRevision: 3, version: 2, value: bytes("2")),
                KeyValueRecord(key: bytes("b"), createRevision: 4, modRevision: 4, version: 1, value: bytes("3")),
            ])
        #expect(all.count == 2 && !all.more && all.revision == 4)
        #expect(try store.apply(delete("a", "c")) == .success(.deleteRange(DeleteRangeResult(revision: 5, deleted: 2))))
        #expect(try store.apply(delete("a", "c")) == .success(.deleteRange(DeleteRangeResult(revision: 5, deleted: 0))))
        #expect(try store.all() == [])
        #expect(try store.all(revision: 4) == ["a=2", "b=3"])
        #expect(try store.all(revision: 2) == ["a=1"])
        // A key created anew starts over.
        try store.run(put("a", "4"))
        let again = try KeyValueRecord(decoding: store.range(RangeQuery(key: bytes("a"))).get().kvs[0])
        #expect(again.version == 1 && again.createRevision == 6)
    }

    @Test func putsKeepOrReturnWhatWasThere() throws {
        var store = try MemoryStore(history: MemoryHistory(), cacheBytes: 0)
        try store.run(.leaseGrant(LeaseGrantCommand(id: 7, ttl: 10)), put("a", "1", lease: 7))
        let before = try store.range(RangeQuery(key: bytes("a"))).get().kvs[0]
        let keepValue = PutCommand(key: bytes("a"), value: [], previousKV: true, ignoreValue: true)
        #expect(try store.apply(.put(keepValue)) == .success(.put(PutResult(revision: 3, previous: before))))
        #expect(try store.all() == ["a=1"])
        #expect(store.leases.keys(of: 7) == [])
        try store.run(put("a", "2", lease: 7))
        try store.run(.put(PutCommand(key: bytes("a"), value: bytes("3"), ignoreLease: true)))
        #expect(store.leases.keys(of: 7) == [bytes("a")])
        #expect(
            try store.apply(.put(PutCommand(key: bytes("z"), value: [], ignoreValue: true))) == .failure(.keyNotFound))
        #expect(try store.apply(put("a", "1", lease: 8)) == .failure(.leaseNotFound))
        #expect(store.revision == 5)
    }

    @Test func deletionsReturnWhatTheyDeletedInKeyOrder() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(put("b", "2"), put("a", "1"), put("c", "3"))
        let outcome = try store.apply(
            .deleteRange(DeleteRangeCommand(key: bytes("b"), rangeEnd: [0], previousKV: true)))
        guard case .success(.deleteRange(let result)) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(result.deleted == 2)
        #expect(try result.previous.map(text) == ["b=2", "c=3"])
        #expect(store.takeEvents().suffix(2).map(\.revision) == [Revision(main: 5, sub: 0), Revision(main: 5, sub: 1)])
        #expect(
            try KeyValueRecord(decoding: store.history.record(at: Revision(main: 5, sub: 1), tombstone: true) ?? []).key
                == bytes("c"))
    }

    @Test func aViewKeepsShowingItsMoment() throws {
        var store = try MemoryStore(history: MemoryHistory())
        for number in 0..<500 { try store.run(put("k\(number)", "old")) }
        store.history.commit()
        let view = store.view()
        for number in 0..<500 { try store.run(put("k\(number)", "new")) }
        try store.run(delete("k", "l"), put("other", "1"))
        let result = try view.range(RangeQuery(key: [0], rangeEnd: [0])).get()
        #expect(result.count == 500 && result.revision == 501)
        #expect(try result.kvs.allSatisfy { try text($0).hasSuffix("=old") })
        #expect(try store.all() == ["other=1"])
    }

    @Test func theCacheStaysWithinItsBoundAndChangesNoAnswer() throws {
        var store = try MemoryStore(history: MemoryHistory(), cacheBytes: 2000)
        var random = Random(seed: 3)
        var expected: [Int: Int] = [:]
        for round in 0..<3000 {
            let key = random.below(200)
            expected[key] = round
            try store.run(put("k\(key)", "\(round)"))
            #expect(store.core.index.cachedBytes <= 2000)
        }
        let records = try store.range(RangeQuery(key: [0], rangeEnd: [0])).get().kvs
        #expect(try Set(records.map(text)) == Set(expected.map { "k\($0.key)=\($0.value)" }))
        try store.remember(Array(records.prefix(10)))
        #expect(store.core.index.cachedBytes <= 2000)
        #expect(try store.range(RangeQuery(key: [0], rangeEnd: [0])).get().kvs == records)
    }

    @Test func randomHistoriesReadLikeAModelAtEveryRevisionAndRebuildEqual() throws {
        for seed in 1...6 {
            var random = Random(seed: UInt64(seed))
            var store = try MemoryStore(history: MemoryHistory(), cacheBytes: 500)
            // The model: the whole map, copied at each revision.
            var states: [Int64: [String: String]] = [1: [:]]
            var compacted: Int64 = 0
            for step in 0..<400 {
                var state = states[store.revision] ?? [:]
                let key = "k\(random.below(30))"
                switch random.below(20) {
                case 0..<13:
                    try store.run(put(key, "\(step)"))
                    state[key] = "\(step)"
                case 13..<17:
                    try store.run(delete(key))
                    state[key] = nil
                case 17, 18:
                    let end = "k\(random.below(30))"
                    try store.run(delete(key, end))
                    state = state.filter { !($0.key >= key && $0.key < end) }
                default:
                    compacted = max(compacted + 1, store.revision - Int64(random.below(40)))
                    if compacted <= store.revision { try store.run(.compact(CompactCommand(revision: compacted))) }
                    compacted = store.compactedRevision
                }
                states[store.revision] = state
                if random.below(3) == 0 { _ = store.compactStep(budget: 1 + random.below(5)) }
            }
            for revision in max(1, store.compactedRevision)...store.revision {
                let expected = (states[revision] ?? [:]).map { "\($0.key)=\($0.value)" }.sorted { a, b in
                    a.split(separator: "=")[0] < b.split(separator: "=")[0]
                }
                #expect(try store.all(revision: revision) == expected, "seed \(seed) revision \(revision)")
                let query = RangeQuery(key: bytes("k1"), rangeEnd: bytes("k2"), revision: revision, countOnly: true)
                let count = expected.count { $0 >= "k1" && $0 < "k2" }
                #expect(try store.range(query).get().count == Int64(count))
            }
            #expect(
                try store.range(RangeQuery(key: [1], revision: store.compactedRevision - 1)) == .failure(.compacted))
            #expect(try store.range(RangeQuery(key: [1], revision: store.revision + 1)) == .failure(.futureRevision))

            var rebuilt = try MemoryStore(history: store.history)
            #expect(rebuilt.revision == store.revision)
            #expect(try rebuilt.digest() == store.digest())
            #expect(try rebuilt.hashKV() == store.hashKV())
            while rebuilt.compactStep(budget: 3) {}
            #expect(try rebuilt.digest() == store.digest())
            #expect(try MemoryStore(history: rebuilt.history).digest() == store.digest())
            try rebuilt.run(put("k1", "x"))
            #expect(try rebuilt.digest() != store.digest())
        }
    }

    @Test func aCrashTakesWhatWasNotFlushed() throws {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(put("a", "1"))
        store.history.commit()
        store.history.flush()
        let digest = try store.digest()
        try store.run(put("a", "2"), .leaseGrant(LeaseGrantCommand(id: 1, ttl: 5)))
        store.history.commit()
        let restarted = try MemoryStore(history: store.history.afterCrash())
        #expect(try restarted.digest() == digest)
        #expect(restarted.leases.count == 0)
    }

    @Test func aDamagedHistoryIsRefused() throws {
        var history = MemoryHistory()
        history.append(Revision(main: 2), tombstone: false, record: [0x0a, 9])
        #expect(throws: CodecError.self) { try MemoryStore(history: history) }
        history = MemoryHistory()
        history.setNote(StoreNote.lease(1), [1, 2])
        #expect(throws: CodecError.self) { try MemoryStore(history: history) }
    }
}
