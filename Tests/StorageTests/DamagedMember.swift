import Foundation
import Raft
import RocksDB
import Store
import Testing

@testable import Storage

/// A stopped member's data directory, as `kill -9` leaves it: a log whose end lies in several write-ahead logs and whose
/// beginning in tables, and a state of several tables whose newest part was only in memory.
struct StoredMember {
    /// Ways in which the same member may have stopped.
    enum Ending: String, CaseIterable {
        /// The log ends in a commit index alone, as that of a member does that was idle for a moment.
        case rest = "at rest"
        /// It ends in entries that the witness note saw.
        case proven = "after an append"
        /// It ends in entries whose append had not returned.
        case unproven = "during an append"
    }

    let root: TemporaryDirectory
    /// Earlier states of the directory, oldest first.
    var former: [String] { ["former-1", "former-2"].map(root.file) }

    func path(_ ending: Ending) -> String { root.file(ending.rawValue.replacingOccurrences(of: " ", with: "-")) }
    /// As it was before the last record.
    var beforeLastAppend: String { root.file("before-last-append") }

    /// Small write buffers that are not emptied until there are six, so that as many write-ahead logs are in use.
    private static let settings =
        ";write_buffer_size=65536;max_write_buffer_number=12;min_write_buffer_number_to_merge=8"
    private static let identity = MemberIdentity(clusterID: 7, memberID: MemberID(9))
    private static let configuration = ConfState(voters: [MemberID(7), MemberID(8), MemberID(9)])

    init() throws {
        root = try TemporaryDirectory()
        let data = root.file("data")
        var last: UInt64 = 0
        var term: UInt64 = 1

        func session(_ body: (RaftLog, StateDatabase) throws -> Void) throws {
            let (storage, recovery) = try MemberStorage.open(
                dataDirectory: data, newIdentity: Self.identity, initialConfiguration: Self.configuration,
                logSettings: Self.settings)
            let state = try StateDatabase(storage.states.files)
            for entry in recovery.log.entries where entry.index > state.applied.index { try apply(entry, to: state) }
            try body(storage.log, state)
        }
        func apply(_ entry: Entry, to state: StateDatabase) throws {
            state.append(
                Revision(main: Int64(entry.index.rawValue)), tombstone: false, record: entry.payload)
            state.setNote(bytes("last"), bytes("\(entry.index.rawValue)"))
            try state.commit(applied: entry.index, term: entry.term, configuration: Self.configuration)
        }
        func append(_ count: UInt64, size: Int, to log: RaftLog, _ state: StateDatabase, vote: UInt64 = 8) throws {
            let appended = entries(last + 1...last + count, term: term, size: size)
            try log.append(
                hardState: HardState(term: Term(term), vote: MemberID(vote), commit: LogIndex(last)), entries: appended)
            for entry in appended { try apply(entry, to: state) }
            last += count
        }

        try session { log, state in
            for round in 1...12 as ClosedRange<UInt64> {
                try append(round % 4 + 1, size: 90 * Int(round), to: log, state)
                if round % 4 == 0 { try state.flush() }
            }
            // A conflict: what was not committed is replaced by a new leader's entries.
            try log.append(hardState: nil, entries: entries(last + 1...last + 6, term: 1))
            term = 2
            try append(2, size: 300, to: log, state)
            try state.flush()
        }
        try copy(data, to: former[0])
        // Once more from the write-ahead log to tables, so that there are several.
        try session { log, state in
            for round in 1...14 as ClosedRange<UInt64> { try append(round % 3 + 1, size: 1200, to: log, state) }
            try state.flush()
            try log.truncatePrefix(upTo: LogIndex(last - 20))
        }
        try copy(data, to: former[1])
        try session { log, state in
            term = 3
            for round in 1...9 as ClosedRange<UInt64> { try append(round % 4 + 1, size: 9_000, to: log, state) }
            try append(1, size: 70_000, to: log, state)
            try state.flush()
            for round in 1...6 as ClosedRange<UInt64> { try append(round % 3 + 1, size: 9_000, to: log, state) }
            for _ in 1...5 { try append(3, size: 700, to: log, state) }
            try copy(data, to: beforeLastAppend)
            try append(2, size: 1500, to: log, state)
            try copy(data, to: path(.proven))
            try copy(data, to: path(.unproven))
            let witness = "/member/witness"
            try Files.write(Files.read(beforeLastAppend + witness), to: path(.unproven) + witness)
            try log.append(
                hardState: HardState(term: Term(term), vote: MemberID(8), commit: LogIndex(last)), entries: [])
            try copy(data, to: path(.rest))
        }
    }

