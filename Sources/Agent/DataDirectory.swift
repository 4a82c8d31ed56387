import EtcdClient
import Foundation
import Glibc
import LaunchModel
import Synchronization

/// An agent's directory, held by one agent at a time.
///
/// ```
/// lock                     locked for as long as the agent lives; its pid
/// identity                 a random name, so that runs of different agents on one machine differ
/// lease                    the number of the lease, to be taken up again
/// runs/INSTANCE/           one for each instance that was assigned and is not cleaned up yet
///     state                what is to be remembered of it (InstanceRecord)
///     TOKEN.ATTEMPT/       a run (Guard); the last few are kept for their logs
///     outputs/TOKEN.ATTEMPT   what the component says of itself; the directory is its user's
///     work/                the working directory, kept through restarts; its user's
/// damaged/                 directories that could not be understood, for a person to look at
/// ```
///
/// Others may pass through the directories on the way (0711), since components can run as another user; what holds
/// environments is readable by the agent's user alone.
final class DataDirectory: Sendable {
    let path: String
    /// Sixteen hexadecimal digits.
    let identity: String
    private let lock: Mutex<CInt?>

    /// Makes it if need be, and locks it.
    init(_ path: String) throws(AgentError) {
        var path = path
        while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
        self.path = path
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        } catch { throw AgentError("cannot make the agent's data directory \(path): \(error.localizedDescription)") }
        let lock = try Self.takeLock("\(path)/lock")
        do throws(AgentError) {
            identity = try Self.readIdentity("\(path)/identity")
            for name in ["runs", "damaged"] { try makeDirectory("\(path)/\(name)", mode: 0o711) }
        } catch {
            close(lock)
            throw error
        }
        self.lock = Mutex(lock)
    }

    deinit { release() }

    /// Lets another agent have it.
    func release() {
        if let lock = lock.withLock({ $0.take() }) { close(lock) }
    }

    var runs: String { "\(path)/runs" }
    func folder(of instance: InstanceID) -> String { "\(runs)/\(instance)" }
    func state(of instance: InstanceID) -> String { "\(folder(of: instance))/state" }
    func run(_ key: RunKey) -> String { "\(folder(of: key.instance))/\(key.directoryName)" }
    func outputs(of key: RunKey) -> String { "\(folder(of: key.instance))/outputs/\(key.directoryName)" }

    /// The marker of a run's processes: no other run on the machine has it.
    func runID(_ key: RunKey) -> String { "\(key)@\(identity)" }

    /// Moves something away to where a person can look at it.
    func setAside(_ path: String, as name: String) throws(AgentError) {
        let place = "\(self.path)/damaged/\(name)"
        try? FileManager.default.removeItem(atPath: place)
        guard rename(path, place) == 0 else { throw AgentError(cannot: "move \(path) to", place) }
    }

    private static func takeLock(_ path: String) throws(AgentError) -> CInt {
        let lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw AgentError(cannot: "open", path) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let error = errno
            close(lock)
            guard error == EWOULDBLOCK else { throw AgentError(cannot: "lock", path, error) }
            let holder = (try? String(contentsOfFile: path, encoding: .utf8)).map { " (pid \($0))" } ?? ""
            throw AgentError(
                "another agent\(holder) works in \((path as NSString).deletingLastPathComponent): "
                    + "stop it first, or give this one a data directory of its own")
        }
        let pid = Array("\(getpid())".utf8)
        if ftruncate(lock, 0) == 0 { _ = pwrite(lock, pid, pid.count, 0) }
        return lock
    }

    private static func readIdentity(_ path: String) throws(AgentError) -> String {
        if let bytes = try readSmallFile(path) {
            let text = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            if text.count == 16, UInt64(text, radix: 16) != nil { return text }
        }
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        let identity = String(repeating: "0", count: 16 - digits.count) + digits
        try replaceFile(path, Array("\(identity)\n".utf8))
        return identity
    }
}

/// The lease that an agent holds, so that the next one takes it up.
struct LeaseNote: Record {
    var lease: Int64
    /// For ``NodePresence/since``.
    var since: Timestamp
    /// Whose it is. The directory may have been copied to another machine, or its agent been given another name.
    var node: String?
    /// In which life of the machine; nil: not known.
    var boot: String?

    /// Of the machine's present life.
    static let presentBoot = (try? readSmallFile("/proc/sys/kernel/random/boot_id")).flatMap { bytes in
        bytes.map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
    }

    /// Whether the next agent of that node may take the lease up.
    func isFor(_ node: String) -> Bool { self.node == node && boot != nil && boot == Self.presentBoot }
}

extension DataDirectory {
    /// nil if there is none, or none that can be read: it only helps.
    func readLease() -> LeaseNote? {
        guard let bytes = try? readSmallFile("\(path)/lease") else { return nil }
        return try? LeaseNote(json: bytes)
    }

    /// If it fails no note is left, rather than an old one.
    func write(_ note: LeaseNote) throws(AgentError) {
        do { try replaceFile("\(path)/lease", note.json) } catch {
            dropLease()
            throw error
        }
    }

    func dropLease() { unlink("\(path)/lease") }
}

// MARK: Files

func makeDirectory(_ path: String, mode: mode_t) throws(AgentError) {
    if mkdir(path, mode) == 0 {
        // Whatever the process's umask is.
        chmod(path, mode)
    } else if errno != EEXIST {
        throw AgentError(cannot: "make", path)
    }
}

/// nil if there is no such file.
func readSmallFile(_ path: String, limitBytes: Int = 8 << 20) throws(AgentError) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw AgentError(cannot: "open", path)
    }
    defer { close(file) }
    guard let bytes = readAll(file, limitBytes: limitBytes) else { throw AgentError(cannot: "read", path) }
    return bytes
}

/// At most `limitBytes` of an open file; nil if it cannot be read.
func readAll(_ file: CInt, limitBytes: Int) -> [UInt8]? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while bytes.count < limitBytes {
        let count = read(file, &chunk, min(chunk.count, limitBytes - bytes.count))
        if count == 0 { break }
        if count < 0 {
            if errno == EINTR { continue }
            return nil
        }
        bytes += chunk[..<count]
    }
    return bytes
}

/// Makes `bytes` the content of a file, readable by its owner alone, in one step.
func replaceFile(_ path: String, _ bytes: [UInt8]) throws(AgentError) {
    let temporary = "\(path).new"
    let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw AgentError(cannot: "create", temporary) }
    var written = 0
    while written < bytes.count {
        let count = bytes.withUnsafeBytes { write(file, $0.baseAddress?.advanced(by: written), $0.count - written) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
            let error = errno
            close(file)
            unlink(temporary)
            throw AgentError(cannot: "write", temporary, error)
        }
        written += count
    }
    close(file)
    guard rename(temporary, path) == 0 else { throw AgentError(cannot: "rename \(temporary) to", path) }
}
