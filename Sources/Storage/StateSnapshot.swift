import Raft
import RocksDB

/// The state at one applied index.
public final class StateSnapshot: Sendable {
    let snapshot: Snapshot
    let files: StateFiles
    public let mark: AppliedMark
    init(_ snapshot: Snapshot, of files: StateFiles, mark: AppliedMark) {
        self.snapshot = snapshot
        self.files = files
        self.mark = mark
    }
}