    private func copy(_ data: String, to path: String) throws {
        try FileManager.default.copyItem(atPath: data, toPath: path)
    }
}

/// Something that happens to a stopped member's files.
struct Damage: Sendable {
    /// The row of the matrix.
    var row: String
    /// The case, for the report of a failure.
    var name: String
    var ending: StoredMember.Ending
    /// The path of the file or directory, below the data directory.
    var file: String
    var change: Change
    /// The files are what they were before the last append, which had not returned.
    var isBeforeLastAppend = false

    enum Change: Sendable {
        case flip(offset: Int, mask: UInt8)
        case zero(Range<Int>)
        case truncate(Int)
        case append([UInt8])
        case delete
        case replace(with: String)
    }

    /// A member writes to these in place, or locks them; all others may be shared with the original by a link.
    private static func isWrittenInPlace(_ path: String) -> Bool {
        path.hasSuffix("/lock") || path.hasSuffix("/LOCK") || path.hasSuffix("/witness")
    }

    /// Makes `target` a damaged copy of `source`.
    func makeCopy(of source: String, at target: String) throws {
        for (path, isDirectory) in try walk(source) {
            if isDirectory {
                guard mkdir(target + "/" + path, 0o700) == 0 else { throw Files.error("make", target + "/" + path) }
            } else if Self.isWrittenInPlace(path) || path == file {
                try plainWrite(Files.read(source + "/" + path), to: target + "/" + path)
            } else {
                try Files.link(source + "/" + path, to: target + "/" + path)
            }
        }
        try damage(target + "/" + file)
    }

    private func damage(_ path: String) throws {
        switch change {
        case .delete:
            try Files.remove(path)
        case .replace(let other):
            try Files.remove(path)
            try FileManager.default.copyItem(atPath: other, toPath: path)
        case .flip(let offset, let mask):
            var bytes = try Files.read(path)
            bytes[offset] ^= mask
            try plainWrite(bytes, to: path)
        case .zero(let range):
            var bytes = try Files.read(path)
            for place in range.clamped(to: 0..<bytes.count) { bytes[place] = 0 }
            try plainWrite(bytes, to: path)
        case .truncate(let size):
            try plainWrite([UInt8](Files.read(path).prefix(size)), to: path)
        case .append(let more):
            try plainWrite(Files.read(path) + more, to: path)
        }
    }
}

/// Every file and directory below a path, directories before what is in them.
func walk(_ directory: String, below prefix: String = "") throws -> [(path: String, isDirectory: Bool)] {
    var found: [(path: String, isDirectory: Bool)] = prefix.isEmpty ? [("", true)] : []
    for name in try Files.list(directory) {
        var status = stat()
        let path = directory + "/" + name
        guard stat(path, &status) == 0 else { throw Files.error("look at", path) }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        found.append((prefix + name, isDirectory))
        if isDirectory { found += try walk(path, below: prefix + name + "/") }
    }
    return found
}

/// Without the sync that a real write has.
private func plainWrite(_ bytes: [UInt8], to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard descriptor >= 0 else { throw Files.error("create", path) }
    defer { close(descriptor) }
    try bytes.withUnsafeBytes { try Files.writeAll($0, to: descriptor, path) }
}
