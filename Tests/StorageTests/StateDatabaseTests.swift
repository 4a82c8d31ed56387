import Raft
import Store
import Testing

@testable import Storage

@Suite struct StateDatabaseTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    func open(_ name: String = "state") throws -> StateDatabase {
        try StateDatabase(try StateFiles(path: directory.file(name)))
    }

    let configuration = ConfState(voters: [MemberID(1), MemberID(2)], learners: [MemberID(9)], autoLeave: true)

    /// Everything in a state, as text.
    func listing(_ state: StateDatabase) throws -> [String] {
        var lines: [String] = []
        try state.scan(from: Revision(main: 0), through: Revision(main: .max, sub: .max)) {
            revision, tombstone, record in
            lines.append(
                "\(revision.main)/\(revision.sub)\(tombstone ? "t" : "") \(String(decoding: record, as: UTF8.self))")
            return true
        }
        return lines
    }

    @Test func readsThroughTheWriterSeeTheUncommittedBatch() throws {
        let state = try open()
        let reader = state.reader()
        state.append(Revision(main: 2), tombstone: false, record: bytes("a"))
        state.append(Revision(main: 2, sub: 1), tombstone: true, record: bytes("b"))
        state.setNote(bytes("note"), bytes("one"))
        #expect(try state.record(at: Revision(main: 2), tombstone: false) == bytes("a"))
        #expect(try state.record(at: Revision(main: 2), tombstone: true) == nil)
        #expect(try state.note(bytes("note")) == bytes("one"))
        #expect(try listing(state) == ["2/0 a", "2/1t b"])
        #expect(try reader.record(at: Revision(main: 2), tombstone: false) == nil)

        try state.commit(applied: LogIndex(1), term: Term(1), configuration: configuration)
        #expect(try reader.record(at: Revision(main: 2), tombstone: false) == bytes("a"))
        state.remove(Revision(main: 2), tombstone: false)
        state.append(Revision(main: 3), tombstone: false, record: bytes("c"))
        state.setNote(bytes("note"), nil)
        #expect(try listing(state) == ["2/1t b", "3/0 c"])
        #expect(try state.note(bytes("note")) == nil)
        #expect(try reader.record(at: Revision(main: 2), tombstone: false) == bytes("a"))
        try state.commit(applied: LogIndex(2), term: Term(1), configuration: configuration)
        #expect(try listing(state) == ["2/1t b", "3/0 c"])
        #expect(try reader.record(at: Revision(main: 2), tombstone: false) == nil)
    }

    @Test func notesAreScannedByPrefixWithPendingOnesInPlace() throws {
        let state = try open()
        for key in ["a1", "a3", "a5", "b1"] { state.setNote(bytes(key), bytes("old")) }
        try state.commit(applied: LogIndex(1), term: Term(1), configuration: configuration)
        state.setNote(bytes("a0"), bytes("new"))
        state.setNote(bytes("a3"), nil)
        state.setNote(bytes("a5"), bytes("new"))
        state.setNote(bytes("a6"), bytes("new"))
        var seen: [String] = []
        try state.scanNotes(prefix: bytes("a")) { key, value in
            seen.append(String(decoding: key + bytes("=") + value, as: UTF8.self))
            return true
        }
        #expect(seen == ["a0=new", "a1=old", "a5=new", "a6=new"])
    }

    @Test func aScanStopsWhereItIsToldAndKeepsToItsBounds() throws {
        let state = try open()
        for main in 1...10 as ClosedRange<Int64> {
            state.append(Revision(main: main), tombstone: main == 7, record: bytes("\(main)"))
            if main == 5 { try state.commit(applied: LogIndex(1), term: Term(1), configuration: configuration) }
        }
        var seen: [Int64] = []
        try state.scan(from: Revision(main: 3), through: Revision(main: 7)) { revision, _, _ in
            seen.append(revision.main)
            return true
        }
        #expect(seen == [3, 4, 5, 6, 7])
        seen = []
        try state.scan(from: Revision(main: 3), through: Revision(main: 9)) { revision, _, _ in
            seen.append(revision.main)
            return revision.main < 6
        }
        #expect(seen == [3, 4, 5, 6])
    }

    @Test func aCrashLeavesTheStateAtItsLastFlush() throws {
        let state = try open()
        for index in 1...30 as ClosedRange<UInt64> {
            state.append(Revision(main: Int64(index)), tombstone: false, record: bytes("v\(index)"))
            state.setNote(bytes("last"), bytes("\(index)"))
            try state.commit(applied: LogIndex(index), term: Term(3), configuration: configuration)
            if index == 20 {
                #expect(try state.files.durableApplied().index == .zero)
                #expect(
                    try state.flush() == AppliedMark(index: LogIndex(20), term: Term(3), configuration: configuration))
            }
        }
        #expect(try state.files.durableApplied().index == LogIndex(20))
        try directory.copy("state", to: "crashed")
        let crashed = try open("crashed")
        #expect(crashed.applied == AppliedMark(index: LogIndex(20), term: Term(3), configuration: configuration))
        #expect(try listing(crashed).count == 20)
        #expect(try crashed.note(bytes("last")) == bytes("20"))
    }

    @Test func aCleanCloseKeepsEverything() throws {
        do {
            let state = try open()
            state.append(Revision(main: 1), tombstone: false, record: bytes("kept"))
            try state.commit(applied: LogIndex(9), term: Term(2), configuration: configuration)
            state.append(Revision(main: 2), tombstone: false, record: bytes("never committed"))
        }
        let state = try open()
        #expect(state.applied.index == LogIndex(9))
        #expect(try listing(state) == ["1/0 kept"])
    }

    @Test func aReaderKeepsTheFilesOpen() throws {
        var state: StateDatabase? = try open()
        state?.append(Revision(main: 1), tombstone: false, record: bytes("here"))
        try state?.commit(applied: LogIndex(1), term: Term(1), configuration: configuration)
        let reader = try #require(state?.reader())
        state = nil
        #expect(try reader.record(at: Revision(main: 1), tombstone: false) == bytes("here"))
    }

    @Test func aFlushIsDueAfterSoManyEntriesOrBytes() throws {
        let state = try StateDatabase(
            try StateFiles(path: directory.file("state")), policy: FlushPolicy(entries: 10, bytes: 10_000))
        try state.commit(applied: LogIndex(9), term: Term(1), configuration: configuration)
        #expect(!state.needsFlush)
        try state.commit(applied: LogIndex(10), term: Term(1), configuration: configuration)
        #expect(state.needsFlush)
        try state.flush()
        #expect(!state.needsFlush)
        state.append(Revision(main: 1), tombstone: false, record: [UInt8](repeating: 1, count: 10_000))
        try state.commit(applied: LogIndex(11), term: Term(1), configuration: configuration)
        #expect(state.needsFlush)
    }
}
