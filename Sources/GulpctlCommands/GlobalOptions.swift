import Foundation

/// The flags that every command takes, from the command line or from the environment.
///
/// A flag's variable is its name in capitals with `GULPCTL_` or `ETCDCTL_` before it; the first wins. A flag
/// on the command line wins over `GULPCTL_…`, while together with `ETCDCTL_…` it is refused, as etcdctl does.
struct GlobalOptions: Sendable {
    var endpoints: [String] = []
    /// How long one endpoint may take to answer a connection; zero: as long as the command may take.
    var dialTimeout: Duration
    /// How long one request may take.
    var commandTimeout: Duration
    var writeOut: String
    var isHex: Bool
    var isDebug: Bool
    var user: String
    var password: String
    /// Flags that were set and ask for what is not served.
    private var refused: [String] = []
    /// The flags' texts as the command line and the environment set them, for `--debug` to show.
    private var texts: [(name: String, text: String)] = []

    static let flags: [Flag] = [
        Flag(name: "endpoints", defaultValue: .list(["127.0.0.1:2379"]), help: "servers to ask, tried in turn"),
        Flag(
            name: "command-timeout", defaultValue: .duration(.seconds(5)),
            help: "how long one request may take; watching and waiting for a lock have no limit"),
        Flag(
            name: "dial-timeout", defaultValue: .duration(.seconds(2)),
            help: "how long connecting to one server may take"),
        .string("write-out", letter: "w", "simple", "output format: simple, json, table, fields or protobuf"),
        .bool("hex", "show keys and values as \\x and two digits a byte"),
        .bool("debug", "say on standard error what the client does"),
        .string("user", "", "name[:password] to log in with; asked for if left out"),
        .string("password", "", "password of --user"),
        Flag(
            name: "keepalive-time", defaultValue: .duration(.seconds(2)), help: "accepted for etcdctl's sake; not used"),
        Flag(
            name: "keepalive-timeout", defaultValue: .duration(.seconds(6)),
            help: "accepted for etcdctl's sake; not used"),
        Flag(name: "insecure-transport", defaultValue: .bool(true), help: "speak without TLS"),
        .bool("insecure-skip-tls-verify", "not served yet"),
        Flag(name: "insecure-discovery", defaultValue: .bool(true), help: "not served yet"),
        .string("cacert", "", "not served yet"),
        .string("cert", "", "not served yet"),
        .string("key", "", "not served yet"),
        .string("discovery-srv", letter: "d", "", "not served yet"),
        .string("discovery-srv-name", "", "not served yet"),
    ]

    /// What needs TLS or DNS discovery: refused when set away from its default, rather than passed over.
    private static let notServed = [
        "insecure-transport", "insecure-skip-tls-verify", "cacert", "cert", "key", "discovery-srv",
        "discovery-srv-name",
    ]

    init(_ parsed: ParsedFlags, _ environment: [String: String]) throws(CommandFailure) {
        var values: [String: FlagValue] = [:]
        for flag in Self.flags {
            let value = try Self.value(of: flag, parsed, environment)
            values[flag.name] = value
            texts.append((flag.name, Self.text(value)))
        }
        func bool(_ name: String) -> Bool { if case .bool(let value)? = values[name] { value } else { false } }
        func text(_ name: String) -> String { if case .string(let value)? = values[name] { value } else { "" } }
        func duration(_ name: String) -> Duration {
            if case .duration(let value)? = values[name] { value } else { .zero }
        }
        if case .list(let list)? = values["endpoints"] { endpoints = list }
        dialTimeout = duration("dial-timeout")
        commandTimeout = duration("command-timeout")
        writeOut = text("write-out")
        isHex = bool("hex")
        isDebug = bool("debug")
        user = text("user")
        password = text("password")
        for name in Self.notServed {
            if let value = values[name], value != Self.flags.first(where: { $0.name == name })?.defaultValue {
                refused.append(name)
            }
        }
    }

    /// Refuses what was asked for and is not served.
    func checkServed() throws(CommandFailure) {
        if let name = refused.first {
            throw CommandFailure("--\(name) is not served by this version of gulpctl", .badFeature)
        }
    }

    /// How long connecting to one endpoint may take.
    var connectTimeout: Duration { dialTimeout > .zero ? dialTimeout : .seconds(3600) }

    /// Whether the value of this flag is the argument after it. A flag that is not known takes one.
    static func takesNextArgument(_ argument: String, _ flags: [Flag]) -> Bool {
        if argument.hasPrefix("--") {
            let name = argument.dropFirst(2)
            return !name.contains("=") && name != "help"
                && !flags.contains { $0.name == name && $0.defaultValue.isBool }
        }
        let letter = argument.dropFirst().first
        return argument.count == 2 && letter != "h" && !flags.contains { $0.letter == letter && $0.defaultValue.isBool }
    }

    func outputFormat() throws(CommandFailure) -> any OutputFormat {
        switch writeOut {
        case "simple": SimpleFormat(isHex: isHex)
        case "json": JSONFormat(isHex: isHex)
        case "fields": FieldsFormat()
        case "protobuf": ProtobufFormat()
        case "table": TableFormat()
        default: throw CommandFailure("unsupported output format", .badFeature)
        }
    }

    /// Every global flag as a variable assignment, sorted by name, as `--debug` shows them.
    var assignments: String {
        texts.sorted { $0.name < $1.name }.map { "ETCDCTL_\(Self.variable($0.name))=\($0.text)\n" }.joined()
    }

    private static func variable(_ name: String) -> String {
        name.uppercased().replacingOccurrences(of: "-", with: "_")
    }

    private static func value(
        of flag: Flag, _ parsed: ParsedFlags, _ environment: [String: String]
    ) throws(CommandFailure) -> FlagValue {
        let own = "GULPCTL_" + variable(flag.name)
        let other = "ETCDCTL_" + variable(flag.name)
        if parsed.isGiven(flag.name) {
            if let text = environment[other], !text.isEmpty {
                throw CommandFailure(
                    "conflicting environment variable is shadowed by corresponding command-line flag"
                        + " (either unset environment variable or disable flag): \(other)", .error)
            }
            return parsed[flag.name] ?? flag.defaultValue
        }
        for name in [own, other] {
            guard let text = environment[name], !text.isEmpty else { continue }
            do {
                return try flag.defaultValue.reading(text)
            } catch {
                throw CommandFailure(
                    "invalid value \(QuotedBytes.quote(text)) for \(name): \(error.text)", .badArguments)
            }
        }
        return flag.defaultValue
    }

    private static func text(_ value: FlagValue) -> String {
        switch value {
        case .bool(let value): "\(value)"
        case .int(let value): "\(value)"
        case .duration(let value): GoSyntax.text(of: value)
        case .string(let value): value
        case .list(let values): "[" + values.joined(separator: ",") + "]"
        }
    }
}
