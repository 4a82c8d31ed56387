import EtcdAPI

/// `gulpctl del`.
enum DeleteCommand {
    static let command = Command(
        name: "del", summary: "Delete a key or a range of keys", arguments: "KEY [RANGE_END]",
        details: "With RANGE_END, every key from KEY up to but not including RANGE_END. Prints how many there were.",
        flags: [
            .bool("prefix", "every key that begins with KEY"),
            .bool("from-key", "every key from KEY on"),
            .bool("prev-kv", "print what was deleted"),
            .bool("range", "confirms that RANGE_END is meant, which later etcdctl ask for; changes nothing here"),
        ],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        let request = try request(invocation.flags)
        let (format, connection) = try invocation.open()
        invocation.console.write(try format.bytes(try await connection.call(.deleteRange, request)))
    }

    static func request(_ flags: ParsedFlags) throws(CommandFailure) -> Etcdserverpb_DeleteRangeRequest {
        guard (1...2).contains(flags.arguments.count) else {
            throw CommandFailure(
                "del command needs one argument as key and an optional argument as range_end", .badArguments)
        }
        if flags.bool("prefix"), flags.bool("from-key") {
            throw CommandFailure(
                "`--prefix` and `--from-key` cannot be set at the same time, choose one", .badArguments)
        }
        let range = try KeyRange(flags.arguments, isPrefix: flags.bool("prefix"), isFromKey: flags.bool("from-key"))
        var request = Etcdserverpb_DeleteRangeRequest()
        request.key = range.key
        request.rangeEnd = range.end
        request.prevKv = flags.bool("prev-kv")
        return request
    }
}
