import Glibc

/// A directory's lock: an advisory lock on a file in it, which the system releases when its holder dies.
final class DirectoryLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock, or says which process has it. `directory` is what the operator knows the place as.
    init(_ path: String, of directory: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Files.error("open", path) }
        try Self.take(descriptor, path, of: directory)
        ftruncate(descriptor, 0)
        let text = "\(getpid())\n"
        _ = text.withCString { pwrite(descriptor, $0, strlen($0), 0) }
    }

    /// Takes the lock by a file that exists, without a trace in it.
    init(existing path: String, of directory: String) throws {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Files.error("open", path) }
        try Self.take(descriptor, path, of: directory)
    }

    private static func take(_ descriptor: Int32, _ path: String, of directory: String) throws {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            defer { close(descriptor) }
            guard number == EWOULDBLOCK else { throw Files.error("lock", path, number) }
            let holder = String(decoding: (try? Files.read(path)) ?? [], as: UTF8.self).filter(\.isNumber)
            throw StorageError(
                .locked, directory,
                "the data directory \(directory) is in use by process \(holder.isEmpty ? "(unknown)" : holder); "
                    + "stop that process, or give this one another --data-dir")
        }
    }

    deinit { close(descriptor) }
}
