/// Where the parts of a log lie in its directory.
///
///     records/   the database
///     opening/   its files as they were, while it is being opened (`OpeningCopy`)
///     damaged/   files as they were before a torn record was cut off
///
/// The witness (`WitnessNote`), which says how far the log had been synced, is a member's own, not its log's: a log
/// directory that is put back as it was earlier does not bring the earlier note with it.
struct LogFiles {
    let directory: String
    let witnessPath: String
    /// Where the note was before it was moved out of the log's directory.
    let formerWitnessPath: String

    init(_ directory: String, witness: String? = nil) {
        self.directory = directory
        formerWitnessPath = directory + "/witness"
        witnessPath = witness ?? formerWitnessPath
    }

    var records: String { directory + "/records" }
    var copy: String { directory + "/opening" }

    /// What became of the note.
    enum Witness: Equatable {
        case missing, damaged
        case valid(WitnessNote)
    }

    func witness() throws -> Witness {
        guard let path = [witnessPath, formerWitnessPath].first(where: Files.exists) else { return .missing }
        return WitnessNote(decoding: try Files.read(path)).map { .valid($0) } ?? .damaged
    }

    /// Throws if the note saw something in a log that is not there.
    func refuseIfMissed(_ witness: Witness) throws {
        if case .valid(let note) = witness, !WitnessNote().covers(note) {
            throw note.missing(from: records, holding: WitnessNote())
        }
    }
}

/// The checks of an opening, all of which are always made; a test leaves some out to show that it would notice.
package struct StorageChecks: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }

    /// Of RocksDB's files before it opens them.
    package static let scan = StorageChecks(rawValue: 1)
    /// That each record of the log was written after the one before it.
    package static let chain = StorageChecks(rawValue: 2)
    /// That the log reaches as far as its witness saw it.
    package static let witness = StorageChecks(rawValue: 4)
    /// That log and state fit each other.
    package static let reconciliation = StorageChecks(rawValue: 8)
    package static let all: StorageChecks = [.scan, .chain, .witness, .reconciliation]
}
