import LaunchModel

@testable import Engine

/// The store in memory: revisions, transactions, leases that end on command, and the history that a watch tells.
struct SimulatedStore {
    struct Entry: Hashable {
        var value: [UInt8]
        var createRevision: Int64
        var modRevision: Int64
        var lease: String?
    }

    private(set) var entries: [String: Entry] = [:]
    private(set) var revision: Int64 = 1
    private(set) var history: [(revision: Int64, key: String, change: ClusterView.Change)] = []

    /// Values that were read already: reading JSON is most of a simulation's time.
    private final class Values { var values: [String: (modRevision: Int64, value: any Record)] = [:] }
    private let read = Values()

    func keys(_ prefix: String) -> [String] { entries.keys.filter { $0.hasPrefix(prefix) }.sorted() }

    func value<Value: Record>(_ key: String, _: Value.Type = Value.self) -> Value? {
        guard let entry = entries[key] else { return nil }
        if let known = read.values[key], known.modRevision == entry.modRevision { return known.value as? Value }
        let value = try? Value(json: entry.value)
        read.values[key] = value.map { (entry.modRevision, $0) }
        return value
    }

    /// - Returns: the revision it made; nil: its compares failed.
    mutating func commit(_ step: Step, lease: String? = nil) -> Int64? {
        for compare in step.compares where (entries[compare.key]?.modRevision ?? 0) != compare.modRevision {
            return nil
        }
        let deleted = step.deletes.flatMap(keys(in:))
        precondition(Set(deleted).isDisjoint(with: step.puts.map(\.key)), "a key is put and deleted in one transaction")
        precondition(Set(step.puts.map(\.key)).count == step.puts.count, "a key is put twice in one transaction")
        guard !step.puts.isEmpty || !deleted.isEmpty else { return revision }
        revision += 1
        for put in step.puts {
            let created = entries[put.key]?.createRevision ?? revision
            entries[put.key] = Entry(
                value: put.value, createRevision: created, modRevision: revision, lease: lease)
            history.append((revision, put.key, .put(put.value, createRevision: created)))
        }
        for key in deleted {
            entries[key] = nil
            history.append((revision, key, .delete))
        }
        return revision
    }

    @discardableResult
    mutating func put(_ key: String, _ value: some Record, lease: String? = nil) -> Int64 {
        var step = Step(.status)
        step.puts = [.init(key: key, value: value.json)]
        return commit(step, lease: lease) ?? revision
    }

    @discardableResult
    mutating func put(_ pairs: [(String, [UInt8])], lease: String? = nil) -> Int64 {
        var step = Step(.status)
        step.puts = pairs.map { .init(key: $0.0, value: $0.1) }
        return commit(step, lease: lease) ?? revision
    }

    mutating func delete(_ keys: [String]) {
        var step = Step(.status)
        step.deletes = keys.filter { entries[$0] != nil }.map { .key($0) }
        _ = commit(step)
    }

    /// A lease ends: its keys go in one revision.
    mutating func endLease(_ lease: String) {
        delete(entries.filter { $0.value.lease == lease }.map(\.key).sorted())
    }

    private func keys(in span: Step.Span) -> [String] {
        switch span {
        case .key(let key): entries[key] == nil ? [] : [key]
        case .assembly(let name): keys(Keys.assembly(name))
        case .events(let name, let range):
            keys(Keys.events(name)).filter {
                $0 >= Keys.event(name, range.lowerBound) && $0 < Keys.event(name, range.upperBound)
            }
        }
    }

    /// Everything at this moment.
    func readAll() -> ClusterView {
        var view = ClusterView()
        for (key, entry) in entries {
            view.apply(key, .put(entry.value, createRevision: entry.createRevision), at: entry.modRevision)
        }
        view.advance(to: revision)
        return view
    }
}

/// Draws that a seed determines (SplitMix64).
struct Dice: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func one(in n: Int) -> Bool { Int.random(in: 0..<n, using: &self) == 0 }
    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
}
