/// The notes the store keeps beside its history. All begin with `store/`: other users of the log choose other names.
enum StoreNote {
    /// A format byte and 8 bytes, big-endian: the revision compacted to.
    static let compacted = Array("store/compacted".utf8)
    /// The same form: the compaction whose removals are complete. Differs between members; not part of the state.
    static let compactionDone = Array("store/compaction-done".utf8)
    static let leasePrefix = Array("store/lease/".utf8)
    private static let format: UInt8 = 1

    static func lease(_ id: Int64) -> [UInt8] {
        var key = leasePrefix
        ByteWriter.bigEndian(id, to: &key)
        return key
    }

    static func leaseID(_ key: [UInt8]) throws(CodecError) -> Int64 {
        guard key.count == leasePrefix.count + 8 else {
            throw CodecError("a lease's note has a name of \(key.count) bytes")
        }
        return Int64(bigEndianBytes: key[leasePrefix.count...])
    }

    static func leaseValue(ttl: Int64, remainingTTL: Int64) -> [UInt8] {
        var value = [format]
        ByteWriter.bigEndian(ttl, to: &value)
        ByteWriter.bigEndian(remainingTTL, to: &value)
        return value
    }

    static func leaseTTL(_ value: [UInt8]) throws(CodecError) -> (ttl: Int64, remainingTTL: Int64) {
        guard value.count == 17, value[0] == format else {
            throw CodecError("a lease's note of \(value.count) bytes has an unknown format")
        }
        return (Int64(bigEndianBytes: value[1...]), Int64(bigEndianBytes: value[9...]))
    }

    static func revisionValue(_ revision: Int64) -> [UInt8] {
        var value = [format]
        ByteWriter.bigEndian(revision, to: &value)
        return value
    }

    static func revision(_ value: [UInt8]) throws(CodecError) -> Int64 {
        guard value.count == 9, value[0] == format else {
            throw CodecError("a compaction mark of \(value.count) bytes has an unknown format")
        }
        return Int64(bigEndianBytes: value[1...])
    }
}
