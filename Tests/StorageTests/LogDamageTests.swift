import Foundation
import Raft
import RocksDB
import Testing

@testable import Storage

/// What happens to a log whose files are not as they were written.
@Suite struct LogDamageTests {
    let directory: TemporaryDirectory
    var log: String { directory.file("log") }

    /// A log of twelve records, and its witness as it was before the last one.
    init() throws {
        directory = try TemporaryDirectory()
        let (log, _) = try RaftLog.open(directory: self.log)
        for index in 1...12 as ClosedRange<UInt64> {
            if index == 12 { try directory.copy("log/witness", to: "witness-of-11") }
            try log.append(
                hardState: index == 1 ? HardState(term: Term(1), vote: MemberID(1)) : nil,
                entries: entries(index...index, term: 1, size: 1500))
        }
    }

    /// The write-ahead log that holds the records.
    func walFile() throws -> String {
        let names = try Files.list(log + "/records").filter { $0.hasSuffix(".log") }
        return log + "/records/" + (try #require(names.last))
    }

    func flip(_ path: String, at offset: Int) throws {
        var data = try Data(contentsOf: URL(fileURLWithPath: path))
        data[offset] ^= 0x41
        try data.write(to: URL(fileURLWithPath: path))
    }

    /// As if the machine had stopped before the last append returned.
    func forgetThatTheLastRecordWasSynced() throws {
        try FileManager.default.removeItem(atPath: log + "/witness")
        try directory.copy("witness-of-11", to: "log/witness")
    }

    /// Opens the log, which must be refused as `kind` without a byte changed.
    func expectRefusal(_ kind: StorageError.Kind, naming text: String, location: SourceLocation = #_sourceLocation)
        throws
    {
        let before = try contents(of: log)
        do {
            _ = try RaftLog.open(directory: log)
            Issue.record("the damaged log was opened", sourceLocation: location)
        } catch let error as StorageError {
            #expect(error.kind == kind, "\(error)", sourceLocation: location)
            #expect(error.description.contains(text), "\(error)", sourceLocation: location)
        }
        #expect(try contents(of: log) == before, sourceLocation: location)
    }

    @Test func aWholeLogIsOpenedWithoutANotice() throws {
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries == entries(1...12, term: 1, size: 1500))
        #expect(recovered.notices.isEmpty)
    }

    @Test(arguments: [1, 3, 8, 700, 1400, 1530])
    func aLastRecordCutShortIsDroppedWithANotice(missing: Int) throws {
        try forgetThatTheLastRecordWasSynced()
        let wal = try walFile()
        let size = try Files.size(of: wal)
        try Files.truncate(wal, to: size - missing)
        let (reopened, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries == entries(1...11, term: 1, size: 1500))
        #expect(recovered.hardState.vote == MemberID(1))
        let notice = try #require(recovered.notices.first)
        #expect(recovered.notices.count == 1 && notice.contains(wal))
        // The file as it was is kept, and the log goes on.
        let kept = try contents(of: log + "/damaged")
        #expect(kept.values.map(\.count) == [size - missing])
        try reopened.append(hardState: nil, entries: entries(12...13, term: 2))
    }

    @Test func aLogGoesOnAfterATornRecord() throws {
        try forgetThatTheLastRecordWasSynced()
        let wal = try walFile()
        try Files.truncate(wal, to: Files.size(of: wal) - 100)
        do {
            let (reopened, _) = try RaftLog.open(directory: log)
            try reopened.append(hardState: nil, entries: entries(12...13, term: 2))
        }
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries == entries(1...11, term: 1, size: 1500) + entries(12...13, term: 2))
        #expect(recovered.notices.isEmpty)
    }

