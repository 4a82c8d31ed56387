import Glibc

/// A file of a run that is written once, late. The room for it is taken when the run starts, so that a disk that fills
/// up in between does not matter.
struct ReservedFile: ~Copyable {
    private static let roomBytes: off_t = 16 << 10
    private let temporary: String
    private let path: String
    private let file: Descriptor

    /// Takes the room.
    init(_ path: String) throws(GuardError) {
        self.path = path
        temporary = path + ".room"
        let file = try Descriptor(
            open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600), cannot: "create", temporary)
        let error = posix_fallocate(file.number, 0, Self.roomBytes)
        guard error == 0 else { throw GuardError(cannot: "take room for", temporary, error) }
        self.file = file
    }

    /// Makes the record visible in one step; may be tried again. `durable`: also after a power failure.
    func write(_ record: RunRecord, durable: Bool) throws(GuardError) {
        let bytes = record.encoded
        guard pwrite(file.number, bytes, bytes.count, 0) == bytes.count,
            ftruncate(file.number, off_t(bytes.count)) == 0,
            !durable || fsync(file.number) == 0, rename(temporary, path) == 0
        else { throw GuardError(cannot: "write", path) }
        if durable { try syncFolder(of: path) }
    }
}
