/// Fixed-width integers in stored bytes: big-endian in keys, so that they sort; little-endian in values.

extension [UInt8] {
    mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    mutating func appendBigEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

/// Reads from bytes of unknown origin: whatever is missing is nil, nothing traps.
struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var remaining: Int { bytes.count - offset }

    mutating func littleEndian<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
        load().map { Value(littleEndian: $0) }
    }

    mutating func bigEndian<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
        load().map { Value(bigEndian: $0) }
    }

    mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= remaining else { return nil }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    private mutating func load<Value: FixedWidthInteger>() -> Value? {
        guard let slice = take(MemoryLayout<Value>.size) else { return nil }
        return slice.loadUnaligned(as: Value.self)
    }
}
