/// Byte strings as etcdctl shows them.
enum QuotedBytes {
    /// In double quotes, as Go's `%q`: printable Unicode stands for itself, the rest is escaped, and bytes
    /// that are not UTF-8 are `\x` and two digits.
    static func quote(_ bytes: some Sequence<UInt8>) -> String {
        let input = Array(bytes)
        var output = "\""
        var index = 0
        while index < input.count {
            if let (scalar, length) = scalar(in: input, at: index) {
                append(scalar, to: &output)
                index += length
            } else {
                output += "\\x" + hex(UInt32(input[index]), digits: 2)
                index += 1
            }
        }
        return output + "\""
    }

    static func quote(_ text: String) -> String { quote(text.utf8) }

    /// Every byte as `\x` and two digits: what `--hex` shows.
    static func hex(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        bytes.flatMap { Array("\\x\(hex(UInt32($0), digits: 2))".utf8) }
    }

    private static func append(_ scalar: Unicode.Scalar, to output: inout String) {
        switch scalar {
        case "\"": output += "\\\""
        case "\\": output += "\\\\"
        case "\u{07}": output += "\\a"
        case "\u{08}": output += "\\b"
        case "\u{0c}": output += "\\f"
        case "\n": output += "\\n"
        case "\r": output += "\\r"
        case "\t": output += "\\t"
        case "\u{0b}": output += "\\v"
        case _ where isPrintable(scalar): output.unicodeScalars.append(scalar)
        case _ where scalar.value < 0x20: output += "\\x" + hex(scalar.value, digits: 2)
        case _ where scalar.value < 0x10000: output += "\\u" + hex(scalar.value, digits: 4)
        default: output += "\\U" + hex(scalar.value, digits: 8)
        }
    }

    /// Go's `IsPrint`: letters, marks, numbers, punctuation, symbols, and of the spaces the ASCII one.
    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value >= 0x20 && scalar.value < 0x7f }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned,
            .spaceSeparator, .lineSeparator, .paragraphSeparator:
            return false
        default: return true
        }
    }

    /// The scalar whose well-formed UTF-8 begins at `index`, and its length in bytes.
    private static func scalar(in bytes: [UInt8], at index: Int) -> (Unicode.Scalar, Int)? {
        var decoder = UTF8()
        var iterator = bytes[index..<min(index + 4, bytes.count)].makeIterator()
        guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
        return (scalar, UTF8.width(scalar))
    }

    private static func hex(_ value: UInt32, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
