/// What a database's directory holds, found before RocksDB opens it and changes it.
struct DatabaseInspection {
    /// A log file or manifest whose last record was being written when the machine stopped.
    struct TornFile: Equatable {
        var path: String
        var offset: Int
        var name: String { String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...]) }
        var isManifest: Bool { name.hasPrefix("MANIFEST") }
    }

    /// There is no database yet.
    private(set) var isNew = true
    private(set) var torn: [TornFile] = []
    /// The names of the files that were read and checked.
    private(set) var checked: [String] = []

    /// Scans the write-ahead logs and the manifest in `directory`. Throws on damage; changes nothing.
    init(_ directory: String) throws {
        guard Files.exists(directory) else { return }
        let names = try Files.list(directory)
        let logs = names.filter { $0.hasSuffix(".log") }.compactMap { name in
            Int(name.dropLast(4)).map { (number: $0, name: name) }
        }
        .sorted { $0.number < $1.number }.map(\.name)
        let current = directory + "/CURRENT"
        guard names.contains("CURRENT") else {
            guard logs.isEmpty, !names.contains(where: { $0.hasSuffix(".sst") || $0.hasPrefix("MANIFEST") }) else {
                throw Self.damaged(current, "it is missing, though the directory holds a database")
            }
            return
        }
        isNew = false
        guard let manifest = Self.manifest(namedIn: try Files.read(current)) else {
            throw Self.damaged(current, "it does not name a manifest")
        }
        guard names.contains(manifest) else {
            throw Self.damaged(
                directory + "/" + manifest, "it is missing, though \(current) names it as the database's manifest")
        }
        _ = try check(directory + "/" + manifest, .edits, isNewest: true)
        var due: UInt64?
        for name in logs {
            due = try check(directory + "/" + name, .batches(due: due), isNewest: name == logs.last)
        }
        checked = ["CURRENT", manifest] + logs
    }

    /// Believes the directory, for a test that shows what the scan is for.
    init(unscanned directory: String) { isNew = !Files.exists(directory + "/CURRENT") }

    /// Checks one file, notes that it is torn or throws that it is damaged. Answers where the next batch is due.
    private mutating func check(_ path: String, _ contents: LogFileScan.Contents, isNewest: Bool) throws -> UInt64? {
        let (verdict, due) = try Files.read(path).withUnsafeBytes { LogFileScan.scan($0, contents) }
        switch verdict {
        case .whole:
            break
        case .torn(let offset) where isNewest:
            torn.append(TornFile(path: path, offset: offset))
        case .torn(let offset):
            throw Self.damaged(path, "the record at byte \(offset) is cut short, but newer files follow")
        case .damaged(let offset):
            throw Self.damaged(path, "the record at byte \(offset) is not what was written")
        case .misplaced(let offset, let sequence, let due):
            throw Self.damaged(
                path,
                "the record at byte \(offset) has sequence number \(sequence), where \(due) is due: "
                    + (sequence < due ? "it is of another time" : "what was between is gone"))
        }
        return due
    }

    /// The name in a `CURRENT` file, which holds nothing else but the line's end.
    private static func manifest(namedIn bytes: [UInt8]) -> String? {
        let prefix = Array("MANIFEST-".utf8)
        let digits = bytes.dropFirst(prefix.count).dropLast()
        guard bytes.starts(with: prefix), bytes.last == UInt8(ascii: "\n"), !digits.isEmpty,
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return String(decoding: bytes.dropLast(), as: UTF8.self)
    }

    static func damaged(_ path: String, _ what: String) -> StorageError {
        StorageError(
            .corruption, path,
            "\(path) is damaged: \(what); nothing was changed. Restore the file if it can be; "
                + "else \(StorageError.rejoin)")
    }
}
