/// A stored record: protobuf's `mvccpb.KeyValue`, encoded as etcd encodes it (fields in order, defaults left out),
/// so that an answer to a client is a copy of it and HashKV is a scan over it.
/// A tombstone's record has only the key.
public struct KeyValueRecord: Equatable, Sendable {
    public var key: [UInt8]
    public var createRevision: Int64
    public var modRevision: Int64
    public var version: Int64
    public var value: [UInt8]
    public var lease: Int64

    public init(
        key: [UInt8], createRevision: Int64 = 0, modRevision: Int64 = 0, version: Int64 = 0, value: [UInt8] = [],
        lease: Int64 = 0
    ) {
        self.key = key
        self.createRevision = createRevision
        self.modRevision = modRevision
        self.version = version
        self.value = value
        self.lease = lease
    }

    /// Unknown fields are skipped; of a repeated field the last counts.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(CodecError) {
        let layout = try KeyValueLayout(bytes)
        self.init(
            key: Array(bytes[layout.key]), createRevision: layout.createRevision, modRevision: layout.modRevision,
            version: layout.version, value: Array(bytes[layout.value]), lease: layout.lease)
    }

    public init(decoding bytes: [UInt8]) throws(CodecError) {
        let layout = try KeyValueLayout(bytes)
        self.init(
            key: Array(bytes[layout.key]), createRevision: layout.createRevision, modRevision: layout.modRevision,
            version: layout.version, value: Array(bytes[layout.value]), lease: layout.lease)
    }

    public func encoded() -> [UInt8] {
        Self.encode(
            key: key, createRevision: createRevision, modRevision: modRevision, version: version, value: value,
            lease: lease)
    }

    /// The encoded form in one allocation of the right size.
    static func encode(
        key: [UInt8], createRevision: Int64, modRevision: Int64, version: Int64, value: [UInt8], lease: Int64
    ) -> [UInt8] {
        let size =
            bytesFieldSize(key) + integerFieldSize(createRevision) + integerFieldSize(modRevision)
            + integerFieldSize(version) + bytesFieldSize(value) + integerFieldSize(lease)
        guard size > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            guard let base = UnsafeMutableRawPointer(buffer.baseAddress) else { return }
            var offset = 0
            write(key, tag: 0x0a, to: base, at: &offset)
            write(createRevision, tag: 0x10, to: base, at: &offset)
            write(modRevision, tag: 0x18, to: base, at: &offset)
            write(version, tag: 0x20, to: base, at: &offset)
            write(value, tag: 0x2a, to: base, at: &offset)
            write(lease, tag: 0x30, to: base, at: &offset)
            count = offset
        }
    }

    /// The record as `keys_only` wants it.
    static func withoutValue(_ record: [UInt8]) throws(CodecError) -> [UInt8] {
        let layout = try KeyValueLayout(record)
        return encode(
            key: Array(record[layout.key]), createRevision: layout.createRevision, modRevision: layout.modRevision,
            version: layout.version, value: [], lease: layout.lease)
    }

    @inline(__always)
    private static func bytesFieldSize(_ bytes: [UInt8]) -> Int {
        bytes.isEmpty ? 0 : 1 + ByteWriter.varintLength(UInt64(bytes.count)) + bytes.count
    }

    @inline(__always)
    private static func integerFieldSize(_ value: Int64) -> Int {
        value == 0 ? 0 : 1 + ByteWriter.varintLength(UInt64(bitPattern: value))
    }

    @inline(__always)
    private static func write(_ bytes: [UInt8], tag: UInt8, to base: UnsafeMutableRawPointer, at offset: inout Int) {
        if bytes.isEmpty { return }
        base.storeBytes(of: tag, toByteOffset: offset, as: UInt8.self)
        offset &+= 1
        ByteWriter.varint(UInt64(bytes.count), to: base, at: &offset)
        ByteWriter.bytes(bytes, to: base, at: &offset)
    }

    @inline(__always)
    private static func write(_ value: Int64, tag: UInt8, to base: UnsafeMutableRawPointer, at offset: inout Int) {
        if value == 0 { return }
        base.storeBytes(of: tag, toByteOffset: offset, as: UInt8.self)
        offset &+= 1
        ByteWriter.varint(UInt64(bitPattern: value), to: base, at: &offset)
    }
}

/// Where the fields of an encoded record are, without copying them.
struct KeyValueLayout {
    var key = 0..<0
    var createRevision: Int64 = 0
    var modRevision: Int64 = 0
    var version: Int64 = 0
    var value = 0..<0
    var lease: Int64 = 0

    init(_ record: [UInt8]) throws(CodecError) {
        // `withUnsafeBytes` does not carry a typed error through; a result does.
        self = try record.withUnsafeBytes { bytes in
            Result { () throws(CodecError) in try KeyValueLayout(bytes) }
        }.get()
    }

    init(_ bytes: UnsafeRawBufferPointer) throws(CodecError) {
        var reader = ByteReader(bytes)
        while !reader.isAtEnd {
            let tag = try reader.varint()
            switch tag {
            case 0x0a: key = try reader.range()
            case 0x10: createRevision = try reader.integer()
            case 0x18: modRevision = try reader.integer()
            case 0x20: version = try reader.integer()
            case 0x2a: value = try reader.range()
            case 0x30: lease = try reader.integer()
            default: try Self.skip(tag, in: &reader)
            }
        }
    }

    private static func skip(_ tag: UInt64, in reader: inout ByteReader) throws(CodecError) {
        guard tag >> 3 != 0 else { throw CodecError("field 0 before \(reader.offset)") }
        switch tag & 7 {
        case 0: _ = try reader.varint()
        case 1: for _ in 0..<8 { _ = try reader.byte() }
        case 2: _ = try reader.range()
        case 5: for _ in 0..<4 { _ = try reader.byte() }
        default: throw CodecError("wire type \(tag & 7) before \(reader.offset) is none of a KeyValue")
        }
    }
}
