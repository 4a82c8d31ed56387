import RocksDB
import Synchronization

/// The directory of a member's state: one subdirectory per generation, of which the highest is live.
///
///     state/000001/           the state the member began with
///     state/000002/           one installed from a snapshot
///     state/incoming-1/       one being received
///     state/opening-000002/   the live one's files as they were, while it is being opened (`OpeningCopy`)
///     state/damaged/          files as they were before a torn record was cut off
///
/// A generation becomes live by the rename that gives it its number, so there is no moment without a whole one. Being
/// at a path of its own, the former generation can stay open for its readers. Leftovers go when the member starts.
public final class StateDirectory: Sendable {
    public let path: String
    private let live: Mutex<(generation: Int, files: StateFiles)>
    private let receivers = Mutex(0)

    /// Opens the live generation, made if there is none, and removes what interrupted installations left.
    convenience init(path: String) throws {
        try Files.makeDirectory(path)
        let state = try Self.live(in: path)
        let copy = Self.copyPath(of: state)
        let opening = try DatabaseOpening(
            state, copyPath: copy, DatabaseOpening.inspect(state, copyPath: copy))
        do {
            try self.init(opened: opening)
        } catch {
            opening.takeBack()
            throw error
        }
        _ = try opening.finish()
        try removeLeftovers()
    }

    /// Opens the live generation, which can still be taken back when this is let go.
    init(opened opening: DatabaseOpening) throws {
        path = Files.parent(of: opening.path)
        let files = try StateFiles(path: opening.path)
        live = Mutex((Self.generation(of: opening.path), files))
    }

    /// The directory of the live generation, or of the first one. One that is just being put back counts.
    static func live(in path: String) throws -> String {
        let names = Files.exists(path) ? try Files.list(path) : []
        let generations = names.compactMap {
            number($0) ?? ($0.hasPrefix("opening-") ? number(String($0.dropFirst(8))) : nil)
        }
        return subdirectory(path, generations.max() ?? 1)
    }

    /// Where a generation's files are kept while it is being opened.
    static func copyPath(of state: String) -> String {
        Files.parent(of: state) + "/opening-" + Files.name(of: state)
    }

    /// Removes what interrupted installations left, once the live generation is known to be good.
    func removeLeftovers() throws {
        let generation = live.withLock { $0.generation }
        for name in try Files.list(path)
        where name.hasPrefix("incoming-") || Self.number(name).map({ $0 < generation }) ?? false {
            try Files.remove(path + "/" + name)
        }
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

    /// The generation whose directory has this name; nil for other names.
    private static func number(_ name: String) -> Int? {
        name.utf8.count >= 6 && name.allSatisfy { $0.isASCII && $0.isNumber } ? Int(name) : nil
    }

    private static func generation(of path: String) -> Int {
        number(Files.name(of: path)) ?? 1
    }

    private static func subdirectory(_ path: String, _ generation: Int) -> String {
        path + "/" + Files.digits(generation)
    }
}
