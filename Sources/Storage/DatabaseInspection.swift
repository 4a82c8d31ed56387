/// What a database's directory holds, found before RocksDB opens it and changes it.
struct DatabaseInspection {
    /// A log file or manifest whose last record was being written when the machine stopped.
    struct TornFile: Equatable {
        var path: String
        var offset: Int
        var name: String { Files.name(of: path) }
        var isManifest: Bool { name.hasPrefix("MANIFEST") }

        /// What to tell the operator when the record is dropped from a file of `size` bytes.
        func notice(size: Int, kept: String? = nil) -> String {
            "the last record of \(path), at byte \(offset), is not whole, as when the machine stops during a write; "
                + "nothing shows that \(isManifest ? "it was in use" : "an entry or a vote in it had been acknowledged")"
                + ", and it \(kept == nil ? "is" : "was") dropped (\(size - offset) bytes\(kept.map { "; the file as it was: \($0)" } ?? ""))"
        }
    }

    /// There is no database yet.
    private(set) var isNew = true
    private(set) var torn: [TornFile] = []
    /// The names of the files that were read and checked.
    private(set) var checked: [String] = []

    /// Scans the manifest and the write-ahead logs in `directory`, and looks for all files that the manifest lists.
    /// Throws on damage; changes nothing.
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
        let files = try check(manifest: directory + "/" + manifest)
        for (number, size) in files?.syncedLogs.sorted(by: { $0.key < $1.key }) ?? [] {
            let path = directory + "/" + Self.name(number, "log")
            try Self.check(path, ofSize: size, by: manifest) { $0 >= size }
        }
        for (number, size) in files?.tables.sorted(by: { $0.key < $1.key }) ?? [] {
            let path = directory + "/" + Self.name(number, "sst")
            let found = try Self.check(path, ofSize: size, by: manifest) { $0 == size }
            try TableFooter.check(path, size: found)
        }
        try check(logs: logs, in: directory, files)
        checked = ["CURRENT", manifest] + logs + (files?.tables.keys.sorted().map { Self.name($0, "sst") } ?? [])
    }

    private static func name(_ number: UInt64, _ suffix: String) -> String {
        Files.digits(number) + "." + suffix
    }

    /// Believes the directory, for a test that shows what the scan is for.
    init(unscanned directory: String) { isNew = !Files.exists(directory + "/CURRENT") }

    /// Answers what files the manifest lists; nil if it has fields that are not known here.
    private mutating func check(manifest path: String) throws -> DatabaseFileList? {
        let (verdict, _, edits) = try Files.read(path).withUnsafeBytes { LogFileScan.scan($0, .edits) }
        switch verdict {
        case .whole: break
        case .torn(let offset): torn.append(TornFile(path: path, offset: offset))
        case .damaged(let offset), .misplaced(let offset, _, _):
            throw Self.damaged(path, "the record at byte \(offset) is not what was written")
        }
        return DatabaseFileList(edits)
    }

    /// Checks that the logs are whole and continue each other; the last may be torn.
    private mutating func check(logs: [String], in directory: String, _ files: DatabaseFileList?) throws {
        var due: UInt64?
        var previous: String?
        for name in logs {
            let path = directory + "/" + name
            // Those that are not read any more may hold what is in tables already.
            let isRead = UInt64(name.dropLast(4)).map { $0 >= files?.firstLog ?? 0 } ?? true
            let after = isRead ? files?.highestSequence ?? 0 : 0
            let (verdict, next, _) = try Files.read(path).withUnsafeBytes {
                LogFileScan.scan($0, .batches(due: due, after: after))
            }
            switch verdict {
            case .whole:
                break
            case .torn(let offset) where name == logs.last:
                torn.append(TornFile(path: path, offset: offset))
            case .torn(let offset):
                throw Self.damaged(path, "the record at byte \(offset) is cut short, but newer files follow")
            case .damaged(let offset):
                throw Self.damaged(path, "the record at byte \(offset) is not what was written")
            case .misplaced(let offset, let sequence, let due):
                let before = offset == 0 ? previous.map { " by what is in \($0): one of the two files" } : nil
                throw Self.damaged(
                    path,
                    "the record at byte \(offset) has sequence number \(sequence), where \(due) is due\(before ?? ": the file") "
                        + "is of another time, or lacks a part")
            }
            due = next
            if next != nil { previous = path }
        }
    }

    /// Throws if a file that a manifest lists is missing or its size is not one that goes with the listed one.
    /// - Returns: its size in bytes.
    @discardableResult
    private static func check(
        _ path: String, ofSize size: UInt64, by manifest: String, _ isRight: (_ found: Int) -> Bool
    ) throws -> Int {
        guard Files.exists(path) else { throw damaged(path, "it is missing, though \(manifest) lists it") }
        let found = try Files.size(of: path)
        guard isRight(found) else { throw damaged(path, "it has \(found) bytes, where \(manifest) says \(size)") }
        return found
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
