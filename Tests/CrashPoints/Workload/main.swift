import Glibc
import Raft
import Replica
import Storage
import Store

/// A member's disk at work, for the tests of crashes: what the threads of a member do with log and state, in their order
/// and through the same calls, but one after the other and by a script.
///
///     crash-workload snapshot FILE      writes the snapshot that `work` installs
///     crash-workload work DIR FILE      does the script, and says on its output what is promised from then on
///     crash-workload inspect DIR        starts on what a crash left, prints what is there, and goes on to the end
///
/// Everything is about one reference log, of which every entry is a function of its index: a member that holds a part
/// of it, and is given the rest, must come to the same state as any other.
enum Workload {
    static let identity = MemberIdentity(clusterID: 7, memberID: MemberID(1))
    static let configuration = ConfState(voters: [MemberID(1), MemberID(2), MemberID(3)])
    static let lastIndex: UInt64 = 90
    static let snapshotIndex: UInt64 = 70
    /// Small files, so that a short log has several.
    static let logSettings = ";write_buffer_size=65536"

    static func main(_ arguments: [String]) throws {
        switch (arguments.dropFirst().first, arguments.count) {
        case ("snapshot", 3): try writeSnapshot(to: arguments[2])
        case ("work", 4): try work(in: arguments[2], snapshot: arguments[3])
        case ("inspect", 3): try inspect(arguments[2])
        default:
            say("usage: crash-workload snapshot FILE | work DIR FILE | inspect DIR")
            exit(2)
        }
    }

    /// One line, at once: what is said is promised.
    static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        guard write(1, bytes, bytes.count) == bytes.count else { exit(3) }
    }

    // MARK: The reference log

    static func term(of index: UInt64) -> Term { index <= 40 ? Term(1) : Term(3) }

    static func entry(_ index: UInt64) -> Entry { entry(index, term: term(of: index), "value") }

    /// An entry of a leader that lost its lead before the entry was committed: never to be applied.
    static func orphan(_ index: UInt64) -> Entry { entry(index, term: Term(2), "orphan") }

    private static func entry(_ index: UInt64, term: Term, _ word: String) -> Entry {
        let value = Array(String(repeating: "\(word) \(index) ", count: 40 + Int(index % 5) * 60).utf8)
        // Leases are in the notes of the state, all else in its history.
        let command: StoreCommand =
            index % 13 == 5
            ? .leaseGrant(LeaseGrantCommand(id: Int64(index), ttl: 60 + Int64(term.rawValue)))
            : .put(PutCommand(key: Array("key \(index % 17)".utf8), value: value))
        // Each its own request: none is a repetition of another.
        let proposal = Proposal(
            origin: MemberID(2), requestID: RequestID(index), command: .store(command))
        return Entry(term: term, index: LogIndex(index), payload: proposal.encoded())
    }

    static func entries(_ range: ClosedRange<UInt64>) -> [Entry] { range.map { entry($0) } }
}

do {
    try Workload.main(CommandLine.arguments)
} catch {
    Workload.say("failed: \(error)")
    exit(1)
}
