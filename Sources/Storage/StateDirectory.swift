import RocksDB
import Synchronization

/// The directory of a member's state: one subdirectory per generation, of which the highest is live.
///
///     state/000001/           the state the member began with
///     state/000002/           one installed from a snapshot
///     state/incoming-1/       one being received
///
/// A generation becomes live by the rename that gives it its number, so there is no moment without a whole one. Being
/// at a path of its own, the former generation can stay open for its readers. Leftovers go when the member starts.
public final class StateDirectory: Sendable {
    public let path: String
    private let live: Mutex<(generation: Int, files: StateFiles)>
    private let receivers = Mutex(0)

    /// Opens the live generation, made if there is none, and removes what interrupted installations left.
    init(path: String) throws {
        self.path = path
        try Files.makeDirectory(path)
        let names = try Files.list(path)
        let generation = names.compactMap { $0.count == 6 ? Int($0) : nil }.max() ?? 1
        let files = try StateFiles(path: Self.subdirectory(path, generation))
        for name in names
        where name.hasPrefix("incoming-") || name.count == 6 && Int(name).map({ $0 < generation }) ?? false {
            try Files.remove(path + "/" + name)
        }
        live = Mutex((generation, files))
    }

    /// The live state's files.
    public var files: StateFiles { live.withLock { $0.files } }

    /// Begins to receive a snapshot.
    public func makeReceiver() throws -> SnapshotReceiver {
        let number = receivers.withLock { count in
            count += 1
            return count
        }
        return try SnapshotReceiver(into: path + "/incoming-\(number)", of: self)
    }

    /// Makes the closed, durable state in `incoming` the live one.
    func install(_ incoming: String) throws -> StateFiles {
        try live.withLock { live in
            let next = Self.subdirectory(path, live.generation + 1)
            try Files.move(incoming, to: next)
            let files = try StateFiles(path: next)
            live.files.database.destroyWhenClosed()
            live = (live.generation + 1, files)
            return files
        }
    }

    private static func name(_ generation: Int) -> String {
        let digits = String(generation)
        return String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }

    private static func subdirectory(_ path: String, _ generation: Int) -> String { path + "/" + name(generation) }
}
