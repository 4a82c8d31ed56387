import Foundation

/// Which keys a request is about: one key, or those from `key` up to but not including `end`.
struct KeyRange: Equatable {
    var key: Data
    /// Empty: the one key. A single zero byte: to the end of the keys.
    var end = Data()

    static let toTheEnd = Data([0])

    /// Reads `KEY [RANGE_END]` with `--prefix` and `--from-key`. The empty key with either means all keys,
    /// which the wire writes as the least key there can be, a zero byte.
    init(_ arguments: [[UInt8]], isPrefix: Bool, isFromKey: Bool) throws(CommandFailure) {
        key = Data(arguments.first ?? [])
        if arguments.count > 1 {
            guard !isPrefix, !isFromKey else {
                throw CommandFailure(
                    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set", .badArguments
                )
            }
            end = Data(arguments[1])
        }
        if isFromKey || (isPrefix && key.isEmpty) {
            end = Self.toTheEnd
            if key.isEmpty { key = Data([0]) }
        } else if isPrefix {
            end = Self.end(ofPrefix: key)
        }
    }

    /// The least key beyond all that begin with `prefix`: its last byte that can grow grown by one, what
    /// follows cut off. Beyond a prefix of nothing but 0xff lies no key.
    static func end(ofPrefix prefix: Data) -> Data {
        var end = Array(prefix)
        while let last = end.popLast() {
            if last < 0xff { return Data(end + [last + 1]) }
        }
        return toTheEnd
    }
}
