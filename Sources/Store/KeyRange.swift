/// The keys a request names by `key` and `range_end`: one key, the keys from `key` up to but not including the end, or
/// all from `key` on when the end is the single byte 0.
public struct KeyRange: Hashable, Sendable {
    public enum End: Hashable, Sendable {
        case single
        case before([UInt8])
        case unbounded
    }
    public var key: [UInt8]
    public var end: End

    /// From a request's fields: an empty `rangeEnd` names one key.
    public init(key: [UInt8], rangeEnd: [UInt8] = []) {
        self.key = key
        end = rangeEnd.isEmpty ? .single : rangeEnd == [0] ? .unbounded : .before(rangeEnd)
    }

    /// True if no key can be in it.
    public var isEmpty: Bool {
        if case .before(let last) = end { return compareBytes(key, last) >= 0 }
        return false
    }

    public func contains(_ other: [UInt8]) -> Bool {
        switch end {
        case .single: key == other
        case .before(let last): compareBytes(key, other) <= 0 && compareBytes(other, last) < 0
        case .unbounded: compareBytes(key, other) <= 0
        }
    }
}
