import EtcdAPI
import Foundation

/// `gulpctl put`.
enum PutCommand {
    static let command = Command(
        name: "put", summary: "Store a value under a key", arguments: "KEY [VALUE]",
        details: """
            Without VALUE the value is all of standard input: gulpctl put KEY < FILE.
            A key or value that begins with - follows two dashes: gulpctl put KEY -- -1
            """,
        flags: [
            .string("lease", "0", "attach the key to the lease of this id, in hexadecimal"),
            .bool("prev-kv", "print what the key held before"),
            .bool("ignore-value", "keep the key's value; it must exist"),
            .bool("ignore-lease", "keep the key's lease; it must exist"),
        ],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        let request = try request(invocation.flags, standardInput: invocation.console.readToEnd)
        let (format, connection) = try invocation.open()
        invocation.console.write(try format.bytes(try await connection.call(.put, request)))
    }

    /// - Parameter standardInput: read only if the value is to come from there.
    static func request(
        _ flags: ParsedFlags, standardInput: () -> [UInt8]
    ) throws(CommandFailure) -> Etcdserverpb_PutRequest {
        let missing = CommandFailure(
            "put command needs 1 argument and input from stdin or 2 arguments", .badArguments)
        guard let key = flags.arguments.first else { throw missing }
        var request = Etcdserverpb_PutRequest()
        request.key = Data(key)
        request.ignoreValue = flags.bool("ignore-value")
        if request.ignoreValue {
            guard flags.arguments.count == 1 else {
                throw CommandFailure("put command needs only 1 argument when 'ignore-value' is set", .badArguments)
            }
        } else if flags.arguments.count > 1 {
            request.value = Data(flags.arguments[1])
        } else {
            request.value = Data(standardInput())
            guard !request.value.isEmpty else { throw missing }
        }
        do {
            request.lease = try GoSyntax.int64(flags.string("lease"), base: 16)
        } catch {
            throw CommandFailure("bad lease ID (\(error.text)), expecting ID in Hex", .badArguments)
        }
        request.prevKv = flags.bool("prev-kv")
        request.ignoreLease = flags.bool("ignore-lease")
        return request
    }
}
