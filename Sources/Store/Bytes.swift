/// Compares two byte strings in the order of their bytes: negative, zero or positive, as `memcmp` answers.
@inline(__always)
func compareBytes(_ a: [UInt8], _ b: [UInt8]) -> Int {
    a.withUnsafeBytes { a in b.withUnsafeBytes { b in compareBytes(a, b) } }
}

@inline(__always)
func compareBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
    let shared = min(a.count, b.count)
    let difference = compareBytes(a, b, count: shared)
    return difference != 0 ? difference : a.count - b.count
}

/// Compares the first `count` bytes of both, eight at a time.
@inline(__always)
func compareBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, count: Int) -> Int {
    var offset = 0
    while offset &+ 8 <= count {
        let x = UInt64(bigEndian: a.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        let y = UInt64(bigEndian: b.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        if x != y { return x < y ? -1 : 1 }
        offset &+= 8
    }
    while offset < count {
        if a[offset] != b[offset] { return a[offset] < b[offset] ? -1 : 1 }
        offset &+= 1
    }
    return 0
}

/// The bytes were not a value of the expected format: damage on disk, or a peer that speaks another language.
public struct CodecError: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Writes the forms that records and commands are made of: little-endian base-128 integers and length-prefixed bytes.
struct ByteWriter {
    static func varintLength(_ value: UInt64) -> Int {
        value == 0 ? 1 : (70 - value.leadingZeroBitCount) / 7
    }

    /// Writes at `offset` and moves it on; the caller has made room.
    @inline(__always)
    static func varint(_ value: UInt64, to buffer: UnsafeMutableRawPointer, at offset: inout Int) {
        var rest = value
        while rest >= 0x80 {
            buffer.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, toByteOffset: offset, as: UInt8.self)
            rest >>= 7
            offset &+= 1
        }
        buffer.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: offset, as: UInt8.self)
        offset &+= 1
    }

    @inline(__always)
    static func bytes(_ bytes: [UInt8], to buffer: UnsafeMutableRawPointer, at offset: inout Int) {
        bytes.withUnsafeBytes {
            if let base = $0.baseAddress { (buffer + offset).copyMemory(from: base, byteCount: $0.count) }
        }
        offset &+= bytes.count
    }

    static func varint(_ value: UInt64, to buffer: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            buffer.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        buffer.append(UInt8(truncatingIfNeeded: rest))
    }

    static func bytes(_ bytes: [UInt8], to buffer: inout [UInt8]) {
        varint(UInt64(bytes.count), to: &buffer)
        buffer.append(contentsOf: bytes)
    }

    static func bigEndian(_ value: Int64, to buffer: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { buffer.append(contentsOf: $0) }
    }
}

/// Reads what `ByteWriter` wrote, from bytes that may be anything: throws, never traps.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { offset == bytes.count }

    mutating func byte() throws(CodecError) -> UInt8 {
        guard offset < bytes.count else { throw CodecError("the bytes end at \(offset) inside a value") }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func varint() throws(CodecError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else { throw CodecError("an integer before \(offset) has more than 64 bits") }
            value |= UInt64(next & 0x7f) << shift
            if next < 0x80 { return value }
            shift += 7
        }
    }

    mutating func integer() throws(CodecError) -> Int64 { Int64(bitPattern: try varint()) }

    /// A length that fits what is left.
    mutating func range() throws(CodecError) -> Range<Int> {
        let length = try varint()
        guard length <= UInt64(bytes.count - offset) else {
            throw CodecError("\(length) bytes are announced at \(offset) of \(bytes.count)")
        }
        let range = offset..<offset + Int(length)
        offset = range.upperBound
        return range
    }

    mutating func array() throws(CodecError) -> [UInt8] { Array(bytes[try range()]) }

    mutating func bool() throws(CodecError) -> Bool {
        switch try byte() {
        case 0: false
        case 1: true
        case let other: throw CodecError("\(other) at \(offset - 1) is no truth value")
        }
    }

    /// A number of elements of which each takes at least one byte.
    mutating func elementCount() throws(CodecError) -> Int {
        let count = try varint()
        guard count <= UInt64(bytes.count - offset) else {
            throw CodecError("\(count) elements are announced at \(offset) of \(bytes.count)")
        }
        return Int(count)
    }
}

extension Int64 {
    init(bigEndianBytes bytes: some Collection<UInt8>) {
        self = bytes.prefix(8).reduce(0) { $0 << 8 | Int64($1) }
    }
}
