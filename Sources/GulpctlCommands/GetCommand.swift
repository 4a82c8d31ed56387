import EtcdAPI

/// `gulpctl get`.
enum GetCommand {
    static let command = Command(
        name: "get", summary: "Print a key or a range of keys", arguments: "KEY [RANGE_END]",
        details: "With RANGE_END, every key from KEY up to but not including RANGE_END.",
        flags: [
            .bool("prefix", "every key that begins with KEY"),
            .bool("from-key", "every key from KEY on"),
            .int("limit", "at most this many keys; 0: all"),
            .string("order", "", "ASCEND or DESCEND (default ASCEND)"),
            .string("sort-by", "", "CREATE, KEY, MODIFY, VALUE or VERSION"),
            .int("rev", "as of this revision; 0: the newest"),
            .string("consistency", "l", "l: linearizable; s: serializable, as the server asked knows it"),
            .bool("keys-only", "leave the values out"),
            .bool("count-only", "only count the keys; needs --write-out=fields"),
            .bool("print-value-only", "only the values; needs --write-out=simple"),
        ],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        let request = try request(invocation.flags)
        var (format, connection) = try invocation.open()
        let response = try await connection.call(.range, request)
        if request.countOnly, !(format is FieldsFormat) {
            throw CommandFailure("--count-only is only for `--write-out=fields`", .badArguments)
        }
        if invocation.flags.bool("print-value-only") {
            guard var simple = format as? SimpleFormat else {
                throw CommandFailure("print-value-only is only for `--write-out=simple`", .badArguments)
            }
            simple.showsValuesOnly = true
            format = simple
        }
        invocation.console.write(try format.bytes(response))
    }

    /// The flags are checked in etcdctl's order, so that of several mistakes the same one is named.
    static func request(_ flags: ParsedFlags) throws(CommandFailure) -> Etcdserverpb_RangeRequest {
        // etcdctl says so, and yet takes more arguments for nothing.
        guard !flags.arguments.isEmpty else {
            throw CommandFailure(
                "get command needs one argument as key and an optional argument as range_end", .badArguments)
        }
        if flags.bool("prefix"), flags.bool("from-key") {
            throw CommandFailure(
                "`--prefix` and `--from-key` cannot be set at the same time, choose one", .badArguments)
        }
        if flags.bool("keys-only"), flags.bool("count-only") {
            throw CommandFailure(
                "`--keys-only` and `--count-only` cannot be set at the same time, choose one", .badArguments)
        }
        var request = Etcdserverpb_RangeRequest()
        switch flags.string("consistency") {
        case "l": break
        case "s": request.serializable = true
        case let other:
            throw CommandFailure("unknown consistency flag \(QuotedBytes.quote(other))", .badFeature)
        }
        let range = try KeyRange(flags.arguments, isPrefix: flags.bool("prefix"), isFromKey: flags.bool("from-key"))
        request.key = range.key
        request.rangeEnd = range.end
        request.limit = flags.int("limit")
        request.revision = max(0, flags.int("rev"))
        request.sortOrder = try order(flags.string("order"))
        request.sortTarget = try target(flags.string("sort-by"))
        // Keys come in ascending order by themselves.
        if request.sortTarget == .key, request.sortOrder == .ascend { request.sortOrder = .none }
        request.keysOnly = flags.bool("keys-only")
        request.countOnly = flags.bool("count-only")
        return request
    }

    private static func order(_ text: String) throws(CommandFailure) -> Etcdserverpb_RangeRequest.SortOrder {
        switch text.uppercased() {
        case "": .none
        case "ASCEND": .ascend
        case "DESCEND": .descend
        default: throw CommandFailure("bad sort order \(text)", .badFeature)
        }
    }

    private static func target(_ text: String) throws(CommandFailure) -> Etcdserverpb_RangeRequest.SortTarget {
        switch text.uppercased() {
        case "", "KEY": .key
        case "CREATE": .create
        case "MODIFY": .mod
        case "VALUE": .value
        case "VERSION": .version
        default: throw CommandFailure("bad sort target \(text)", .badFeature)
        }
    }
}
