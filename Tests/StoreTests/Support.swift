@testable import Store

/// SplitMix64: the same numbers for the same seed.
struct Random: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
}

typealias MemoryStore = Store<MemoryHistory>

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func put(_ key: String, _ value: String, lease: Int64 = 0) -> StoreCommand {
    .put(PutCommand(key: bytes(key), value: bytes(value), lease: lease))
}

func delete(_ key: String, _ end: String = "") -> StoreCommand {
    .deleteRange(DeleteRangeCommand(key: bytes(key), rangeEnd: bytes(end)))
}

let everyKey = (key: [UInt8](arrayLiteral: 0), rangeEnd: [UInt8](arrayLiteral: 0))

extension Store {
    /// Applies commands that must succeed.
    mutating func run(_ commands: StoreCommand...) throws {
        for command in commands { _ = try apply(command).get() }
    }

    /// The answer as `key=value` texts.
    func texts(_ query: RangeQuery) throws -> [String] { try range(query).get().kvs.map(text) }

    func all(revision: Int64 = 0) throws -> [String] {
        try texts(RangeQuery(key: [0], rangeEnd: [0], revision: revision))
    }
}

func text(_ record: [UInt8]) throws -> String {
    let kv = try KeyValueRecord(decoding: record)
    return String(decoding: kv.key, as: UTF8.self) + "=" + String(decoding: kv.value, as: UTF8.self)
}

/// Bytes that were once well-formed: cut, flipped, or with something added.
func damaged(_ bytes: [UInt8], _ random: inout Random) -> [UInt8] {
    var bytes = bytes
    for _ in 0...random.below(3) {
        switch random.below(3) {
        case 0: bytes = Array(bytes.prefix(random.below(bytes.count + 1)))
        case 1 where !bytes.isEmpty: bytes[random.below(bytes.count)] ^= UInt8(1 << random.below(8))
        default: bytes.insert(UInt8(random.below(256)), at: random.below(bytes.count + 1))
        }
    }
    return bytes
}
