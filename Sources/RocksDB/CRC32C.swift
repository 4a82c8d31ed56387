import CRocksDB

/// CRC-32C (Castagnoli), the checksum of RocksDB's files and of our own records.
public enum CRC32C {
    /// The checksum of `bytes`, or of what `previous` covered followed by `bytes`.
    public static func checksum(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
        guard let base = bytes.baseAddress else { return previous }
        if accelerated { return ~gulp_crc32c_extend(~previous, base, bytes.count) }
        return tabledChecksum(bytes, continuing: previous)
    }

    /// The same without the processor's help.
    package static func tabledChecksum(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
        table.withUnsafeBufferPointer { table in
            var crc = ~previous
            for byte in bytes { crc = table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8) }
            return ~crc
        }
    }

    /// RocksDB's log files hold their checksums rotated and offset, so that a checksum computed over data
    /// that itself contains checksums stays meaningful.
    public static func masked(_ checksum: UInt32) -> UInt32 {
        ((checksum >> 15) | (checksum << 17)) &+ 0xa282_ead8
    }

    private static let accelerated = gulp_crc32c_accelerated() != 0

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in (crc >> 1) ^ (crc & 1 == 1 ? 0x82f6_3b78 : 0) }
    }
}
