import Glibc

/// An open file descriptor that is closed with its owner.
struct Descriptor: ~Copyable, Sendable {
    let number: CInt

    /// Owns `number`, the answer of a system call; throws its error if it is negative.
    init(_ number: CInt, cannot action: String, _ subject: String) throws(GuardError) {
        guard number >= 0 else { throw GuardError(cannot: action, subject) }
        self.number = number
    }

    deinit { close(number) }
}

/// The whole of a small file; nil if there is none.
func readFile(_ path: String, limitBytes: Int = 8 << 20) throws(GuardError) -> [UInt8]? {
    let number = open(path, O_RDONLY | O_CLOEXEC)
    if number < 0 && (errno == ENOENT || errno == ENOTDIR) { return nil }
    let file = try Descriptor(number, cannot: "open", path)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = read(file.number, &chunk, chunk.count)
        if count == 0 { return bytes }
        if count < 0 {
            if errno == EINTR { continue }
            throw GuardError(cannot: "read", path)
        }
        bytes += chunk[..<count]
        guard bytes.count <= limitBytes else {
            throw GuardError("\(path) is larger than \(limitBytes) bytes and no file of a run")
        }
    }
}

/// Makes `bytes` the content of a file in one step: a reader sees the old content or the new, never a part.
/// `durable`: also after a power failure.
func replaceFile(_ path: String, _ bytes: [UInt8], durable: Bool = false) throws(GuardError) {
    let temporary = "\(path).new.\(getpid())"
    do throws(GuardError) {
        let file = try Descriptor(
            open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600), cannot: "create", temporary)
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                write(file.number, $0.baseAddress?.advanced(by: written), $0.count - written)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw GuardError(cannot: "write", temporary) }
            written += count
        }
        if durable && fsync(file.number) < 0 { throw GuardError(cannot: "sync", temporary) }
        guard rename(temporary, path) == 0 else { throw GuardError(cannot: "rename \(temporary) to", path) }
    } catch {
        unlink(temporary)
        throw error
    }
    if durable { try syncFolder(of: path) }
}

/// Makes the names in a file's folder durable.
func syncFolder(of path: String) throws(GuardError) {
    let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    let directory = try Descriptor(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), cannot: "open", folder)
    guard fsync(directory.number) == 0 else { throw GuardError(cannot: "sync", folder) }
}

/// Whether something has that path.
func fileExists(_ path: String) -> Bool {
    access(path, F_OK) == 0
}

/// The names in a directory, without `.` and `..`, in no order.
func names(in directory: String) throws(GuardError) -> [String] {
    guard let stream = opendir(directory) else { throw GuardError(cannot: "list", directory) }
    defer { closedir(stream) }
    var found: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) {
                String(cString: $0)
            }
        }
        if name != "." && name != ".." { found.append(name) }
    }
    return found
}
