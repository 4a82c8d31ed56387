import Glibc

/// The file system calls that storage needs, with errors that name the path.
enum Files {
    static func error(_ action: String, _ path: String, _ number: Int32 = errno) -> StorageError {
        StorageError(.system, path, "could not \(action) \(path): \(String(cString: strerror(number)))")
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func size(of path: String) throws -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { throw error("read the size of", path) }
        return Int(status.st_size)
    }

    /// Makes a directory and those above it that are missing, readable by their owner alone, and syncs each parent.
    static func makeDirectory(_ path: String) throws {
        guard !exists(path) else { return }
        let parent = parent(of: path)
        try makeDirectory(parent)
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw error("make the directory", path) }
        try sync(parent)
    }

    static func parent(of path: String) -> String {
        let trimmed = path.dropLast(path.hasSuffix("/") && path.count > 1 ? 1 : 0)
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }

    /// The last part of a path.
    static func name(of path: String) -> String {
        String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
    }

    /// A number as file names have it: six digits, or more if it takes them.
    static func digits(_ number: some BinaryInteger) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }

    /// The names in a directory, sorted, without `.` and `..`.
    static func list(_ directory: String) throws -> [String] {
        guard let stream = opendir(directory) else { throw error("list", directory) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Reads a whole file.
    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw error("open", path) }
        defer { close(descriptor) }
        let size = try size(of: path)
        var filled = 0
        let bytes = try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while filled < size {
                let got = Glibc.read(descriptor, buffer.baseAddress! + filled, size - filled)
                if got < 0, errno == EINTR { continue }
                guard got >= 0 else { throw error("read", path) }
                if got == 0 { break }
                filled += got
            }
            count = filled
        }
        return bytes
    }

    /// Writes a file whole or not at all: beside it first, synced, then renamed over it.
    static func replace(_ path: String, with bytes: [UInt8]) throws {
        let temporary = path + ".new"
        try write(bytes, to: temporary)
        guard rename(temporary, path) == 0 else { throw error("rename \(temporary) to", path) }
        try sync(parent(of: path))
    }

    /// Writes a file and syncs it.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw error("create", path) }
        defer { close(descriptor) }
        try bytes.withUnsafeBytes { try writeAll($0, to: descriptor, path) }
        guard fsync(descriptor) == 0 else { throw error("sync", path) }
    }

    static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, _ path: String) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written < 0, errno == EINTR { continue }
            guard written >= 0 else { throw error("write", path) }
            rest = rest.dropFirst(written)
        }
    }

    /// Makes a file's data, or a directory's names, durable.
    static func sync(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw error("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw error("sync", path) }
    }

    /// The path from the root, with no links in it.
    static func absolute(_ path: String) throws -> String {
        guard let resolved = realpath(path, nil) else { throw error("find", path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    static func link(_ source: String, to destination: String) throws {
        guard Glibc.link(source, destination) == 0 else { throw error("link \(source) to", destination) }
    }

    static func move(_ source: String, to destination: String) throws {
        guard rename(source, destination) == 0 else { throw error("rename \(source) to", destination) }
        try sync(parent(of: destination))
    }

    static func truncate(_ path: String, to size: Int) throws {
        guard Glibc.truncate(path, size) == 0 else { throw error("shorten", path) }
        try sync(path)
    }

    /// Removes a file, or a directory with all that it holds. Nothing there is fine.
    static func remove(_ path: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in try list(path) { try remove(path + "/" + name) }
            guard rmdir(path) == 0 else { throw error("remove", path) }
        } else {
            guard unlink(path) == 0 else { throw error("remove", path) }
        }
    }
}
