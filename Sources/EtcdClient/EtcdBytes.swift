import EtcdAPI
import Foundation

/// What can stand for a key or a value, which are bytes to the store: text (as UTF-8), arrays and `Data`.
public protocol EtcdBytes: Sendable {
    /// The bytes.
    var etcdBytes: [UInt8] { get }
}

extension String: EtcdBytes {
    public var etcdBytes: [UInt8] { Array(utf8) }
}

extension Substring: EtcdBytes {
    public var etcdBytes: [UInt8] { Array(utf8) }
}

extension [UInt8]: EtcdBytes {
    public var etcdBytes: [UInt8] { self }
}

extension ArraySlice<UInt8>: EtcdBytes {
    public var etcdBytes: [UInt8] { Array(self) }
}

extension Data: EtcdBytes {
    public var etcdBytes: [UInt8] { Array(self) }
}

/// A key, or the keys of an interval in byte order. A string literal is a single key: `get("name")`.
public struct KeyRange: Sendable, Hashable, ExpressibleByStringLiteral {
    /// The first key.
    public var key: [UInt8]
    /// The key after the last one; empty: `key` alone; a zero byte: no end.
    public var end: [UInt8]

    public init(key: [UInt8], end: [UInt8] = []) {
        self.key = key
        self.end = end
    }

    public init(stringLiteral value: String) { self.init(key: Array(value.utf8)) }

    /// One key.
    public static func key(_ key: some EtcdBytes) -> KeyRange { KeyRange(key: key.etcdBytes) }

    /// From `start` on, to the key before `end`.
    public static func range(_ start: some EtcdBytes, upTo end: some EtcdBytes) -> KeyRange {
        KeyRange(key: start.etcdBytes, end: end.etcdBytes)
    }

    /// From `start` on, without an end.
    public static func from(_ start: some EtcdBytes) -> KeyRange {
        let key = start.etcdBytes
        return KeyRange(key: key.isEmpty ? [0] : key, end: [0])
    }

    /// Every key that begins with `prefix`; all keys if it is empty.
    public static func prefix(_ prefix: some EtcdBytes) -> KeyRange {
        let key = prefix.etcdBytes
        guard !key.isEmpty else { return .all }
        var end = key
        while let last = end.popLast() {
            guard last < 0xff else { continue }
            end.append(last + 1)
            return KeyRange(key: key, end: end)
        }
        // Only 0xff: no key follows all those with this prefix.
        return KeyRange(key: key, end: [0])
    }

    /// All keys.
    public static let all = KeyRange(key: [0], end: [0])
}