    @Test func aLastRecordWithASectorThatNeverArrivedIsDropped() throws {
        try forgetThatTheLastRecordWasSynced()
        let wal = try walFile()
        var data = try Data(contentsOf: URL(fileURLWithPath: wal))
        let sector = (data.count - 700) / 512 * 512
        data.replaceSubrange(sector..<sector + 512, with: Data(count: 512))
        try data.write(to: URL(fileURLWithPath: wal))
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries.count == 11 && recovered.notices.count == 1)
    }

    @Test func zerosPastTheLastRecordAreDropped() throws {
        let wal = try walFile()
        try Files.write(Files.read(wal) + [UInt8](repeating: 0, count: 3000), to: wal)
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries.count == 12 && recovered.notices.count == 1)
    }

    @Test func aCutRecordThatHadBeenSyncedIsMissed() throws {
        let wal = try walFile()
        try Files.truncate(wal, to: Files.size(of: wal) - 100)
        try expectRefusal(.missingEntries, naming: "acknowledged entries are missing")
    }

    @Test func aCutRecordThatOnlyHeldACommitIndexIsNotMissed() throws {
        do {
            let (log, _) = try RaftLog.open(directory: log)
            try log.append(
                hardState: HardState(term: Term(1), vote: MemberID(1), commit: LogIndex(12)), entries: [])
        }
        let wal = try walFile()
        try Files.truncate(wal, to: Files.size(of: wal) - 3)
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries.count == 12)
        #expect(recovered.hardState == HardState(term: Term(1), vote: MemberID(1)))
        // That it is gone, and that it had been synced.
        #expect(recovered.notices.count == 2)
        #expect(recovered.notices.last?.contains("the last 1 changes") == true)
    }

    @Test func aCommitIndexLostAtARecordsEndIsSaid() throws {
        let wal = try walFile()
        let size = try Files.size(of: wal)
        do {
            let (log, _) = try RaftLog.open(directory: log)
            try log.append(
                hardState: HardState(term: Term(1), vote: MemberID(1), commit: LogIndex(12)), entries: [])
        }
        let newest = try walFile()
        try Files.truncate(newest, to: newest == wal ? size : 0)
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries.count == 12 && recovered.hardState.commit == .zero)
        #expect(recovered.notices.count == 1)
        #expect(recovered.notices.first?.contains("had been synced, are gone") == true)
    }

    @Test func aTailLostAtARecordsEndIsMissed() throws {
        let wal = try walFile()
        let bytes = try Files.read(wal)
        // The last record begins where a scan of all but its last byte says so.
        let verdict = bytes.dropLast().withUnsafeBytes { LogFileScan.verdict($0) }
        guard case .torn(let offset) = verdict else {
            Issue.record("the cut record is not torn but \(verdict)")
            return
        }
        try Files.truncate(wal, to: offset)
        try expectRefusal(.missingEntries, naming: "acknowledged entries are missing")
    }

    @Test(arguments: [20, 100, 1500, 5000, 9000, 15000])
    func aFlippedByteInAnEarlierRecordIsRefusedAndNothingChanges(offset: Int) throws {
        let wal = try walFile()
        try flip(wal, at: offset)
        try expectRefusal(.corruption, naming: wal)
        try forgetThatTheLastRecordWasSynced()
        try expectRefusal(.corruption, naming: wal)
    }

    @Test func aFlippedByteInTheLastRecordsPayloadIsRefused() throws {
        try forgetThatTheLastRecordWasSynced()
        let wal = try walFile()
        try flip(wal, at: Files.size(of: wal) - 500)
        try expectRefusal(.corruption, naming: wal)
    }

    @Test func everyFlippedByteOfEveryEarlierRecordIsDamage() throws {
        do {
            let (small, _) = try RaftLog.open(directory: log)
            for index in 13...24 as ClosedRange<UInt64> {
                try small.append(hardState: nil, entries: entries(index...index, term: 1, size: 90))
            }
        }
        var bytes = try Files.read(walFile())
        #expect(bytes.withUnsafeBytes { LogFileScan.verdict($0) } == .whole)
        guard case .torn(let last) = bytes.dropLast().withUnsafeBytes({ LogFileScan.verdict($0) }) else {
            Issue.record("a record without its last byte is not torn")
            return
        }
        for offset in 0..<last {
            for mask in [0x01, 0x80] as [UInt8] {
                bytes[offset] ^= mask
                if case .damaged = bytes.withUnsafeBytes({ LogFileScan.verdict($0) }) {
                } else {
                    Issue.record("a flip at byte \(offset) is not seen as damage")
                }
                bytes[offset] ^= mask
            }
        }
        // However much of the last record is missing, it is torn, never damage or silence.
        for count in last + 1..<bytes.count {
            #expect(bytes[..<count].withUnsafeBytes { LogFileScan.verdict($0) } == .torn(offset: last))
        }
    }

    @Test func aCutInAnOlderOfSeveralFilesIsDamage() throws {
        let wal = try walFile()
        let newer = log + "/records/999998.log"
        try FileManager.default.copyItem(atPath: wal, toPath: newer)
        try Files.truncate(wal, to: Files.size(of: wal) - 100)
        try expectRefusal(.corruption, naming: wal)
        // Even with nothing in the newer one.
        try Files.truncate(newer, to: 0)
        try expectRefusal(.corruption, naming: wal)
    }

    @Test func aFlipInAnyOfSeveralFilesIsRefused() throws {
        let wal = try walFile()
        let newer = log + "/records/999998.log"
        try FileManager.default.copyItem(atPath: wal, toPath: newer)
        for path in [wal, newer] {
            try flip(path, at: 3000)
            try expectRefusal(.corruption, naming: path)
            try flip(path, at: 3000)
        }
    }

    @Test func aLargeRecordOverManyBlocksIsTornOrDamagedAsAWhole() throws {
        do {
            let (log, _) = try RaftLog.open(directory: log)
            try log.append(hardState: nil, entries: entries(13...13, term: 1, size: 200_000))
        }
        let wal = try walFile()
        var bytes = try Files.read(wal)
        let whole = bytes
        for size in stride(from: bytes.count - 1, to: bytes.count - 199_000, by: -9_973) {
            guard case .torn = whole[..<size].withUnsafeBytes({ LogFileScan.verdict($0) }) else {
                Issue.record("cut to \(size) bytes it is not torn")
                continue
            }
        }
        bytes[100_000] ^= 1
        #expect(bytes.withUnsafeBytes { if case .damaged = LogFileScan.verdict($0) { true } else { false } })
    }

    @Test func aFlipInTheManifestIsRefused() throws {
        let name = try #require(try Files.list(log + "/records").first { $0.hasPrefix("MANIFEST") })
        for offset in [4, 6, 30] {
            try flip(log + "/records/" + name, at: offset)
            try expectRefusal(.corruption, naming: name)
            try flip(log + "/records/" + name, at: offset)
        }
    }

    @Test(arguments: 1...40)
    func aCutManifestLosesNothingOrIsRefused(missing: Int) throws {
        // Two opens, so that its last records say where the log's records are now.
        for _ in 0..<2 { _ = try RaftLog.open(directory: log) }
        let name = try #require(try Files.list(log + "/records").first { $0.hasPrefix("MANIFEST") })
        let manifest = log + "/records/" + name
        try Files.truncate(manifest, to: Files.size(of: manifest) - missing)
        let before = try contents(of: log)
        do {
            #expect(try RaftLog.open(directory: log).1.entries.count == 12)
        } catch is StorageError {
            #expect(try contents(of: log) == before)
        }
    }

    @Test func aFlipInATableFileIsRefused() throws {
        // An open moves the records from the write-ahead log to a table file.
        do { _ = try RaftLog.open(directory: log) }
        let table = try #require(try Files.list(log + "/records").first { $0.hasSuffix(".sst") })
        try flip(log + "/records/" + table, at: 4000)
        try expectRefusal(.corruption, naming: table)
    }

    @Test func anInterruptedOpenIsBegunAgainFromTheSameFiles() throws {
        let before = try contents(of: log)
        // The copy that an open takes, whole, and the database half gone.
        try directory.copy("log/records", to: "log/opening")
        try FileManager.default.removeItem(atPath: log + "/records/CURRENT")
        try OpeningCopy.restoreInterrupted(log + "/records", at: log + "/opening")
        #expect(try contents(of: log) == before)
        // One that was not whole yet is dropped.
        try directory.copy("log/records", to: "log/opening.partial")
        try OpeningCopy.restoreInterrupted(log + "/records", at: log + "/opening")
        #expect(try contents(of: log) == before)
        #expect(try RaftLog.open(directory: log).1.entries.count == 12)
        #expect(try Files.list(log) == ["records", "witness"])
    }

    @Test func aDatabaseThatIsGoneIsMissedWhileItsWitnessRemains() throws {
        try FileManager.default.removeItem(atPath: log + "/records")
        try expectRefusal(.missingEntries, naming: "acknowledged entries are missing")
    }

    @Test func aMissingCurrentFileIsNotTakenForAnEmptyLog() throws {
        try FileManager.default.removeItem(atPath: log + "/records/CURRENT")
        try expectRefusal(.corruption, naming: "CURRENT")
    }

    /// RocksDB aborts the process by an assertion when a record is older than what it holds.
    @Test func aFileOfAnotherTimeIsRefusedByItsSequenceNumbers() throws {
        let old = try Files.read(walFile())
        do {
            let (log, _) = try RaftLog.open(directory: log)
            for index in 13...20 as ClosedRange<UInt64> {
                try log.append(hardState: nil, entries: entries(index...index, term: 1, size: 1500))
            }
        }
        let wal = try walFile()
        let whole = try Files.read(wal)
        try Files.write(whole + old, to: wal)
        try expectRefusal(
            .corruption, naming: "\(wal) is damaged: the record at byte \(whole.count) has sequence number")
        // A file in between that is gone shows in the same way.
        try Files.write(whole, to: wal)
        let later = whole.withUnsafeBytes { bytes in
            var scan = LogFileScan.scan(bytes, .batches(due: nil))
            scan.due? += 5
            return scan.due
        }
        var record = [UInt8](repeating: 0, count: 7)
        record += withUnsafeBytes(of: (later ?? 0).littleEndian) { [UInt8]($0) } + [1, 0, 0, 0] + [0, 1, 1, 1, 1]
        record[4] = UInt8(record.count - 7)
        record[6] = 1
        let checksum = record[6...].withUnsafeBytes { CRC32C.masked(CRC32C.checksum($0)) }
        record.replaceSubrange(0..<4, with: withUnsafeBytes(of: checksum.littleEndian) { [UInt8]($0) })
        try Files.write(record, to: log + "/records/999999.log")
        try expectRefusal(.corruption, naming: "is of another time, or lacks a part")
    }

    @Test func aMissingWitnessIsSaid() throws {
        try FileManager.default.removeItem(atPath: log + "/witness")
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries.count == 12)
        #expect(recovered.notices.count == 1 && recovered.notices[0].contains("witness is missing"))
    }

    /// A note of the version before the changes were counted.
    @Test func anOlderWitnessIsStillBelieved() throws {
        var content: [UInt8] = []
        for value in [1, 13, 1, 1] as [UInt64] { content.appendLittleEndian(value) }
        try Files.write(SealedNote.seal(content), to: log + "/witness")
        try expectRefusal(.missingEntries, naming: "had been synced to index 13")
    }

    @Test func aWitnessThatDoesNotCheckIsPassedOverWithANotice() throws {
        try flip(log + "/witness", at: 8)
        let (_, recovered) = try RaftLog.open(directory: log)
        #expect(recovered.entries.count == 12)
        #expect(recovered.notices.count == 1)
    }

    @Test func aVoteThatWasForgottenIsMissed() throws {
        do {
            let (log, _) = try RaftLog.open(directory: log)
            try directory.copy("log/records", to: "before")
            try log.append(hardState: HardState(term: Term(2), vote: MemberID(3)), entries: [])
        }
        try FileManager.default.removeItem(atPath: log + "/records")
        try directory.copy("before", to: "log/records")
        try expectRefusal(.missingEntries, naming: "a vote of term 2")
    }

    @Test func aLostTruncateAndRewriteIsSeenByTheChain() throws {
        // The same indexes and terms on both sides, so that only the chain can tell.
        let first = LogRecord.encode(entries(1...3, term: 1), predecessorChecksum: 0, predecessorTerm: .zero)
        let rewritten = LogRecord.encode(entries(1...3, term: 2), predecessorChecksum: 0, predecessorTerm: .zero)
        #expect(first.checksum != rewritten.checksum)
        let path = directory.file("chain")
        do {
            let (log, _) = try RaftLog.open(directory: path)
            try log.append(hardState: nil, entries: entries(1...3, term: 2))
            try log.append(hardState: nil, entries: entries(4...4, term: 2))
        }
        do {
            // Puts back what the rewrite had replaced.
            let database = try openDatabase(path + "/records", settings: "", named: "log")
            let batch = WriteBatch()
            batch.put(LogRecord.key(LogIndex(1)), first.bytes)
            try database.write(batch, .synced)
        }
        do {
            _ = try RaftLog.open(directory: path)
            Issue.record("the log was opened")
        } catch let error as StorageError {
            #expect(error.kind == .corruption && error.description.contains("index 4"))
        }
    }
}

extension LogFileScan {
    /// Of a write-ahead log.
    fileprivate static func verdict(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        scan(bytes, .batches(due: nil)).verdict
    }
}
