/// The help texts.
enum Help {
    static func overview(_ commands: [Command]) -> String {
        let lines = commandLines(commands.flatMap { $0.subcommands.isEmpty ? [$0] : $0.subcommands })
        return """
            gulpctl speaks to a gulpd or etcd cluster.

            Usage: gulpctl [flags] COMMAND [arguments]

            Commands:
            \(lines)
            Flags of every command:
            \(flagLines(GlobalOptions.flags))
            Each of these may also be given in the environment: GULPCTL_ENDPOINTS or ETCDCTL_ENDPOINTS
            for --endpoints, and so on; the first wins. `gulpctl COMMAND --help` shows a command's own flags.

            """
    }

    static func text(of command: Command) -> String {
        let subcommands =
            command.subcommands.isEmpty ? "" : "Commands:\n\(commandLines(command.subcommands))\n"
        let arguments = command.arguments.isEmpty ? "" : " \(command.arguments)"
        let details = command.details.isEmpty ? "" : command.details + "\n\n"
        let flags = command.flags.isEmpty ? "" : "Flags:\n\(flagLines(command.flags))\n"
        return """
            \(command.summary)

            Usage: gulpctl \(command.name)\(command.flags.isEmpty ? "" : " [flags]")\(arguments)

            \(subcommands)\(details)\(flags)Flags of every command:
            \(flagLines(GlobalOptions.flags))
            """
    }

    private static func commandLines(_ commands: [Command]) -> String {
        let width = commands.map(\.name.count).max() ?? 0
        return commands.map { "  \(pad($0.name, width))   \($0.summary)\n" }.joined()
    }

    private static func flagLines(_ flags: [Flag]) -> String {
        let width = flags.map { label($0).count }.max() ?? 0
        return flags.map { "  \(pad(label($0), width))   \($0.help)\(note($0))\n" }.joined()
    }

    private static func label(_ flag: Flag) -> String {
        (flag.letter.map { "-\($0), " } ?? "    ") + "--\(flag.name)"
    }

    private static func note(_ flag: Flag) -> String {
        switch flag.defaultValue {
        case .bool(true): " (default true)"
        case .int(let value) where value != 0: " (default \(value))"
        case .duration(let value): " (default \(GoSyntax.text(of: value)))"
        case .string(let value) where !value.isEmpty: " (default \(value))"
        case .list(let values): " (default \(values.joined(separator: ",")))"
        default: ""
        }
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
