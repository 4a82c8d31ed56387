import EtcdAPI

/// `gulpctl watch`.
enum WatchCommand {
    static let command = Command(
        name: "watch", summary: "Print every change of a key or a range of keys as it happens",
        arguments: "KEY [RANGE_END] [-- COMMAND [ARGUMENTS]]",
        details: """
            With RANGE_END, every key from KEY up to but not including RANGE_END. Both may also stand in
            GULPCTL_WATCH_KEY and GULPCTL_WATCH_RANGE_END (or ETCDCTL_…).
            COMMAND is run for every change, with ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY
            and ETCD_WATCH_VALUE in its environment.
            In interactive mode, lines of standard input start watches: watch [flags] KEY [RANGE_END] [-- COMMAND];
            the line progress asks how far the server is.
            """,
        flags: [
            .bool("prefix", "every key that begins with KEY"),
            .int("rev", "begin with the changes of this revision; 0: with those to come"),
            .bool("prev-kv", "also print what the key held before"),
            .bool("progress-notify", "have the server say now and then how far it is"),
            .bool("interactive", letter: "i", "read watches from standard input"),
        ],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        let key = invocation.variable("WATCH_KEY")
        let rangeEnd = invocation.variable("WATCH_RANGE_END")
        if key == nil, let rangeEnd {
            throw CommandFailure(
                "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\(QuotedBytes.quote(rangeEnd))",
                .badArguments)
        }
        if invocation.flags.bool("interactive") {
            return try await InteractiveWatch(invocation, key: key, rangeEnd: rangeEnd).run()
        }
        let words = try WatchArguments.Words(invocation.flags, key: key, rangeEnd: rangeEnd)
        if words.keys.isEmpty, words.command.isEmpty {
            throw CommandFailure("bad number of arguments", .badArguments)
        }
        let (format, connection) = try invocation.open()
        let arguments = try WatchArguments(words, invocation.flags)
        let session = WatchSession(connection)
        try await session.add(
            arguments.create,
            printer: WatchPrinter(format: format, console: invocation.console, command: arguments.command))
        try await session.run(endsWithTheLastWatch: true)
        throw CommandFailure("watch is canceled by the server", .interrupted)
    }
}
