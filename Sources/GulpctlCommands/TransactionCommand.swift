import EtcdAPI

/// `gulpctl txn`.
enum TransactionCommand {
    static let command = Command(
        name: "txn", summary: "Do several reads and writes as one step, or others if a condition fails", arguments: "",
        details: """
            Standard input holds three lists, each ended by an empty line: comparisons, the requests for when all of
            them hold, and the requests for when one does not.
            A comparison is TARGET("KEY") OPERATOR "OPERAND" with spaces as here. TARGET is value (or val), version
            (ver), create (c) or mod (m) for the revision that created or last wrote the key, or lease (its id, in
            hexadecimal); OPERATOR is =, !=, < or >.
            A request is a get, put or del command with its flags. Words that hold spaces stand in quotes.

                mod("key") > "0"

                put key "a new value"

                put key created
                get other
            """,
        flags: [.bool("interactive", letter: "i", "say which list is awaited")],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        guard invocation.flags.arguments.isEmpty else {
            throw CommandFailure("txn command does not accept argument", .badArguments)
        }
        let (format, connection) = try invocation.open()
        let console = invocation.console
        let isInteractive = invocation.flags.bool("interactive")
        var lines = console.lines().makeAsyncIterator()

        /// The items of one list, each read as soon as its line is there: etcdctl ends at the first mistake.
        func list<Item>(_ prompt: String, _ read: (String) throws(CommandFailure) -> Item) async throws -> [Item] {
            if isInteractive { console.write(prompt + ":\n") }
            var items: [Item] = []
            while let line = await lines.next() {
                let text = String(decoding: line, as: UTF8.self).trimmingWhiteSpace
                if text.isEmpty { return items }
                items.append(try read(text))
            }
            throw CommandFailure("EOF", .invalidInput)
        }

        var request = Etcdserverpb_TxnRequest()
        request.compare = try await list("compares", TransactionComparison.read)
        request.success = try await list("success requests (get, put, del)", operation)
        request.failure = try await list("failure requests (get, put, del)", operation)
        let isReadOnly = (request.success + request.failure).allSatisfy { operation in
            if case .requestRange = operation.request { true } else { false }
        }
        invocation.console.write(
            try format.bytes(try await connection.call(.transaction, request, mayRepeat: isReadOnly)))
    }

    /// Reads a request of the transaction.
    static func operation(_ line: String) throws(CommandFailure) -> Etcdserverpb_RequestOp {
        let words = LineWords.split(Array(line.utf8))
        guard words.count >= 2 else { throw CommandFailure("invalid txn compare request: \(line)", .invalidInput) }
        let unreadable = CommandFailure("invalid txn request: \(line)", .invalidInput)
        let name = String(decoding: words[0], as: UTF8.self)
        let commands = [GetCommand.command, PutCommand.command, DeleteCommand.command]
        guard !name.isEmpty, let command = commands.first(where: { $0.name.hasPrefix(name) }) else { throw unreadable }
        let flags: ParsedFlags
        do { flags = try FlagTable(command.flags).parse(Array(words.dropFirst())) } catch { throw unreadable }
        guard !flags.bool("help") else { throw unreadable }
        var operation = Etcdserverpb_RequestOp()
        switch command.name {
        case "get": operation.requestRange = try GetCommand.request(flags)
        case "del": operation.requestDeleteRange = try DeleteCommand.request(flags)
        // Standard input is the transaction and holds no value.
        default: operation.requestPut = try PutCommand.request(flags, standardInput: { [] })
        }
        return operation
    }
}

extension String {
    fileprivate var trimmingWhiteSpace: String {
        var rest = self[...].drop { $0.isWhitespace }
        while rest.last?.isWhitespace == true { rest = rest.dropLast() }
        return String(rest)
    }
}
