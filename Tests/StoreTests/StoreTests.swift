import Testing

@testable import Store

@Suite struct StoreTests {
    @Test func putsRangesAndDeletesFollowOneRevisionEach() throws {
        var store = try Store(history: MemoryHistory())
        #expect(store.revision == 1)
        #expect(try store.apply(put("a", "1")) == .success(.put(PutResult(revision: 2))))
        #expect(try store.apply(put("a", "2")) == .success(.put(PutResult(revision: 3))))
        #expect(try store.apply(put("b", "3")) == .success(.put(PutResult(revision: 4))))
        let all = try store.range(RangeQuery(key: [0], rangeEnd: [0])).get()
        #expect(try all.kvs.map { try KeyValueRecord(decoding: $0) } == [
            KeyValueRecord(key: bytes("a"), createRevision: 2, modRevision: 3, version: 2, value: bytes("2")),
            KeyValueRecord(key: bytes("b"), createRevision: 4, modRevision: 4, version: 1, value: bytes("3")),
        ])
        #expect(all.count == 2 && !all.more && all.revision == 4)
        #expect(
            try store.apply(.deleteRange(DeleteRangeCommand(key: bytes("a"), rangeEnd: bytes("c"))))
                == .success(.deleteRange(DeleteRangeResult(revision: 5, deleted: 2))))
        #expect(try store.range(RangeQuery(key: [0], rangeEnd: [0])).get().count == 0)
        #expect(try store.range(RangeQuery(key: bytes("a"), revision: 2)).get().kvs.count == 1)
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func put(_ key: String, _ value: String, lease: Int64 = 0) -> StoreCommand {
    .put(PutCommand(key: bytes(key), value: bytes(value), lease: lease))
}
