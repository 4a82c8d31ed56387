import Testing

@testable import Store

@Suite struct CodecTests {
    @Test func aRecordIsEncodedAsProtobufsKeyValue() throws {
        let record = KeyValueRecord(
            key: bytes("foo"), createRevision: 2, modRevision: 300, version: 1, value: bytes("bar"), lease: -1)
        let expected: [UInt8] =
            [0x0a, 3] + bytes("foo") + [0x10, 2, 0x18, 0xac, 2, 0x20, 1, 0x2a, 3] + bytes("bar") + [0x30]
            + [UInt8](repeating: 0xff, count: 9) + [1]
        #expect(record.encoded() == expected)
        #expect(try KeyValueRecord(decoding: expected) == record)
        #expect(KeyValueRecord(key: bytes("k")).encoded() == [0x0a, 1, 0x6b])
        #expect(KeyValueRecord(key: []).encoded() == [])
        // Fields of later versions are skipped.
        #expect(try KeyValueRecord(decoding: [0x38, 5, 0x42, 1, 9, 0x0a, 1, 0x6b]) == KeyValueRecord(key: bytes("k")))
        #expect(throws: CodecError.self) {
            try KeyValueRecord(decoding: [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])
        }
    }

    private func command(_ random: inout Random, depth: Int = 0) -> StoreCommand {
        func number() -> Int64 { [0, 1, -1, .max, .min, 77][random.below(6)] }
        func some() -> [UInt8] { (0..<random.below(5)).map { _ in UInt8(random.below(256)) } }
        func flag() -> Bool { random.below(2) == 0 }
        func put() -> PutCommand {
            PutCommand(
                key: some(), value: some(), lease: number(), previousKV: flag(), ignoreValue: flag(),
                ignoreLease: flag())
        }
        func delete() -> DeleteRangeCommand { DeleteRangeCommand(key: some(), rangeEnd: some(), previousKV: flag()) }
        func range() -> RangeQuery {
            RangeQuery(
                key: some(), rangeEnd: some(), limit: number(), revision: number(),
                sortOrder: flag() ? .descend : .none,
                sortTarget: flag() ? .value : .key, serializable: flag(), keysOnly: flag(), countOnly: flag(),
                minModRevision: number(), maxModRevision: number(), minCreateRevision: number(),
                maxCreateRevision: number())
        }
        func compare() -> Compare {
            let targets: [Compare.Target] = [
                .version(number()), .createRevision(number()), .modRevision(number()), .value(some()), .lease(number()),
            ]
            return Compare(key: some(), rangeEnd: some(), targets[random.below(5)], flag() ? .notEqual : .greater)
        }
        func transaction(_ depth: Int) -> TransactionCommand {
            func operations() -> [Operation] {
                (0..<random.below(3)).map { _ in
                    switch random.below(depth < 4 ? 4 : 3) {
                    case 0: .range(range())
                    case 1: .put(put())
                    case 2: .deleteRange(delete())
                    default: .transaction(transaction(depth + 1))
                    }
                }
            }
            return TransactionCommand(
                compares: (0..<random.below(3)).map { _ in compare() }, success: operations(), failure: operations())
        }
        switch random.below(8) {
        case 0: return .put(put())
        case 1: return .deleteRange(delete())
        case 2: return .compact(CompactCommand(revision: number()))
        case 3: return .leaseGrant(LeaseGrantCommand(id: number(), ttl: number()))
        case 4: return .leaseRevoke(LeaseRevokeCommand(id: number()))
        case 5: return .leaseCheckpoint([LeaseCheckpoint(id: number(), remainingTTL: number())])
        case 6:
            let kind: Alarm.Kind = flag() ? .noSpace : .corrupt
            return .alarm(
                AlarmCommand(flag() ? .activate : .deactivate, Alarm(kind, member: UInt64(bitPattern: number()))))
        default: return .transaction(transaction(0))
        }
    }

    @Test func commandsSurviveTheirEncoding() throws {
        var random = Random(seed: 5)
        for _ in 0..<2000 {
            let command = command(&random)
            #expect(try StoreCommand(decoding: command.encoded()[...]) == command)
        }
    }

    @Test func damagedBytesThrowOrDecodeButNeverTrap() {
        var random = Random(seed: 6)
        for _ in 0..<5000 {
            let bytes = damaged(command(&random).encoded(), &random)
            _ = try? StoreCommand(decoding: bytes[...])
            let record = KeyValueRecord(
                key: [1, 2, 3], createRevision: 200, modRevision: 1 << 40, version: 9, value: [5], lease: 1)
            _ = try? KeyValueRecord(decoding: damaged(record.encoded(), &random))
        }
        #expect(throws: CodecError.self) { try StoreCommand(decoding: [][...]) }
        #expect(throws: CodecError.self) { try StoreCommand(decoding: [2, 1, 0, 0, 0, 0]) }
        #expect(throws: CodecError.self) { try StoreCommand(decoding: [1, 4, 1, 1]) }
        // Nesting that would exhaust the stack: each level is a transaction whose one operation is the next.
        #expect(throws: CodecError.self) {
            try StoreCommand(decoding: ([1, 3] + Array(repeatElement([0, 1, 4], count: 100_000).joined()))[...])
        }
    }
}
