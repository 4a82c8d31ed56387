import RocksDB

/// What a database's directory holds, found before RocksDB opens it and changes it.
struct DatabaseInspection {
    /// There is no database yet.
    var isNew = true
    /// The newest write-ahead log's last record was being written when the machine stopped.
    var tornLog: (path: String, name: String, offset: Int)?

    /// Scans the write-ahead logs and the manifest in `directory`. Throws on damage; changes nothing.
    init(_ directory: String) throws {
        guard Files.exists(directory) else { return }
        let names = try Files.list(directory)
        let logs = names.filter { $0.hasSuffix(".log") }.compactMap { name in
            Int(name.dropLast(4)).map { (number: $0, name: name) }
        }
        .sorted { $0.number < $1.number }
        guard names.contains("CURRENT") else {
            guard logs.isEmpty, !names.contains(where: { $0.hasSuffix(".sst") }) else {
                throw Self.damaged(directory + "/CURRENT", "it is missing, though the directory holds a database")
            }
            return
        }
        isNew = false
        let manifest =
            directory + "/"
            + String(decoding: try Files.read(directory + "/CURRENT"), as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)[0]
        guard Files.exists(manifest) else {
            throw Self.damaged(directory + "/CURRENT", "it names the manifest \(manifest), which does not exist")
        }
        switch try Self.scan(manifest) {
        // RocksDB leaves a torn record at the manifest's end out by itself.
        case .whole, .torn: break
        case .damaged(let offset): throw Self.damaged(manifest, "the record at byte \(offset) is not what was written")
        }
        for (_, name) in logs {
            let path = directory + "/" + name
            switch try Self.scan(path) {
            case .whole: break
            case .torn(let offset) where name == logs.last?.name: tornLog = (path, name, offset)
            case .torn(let offset):
                throw Self.damaged(path, "the record at byte \(offset) is cut short, but newer files follow")
            case .damaged(let offset): throw Self.damaged(path, "the record at byte \(offset) is not what was written")
            }
        }
    }

    private static func scan(_ path: String) throws -> LogFileScan.Verdict {
        try Files.read(path).withUnsafeBytes { LogFileScan.verdict($0) }
    }

    static func damaged(_ path: String, _ what: String) -> StorageError {
        StorageError(
            .corruption, path,
            "\(path) is damaged: \(what); nothing was changed. Restore the file if it can be; "
                + "else \(StorageError.rejoin)")
    }
}

/// Opens a database, making its directory if need be. `what` is what the operator knows it as.
func openDatabase(_ path: String, settings: String, named what: String) throws -> Database {
    try Files.makeDirectory(path)
    do throws(RocksDBError) {
        return try Database(path: path, options: .init(settings: settings))
    } catch {
        let advice =
            error.isCorruption
            ? StorageError.rejoin
            : "look at the disk, and at the permissions and the owner of the directory"
        throw StorageError(
            error.isCorruption ? .corruption : .system, path,
            "the \(what) in \(path) cannot be opened: \(error.message); \(advice)")
    }
}
