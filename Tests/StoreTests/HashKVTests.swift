import Testing

@testable import Store

/// The expected values were read off etcd 3.5.1 after the same commands through etcdctl.
@Suite struct HashKVTests {
    private func store() throws -> MemoryStore {
        var store = try MemoryStore(history: MemoryHistory())
        try store.run(put("a", "1"), put("b", "2"), put("a", "3"), put("c", ""), delete("b"), put("b", "4"))
        try store.run(
            .transaction(
                TransactionCommand(
                    compares: [Compare(key: bytes("a"), .version(0), .greater)],
                    success: [
                        .put(PutCommand(key: bytes("a"), value: bytes("5"))),
                        .put(PutCommand(key: bytes("d"), value: bytes("6"))),
                        .deleteRange(DeleteRangeCommand(key: bytes("c"))),
                    ])))
        try store.run(
            .deleteRange(DeleteRangeCommand(key: [0], rangeEnd: [0])), put("e", "7"), put("a", "8"), put("a", "9"),
            put("f", "10"), delete("f"))
        return store
    }

    private func expect(_ store: MemoryStore, _ revision: Int64, _ hash: UInt32, compacted: Int64) throws {
        let result = try store.hashKV(revision: revision).get()
        #expect(result.hash == hash, "revision \(revision)")
        #expect(result.compactedRevision == compacted)
        #expect(result.hashRevision == (revision == 0 ? store.revision : revision))
    }

    @Test func anEmptyStoreHasTheHashOfTheBucketsName() throws {
        try expect(try MemoryStore(history: MemoryHistory()), 0, 1_084_519_789, compacted: -1)
    }

    @Test func hashesEqualEtcdsAtEveryRevision() throws {
        let store = try store()
        let observed: [UInt32] = [
            2_587_454_935, 1_827_592_406, 2_069_675_932, 3_126_407_721, 3_231_876_365, 932_608_950, 865_312_051,
            2_494_630_328, 2_956_110_483, 3_143_967_002, 1_262_106_787, 2_874_635_520, 3_204_047_885,
        ]
        for (revision, hash) in zip(2..., observed) { try expect(store, Int64(revision), hash, compacted: -1) }
        try expect(store, 0, 3_204_047_885, compacted: -1)
    }

    @Test(arguments: [false, true]) func hashesEqualEtcdsAfterCompactionsBeforeAndAfterTheRemoval(removed: Bool) throws
    {
        var store = try store()
        try store.run(.compact(CompactCommand(revision: 9)))
        while removed, store.compactStep(budget: 2) {}
        for (revision, hash) in [(10, 1_455_389_503), (12, 2_957_720_368), (0, 9_341_186)] as [(Int64, UInt32)] {
            try expect(store, revision, hash, compacted: 9)
        }
        try store.run(.compact(CompactCommand(revision: 12)))
        while removed, store.compactStep(budget: 2) {}
        for (revision, hash) in [(13, 3_133_847_852), (14, 1_420_126_738), (0, 1_420_126_738)] as [(Int64, UInt32)] {
            try expect(store, revision, hash, compacted: 12)
        }
        try store.run(put("z", "1"), delete("z"))
        try expect(store, 0, 2_869_185_266, compacted: 12)
        guard removed else { return }
        // Nothing lives: every stored row counts, so this one needs the removal to be complete.
        try store.run(.deleteRange(DeleteRangeCommand(key: [0], rangeEnd: [0])))
        try expect(store, 0, 2_990_592_147, compacted: 12)
    }

    @Test func revisionsOutsideOfTheHistoryAreRefused() throws {
        var store = try store()
        try store.run(.compact(CompactCommand(revision: 9)))
        #expect(try store.hashKV(revision: 8) == .failure(.compacted))
        #expect(try store.hashKV(revision: 15) == .failure(.futureRevision))
        #expect(try store.hashKV(revision: 9).get().hashRevision == 9)
    }

    @Test func theChecksumIsCastagnolis() {
        // The check value of CRC-32/ISCSI, and RFC 3720 B.4: 32 bytes of zero.
        var checksum = CRC32C()
        checksum.add(bytes("123456789"))
        #expect(checksum.value == 0xe306_9283)
        checksum = CRC32C()
        checksum.add([UInt8](repeating: 0, count: 32))
        #expect(checksum.value == 0x8a91_36aa)
    }
}
