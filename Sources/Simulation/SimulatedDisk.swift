/// A state as it lies on a disk, or travels as a snapshot.
struct StateImage {
    var history = MemoryHistory()
    var applied = LogIndex.zero
    var term = Term.zero
    var configuration = ConfState()
    /// It came as a snapshot: the log need not lead to it.
    var isInstalled = false
}

/// What of a member survives its crash.
struct SimulatedDisk {
    var log = SimulatedLog()
    /// As last flushed or installed.
    var state = StateImage()
}

/// A Raft log on a disk that may lose what was not synced.
///
/// A write is whole or absent after a crash, and none survives without those before it, as of a write-ahead log whose records
/// carry checksums.
struct SimulatedLog {
    enum Write {
        case append(HardState?, [Entry])
        case cutPrefix(through: LogIndex)
        case reset(to: LogIndex, term: Term)
    }

    /// What is on the platter.
    private(set) var hardState = HardState()
    private(set) var base: (index: LogIndex, term: Term) = (.zero, .zero)
    private var kept: [Entry] = []
    /// The first entry of `kept` that counts; those before it are cut.
    private var head = 0
    private var unsynced: [Write] = []

    var entries: [Entry] { Array(kept[head...]) }
    var lastIndex: LogIndex { base.index + UInt64(kept.count - head) }

    func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        guard index > base.index, index <= lastIndex else { return nil }
        return kept[head + Int(index.rawValue - base.index.rawValue) - 1].term
    }

    mutating func write(_ write: Write) { unsynced.append(write) }

    mutating func sync() {
        for write in unsynced { perform(write) }
        unsynced.removeAll(keepingCapacity: true)
    }

    /// - Returns: how many writes were lost.
    mutating func crash(_ random: inout SimulationRandom) -> Int {
        let survivors = random.between(0, unsynced.count)
        for write in unsynced[..<survivors] { perform(write) }
        defer { unsynced = [] }
        return unsynced.count - survivors
    }

    private mutating func perform(_ write: Write) {
        switch write {
        case .append(let newHardState, let entries):
            if let newHardState { hardState = newHardState }
            guard let first = entries.first else { return }
            precondition(first.index > base.index && first.index <= lastIndex.next, "the write leaves a gap in the log")
            kept.removeLast(Int(lastIndex.next.rawValue - first.index.rawValue))
            kept.append(contentsOf: entries)
        case .cutPrefix(let index):
            guard let term = term(at: index), index > base.index else { return }
            head += Int(index.rawValue - base.index.rawValue)
            base = (index, term)
            if head * 2 > kept.count {
                kept.removeFirst(head)
                head = 0
            }
        case .reset(let index, let term):
            base = (index, term)
            kept = []
            head = 0
        }
    }
}
