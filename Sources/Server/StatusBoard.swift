import Replica
import Synchronization

/// What any thread may want to know about the member right now. Each field is the last value its owner wrote.
struct MemberStatus: Sendable {
    var leadership: Leadership
    var committed = LogIndex.zero
    var applied = LogIndex.zero
    var revision: Int64 = 1
    var leaderChanges: UInt64 = 0
    var databaseBytes: Int64 = 0
    var databaseBytesInUse: Int64 = 0

    mutating func note(_ leadership: Leadership) {
        if leadership.leader != .none,
            leadership.leader != self.leadership.leader || leadership.term != self.leadership.term
        {
            leaderChanges += 1
        }
        self.leadership = leadership
    }
}

/// The status that the threads share, behind one short lock.
final class StatusBoard: Sendable {
    private let status: Mutex<MemberStatus>

    init(_ status: MemberStatus) { self.status = Mutex(status) }

    var current: MemberStatus { status.withLock { $0 } }

    @discardableResult
    func update<Result: Sendable>(_ change: (inout MemberStatus) -> Result) -> Result {
        status.withLock { status in change(&status) }
    }
}
