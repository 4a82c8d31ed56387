/// The spellings of numbers, truth and durations that Go's flag package takes, and so etcd's flags do.
enum GoSyntax {
    /// `1 t T true True TRUE 0 f F false False FALSE`; nil for anything else.
    static func boolean(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "True", "TRUE": true
        case "0", "f", "F", "false", "False", "FALSE": false
        default: nil
        }
    }

    enum IntegerError: Error { case syntax, range }

    /// A number without a sign: decimal, or with the prefix 0x, 0b, 0o or 0, with `_` between digits.
    static func unsigned(_ text: String) throws(IntegerError) -> UInt64 {
        var digits = Substring(text)
        var radix = 10
        var mayStartWithUnderscore = false
        for (prefix, base) in [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)]
        where digits.count > prefix.count && digits.lowercased().hasPrefix(prefix) {
            digits = digits.dropFirst(prefix.count)
            radix = base
            mayStartWithUnderscore = true
            break
        }
        let parts = digits.split(separator: "_", omittingEmptySubsequences: false)
        for (position, part) in parts.enumerated() {
            if part.isEmpty && !(position == 0 && mayStartWithUnderscore && parts.count > 1) { throw .syntax }
            for digit in part {
                guard digit.isASCII, let value = digit.hexDigitValue, value < radix else { throw .syntax }
            }
        }
        guard let value = UInt64(parts.joined(), radix: radix) else { throw .range }
        return value
    }

    /// A duration such as `1h30m`, `1.5s`, `100ms` or `0`, in nanoseconds; nil for anything else.
    static func nanoseconds(_ text: String) -> Int64? {
        let units: [(String, Double)] = [
            ("ns", 1), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
        ]
        var rest = Substring(text)
        let negative = rest.first == "-"
        if negative || rest.first == "+" { rest = rest.dropFirst() }
        if rest == "0" { return 0 }
        if rest.isEmpty { return nil }
        var total = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { ($0.isASCII && $0.isNumber) || $0 == "." }
            rest = rest[number.endIndex...]
            let unit = rest.prefix { !(($0.isASCII && $0.isNumber) || $0 == ".") }
            rest = rest[unit.endIndex...]
            guard let count = Double(number), let scale = units.first(where: { $0.0 == unit })?.1 else { return nil }
            total += count * scale
        }
        guard total < 9.2e18 else { return nil }
        return Int64(negative ? -total : total)
    }
}
