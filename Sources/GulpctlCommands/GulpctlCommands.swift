import Foundation

/// `gulpctl`: the command line for an etcd-compatible store, call for call what etcdctl 3.5 is.
///
/// ```
///   argv ─▶ FlagTable ─▶ Command ─▶ request ─▶ EtcdConnection ─▶ response ─▶ OutputFormat ─▶ stdout
///                          │                    (ClusterConnection: the library's EtcdClient)
///                          ├── watch: WatchSession (one stream, resumed when it is lost)
///                          ├── lock, elect: Tenure (a lease of their own, until a signal)
///                          └── check data: no connection; a stopped member's files (Storage)
/// ```
///
/// What is promised: for the same arguments, environment and answers of the server, standard output, the
/// last `Error:` line and the exit status are those of etcdctl 3.5.1. What is not: its log lines on
/// standard error, its help texts, which are our own, and what it does by mistake: where it crashes (a
/// transaction that compares leases) or waits for ever (`lease list` without a server), gulpctl does the obvious.
///
/// Every command turns flags into a request in a pure function and an answer into bytes in another;
/// in between stands `EtcdConnection`, which tests replace.
public enum Gulpctl {
    /// The version that `gulpctl version` prints.
    public static let version = "0.1.0"

    /// Runs one command line against real servers and the process's own input and output.
    ///
    /// - Parameters:
    ///   - arguments: everything after the program's name, byte for byte: keys need not be UTF-8.
    ///   - environment: the process's variables.
    /// - Returns: the status to exit with.
    public static func run(arguments: [[UInt8]], environment: [String: String]) async -> Int32 {
        await run(arguments, environment, StandardConsole()) { options, console in
            try ClusterConnection(options, console: console)
        }
    }

    static func run(
        _ arguments: [[UInt8]], _ environment: [String: String], _ console: any Console,
        connect: @escaping Invocation.Connect
    ) async -> Int32 {
        do {
            try await dispatch(arguments, environment, console, connect)
            return ExitStatus.success.rawValue
        } catch let failure as UsageFailure {
            console.writeError("Error: \(failure.text)\nRun '\(failure.help)' for usage.\n")
            return ExitStatus.error.rawValue
        } catch is SilentFailure {
            return ExitStatus.error.rawValue
        } catch let failure as ChildFailure {
            console.writeError("Error: \(failure.text)\n")
            return failure.status
        } catch {
            let failure = CommandFailure(error)
            console.writeError("Error: \(failure.text)\n")
            return failure.status.rawValue
        }
    }

    static let commands = [
        GetCommand.command, PutCommand.command, DeleteCommand.command, TransactionCommand.command,
        WatchCommand.command, LeaseCommands.command, LockCommand.command, ElectCommand.command,
        MemberCommands.command, EndpointCommands.command, CompactionCommand.command, CheckCommands.command,
        VersionCommand.command,
    ]

    private static func dispatch(
        _ arguments: [[UInt8]], _ environment: [String: String], _ console: any Console,
        _ connect: @escaping Invocation.Connect
    ) async throws {
        var rest = arguments
        guard let name = takeWord(from: &rest, GlobalOptions.flags) else {
            _ = try parse(arguments, GlobalOptions.flags, of: "gulpctl")
            return console.write(Help.overview(commands))
        }
        if name == "help" { return console.write(help(on: rest)) }
        guard var command = command(named: name, in: commands) else {
            throw UsageFailure(text: "unknown command \"\(name)\" for \"gulpctl\"", help: "gulpctl --help")
        }
        if !command.subcommands.isEmpty {
            let flags = command.flags + GlobalOptions.flags
            let word = takeWord(from: &rest, flags)
            guard let word, let found = self.command(named: word, in: command.subcommands) else {
                // As etcdctl does: a group alone, or with a name that it does not know, is a question for help.
                _ = try parse(rest, flags, of: "gulpctl \(command.name)")
                return console.write(Help.text(of: command))
            }
            command = found
        }
        let flags = try parse(rest, command.flags + GlobalOptions.flags, of: "gulpctl \(command.name)")
        if flags.bool("help") { return console.write(Help.text(of: command)) }
        let options = try GlobalOptions(flags, environment)
        try await command.run(
            Invocation(
                flags: flags, options: options, environment: environment, console: console, connect: connect))
    }

    private static func parse(
        _ arguments: [[UInt8]], _ flags: [Flag], of command: String
    ) throws(UsageFailure) -> ParsedFlags {
        do { return try FlagTable(flags).parse(arguments) } catch {
            throw UsageFailure(text: error.text, help: "\(command) --help")
        }
    }

    private static func help(on topic: [[UInt8]]) -> String {
        var rest = topic
        guard let first = takeWord(from: &rest, GlobalOptions.flags), let command = command(named: first, in: commands)
        else { return Help.overview(commands) }
        let subcommand = takeWord(from: &rest, GlobalOptions.flags)
            .flatMap { self.command(named: $0, in: command.subcommands) }
        return Help.text(of: subcommand ?? command)
    }

    /// A command goes by its name or by any beginning of it that no other command shares.
    private static func command(named name: String, in commands: [Command]) -> Command? {
        if let exact = commands.first(where: { $0.word == name }) { return exact }
        let candidates = commands.filter { $0.word.hasPrefix(name) }
        return candidates.count == 1 && !name.isEmpty ? candidates[0] : nil
    }

    /// Takes a command's name out: the first argument that is neither a flag nor a flag's value.
    /// A flag of a command before its name must carry its value after `=`, since which command's it is,
    /// and so whether it takes a value at all, is not known yet.
    private static func takeWord(from arguments: inout [[UInt8]], _ flags: [Flag]) -> String? {
        var index = 0
        while index < arguments.count {
            let argument = String(decoding: arguments[index], as: UTF8.self)
            guard argument.hasPrefix("-"), argument.count > 1 else {
                arguments.remove(at: index)
                return argument
            }
            if argument == "--" { return nil }
            index += GlobalOptions.takesNextArgument(argument, flags) ? 2 : 1
        }
        return nil
    }
}
