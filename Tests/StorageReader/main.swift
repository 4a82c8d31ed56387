// Opens members' data directories as gulpd does and says what it found, for the tests of damaged files: in a process of
// its own, so that a directory that makes RocksDB abort is a result and not the end of the test.
//
// Reads lines `CHECKS DIRECTORY` (the raw value of `StorageChecks`), answers each with one line of tab-separated fields:
//
//     opened   DIGEST   LAST INDEX   NOTICES
//     refused  MESSAGE                            the directory was not opened
//     stopped  MESSAGE                            it was, but could not be read

import Glibc
import Raft
import RocksDB
import Storage
import Store

/// A digest of everything that the member would serve: its log, its votes, and the state as it is when the log is applied.
struct Digest {
    private var low: UInt32 = 0
    private var high: UInt32 = 0x5eed

    mutating func add(_ bytes: [UInt8]) {
        let size = withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { [UInt8]($0) }
        for part in [size, bytes] {
            low = part.withUnsafeBytes { CRC32C.checksum($0, continuing: low) }
            high = part.reversed().withUnsafeBytes { CRC32C.checksum($0, continuing: high) }
        }
    }

    mutating func add(_ text: String) { add([UInt8](text.utf8)) }

    var text: String { String(high, radix: 16) + "-" + String(low, radix: 16) }
}

/// What a state holds, in memory, so that entries can be applied to it without changing it.
struct Contents {
    var records: [Revision: [UInt8]] = [:]
    var notes: [[UInt8]: [UInt8]] = [:]

    init(_ state: StateDatabase) throws {
        var records = records
        var notes = notes
        try state.scan(from: Revision(main: 0), through: Revision(main: .max, sub: .max)) { revision, _, record in
            records[revision] = [UInt8](record)
            return true
        }
        try state.scanNotes(prefix: []) { key, value in
            notes[key] = value
            return true
        }
        self.records = records
        self.notes = notes
    }

    /// What the tests' members do with an entry: the payload is an event, and one note counts them.
    mutating func apply(_ entry: Entry) {
        records[Revision(main: Int64(entry.index.rawValue))] = entry.payload
        notes[Array("last".utf8)] = Array("\(entry.index.rawValue)".utf8)
    }
}

func open(_ directory: String, _ checks: StorageChecks) throws -> (MemberStorage, MemberRecovery) {
    try MemberStorage.open(
        dataDirectory: directory, newIdentity: MemberIdentity(clusterID: 7, memberID: MemberID(9)), checks: checks)
}

func read(_ storage: MemberStorage, _ recovery: MemberRecovery) throws -> String {
    let state = try StateDatabase(storage.states.files)
    var contents = try Contents(state)
    var digest = Digest()
    let log = recovery.log
    digest.add("\(storage.identity) \(log.base) \(log.hardState) \(state.applied.configuration)")
    for entry in log.entries {
        digest.add("\(entry.term) \(entry.index) \(entry.kind)")
        digest.add(entry.payload)
        if entry.index > state.applied.index { contents.apply(entry) }
    }
    for (revision, record) in contents.records.sorted(by: { $0.key < $1.key }) {
        digest.add("\(revision)")
        digest.add(record)
    }
    for (key, value) in contents.notes.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
        digest.add(key)
        digest.add(value)
    }
    let notices = recovery.notices.joined(separator: " | ")
    return "opened\t\(digest.text)\t\(log.last.index.rawValue)\t\(notices)"
}

while let line = readLine() {
    let words = line.split(separator: " ", maxSplits: 1)
    guard words.count == 2, let checks = Int(words[0]) else { break }
    var answer = ""
    do {
        let (storage, recovery) = try open(String(words[1]), StorageChecks(rawValue: checks))
        do { answer = try read(storage, recovery) } catch { answer = "stopped\t\(error)" }
    } catch {
        answer = "refused\t\(error)"
    }
    print(String(answer.map { $0.isNewline ? " " : $0 }))
    flush()
}

/// Standard output is a pipe, which `print` fills before it writes.
func flush() { Glibc.fflush(nil) }
