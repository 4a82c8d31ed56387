import NIOCore

/// The `grpc-timeout` header: up to eight digits and a unit, `H M S m u n`
/// (gRPC over HTTP/2, "Timeout").
enum RPCTimeout {
    static func decode(_ text: UnsafeRawBufferPointer) -> TimeAmount? {
        guard text.count >= 2, text.count <= 9, let unit = text.last else { return nil }
        var value: Int64 = 0
        for digit in text.dropLast() {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int64(digit - UInt8(ascii: "0"))
        }
        // 99,999,999 hours overflow 64 bits of nanoseconds; a century is as good as forever.
        let century = TimeAmount.hours(24 * 36_525)
        switch unit {
        case UInt8(ascii: "H"): return value > 876_600 ? century : .hours(value)
        case UInt8(ascii: "M"): return value > 52_596_000 ? century : .minutes(value)
        case UInt8(ascii: "S"): return .seconds(value)
        case UInt8(ascii: "m"): return .milliseconds(value)
        case UInt8(ascii: "u"): return .microseconds(value)
        case UInt8(ascii: "n"): return .nanoseconds(value)
        default: return nil
        }
    }

    /// The finest unit in which the amount has at most eight digits, rounded up.
    static func encode(_ amount: TimeAmount) -> String {
        let nanoseconds = max(amount.nanoseconds, 1)
        let units: [(nanoseconds: Int64, name: String)] = [
            (1, "n"), (1_000, "u"), (1_000_000, "m"), (1_000_000_000, "S"), (60_000_000_000, "M"),
        ]
        for unit in units {
            let value = nanoseconds / unit.nanoseconds + (nanoseconds % unit.nanoseconds == 0 ? 0 : 1)
            if value <= 99_999_999 { return "\(value)\(unit.name)" }
        }
        return "\(nanoseconds / 3_600_000_000_000)H"
    }
}
