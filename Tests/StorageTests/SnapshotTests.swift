import Foundation
import Raft
import Store
import Testing

@testable import Storage

@Suite struct SnapshotTests {
    let directory: TemporaryDirectory
    let mark = AppliedMark(
        index: LogIndex(500), term: Term(7), configuration: ConfState(voters: [MemberID(1), MemberID(2), MemberID(3)]))

    init() throws { directory = try TemporaryDirectory() }

    /// A state with a thousand revisions and a few notes, some of it in table files.
    func filledState() throws -> StateDatabase {
        let state = try StateDatabase(try StateFiles(path: directory.file("source")))
        for main in 1...1000 as ClosedRange<Int64> {
            state.append(Revision(main: main), tombstone: main % 10 == 0, record: bytes("value \(main)"))
            if main == 600 {
                try state.commit(applied: LogIndex(400), term: Term(6), configuration: mark.configuration)
                try state.flush()
            }
        }
        state.setNote(bytes("lease/1"), bytes("sixty"))
        state.setNote([0xff, 0xff], bytes("last"))
        try state.commit(applied: mark.index, term: mark.term, configuration: mark.configuration)
        return state
    }

    func chunks(of snapshot: StateSnapshot, maxBytes: Int = 1000) throws -> [[UInt8]] {
        var chunks: [[UInt8]] = []
        while let chunk = try snapshot.nextChunk(maxBytes: maxBytes) { chunks.append(chunk) }
        return chunks
    }

    func listing(_ state: StateDatabase) throws -> [String] {
        var lines: [String] = []
        try state.scan(from: Revision(main: 0), through: Revision(main: .max)) { revision, tombstone, record in
            lines.append("\(revision) \(tombstone) \(String(decoding: record, as: UTF8.self))")
            return true
        }
        try state.scanNotes(prefix: []) { key, value in
            lines.append("note \(key) \(value)")
            return true
        }
        return lines
    }

    @Test func aSnapshotIsTheStateOfItsMomentAndComesInWhole() throws {
        let source = try filledState()
        let expected = try listing(source)
        let snapshot = source.makeSnapshot()
        #expect(snapshot.mark == mark)
        // What is written later is not in it.
        source.append(Revision(main: 1001), tombstone: false, record: bytes("later"))
        source.remove(Revision(main: 1), tombstone: false)
        try source.commit(applied: LogIndex(501), term: Term(7), configuration: mark.configuration)

        let states = try StateDirectory(path: directory.file("state"))
        let old = try StateDatabase(states.files)
        old.append(Revision(main: 5), tombstone: false, record: bytes("old"))
        try old.commit(applied: LogIndex(3), term: Term(1), configuration: ConfState())
        let oldReader = old.reader()

        let stream = try chunks(of: snapshot)
        #expect(stream.count > 20)
        let receiver = try states.makeReceiver()
        for (place, chunk) in stream.enumerated() {
            #expect(try receiver.receive(chunk) == (place == stream.count - 1))
            #expect(receiver.mark == mark)
        }
        let installed = try StateDatabase(receiver.install())
        #expect(installed.applied == mark)
        #expect(try listing(installed) == expected)
        #expect(states.files === installed.files)
        #expect(try installed.files.installed() == mark)
        // Readers of the former state go on.
        #expect(try oldReader.record(at: Revision(main: 5), tombstone: false) == bytes("old"))
    }

    @Test func theInstalledStateIsThereAfterACrashAndTheFormerIsGone() throws {
        let stream = try chunks(of: filledState().makeSnapshot())
        let states = try StateDirectory(path: directory.file("state"))
        let receiver = try states.makeReceiver()
        for chunk in stream { _ = try receiver.receive(chunk) }
        try directory.copy("state", to: "before")
        _ = try receiver.install()
        try directory.copy("state", to: "after")

        let before = try StateDirectory(path: directory.file("before"))
        #expect(try before.files.applied() == AppliedMark())
        #expect(try Files.list(before.path) == ["000001"])
        let after = try StateDirectory(path: directory.file("after"))
        #expect(try after.files.applied() == mark)
        #expect(try Files.list(after.path) == ["000002"])
    }

    @Test func theFormerStatesFilesGoWithItsLastReader() throws {
        let stream = try chunks(of: filledState().makeSnapshot())
        let states = try StateDirectory(path: directory.file("state"))
        var reader: StateReader? = try StateDatabase(states.files).reader()
        let receiver = try states.makeReceiver()
        for chunk in stream { _ = try receiver.receive(chunk) }
        _ = try receiver.install()
        #expect(try Files.list(states.path) == ["000001", "000002"])
        #expect(try reader?.record(at: Revision(main: 1), tombstone: false) == nil)
        reader = nil
        #expect(try Files.list(states.path) == ["000002"])
    }

    @Test func damagedMissingAndReorderedChunksAreRefused() throws {
        let stream = try chunks(of: filledState().makeSnapshot(), maxBytes: 16_000)
        let states = try StateDirectory(path: directory.file("state"))

        func refuses(_ chunks: [[UInt8]]) throws -> Bool {
            let receiver = try states.makeReceiver()
            do {
                for chunk in chunks { _ = try receiver.receive(chunk) }
                _ = try receiver.install()
                return false
            } catch let error as StorageError {
                return error.kind == .damagedSnapshot
            }
        }
        for place in stream.indices {
            for offset in [0, 7, stream[place].count - 1] {
                var damaged = stream
                damaged[place][offset] ^= 4
                #expect(try refuses(damaged), "byte \(offset) of chunk \(place)")
            }
            var missing = stream
            missing.remove(at: place)
            #expect(try refuses(missing), "without chunk \(place)")
            var short = stream
            short[place].removeLast()
            #expect(try refuses(short), "with chunk \(place) cut")
        }
        var reordered = stream
        reordered.swapAt(1, 2)
        #expect(try refuses(reordered))
        #expect(try refuses(stream + [stream[1]]))
        #expect(try refuses([[]]))
        // Nothing of it stays.
        #expect(try Files.list(states.path) == ["000001"])
        #expect(try !refuses(stream))
    }

    @Test func aRecordLargerThanAChunkIsSentAlone() throws {
        let source = try StateDatabase(try StateFiles(path: directory.file("source")))
        source.append(Revision(main: 1), tombstone: false, record: [UInt8](repeating: 7, count: 50_000))
        source.append(Revision(main: 2), tombstone: false, record: bytes("small"))
        try source.commit(applied: mark.index, term: mark.term, configuration: mark.configuration)
        let states = try StateDirectory(path: directory.file("state"))
        let receiver = try states.makeReceiver()
        for chunk in try chunks(of: source.makeSnapshot(), maxBytes: 1) { _ = try receiver.receive(chunk) }
        #expect(try listing(StateDatabase(receiver.install())) == listing(source))
    }
}
