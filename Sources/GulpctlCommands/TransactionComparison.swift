import EtcdAPI
import Foundation

/// Reads a comparison of `txn`: `TARGET("KEY") OPERATOR "OPERAND"`.
enum TransactionComparison {
    static func read(_ line: String) throws(CommandFailure) -> Etcdserverpb_Compare {
        guard let parenthesis = line.firstIndex(of: "(") else {
            throw CommandFailure("malformed comparison: \(line)", .invalidInput)
        }
        let target = String(line[..<parenthesis])
        let words = Words(line[line.index(after: parenthesis)...])
        guard words.areComplete else {
            let got = "\(target)(\(QuotedBytes.quote(words.key))) \(words.relation) \(QuotedBytes.quote(words.operand))"
            throw CommandFailure("malformed comparison: \(line); got \(got)", .invalidInput)
        }
        var compare = Etcdserverpb_Compare()
        compare.key = Data(words.key)
        compare.targetUnion = try operand(target, words.operand, line)
        compare.target =
            switch compare.targetUnion {
            case .version, nil: .version
            case .createRevision: .create
            case .modRevision: .mod
            case .value: .value
            case .lease: .lease
            }
        switch words.relation {
        case "=": compare.result = .equal
        case "!=": compare.result = .notEqual
        case "<": compare.result = .less
        case ">": compare.result = .greater
        // etcdctl crashes.
        default:
            throw CommandFailure("malformed comparison: \(line) (unknown operator \(words.relation))", .invalidInput)
        }
        return compare
    }

    private static func operand(
        _ target: String, _ bytes: [UInt8], _ line: String
    ) throws(CommandFailure) -> Etcdserverpb_Compare.OneOf_TargetUnion {
        func number(base: Int = 10) throws(CommandFailure) -> Int64 {
            do { return try GoSyntax.int64(String(decoding: bytes, as: UTF8.self), base: base) } catch {
                throw CommandFailure("invalid txn compare request: \(line)", .invalidInput)
            }
        }
        switch target {
        case "ver", "version": return .version(try number())
        case "c", "create": return .createRevision(try number())
        case "m", "mod": return .modRevision(try number())
        case "val", "value": return .value(Data(bytes))
        // etcdctl 3.5.1 crashes; later ones read the id so.
        case "lease": return .lease(try number(base: 16))
        default: throw CommandFailure("malformed comparison: \(line) (unknown target \(target))", .invalidInput)
        }
    }

    /// What stands after the parenthesis, as far as it can be read.
    private struct Words {
        var key: [UInt8] = []
        var relation = ""
        var operand: [UInt8] = []
        var areComplete = false

        init(_ text: Substring) {
            var rest = text.drop { $0 == " " || $0 == "\t" }
            guard let key = GoQuotedText.take(&rest) else { return }
            self.key = key
            guard rest.popFirst() == ")", Self.skipSpaces(&rest) else { return }
            let relation = rest.prefix { $0 != " " && $0 != "\t" }
            rest = rest[relation.endIndex...]
            self.relation = String(relation)
            guard !relation.isEmpty, Self.skipSpaces(&rest), let operand = GoQuotedText.take(&rest) else { return }
            self.operand = operand
            areComplete = true
        }

        /// False if there is none.
        private static func skipSpaces(_ text: inout Substring) -> Bool {
            let spaces = text.prefix { $0 == " " || $0 == "\t" }
            text = text[spaces.endIndex...]
            return !spaces.isEmpty
        }
    }
}

/// Text in Go's quotes: `"…"` with escapes, or between back quotes as it is.
enum GoQuotedText {
    /// Takes the quoted text that `text` begins with; nil, and then `text` has lost some, if there is none.
    static func take(_ text: inout Substring) -> [UInt8]? {
        switch text.popFirst() {
        case "`":
            guard let end = text.firstIndex(of: "`") else { return nil }
            defer { text = text[text.index(after: end)...] }
            return Array(text[..<end].utf8)
        case "\"":
            var bytes: [UInt8] = []
            while let character = text.popFirst(), character != "\n" {
                switch character {
                case "\"": return bytes
                case "\\":
                    guard let escaped = escape(&text) else { return nil }
                    bytes += escaped
                default: bytes += Array(String(character).utf8)
                }
            }
            return nil
        default: return nil
        }
    }

    private static let controls: [Character: UInt8] = [
        "a": 0x07, "b": 0x08, "f": 0x0c, "n": 0x0a, "r": 0x0d, "t": 0x09, "v": 0x0b, "\\": 0x5c, "\"": 0x22,
    ]

    /// What follows a backslash.
    private static func escape(_ text: inout Substring) -> [UInt8]? {
        guard let kind = text.first else { return nil }
        if let control = controls[kind] {
            text.removeFirst()
            return [control]
        }
        let (digits, radix) =
            switch kind {
            case "x": (2, 16)
            case "u": (4, 16)
            case "U": (8, 16)
            default: (3, 8)
            }
        if radix == 16 { text.removeFirst() }
        let number = text.prefix(digits)
        text = text.dropFirst(digits)
        guard number.count == digits, number.allSatisfy(\.isHexDigit), let value = UInt32(number, radix: radix)
        else { return nil }
        if kind == "u" || kind == "U" { return Unicode.Scalar(value).map { Array(String(Character($0)).utf8) } }
        return UInt8(exactly: value).map { [$0] }
    }
}
