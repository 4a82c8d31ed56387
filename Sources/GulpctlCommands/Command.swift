import EtcdClient

/// One subcommand: what its help says, its flags, and what it does. Or a group of them, such as `lease`.
struct Command: Sendable {
    /// With the group's name before it: `lease grant`.
    let name: String
    let summary: String
    /// The arguments, as in `KEY [RANGE_END]`.
    let arguments: String
    var details = ""
    let flags: [Flag]
    /// Of a group, its commands. They take the group's flags too.
    var subcommands: [Command] = []
    var run: @Sendable (Invocation) async throws -> Void = { _ in }

    /// The last word of the name.
    var word: Substring { name.split(separator: " ").last ?? "" }

    static func group(_ name: String, _ summary: String, flags: [Flag] = [], _ subcommands: [Command]) -> Command {
        Command(name: name, summary: summary, arguments: "COMMAND", flags: flags, subcommands: subcommands)
    }
}

/// A command line that has been read, and the world in which it runs.
struct Invocation: Sendable {
    typealias Connect = @Sendable (GlobalOptions, any Console) throws -> any EtcdConnection

    let flags: ParsedFlags
    let options: GlobalOptions
    let environment: [String: String]
    let console: any Console
    let connect: Connect

    /// The format asked for and a connection to the endpoints. Called when the command's own arguments have
    /// been found good, as their errors come first.
    func open() throws -> (any OutputFormat, any EtcdConnection) {
        let format = try options.outputFormat()
        return (format, try connect(options, console))
    }

    /// An environment variable of gulpctl's, or the one of etcdctl's that it stands for.
    func variable(_ name: String) -> String? {
        let value = environment["GULPCTL_" + name] ?? environment["ETCDCTL_" + name]
        return value == "" ? nil : value
    }

    /// The argument at `index` as text.
    func argument(_ index: Int) -> String { String(decoding: flags.arguments[index], as: UTF8.self) }
}
