/// A text that is no quantity of the kind wanted.
public struct QuantityError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong and what to write.
    public var description: String
}

/// Quantities as people write them: durations, sizes, cores, numbers.
public enum Quantity {
    /// `500ms`, `10s`, `1m30s`, `1.5h`: each unit at most once, the larger first. 0 needs no unit.
    ///
    /// - Returns: milliseconds.
    public static func duration(_ text: String) throws(QuantityError) -> Int64 {
        let error = QuantityError(
            description: "\"\(text)\" is no duration; write one such as 500ms, 10s, 1m30s or 2h")
        if text == "0" { return 0 }
        var rest = text[...]
        var units: [(name: String, milliseconds: Int64)] = [
            ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
        ]
        var total: Int64 = 0
        guard !rest.isEmpty else { throw error }
        while !rest.isEmpty {
            let number = rest.prefix { isDigit($0) || $0 == "." }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { !isDigit($0) }
            rest = rest.dropFirst(unit.count)
            guard let index = units.firstIndex(where: { $0.name == unit }),
                let decimal = Decimal(number), let part = decimal.exactly(times: units[index].milliseconds)
            else { throw error }
            units.removeSubrange(...index)
            let (sum, overflows) = total.addingReportingOverflow(part)
            guard !overflows else { throw error }
            total = sum
        }
        return total
    }

    /// `128MiB`, `1.5GiB`, `500MB`, or a number of bytes.
    ///
    /// - Returns: bytes, rounded down.
    public static func bytes(_ text: String) throws(QuantityError) -> Int64 {
        let number = text.prefix { isDigit($0) || $0 == "." }
        let unit = text.dropFirst(number.count).drop { $0 == " " }
        let factors: [Substring: Int64] = [
            "": 1, "B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000,
            "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
        ]
        guard let factor = factors[unit], let decimal = Decimal(number), let bytes = decimal.roundedDown(times: factor)
        else {
            throw QuantityError(
                description: "\"\(text)\" is no size; write one such as 128MiB, 1GiB, 500MB, or a number of bytes")
        }
        return bytes
    }

    /// `2`, `0.5`: to a thousandth.
    ///
    /// - Returns: thousandths.
    public static func cores(_ text: String) throws(QuantityError) -> Int64 {
        guard let decimal = Decimal(text[...]), let millicores = decimal.exactly(times: 1_000) else {
            throw QuantityError(
                description: "\"\(text)\" is no number of cores; write one such as 2, 0.5 or 0.125")
        }
        return millicores
    }

    /// A whole number in decimal digits. A leading 0 is refused: YAML reads such a number as octal, people as decimal.
    public static func wholeNumber(_ text: String) throws(QuantityError) -> Int {
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        guard !digits.isEmpty, digits.allSatisfy(isDigit), digits.count == 1 || !digits.hasPrefix("0"),
            let number = Int(text)
        else {
            throw QuantityError(description: "\"\(text)\" is no whole number; write one such as 2, in decimal digits")
        }
        return number
    }

    private static func isDigit(_ character: Character) -> Bool { ("0"..."9").contains(character) }

    /// Digits with at most six after the point.
    private struct Decimal {
        /// In units of 10 to the power of `-places`.
        var digits: Int64
        var scale: Int64

        init?(_ text: Substring) {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(isDigit) }),
                parts.count == 1 || parts[1].count <= 6, let digits = Int64(parts.joined())
            else { return nil }
            self.digits = digits
            scale = (0..<(parts.count == 2 ? parts[1].count : 0)).reduce(1) { scale, _ in scale * 10 }
        }

        func exactly(times factor: Int64) -> Int64? {
            let (product, overflows) = digits.multipliedReportingOverflow(by: factor)
            return overflows || product % scale != 0 ? nil : product / scale
        }

        func roundedDown(times factor: Int64) -> Int64? {
            let (product, overflows) = digits.multipliedReportingOverflow(by: factor)
            return overflows ? nil : product / scale
        }
    }
}
