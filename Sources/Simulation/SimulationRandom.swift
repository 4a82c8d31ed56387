/// Everything random in a run comes from one of these. (SplitMix64: Steele, Lea and Flood, 2014.)
struct SimulationRandom {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
        // Neighbouring seeds must not begin alike.
        state = next()
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Uniform in `0 ..< bound`.
    mutating func below(_ bound: Int64) -> Int64 { Int64(next().multipliedFullWidth(by: UInt64(bound)).high) }
    mutating func below(_ bound: Int) -> Int { Int(below(Int64(bound))) }
    mutating func between(_ low: Int64, _ high: Int64) -> Int64 { low + below(high - low + 1) }
    mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }

    mutating func chance(perMille: Int) -> Bool { perMille > 0 && below(1000) < perMille }

    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }
}

/// A running hash over what happened.
struct TraceDigest {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x9e37_79b9_7f4a_7c15
        value ^= value >> 29
    }

    mutating func add(_ a: UInt64, _ b: UInt64, _ c: UInt64) {
        add(a)
        add(b)
        add(c)
    }

    mutating func add(_ bytes: [UInt8]) {
        var word = UInt64(bytes.count)
        for byte in bytes { word = (word &* 0x100_0000_01b3) ^ UInt64(byte) }
        add(word)
    }
}
