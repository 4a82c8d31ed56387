import Foundation

/// `gulpctl`: the command line for an etcd-compatible store, call for call what etcdctl 3.5 is.
///
/// ```
///   argv ─▶ FlagTable ─▶ Command ─▶ request ─▶ EtcdConnection ─▶ response ─▶ OutputFormat ─▶ stdout
///                          │                    (endpoints in turn)
///                          └── watch: WatchSession (one stream, resumed when it is lost)
/// ```
///
/// What is promised: for the same arguments, environment and answers of the server, standard output, the
/// last `Error:` line and the exit status are those of etcdctl 3.5.1. What is not: its log lines on
/// standard error, and its help texts, which are our own.
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
            try EtcdClient(options, console: console)
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
        } catch {
            let failure = CommandFailure(error)
            console.writeError("Error: \(failure.text)\n")
            return failure.status.rawValue
        }
    }

    static let commands = [
        GetCommand.command, PutCommand.command, DeleteCommand.command, WatchCommand.command, VersionCommand.command,
    ]

    private static func dispatch(
        _ arguments: [[UInt8]], _ environment: [String: String], _ console: any Console,
        _ connect: @escaping Invocation.Connect
    ) async throws {
        var rest = arguments
        guard let index = commandIndex(in: arguments) else {
            do {
                _ = try FlagTable(GlobalOptions.flags).parse(arguments)
            } catch {
                throw UsageFailure(text: error.text, help: "gulpctl --help")
            }
            return console.write(Help.overview(commands))
        }
        let name = String(decoding: rest.remove(at: index), as: UTF8.self)
        if name == "help" {
            let topic = rest.first.flatMap { command(named: String(decoding: $0, as: UTF8.self)) }
            return console.write(topic.map(Help.text) ?? Help.overview(commands))
        }
        guard let command = command(named: name) else {
            throw UsageFailure(text: "unknown command \"\(name)\" for \"gulpctl\"", help: "gulpctl --help")
        }
        let flags: ParsedFlags
        do {
            flags = try FlagTable(command.flags + GlobalOptions.flags).parse(rest)
        } catch {
            throw UsageFailure(text: error.text, help: "gulpctl \(command.name) --help")
        }
        if flags.bool("help") { return console.write(Help.text(of: command)) }
        let options = try GlobalOptions(flags, environment)
        try await command.run(
            Invocation(
                flags: flags, options: options, environment: environment, console: console, connect: connect))
    }

    /// A command goes by its name or by any beginning of it that no other command shares.
    private static func command(named name: String) -> Command? {
        if let exact = commands.first(where: { $0.name == name }) { return exact }
        let candidates = commands.filter { $0.name.hasPrefix(name) }
        return candidates.count == 1 && !name.isEmpty ? candidates[0] : nil
    }

    /// Where the command's name stands: the first argument that is neither a flag nor a flag's value.
    /// A flag of a command before its name must carry its value after `=`, since which command's it is,
    /// and so whether it takes a value at all, is not known yet.
    private static func commandIndex(in arguments: [[UInt8]]) -> Int? {
        var index = 0
        while index < arguments.count {
            let argument = String(decoding: arguments[index], as: UTF8.self)
            guard argument.hasPrefix("-"), argument.count > 1 else { return index }
            if argument == "--" { return nil }
            let takesNext =
                argument.hasPrefix("--")
                ? !argument.contains("=") && !GlobalOptions.isBool(name: String(argument.dropFirst(2)))
                : argument.count == 2 && !GlobalOptions.isBool(letter: argument.dropFirst().first)
            index += takesNext ? 2 : 1
        }
        return nil
    }
}
