/// A value that is not in Go's syntax, with the text that Go's own parser gives.
struct GoSyntaxError: Error, Equatable {
    var text: String
}

/// Values in the syntax of Go's standard library, which etcdctl's flags and environment are written in.
enum GoSyntax {
    static func bool(_ text: String) throws(GoSyntaxError) -> Bool {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": return true
        case "0", "f", "F", "false", "FALSE", "False": return false
        default: throw invalid("ParseBool", text)
        }
    }

    /// - Parameter base: 2 to 36; 0 takes it from the prefix (`0x`, `0o` or `0`, `0b`) and allows `_` between digits.
    static func int64(_ text: String, base: Int) throws(GoSyntaxError) -> Int64 {
        var digits = Substring(text)
        let isNegative = digits.first == "-"
        if isNegative || digits.first == "+" { digits = digits.dropFirst() }
        var radix = base
        if base == 0 {
            let hadUnderscores = digits.contains("_")
            let prefix = digits.prefix(2).lowercased()
            let prefixes = ["0x": 16, "0b": 2, "0o": 8]
            if let named = prefixes[prefix] {
                radix = named
                digits = digits.dropFirst(2)
                if digits.first == "_" { digits = digits.dropFirst() }
            } else {
                radix = digits.first == "0" && digits.count > 1 ? 8 : 10
            }
            if hadUnderscores {
                guard !digits.hasPrefix("_"), !digits.hasSuffix("_"), !digits.contains("__") else {
                    throw invalid("ParseInt", text)
                }
                digits = Substring(digits.filter { $0 != "_" })
            }
        }
        guard !digits.isEmpty else { throw invalid("ParseInt", text) }
        var value: Int64 = 0
        var hasOverflowed = false
        for character in digits {
            guard character.isASCII, let digit = Int(String(character), radix: 36), digit < radix else {
                throw invalid("ParseInt", text)
            }
            let (product, overflow) = value.multipliedReportingOverflow(by: Int64(radix))
            // Counted away from zero in the number's own sign, since Int64.min has no positive counterpart.
            let (sum, carry) = product.addingReportingOverflow(Int64(isNegative ? -digit : digit))
            hasOverflowed = hasOverflowed || overflow || carry
            value = sum
        }
        guard !hasOverflowed else {
            throw GoSyntaxError(text: "strconv.ParseInt: parsing \(QuotedBytes.quote(text)): value out of range")
        }
        return value
    }

    /// `300ms`, `-1.5h`, `2h45m`.
    static func duration(_ text: String) throws(GoSyntaxError) -> Duration {
        let quoted = QuotedBytes.quote(text)
        let invalid = GoSyntaxError(text: "time: invalid duration \(quoted)")
        var rest = Substring(text)
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest = rest.dropFirst() }
        if rest == "0" { return .zero }
        guard !rest.isEmpty else { throw invalid }
        var nanoseconds = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { $0 == "." || ($0.isASCII && $0.isNumber) }
            guard number != ".", let value = Double(number.hasSuffix(".") ? number + "0" : number) else {
                throw invalid
            }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { $0 != "." && !($0.isASCII && $0.isNumber) }
            guard !unit.isEmpty else { throw GoSyntaxError(text: "time: missing unit in duration \(quoted)") }
            guard let scale = nanosecondsPerUnit[String(unit)] else {
                throw GoSyntaxError(text: "time: unknown unit \(QuotedBytes.quote(String(unit))) in duration \(quoted)")
            }
            rest = rest.dropFirst(unit.count)
            nanoseconds += value * scale
        }
        guard nanoseconds < 9.2e18 else { throw invalid }
        return .nanoseconds(Int64(isNegative ? -nanoseconds : nanoseconds))
    }

    /// A duration as Go prints it: `5s`, `1m30s`, `250ms`, `1.5s`.
    static func text(of duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        // Go's durations end at 292 years.
        let nanoseconds = min(max(seconds, -9_223_372_035), 9_223_372_035) * 1_000_000_000 + attoseconds / 1_000_000_000
        if nanoseconds == 0 { return "0s" }
        let magnitude = abs(nanoseconds)
        let sign = nanoseconds < 0 ? "-" : ""
        /// `value` in units of `scale`, with as many decimals as it takes.
        func short(_ value: Int64, _ scale: Int64) -> String {
            var decimals = String("\(scale + value % scale)".dropFirst())
            while decimals.last == "0" { decimals.removeLast() }
            return "\(value / scale)" + (decimals.isEmpty ? "" : ".\(decimals)")
        }
        if magnitude < 1000 { return "\(sign)\(magnitude)ns" }
        if magnitude < 1_000_000 { return sign + short(magnitude, 1000) + "µs" }
        if magnitude < 1_000_000_000 { return sign + short(magnitude, 1_000_000) + "ms" }
        let whole = magnitude / 1_000_000_000
        let rest = short(magnitude - (whole - whole % 60) * 1_000_000_000, 1_000_000_000) + "s"
        if whole < 60 { return sign + rest }
        let minutes = "\(whole / 60 % 60)m" + rest
        return sign + (whole < 3600 ? minutes : "\(whole / 3600)h" + minutes)
    }

    private static let nanosecondsPerUnit = [
        "ns": 1.0, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9,
    ]

    private static func invalid(_ function: String, _ text: String) -> GoSyntaxError {
        GoSyntaxError(text: "strconv.\(function): parsing \(QuotedBytes.quote(text)): invalid syntax")
    }
}
