import RocksDB

/// The opening of one database, which can be taken back until it is finished: its files are scanned, a copy of them is
/// kept beside, and what a stop of the machine left half written is cut off, all before RocksDB sees them.
///
/// RocksDB's open replaces the manifest, turns write-ahead logs into tables and deletes every table that the manifest
/// does not name. Whether what it came to is what was there is known only when log and state have been read and compared.
struct DatabaseOpening {
    let path: String
    let inspection: DatabaseInspection
    private let copy: OpeningCopy
    private let keptIn: String

    /// Puts back what an interrupted opening left, and scans. Throws on damage, and then has changed nothing.
    ///
    /// - Parameters:
    ///   - path: the database's directory; files that are taken out are kept beside it, in `damaged`.
    ///   - copyPath: a name beside it for the copy.
    ///   - scans: false only to show in a test what the scan is for.
    static func inspect(_ path: String, copyPath: String, scans: Bool = true) throws -> DatabaseInspection {
        try OpeningCopy.restoreInterrupted(path, at: copyPath)
        return scans ? try DatabaseInspection(path) : DatabaseInspection(unscanned: path)
    }

    /// Begins to open what was inspected.
    init(_ path: String, copyPath: String, _ inspection: DatabaseInspection) throws {
        self.path = path
        self.inspection = inspection
        keptIn = Files.parent(of: path) + "/damaged"
        try Files.makeDirectory(path)
        copy = try OpeningCopy(of: path, at: copyPath, written: inspection.torn.map(\.name))
        do {
            for torn in inspection.torn { try Files.truncate(torn.path, to: torn.offset) }
        } catch {
            takeBack()
            throw error
        }
    }

    /// Makes everything as it was, the database being closed. Where the disk refuses even that, the next opening
    /// does it.
    func takeBack() { try? copy.restore() }

    /// Keeps the opened database as it is now. Answers what to tell the operator.
    func finish() throws -> [String] {
        if !inspection.torn.isEmpty {
            try Files.remove(keptIn)
            try Files.makeDirectory(keptIn)
            for torn in inspection.torn { try copy.link(torn.name, into: keptIn) }
            try Files.sync(keptIn)
        }
        let notices = try inspection.torn.map { torn in
            let kept = keptIn + "/" + torn.name
            return torn.notice(size: try Files.size(of: kept), kept: kept)
        }
        try copy.discard()
        return notices
    }
}

/// Opens a database, making its directory if need be. `what` is what the operator knows it as.
func openDatabase(
    _ path: String, settings: String, access: Database.Access = .readWrite, named what: String
) throws -> Database {
    if access == .readWrite { try Files.makeDirectory(path) }
    do throws(RocksDBError) {
        return try Database(path: path, options: .init(settings: settings, access: access))
    } catch {
        let advice =
            error.isCorruption
            ? StorageError.rejoin
            : "look at the disk, and at the permissions and the owner of the directory"
        throw StorageError(
            error.isCorruption ? .corruption : .system, path,
            "the \(what) in \(path) cannot be opened: \(error.message)\(suspects(error, in: path)); \(advice)")
    }
}

/// When RocksDB names no file, or blames its list of files, which was scanned and is whole: what it may mean.
private func suspects(_ error: RocksDBError, in path: String) -> String {
    guard error.isCorruption, !error.message.contains(".sst"), !error.message.contains(".log"),
        let tables = try? Files.list(path).filter({ $0.hasSuffix(".sst") }), !tables.isEmpty
    else { return "" }
    return " (one of the tables is meant: " + tables.map { path + "/" + $0 }.joined(separator: ", ") + ")"
}

extension StorageError {
    /// What RocksDB found while it read from the log or the state.
    init(reading what: String, _ error: RocksDBError) {
        let advice = error.isCorruption ? Self.rejoin : "look at the disk"
        self.init(
            error.isCorruption ? .corruption : .system, error.path,
            "the \(what) in \(error.path) cannot be read: \(error.message); \(advice)")
    }
}
