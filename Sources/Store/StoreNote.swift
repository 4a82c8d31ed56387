/// The notes the store keeps beside its history. All begin with `store/`: other users of the log choose other names.
enum StoreNote {
    /// A format byte and 8 bytes, big-endian: the revision compacted to.
    static let compacted = Array("store/compacted".utf8)
    /// The same form: the compaction whose removals are complete. Differs between members; not part of the state.
    static let compactionDone = Array("store/compaction-done".utf8)
    static let leasePrefix = Array("store/lease/".utf8)
    static let alarmPrefix = Array("store/alarm/".utf8)
    private static let format: UInt8 = 1
    /// An alarm is all in its name: the kind, then the member, big-endian.
    static let alarmValue = [format]

    static func lease(_ id: Int64) -> [UInt8] {
        var key = leasePrefix
        ByteWriter.bigEndian(id, to: &key)
        return key
    }

    static func alarm(_ alarm: Alarm) -> [UInt8] {
        var key = alarmPrefix
        key.append(alarm.kind.rawValue)
        ByteWriter.bigEndian(Int64(bitPattern: alarm.member), to: &key)
        return key
    }

    static func alarm(_ key: [UInt8], _ value: [UInt8]) throws(CodecError) -> Alarm {
        guard key.count == alarmPrefix.count + 9, value == alarmValue,
            let kind = Alarm.Kind(rawValue: key[alarmPrefix.count])
        else { throw CodecError("an alarm's note of \(key.count) and \(value.count) bytes has an unknown format") }
        return Alarm(kind, member: UInt64(bitPattern: Int64(bigEndianBytes: key[(alarmPrefix.count + 1)...])))
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
