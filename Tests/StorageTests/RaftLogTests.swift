import Raft
import Testing

@testable import Storage

@Suite struct RaftLogTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    /// Opens the log, lets `body` write, and closes it again.
    @discardableResult
    func withLog<Result>(_ body: (RaftLog, RecoveredLog) throws -> Result) throws -> Result {
        let (log, recovered) = try RaftLog.open(directory: directory.file("log"))
        return try body(log, recovered)
    }

    func recovered() throws -> RecoveredLog { try withLog { $1 } }

    @Test func anEmptyLogBeginsAtNothing() throws {
        let recovered = try recovered()
        #expect(recovered.hardState == HardState())
        #expect(recovered.base == (.zero, .zero))
        #expect(recovered.entries.isEmpty && recovered.notices.isEmpty && recovered.metadata == nil)
    }

    @Test func whatWasAppendedComesBackInOrder() throws {
        let state = HardState(term: Term(2), vote: MemberID(7), commit: LogIndex(3))
        var change = entries(6...6, term: 2)
        change[0].kind = .confChangeV2
        try withLog { log, _ in
            try log.setMetadata(bytes("mine"))
            try log.append(hardState: HardState(term: Term(1)), entries: entries(1...3, term: 1))
            try log.append(hardState: state, entries: entries(4...5, term: 2, size: 0))
            try log.append(hardState: nil, entries: change)
        }
        let recovered = try recovered()
        #expect(recovered.hardState == state)
        #expect(recovered.entries == entries(1...3, term: 1) + entries(4...5, term: 2, size: 0) + change)
        #expect(recovered.metadata == bytes("mine"))
        #expect(recovered.notices.isEmpty)
    }

    @Test func aRecordLargerThanManyBlocksComesBack() throws {
        try withLog { log, _ in try log.append(hardState: nil, entries: entries(1...5, term: 1, size: 70_000)) }
        #expect(try recovered().entries == entries(1...5, term: 1, size: 70_000))
    }

    @Test func anOverwrittenSuffixStaysGone() throws {
        try withLog { log, _ in
            try log.append(hardState: nil, entries: entries(1...10, term: 1))
            try log.append(hardState: nil, entries: entries(11...20, term: 1))
            // Into the middle of the second record, then further back into the middle of the first.
            try log.append(hardState: nil, entries: entries(15...16, term: 2))
            try log.append(hardState: nil, entries: entries(17...18, term: 2))
        }
        #expect(try recovered().entries == entries(1...14, term: 1) + entries(15...18, term: 2))
        try withLog { log, _ in
            try log.append(hardState: nil, entries: entries(4...4, term: 3))
            try log.append(hardState: nil, entries: entries(5...6, term: 3))
        }
        #expect(try recovered().entries == entries(1...3, term: 1) + entries(4...6, term: 3))
        try withLog { log, _ in try log.append(hardState: nil, entries: entries(1...2, term: 4)) }
        #expect(try recovered().entries == entries(1...2, term: 4))
    }

    @Test(arguments: [1, 4, 5, 7, 10, 12, 19, 20] as [UInt64])
    func aTrimmedPrefixStaysGoneAndTheLogGoesOn(index: UInt64) throws {
        try withLog { log, _ in
            try log.append(hardState: nil, entries: entries(1...5, term: 1))
            try log.append(hardState: nil, entries: entries(6...12, term: 2))
            try log.append(hardState: nil, entries: entries(11...20, term: 3))
            try log.truncatePrefix(upTo: LogIndex(index))
            try log.append(hardState: nil, entries: entries(21...22, term: 4))
        }
        let all =
            entries(1...5, term: 1) + entries(6...10, term: 2) + entries(11...20, term: 3) + entries(21...22, term: 4)
        for _ in 0..<2 {
            let recovered = try recovered()
            #expect(recovered.base == (LogIndex(index), all[Int(index) - 1].term))
            #expect(recovered.entries == [Entry](all.dropFirst(Int(index))))
        }
        try withLog { log, _ in
            try log.truncatePrefix(upTo: LogIndex(22))
            try log.append(hardState: nil, entries: entries(23...24, term: 4))
        }
        let recovered = try recovered()
        #expect(recovered.base == (LogIndex(22), Term(4)))
        #expect(recovered.entries == entries(23...24, term: 4))
    }

    @Test func theEntriesAfterATrimMayBeOverwritten() throws {
        try withLog { log, _ in
            try log.append(hardState: nil, entries: entries(1...10, term: 1))
            try log.truncatePrefix(upTo: LogIndex(4))
            try log.append(hardState: nil, entries: entries(5...6, term: 2))
        }
        #expect(try recovered().entries == entries(5...6, term: 2))
    }

    @Test func aLogThatWasResetBeginsAfterTheSnapshot() throws {
        try withLog { log, _ in
            try log.append(hardState: HardState(term: Term(5)), entries: entries(1...10, term: 1))
            try log.reset(toSnapshot: LogIndex(100), term: Term(4))
        }
        var recovered = try recovered()
        #expect(recovered.base == (LogIndex(100), Term(4)))
        #expect(recovered.entries.isEmpty)
        #expect(recovered.hardState.term == Term(5))
        try withLog { log, _ in try log.append(hardState: nil, entries: entries(101...103, term: 5)) }
        recovered = try self.recovered()
        #expect(recovered.entries == entries(101...103, term: 5))
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func anyCourseOfAppendsOverwritesTrimsAndRestartsComesBackAsItWas(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let path = directory.file("any")
        var base: (index: LogIndex, term: Term) = (.zero, .zero)
        var held: [Entry] = []
        var term: UInt64 = 1
        for _ in 0..<9 {
            // Not synced: the process stays, so nothing is lost.
            let (log, recovered) = try RaftLog.open(directory: path, durability: .unsynced)
            #expect(recovered.base == base)
            #expect(recovered.entries == held)
            for _ in 0..<Int.random(in: 1...15, using: &random) {
                let last = base.index.rawValue + UInt64(held.count)
                switch Int.random(in: 0..<20, using: &random) {
                case 0..<11:
                    let count = UInt64.random(in: 1...9, using: &random)
                    held += try append(last + 1...last + count, term: term, to: log)
                case 11..<16 where !held.isEmpty:
                    term += 1
                    let first = UInt64.random(in: base.index.rawValue + 1...last, using: &random)
                    held.removeLast(Int(last - first) + 1)
                    held += try append(
                        first...first + UInt64.random(in: 0...12, using: &random), term: term, to: log)
                case 16..<19 where !held.isEmpty:
                    let index = UInt64.random(in: base.index.rawValue + 1...last, using: &random)
                    try log.truncatePrefix(upTo: LogIndex(index))
                    let trimmed = Int(index - base.index.rawValue)
                    base = (LogIndex(index), held[trimmed - 1].term)
                    held.removeFirst(trimmed)
                case 19:
                    base = (LogIndex(last + 10), Term(term))
                    held = []
                    try log.reset(toSnapshot: base.index, term: base.term)
                default:
                    break
                }
            }
        }
    }

    func append(_ range: ClosedRange<UInt64>, term: UInt64, to log: RaftLog) throws -> [Entry] {
        let appended = entries(range, term: term)
        try log.append(hardState: nil, entries: appended)
        return appended
    }
}
