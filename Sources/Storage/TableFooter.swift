import Glibc

/// The last 53 bytes of a table: what the checksums of its blocks are, where its indexes lie (two places, 40 bytes
/// with their padding), the version of its format, and a number that says what it is.
///
/// No checksum covers them, and what RocksDB says of a damaged one names the manifest instead of the table.
enum TableFooter {
    static let size = 53
    private static let magic: UInt64 = 0x88e2_41b7_85f4_cff7
    /// CRC-32C and XXH3; the other kinds are not written by the versions of RocksDB in use.
    private static let checksumKinds: Set<UInt8> = [1, 4]
    private static let formatVersions: ClosedRange<UInt32> = 5...6

    /// Throws if the file at `path` does not end as a table does.
    static func check(_ path: String, size fileSize: Int) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Files.error("open", path) }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: size)
        guard fileSize >= size, pread(descriptor, &bytes, size, off_t(fileSize - size)) == size else {
            throw DatabaseInspection.damaged(path, "it is too short for a table")
        }
        let isWhole = bytes.withUnsafeBytes { bytes in
            checksumKinds.contains(bytes[0])
                && formatVersions.contains(
                    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 41, as: UInt32.self)))
                && UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 45, as: UInt64.self)) == magic
        }
        guard isWhole else { throw DatabaseInspection.damaged(path, "it does not end as a table does") }
    }
}
