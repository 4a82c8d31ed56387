import Testing

@testable import Store

@Suite struct KeyIndexTests {
    /// Keys of uneven lengths and with long common prefixes, zero bytes among them.
    private func key(_ random: inout Random) -> [UInt8] {
        switch random.below(3) {
        case 0: bytes("/registry/pods/default/\(random.below(2000))")
        case 1: (0..<random.below(4)).map { _ in UInt8(random.below(3)) }
        default: bytes("/registry/") + (0..<random.below(12)).map { _ in UInt8(random.below(2)) }
        }
    }

    @Test func theTreeHoldsWhatASortedArrayWould() {
        for seed in 1...2 {
            var random = Random(seed: UInt64(seed))
            var index = KeyIndex()
            var model: [[UInt8]: (live: Bool, modMain: Int64)] = [:]
            var copies: [(KeyIndex, Int, Int)] = []
            for main in 2..<4000 as Range<Int64> {
                let key = key(&random)
                let revision = Revision(main: main)
                switch random.below(10) {
                case 0..<6:
                    _ = index.put(key, at: revision) { _, _ in [UInt8](repeating: 1, count: 10) }
                    model[key] = (true, main)
                case 6, 7:
                    guard model[key]?.live == true else { continue }
                    _ = index.delete(key, at: revision)
                    model[key] = (false, main)
                case 8:
                    guard let entry = index.entry(key) else { continue }
                    let removed = entry.isLive ? entry.revisionCount - 1 : entry.revisionCount
                    index.removeOldest(removed, of: key)
                    if !entry.isLive { model[key] = nil }
                default:
                    if random.below(40) == 0 { copies.append((index, index.count, index.liveCount)) }
                    _ = index.evict(at: key, writtenBefore: main)
                }
                #expect(index.count == model.count)
            }
            let sorted = model.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            var visited: [[UInt8]] = []
            index.visit(KeyRange(key: [], rangeEnd: [0])) { key, entry in
                visited.append(key)
                #expect(entry.isLive == model[key]?.live && entry.modMain == model[key]?.modMain)
                return true
            }
            #expect(visited == sorted.map(\.key))
            #expect(index.liveCount == sorted.count { $0.value.live })
            for _ in 0..<300 {
                let range = KeyRange(key: key(&random), rangeEnd: random.below(4) == 0 ? [0] : key(&random))
                let expected = sorted.filter { range.contains($0.key) }
                #expect(index.countLive(in: range) == expected.count { $0.value.live })
                var found: [[UInt8]] = []
                index.visit(range) { key, _ in
                    found.append(key)
                    return true
                }
                #expect(found == expected.map(\.key))
            }
            var cached = 0
            index.visit(KeyRange(key: [], rangeEnd: [0])) {
                cached += $1.record?.count ?? 0
                return true
            }
            #expect(cached == index.cachedBytes)
            for _ in 0..<2000 {
                let key = key(&random)
                #expect((index.entry(key) != nil) == (model[key] != nil))
            }
            for key in model.keys { #expect(index.entry(key)?.modMain == model[key]?.modMain) }
            for (copy, count, live) in copies {
                var seen = 0
                copy.visit(KeyRange(key: [], rangeEnd: [0])) { _, entry in
                    seen += entry.isLive ? 1 : 0
                    return true
                }
                #expect(copy.count == count && copy.liveCount == live && seen == live)
            }
        }
    }

    @Test func removingEveryKeyLeavesAnEmptyTree() {
        var random = Random(seed: 9)
        var index = KeyIndex()
        var keys = (0..<5000).map { bytes("key\($0)") }
        keys.shuffle(using: &random)
        for (number, key) in keys.enumerated() {
            _ = index.put(key, at: Revision(main: Int64(number) + 2)) { _, _ in [] }
        }
        keys.shuffle(using: &random)
        for (number, key) in keys.enumerated() {
            _ = index.delete(key, at: Revision(main: Int64(number) + 10_000))
            index.removeOldest(2, of: key)
        }
        #expect(index.count == 0 && index.liveCount == 0 && index.cachedBytes == 0)
        _ = index.put(bytes("a"), at: Revision(main: 20_000)) { _, _ in [] }
        #expect(index.countLive(in: KeyRange(key: [], rangeEnd: [0])) == 1)
    }

    @Test func aKeyWithManyRevisionsFindsAndForgetsThem() {
        var index = KeyIndex()
        for main in 1...1000 as ClosedRange<Int64> { _ = index.put([1], at: Revision(main: 2 * main)) { _, _ in [] } }
        let copy = index
        index.removeOldest(301, of: [1])
        #expect(index.entry([1])?.newest(atOrBelow: 603) == nil)
        for main in 302...1000 as ClosedRange<Int64> {
            #expect(index.entry([1])?.newest(atOrBelow: 2 * main + 1)?.main == 2 * main)
        }
        #expect(copy.entry([1])?.newest(atOrBelow: 3)?.main == 2)
        #expect(index.entry([1])?.revisionCount == 699)
    }
}
