import Raft
import Replica
import Storage
import Store

/// An open member: the steps of its log thread, its apply thread and its flush thread.
final class Member {
    let storage: MemberStorage
    private(set) var recovery: MemberRecovery
    private(set) var machine: ApplyMachine<StateDatabase>
    private var hardState: HardState

    /// Starts on a directory as a member does: what the log holds beyond the state is not applied yet.
    init(_ directory: String) throws {
        (storage, recovery) = try MemberStorage.open(
            dataDirectory: directory, newIdentity: Workload.identity,
            initialConfiguration: Workload.configuration, logSettings: Workload.logSettings)
        hardState = recovery.log.hardState
        machine = try ApplyMachine(
            id: Workload.identity.memberID, history: try StateDatabase(storage.states.files),
            applied: recovery.applied.index, term: recovery.applied.term,
            configuration: recovery.applied.configuration)
    }

    /// The log thread's write: durable when it returns.
    func append(_ entries: [Entry], term: UInt64, commit: UInt64) throws {
        hardState = HardState(term: Term(term), vote: MemberID(2), commit: LogIndex(commit))
        Workload.say("appending \(entries.last?.index.rawValue ?? 0)")
        try storage.log.append(hardState: hardState, entries: entries)
        Workload.say("voted \(term)")
        if let last = entries.last { Workload.say("appended \(last.index.rawValue) \(last.term.rawValue)") }
    }

    /// The apply thread's batch: in memory until the next flush.
    func apply(_ entries: [Entry]) throws {
        _ = try machine.apply(entries)
        try machine.commit { try $0.commit(applied: $1, term: $2, configuration: $3) }
    }

    /// The flush thread's work, and what consensus makes of it: the log may begin after what is durable.
    func flush() throws -> UInt64 {
        let mark = try StateFlusher(storage.states.files).flush()
        Workload.say("flushed \(mark.index.rawValue)")
        return mark.index.rawValue
    }

    func trim(upTo index: UInt64) throws {
        try storage.log.truncatePrefix(upTo: LogIndex(index))
        Workload.say("trimmed \(index)")
    }

    /// A snapshot as it comes in, and is installed by log thread and apply thread, with the entries that follow it.
    func install(_ chunks: [[UInt8]], term: UInt64, then entries: [Entry]) throws {
        let receiver = try storage.states.makeReceiver()
        for chunk in chunks { _ = try receiver.receive(chunk) }
        guard let mark = receiver.mark else { throw WorkloadError("the snapshot has no mark") }
        // The term first, without a commit index that counts the snapshot's entries.
        try storage.log.append(
            hardState: HardState(term: Term(term), vote: hardState.vote, commit: hardState.commit), entries: [])
        Workload.say("voted \(term)")
        Workload.say("appending \(entries.last?.index.rawValue ?? mark.index.rawValue)")
        let state = try StateDatabase(receiver.install())
        try machine.replaceState(
            state, applied: mark.index, term: mark.term, configuration: mark.configuration)
        Workload.say("flushed \(mark.index.rawValue)")
        try storage.log.reset(toSnapshot: mark.index, term: mark.term)
        try append(entries, term: term, commit: entries.last?.index.rawValue ?? mark.index.rawValue)
    }

    /// What the state comes to: the history's checksum as every member counts it, and all notes.
    func digest() throws -> String {
        let hash = try machine.store.hashKV().get().hash
        var notes = UInt64(14_695_981_039_346_656_037)
        try machine.store.history.scanNotes(prefix: []) { key, value in
            // FNV-1a.
            for byte in key + [0] + value + [0] { notes = (notes ^ UInt64(byte)) &* 1_099_511_628_211 }
            return true
        }
        return "\(machine.applied.rawValue)/\(machine.appliedTerm.rawValue) revision \(machine.store.revision) "
            + "hash \(hash) notes \(notes)"
    }
}

struct WorkloadError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
