import EtcdAPI

/// `gulpctl compaction`.
enum CompactionCommand {
    static let command = Command(
        name: "compaction", summary: "Forget the history before a revision", arguments: "REVISION",
        details: """
            What was overwritten or deleted before REVISION can no longer be read or watched; what is current stays.
            The command also goes by compact.
            """,
        flags: [.bool("physical", "answer only when it is gone from the disk of the server asked")],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        guard invocation.flags.arguments.count == 1 else {
            throw CommandFailure("compaction command needs 1 argument", .badArguments)
        }
        var request = Etcdserverpb_CompactionRequest()
        do {
            request.revision = try GoSyntax.int64(invocation.argument(0), base: 10)
        } catch {
            throw CommandFailure(error.text, .error)
        }
        request.physical = invocation.flags.bool("physical")
        let (_, connection) = try invocation.open()
        _ = try await connection.call(.compact, request)
        invocation.console.write("compacted revision \(request.revision)\n")
    }
}
