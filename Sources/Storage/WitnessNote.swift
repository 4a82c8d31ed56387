import Glibc
import Raft

/// How far the log had once been synced: a note beside the log, rewritten after each sync.
///
/// The note itself is not synced, so it may be old or gone after a crash of the machine; but what it says was
/// true once, so a log that recovers to less has lost entries or a vote that were acknowledged.
struct WitnessNote: Equatable {
    var lastTerm = Term.zero
    var lastIndex = LogIndex.zero
    var hardStateTerm = Term.zero
    var vote = MemberID.none
    /// How many changes the log's database had made; 0 in a note of a version that did not count them.
    var changes: UInt64 = 0

    /// Whether a log that ends in this state still holds what `witness` saw. Terms compare first, because a new
    /// leader's entries may replace a longer suffix of older terms. (Raft paper, section 5.4.1.)
    func covers(_ witness: WitnessNote) -> Bool {
        (lastTerm, lastIndex) >= (witness.lastTerm, witness.lastIndex)
            && (hardStateTerm > witness.hardStateTerm
                || hardStateTerm == witness.hardStateTerm && (witness.vote == .none || vote == witness.vote))
    }

    /// The failure of a log that does not hold what this note saw.
    func missing(from path: String, holding found: WitnessNote) -> StorageError {
        StorageError(
            .missingEntries, path,
            "acknowledged entries are missing from the log in \(path): it ends at \(found.place), but had been synced to "
                + "\(place). This member must not vote: \(StorageError.rejoin)")
    }

    /// What to say when a log that covers `witness` lacks its last changes nevertheless; nil when it does not.
    func notice(ofLosing witness: WitnessNote, in path: String) -> String? {
        guard changes < witness.changes else { return nil }
        return
            "the last \(witness.changes - changes) changes of the log in \(path), which had been synced, are gone. No entry "
            + "and no vote was among them, by the witness note, but the commit index, which this member learns again"
    }

    var place: String {
        "index \(lastIndex.rawValue) of term \(lastTerm.rawValue) with a vote of term \(hardStateTerm.rawValue)"
    }

    var encoded: [UInt8] {
        var content: [UInt8] = []
        for value in [lastTerm.rawValue, lastIndex.rawValue, hardStateTerm.rawValue, vote.rawValue, changes] {
            content.appendLittleEndian(value)
        }
        return SealedNote.seal(content)
    }

    init() {}

    init?(decoding bytes: [UInt8]) {
        guard let content = SealedNote.open(bytes) else { return nil }
        // Four numbers until the changes were counted, five since.
        guard content.count == 32 || content.count == 40 else { return nil }
        let values = content.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            return (0..<5).map { _ in reader.littleEndian(UInt64.self) ?? 0 }
        }
        lastTerm = Term(values[0])
        lastIndex = LogIndex(values[1])
        hardStateTerm = Term(values[2])
        vote = MemberID(values[3])
        changes = values[4]
    }
}

/// The open file of a `WitnessNote`. Made durable once, as it is opened: a crash of the machine may lose the last
/// notes, but a member that has run has one.
final class WitnessFile: Sendable {
    private let path: String
    private let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Files.error("open", path) }
    }

    deinit { close(descriptor) }

    /// Makes the note, and the file's name, durable.
    func sync() throws {
        guard fsync(descriptor) == 0 else { throw Files.error("sync", path) }
        try Files.sync(Files.parent(of: path))
    }

    /// Overwrites the note in place: one small write within a sector, and no sync.
    func write(_ note: WitnessNote) throws {
        let bytes = note.encoded
        guard pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else { throw Files.error("write", path) }
    }
}
