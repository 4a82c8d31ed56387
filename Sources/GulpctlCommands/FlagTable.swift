/// One flag: its name, what kind of value it takes, its default, its line of help.
struct Flag: Sendable {
    let name: String
    var letter: Character?
    let defaultValue: FlagValue
    let help: String

    static func bool(_ name: String, letter: Character? = nil, _ help: String) -> Flag {
        Flag(name: name, letter: letter, defaultValue: .bool(false), help: help)
    }
    static func int(_ name: String, _ help: String) -> Flag {
        Flag(name: name, defaultValue: .int(0), help: help)
    }
    static func string(_ name: String, letter: Character? = nil, _ value: String = "", _ help: String) -> Flag {
        Flag(name: name, letter: letter, defaultValue: .string(value), help: help)
    }

    /// The flag as error texts name it.
    var display: String { letter.map { "-\($0), --\(name)" } ?? "--\(name)" }
}

/// A flag's value; the case is the flag's kind.
enum FlagValue: Sendable, Equatable {
    case bool(Bool)
    case int(Int64)
    case duration(Duration)
    case string(String)
    /// Values apart by commas; a flag given again adds to them.
    case list([String])

    /// Reads a value of this value's kind.
    func reading(_ text: String) throws(GoSyntaxError) -> FlagValue {
        switch self {
        case .bool: .bool(try GoSyntax.bool(text))
        case .int: .int(try GoSyntax.int64(text, base: 0))
        case .duration: .duration(try GoSyntax.duration(text))
        case .string: .string(text)
        case .list: .list(text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
        }
    }

    var isBool: Bool { if case .bool = self { true } else { false } }
}

/// A command line that is not in the flags' language; the text is that of Go's pflag, which etcdctl uses.
struct FlagFailure: Error, Equatable {
    var text: String
}

/// Reads command lines in the language of etcdctl's flags, which is that of pflag: `--flag value`,
/// `--flag=value`, `-f value`, `-fvalue`, `-f=value`; flags and arguments mixed in any order; a flag that
/// is true or false takes a value only after `=`; everything after `--` is an argument.
struct FlagTable: Sendable {
    private static let help = Flag.bool("help", letter: "h", "show this help")

    private let flags: [Flag]

    init(_ flags: [Flag]) { self.flags = flags + [Self.help] }

    func parse(_ arguments: [[UInt8]]) throws(FlagFailure) -> ParsedFlags {
        var parsed = ParsedFlags(flags)
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.count > 1, argument[0] == UInt8(ascii: "-") else {
                parsed.arguments.append(argument)
                continue
            }
            if argument == Array("--".utf8) {
                parsed.separator = parsed.arguments.count
                parsed.arguments += rest
                break
            }
            let text = String(decoding: argument, as: UTF8.self)
            if text.hasPrefix("--") {
                try long(text, &rest, &parsed)
            } else {
                try short(text.dropFirst(), &rest, &parsed)
            }
        }
        return parsed
    }

    private func long(
        _ text: String, _ rest: inout ArraySlice<[UInt8]>, _ parsed: inout ParsedFlags
    ) throws(FlagFailure) {
        let parts = text.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        guard !name.isEmpty, !name.hasPrefix("-") else { throw FlagFailure(text: "bad flag syntax: \(text)") }
        guard let flag = flags.first(where: { $0.name == name }) else {
            throw FlagFailure(text: "unknown flag: --\(name)")
        }
        if parts.count == 2 {
            try parsed.set(flag, String(parts[1]))
        } else if flag.defaultValue.isBool {
            try parsed.set(flag, "true")
        } else if let next = rest.popFirst() {
            try parsed.set(flag, String(decoding: next, as: UTF8.self))
        } else {
            throw FlagFailure(text: "flag needs an argument: --\(name)")
        }
    }

    private func short(
        _ text: Substring, _ rest: inout ArraySlice<[UInt8]>, _ parsed: inout ParsedFlags
    ) throws(FlagFailure) {
        var letters = text
        while let letter = letters.first {
            guard let flag = flags.first(where: { $0.letter == letter }) else {
                throw FlagFailure(text: "unknown shorthand flag: '\(letter)' in -\(letters)")
            }
            let tail = letters.dropFirst()
            if tail.first == "=", tail.count > 1 {
                return try parsed.set(flag, String(tail.dropFirst()))
            }
            if flag.defaultValue.isBool {
                try parsed.set(flag, "true")
                letters = tail
            } else if !tail.isEmpty {
                return try parsed.set(flag, String(tail))
            } else if let next = rest.popFirst() {
                return try parsed.set(flag, String(decoding: next, as: UTF8.self))
            } else {
                throw FlagFailure(text: "flag needs an argument: '\(letter)' in -\(letters)")
            }
        }
    }
}

/// The flags and arguments of one command line.
struct ParsedFlags: Sendable {
    /// What is no flag, in order.
    var arguments: [[UInt8]] = []
    /// How many of `arguments` stand before `--`; nil without one.
    var separator: Int?

    private let defaults: [String: FlagValue]
    private var given: [String: FlagValue] = [:]

    init(_ flags: [Flag]) {
        defaults = Dictionary(flags.map { ($0.name, $0.defaultValue) }) { first, _ in first }
    }

    fileprivate mutating func set(_ flag: Flag, _ text: String) throws(FlagFailure) {
        do {
            let value = try flag.defaultValue.reading(text)
            if case .list(let new) = value, case .list(let old)? = given[flag.name] {
                given[flag.name] = .list(old + new)
            } else {
                given[flag.name] = value
            }
        } catch {
            throw FlagFailure(
                text: "invalid argument \(QuotedBytes.quote(text)) for \"\(flag.display)\" flag: \(error.text)")
        }
    }

    func isGiven(_ name: String) -> Bool { given[name] != nil }

    subscript(name: String) -> FlagValue? { given[name] ?? defaults[name] }

    /// The value of a flag of that kind. A flag that the command's table lacks reads as empty.
    func bool(_ name: String) -> Bool { if case .bool(let value)? = self[name] { value } else { false } }
    func int(_ name: String) -> Int64 { if case .int(let value)? = self[name] { value } else { 0 } }
    func string(_ name: String) -> String { if case .string(let value)? = self[name] { value } else { "" } }
}
