import NIOCore

/// What is wrong with bytes that a peer sent. It ends the connection they came on.
struct WireError: Error, Equatable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Reads what a peer sent, believing nothing: no length is followed and no room is made for a count before the bytes
/// that are there bear it out.
struct WireReader {
    private var buffer: ByteBuffer

    init(_ buffer: ByteBuffer) { self.buffer = buffer }

    mutating func integer<T: FixedWidthInteger>(_ field: StaticString, as: T.Type = T.self) throws(WireError) -> T {
        guard let value = buffer.readInteger(as: T.self) else { throw WireError("\(field) is cut short") }
        return value
    }

    mutating func boolean(_ field: StaticString) throws(WireError) -> Bool {
        switch try integer(field, as: UInt8.self) {
        case 0: return false
        case 1: return true
        case let other: throw WireError("\(field) is \(other), neither 0 nor 1")
        }
    }

    /// Bytes with their length, four bytes, before them.
    mutating func bytes(_ field: StaticString) throws(WireError) -> [UInt8] {
        let length = try integer(field, as: UInt32.self)
        guard let bytes = buffer.readBytes(length: Int(length)) else {
            throw WireError("\(field) claims \(length) bytes where \(buffer.readableBytes) are left")
        }
        return bytes
    }

    /// UTF-8 text with its length, four bytes, before it.
    mutating func text(_ field: StaticString) throws(WireError) -> String {
        String(decoding: try bytes(field), as: UTF8.self)
    }

    /// A count of things that take at least `minimumBytes` each.
    mutating func count(_ field: StaticString, minimumBytes: Int) throws(WireError) -> Int {
        let count = Int(try integer(field, as: UInt32.self))
        guard count <= buffer.readableBytes / minimumBytes else {
            throw WireError("\(field) claims \(count) where \(buffer.readableBytes) bytes are left")
        }
        return count
    }

    /// Everything that is left.
    mutating func remainder() -> [UInt8] { buffer.readBytes(length: buffer.readableBytes) ?? [] }

    /// - Throws: when something is left that was not asked for.
    func expectEnd() throws(WireError) {
        guard buffer.readableBytes == 0 else { throw WireError("\(buffer.readableBytes) bytes too many") }
    }
}

extension ByteBuffer {
    /// Bytes with their length before them, as `WireReader.bytes` reads them.
    mutating func writeCounted(_ bytes: [UInt8]) {
        writeInteger(UInt32(bytes.count))
        writeBytes(bytes)
    }

    /// Text with its length before it, as `WireReader.text` reads it.
    mutating func writeCounted(_ text: String) {
        writeInteger(UInt32(text.utf8.count))
        writeString(text)
    }
}
