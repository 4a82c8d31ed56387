/// A member's disk: the Raft log and the state's history, and what ties them together.
///
///     <data-dir>/member/
///         lock          held by the living process (its number inside)
///         identity      format, cluster and member id; written last, so that a half-made directory shows
///         witness       how far the log had been synced, rewritten after each sync
///         log/          RaftLog: a RocksDB database, every write synced   (--wal-dir moves it)
///         state/000001/ StateDatabase: a RocksDB database written without a log of its own; the Raft log replays it
///
/// What it promises. `RaftLog.append` returns when its entries are on the disk. What an open returns is what was
/// acknowledged, whole, or the open fails: RocksDB's recovery drops data silently after several kinds of damage, so
/// its files are scanned before it sees them, records carry a chain of checksums, and a note beside the log
/// witnesses how far it once reached. An open that fails leaves every file as it was. `StateDatabase` comes back from
/// a crash at the end of some batch, with the applied index, term and membership of that same batch. Snapshots go in
/// and out as streams of checked chunks, and are installed by one rename.
///
/// The formats, the rules for crashes, and what becomes of each kind of damage: docs/storage.md.
///
/// What it leaves to others: which entries to write, when to trim, what a record means. No decision about
/// consensus is made here.

/// A failure of a member's disk, in words for its operator: what happened, on what, and what to do.
public struct StorageError: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// Bytes on the disk are not what was written.
        case corruption
        /// The log or the state ends before something that is known to have been acknowledged.
        case missingEntries
        /// Another process uses the directory.
        case locked
        /// The directory was made by a version this one cannot read, or is not a member's at all.
        case unknownFormat
        /// A snapshot's stream does not check.
        case damagedSnapshot
        /// The operating system refused.
        case system
    }
    public let kind: Kind
    /// The file or directory concerned.
    public let path: String
    public let description: String

    /// What to do about a directory that lost something.
    static let rejoin =
        "keep a copy of the directory, remove this member from the cluster, and add it again with an empty data directory"

    init(_ kind: Kind, _ path: String, _ description: String) {
        self.kind = kind
        self.path = path
        self.description = description
    }
}
