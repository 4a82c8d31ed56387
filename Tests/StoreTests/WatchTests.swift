import Testing

@testable import Store

@Suite struct WatchTests {
    /// A store and its hub, driven as the apply machine does.
    private struct Bench {
        var store: MemoryStore
        var hub: WatchHub
        init() throws {
            store = try MemoryStore(history: MemoryHistory(), cacheBytes: 0)
            hub = WatchHub(revision: store.revision)
        }
        mutating func run(_ commands: StoreCommand...) throws -> [WatchDelivery] {
            for command in commands { try store.run(command) }
            return try hub.publish(store.takeEvents(), from: store)
        }
        mutating func watch(_ key: String, _ end: String = "", from revision: Int64 = 0, prev: Bool = false) throws
            -> WatchID
        {
            try hub.create(
                WatchRequest(key: bytes(key), rangeEnd: bytes(end), startRevision: revision, previousKV: prev)
            ).get()
        }
        mutating func catchUp(_ records: Int = 1000) throws -> [WatchDelivery] {
            try hub.catchUp(from: store, records: records)
        }
    }

    /// `PUT a=1 (was a=0)`, from the encoded event.
    private func describe(_ event: [UInt8]) throws -> String {
        try event.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            var text = "PUT"
            while !reader.isAtEnd {
                switch try reader.varint() {
                case 0x08: text = try reader.varint() == 1 ? "DELETE" : "?"
                case 0x12:
                    let kv = try KeyValueRecord(decoding: Array(bytes[try reader.range()]))
                    text +=
                        " \(String(decoding: kv.key, as: UTF8.self))=\(String(decoding: kv.value, as: UTF8.self))@\(kv.modRevision)"
                case 0x1a: text += try " was " + recordText(Array(bytes[reader.range()]))
                default: text += "?"
                }
            }
            return text
        }
    }

    private func describe(_ deliveries: [WatchDelivery]) throws -> [String] {
        try deliveries.map { delivery in
            switch delivery.content {
            case .events(let events): try "\(delivery.watch.number): " + events.map(describe).joined(separator: ", ")
            case .compacted(let revision): "\(delivery.watch.number): compacted \(revision)"
            }
        }
    }

    @Test func eventsReachKeysRangesAndEverythingFromAKeyOn() throws {
        var bench = try Bench()
        _ = try bench.watch("b")
        _ = try bench.watch("a", "c")
        _ = try bench.hub.create(WatchRequest(key: bytes("b"), rangeEnd: [0])).get()
        #expect(
            try describe(bench.run(put("a", "1"), put("b", "2"), put("z", "3"))) == [
                "1: PUT b=2@3", "2: PUT a=1@2, PUT b=2@3", "3: PUT b=2@3, PUT z=3@4",
            ])
        #expect(
            try describe(bench.run(delete("a", "c"))) == [
                "1: DELETE b=@5", "2: DELETE a=@5, DELETE b=@5", "3: DELETE b=@5",
            ])
        #expect(bench.hub.create(WatchRequest(key: bytes("b"), rangeEnd: bytes("a"))) == .failure(.emptyWatchRange))
        #expect(bench.hub.cancel(WatchID(number: 2)) == true)
        #expect(bench.hub.cancel(WatchID(number: 2)) == false)
        #expect(try describe(bench.run(put("a", "1"))) == [])
    }

    @Test func filtersAndPreviousRecordsAreEachWatchsOwn() throws {
        var bench = try Bench()
        _ = try bench.watch("a", prev: true)
        _ = try bench.watch("a")
        _ = try bench.hub.create(WatchRequest(key: bytes("a"), noPut: true, previousKV: true)).get()
        _ = try bench.hub.create(WatchRequest(key: bytes("a"), noDelete: true)).get()
        #expect(try describe(bench.run(put("a", "1"))) == ["1: PUT a=1@2", "2: PUT a=1@2", "4: PUT a=1@2"])
        #expect(
            try describe(bench.run(put("a", "2"), delete("a"))) == [
                "1: PUT a=2@3 was a=1, DELETE a=@4 was a=2", "2: PUT a=2@3, DELETE a=@4", "3: DELETE a=@4 was a=2",
                "4: PUT a=2@3",
            ])
        // From the history it reads the same.
        _ = try bench.watch("a", from: 2, prev: true)
        #expect(try describe(bench.catchUp()) == ["5: PUT a=1@2, PUT a=2@3 was a=1, DELETE a=@4 was a=2"])
    }

    @Test func aWatchFromThePastCatchesUpInSlicesWhileOthersGoOn() throws {
        var bench = try Bench()
        for number in 0..<10 { _ = try bench.run(put("a", "\(number)"), put("b", "x")) }
        let live = try bench.watch("a")
        let late = try bench.watch("a", from: 3)
        let later = try bench.watch("a", from: 18)
        #expect(bench.hub.isSynced(live) && !bench.hub.isSynced(late) && bench.hub.needsCatchUp)
        var seen: [Int64: [String]] = [:]
        func note(_ deliveries: [WatchDelivery]) throws {
            for delivery in deliveries {
                guard case .events(let events) = delivery.content else { continue }
                seen[delivery.watch.number, default: []] += try events.map(describe)
            }
        }
        try note(bench.catchUp(4))
        #expect(seen[2]?.count == 2 && seen[1] == nil)
        try note(bench.run(put("a", "live")))
        #expect(seen[1] == ["PUT a=live@22"])
        var slices = 0
        while bench.hub.needsCatchUp {
            try note(bench.catchUp(4))
            slices += 1
        }
        #expect(slices > 3)
        #expect(seen[2] == (1..<10).map { "PUT a=\($0)@\(2 + 2 * $0)" } + ["PUT a=live@22"])
        #expect(seen[3] == ["PUT a=8@18", "PUT a=9@20", "PUT a=live@22"])
        #expect(bench.hub.isSynced(late) && bench.hub.isSynced(later))
        #expect(try describe(bench.run(put("a", "all"))).count == 3)
    }

    @Test func aRevisionIsNeverSplit() throws {
        var bench = try Bench()
        let puts = (0..<10).map { Operation.put(PutCommand(key: bytes("k\($0)"), value: [])) }
        _ = try bench.run(.transaction(TransactionCommand(success: puts)), put("k0", "1"))
        _ = try bench.watch("k", "l", from: 1)
        guard case .events(let first)? = try bench.catchUp(3).first?.content else {
            Issue.record("no events")
            return
        }
        #expect(first.count == 10)
        #expect(try describe(bench.catchUp(3)) == ["1: PUT k0=1@3"])
    }

    @Test func aWatchOfTheFutureWaitsForItsRevision() throws {
        var bench = try Bench()
        _ = try bench.watch("a", from: 4)
        #expect(
            try describe(bench.run(put("a", "2"), put("a", "3"), put("a", "4"), put("a", "5"))) == [
                "1: PUT a=4@4, PUT a=5@5"
            ])
    }

    @Test func aWatchFromBeforeTheCompactionIsCancelled() throws {
        var bench = try Bench()
        _ = try bench.run(put("a", "1"), put("a", "2"), delete("a"))
        _ = try bench.run(put("b", "1"), .compact(CompactCommand(revision: 4)))
        while bench.store.compactStep(budget: 9) {}
        _ = try bench.watch("a", from: 3)
        _ = try bench.watch("a", from: 4, prev: true)
        #expect(try describe(bench.catchUp()) == ["1: compacted 4", "2: DELETE a=@4"])
        #expect(bench.hub.count == 1 && !bench.hub.needsCatchUp)
    }

    @Test func aSlowWatchFallsBehindAndMissesNothing() throws {
        var bench = try Bench()
        let slow = try bench.watch("a")
        _ = try bench.run(put("a", "1"))
        bench.hub.fallBehind(slow, from: 2, paused: true)
        #expect(try bench.run(put("a", "2")).isEmpty)
        #expect(!bench.hub.needsCatchUp)
        #expect(try bench.catchUp().isEmpty)
        bench.hub.resume(slow)
        #expect(try describe(bench.catchUp()) == ["1: PUT a=1@2, PUT a=2@3"])
        bench.hub.fallBehind(slow, from: 3)
        #expect(try describe(bench.catchUp()) == ["1: PUT a=2@3"])
        #expect(try describe(bench.run(put("a", "3"))) == ["1: PUT a=3@4"])
    }

    @Test func progressIsForSyncedWatchesThatAskedForIt() throws {
        var bench = try Bench()
        _ = try bench.run(put("a", "1"))
        let now = try bench.hub.create(WatchRequest(key: bytes("a"), progressNotify: true)).get()
        let past = try bench.hub.create(WatchRequest(key: bytes("a"), startRevision: 1, progressNotify: true)).get()
        _ = try bench.watch("a")
        #expect(bench.hub.progressWatches == [now])
        _ = try bench.catchUp()
        #expect(bench.hub.progressWatches == [now, past])
    }

    @Test func theIntervalTreeFindsWhatAScanWould() {
        var random = Random(seed: 4)
        var tree = IntervalTree()
        var model: [(slot: Int, range: KeyRange)] = []
        func key() -> [UInt8] { (0...random.below(3)).map { _ in UInt8(random.below(4)) } }
        for slot in 0..<3000 {
            if random.below(3) == 0, !model.isEmpty {
                let (slot, range) = model.remove(at: random.below(model.count))
                if case .before(let end) = range.end {
                    tree.remove(slot, from: range.key, to: end)
                } else {
                    tree.remove(slot, from: range.key, to: nil)
                }
            } else {
                let range = KeyRange(key: key(), rangeEnd: random.below(5) == 0 ? [0] : key() + [1])
                model.append((slot, range))
                if case .before(let end) = range.end {
                    tree.insert(slot, from: range.key, to: end)
                } else {
                    tree.insert(slot, from: range.key, to: nil)
                }
            }
            guard slot % 10 == 0 else { continue }
            let probe = key()
            var found: [Int] = []
            tree.stab(probe) { found.append($0) }
            #expect(found.sorted() == model.filter { $0.range.contains(probe) }.map(\.slot).sorted())
        }
        for (slot, range) in model {
            if case .before(let end) = range.end {
                tree.remove(slot, from: range.key, to: end)
            } else {
                tree.remove(slot, from: range.key, to: nil)
            }
        }
        #expect(tree.isEmpty)
    }
}

private func recordText(_ record: [UInt8]) throws -> String { try text(record) }
