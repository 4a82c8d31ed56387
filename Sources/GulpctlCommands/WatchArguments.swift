import EtcdAPI

/// What a watch is asked to do: `[KEY [RANGE_END]] [-- COMMAND ARGUMENTS…]` and its flags, from the command
/// line or from a line typed in interactive mode, with the key and the range's end from the environment if
/// they are there.
struct WatchArguments {
    var create = Etcdserverpb_WatchCreateRequest()
    /// The command to run for every event; empty for none.
    var command: [[UInt8]] = []

    /// Checks only how many arguments there are. etcdctl ends on these mistakes even in interactive mode.
    struct Words: Equatable {
        var keys: [[UInt8]]
        var command: [[UInt8]] = []

        /// - Parameters:
        ///   - key: the environment's key; then the arguments name none.
        ///   - rangeEnd: the environment's end of the range that begins with `key`.
        init(_ flags: ParsedFlags, key: String?, rangeEnd: String?) throws(CommandFailure) {
            keys = flags.arguments
            if let separator = flags.separator {
                keys = Array(flags.arguments[..<separator])
                command = Array(flags.arguments[separator...])
                guard !command.isEmpty else {
                    throw CommandFailure(
                        "bad number of arguments (found separator --, but no commands)", .badArguments)
                }
            }
            if let key {
                guard keys.isEmpty else {
                    throw CommandFailure(
                        "bad number of arguments (found conflicting environment key)", .badArguments)
                }
                keys = ([key, rangeEnd].compactMap { $0 }).map { Array($0.utf8) }
            }
        }
    }

    init(_ words: Words, _ flags: ParsedFlags) throws(CommandFailure) {
        guard let key = words.keys.first else { throw CommandFailure("bad number of arguments", .badArguments) }
        if words.keys.count == 2, flags.bool("prefix") {
            throw CommandFailure("`range_end` and `--prefix` are mutually exclusive", .badArguments)
        }
        // etcdctl takes a third argument and more for nothing, and then the second too.
        let range = try KeyRange(
            words.keys.count == 2 ? words.keys : [key], isPrefix: flags.bool("prefix"), isFromKey: false)
        create.key = range.key
        create.rangeEnd = range.end
        create.startRevision = flags.int("rev")
        create.prevKv = flags.bool("prev-kv")
        create.progressNotify = flags.bool("progress-notify")
        command = words.command
    }
}
