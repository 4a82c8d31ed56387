import Glibc

/// The room for a run's outcome, taken when the run starts, so that a disk that fills up later does not make it lost.
struct OutcomeFile: ~Copyable {
    private static let roomBytes: off_t = 16 << 10
    private let temporary: String
    private let path: String
    private let file: Descriptor

    init(_ run: RunDirectory) throws(GuardError) {
        path = run.file("exit")
        temporary = path + ".room"
        let file = try Descriptor(
            open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600), cannot: "create", temporary)
        let error = posix_fallocate(file.number, 0, Self.roomBytes)
        guard error == 0 else { throw GuardError(cannot: "take room for", temporary, error) }
        self.file = file
    }

    /// Makes the outcome visible, durably and in one step.
    func record(_ outcome: RunOutcome) throws(GuardError) {
        let bytes = outcome.record.encoded
        guard pwrite(file.number, bytes, bytes.count, 0) == bytes.count,
            ftruncate(file.number, off_t(bytes.count)) == 0,
            fsync(file.number) == 0, rename(temporary, path) == 0
        else { throw GuardError(cannot: "write", path) }
        try syncFolder(of: path)
    }
}
