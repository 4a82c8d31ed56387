import EtcdAPI
import EtcdClient
import Foundation

/// `gulpctl lock`.
enum LockCommand {
    static let command = Command(
        name: "lock", summary: "Hold a lock that others wait for", arguments: "NAME [COMMAND [ARGUMENTS]]",
        details: """
            Waits for the lock, prints its key and holds it until SIGINT or SIGTERM. With COMMAND, runs it instead of
            printing and ends with its status; the command finds the lock's key in ETCD_LOCK_KEY and the revision at
            which it was taken, which grows from owner to owner, in ETCD_LOCK_REV. Two dashes before COMMAND keep its
            flags from being read as gulpctl's.
            """,
        flags: [
            Flag(
                name: "ttl", defaultValue: .int(10),
                help: "seconds after which others get the lock when this process dies")
        ],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        guard let name = invocation.flags.arguments.first else {
            throw CommandFailure(
                "lock takes a lock name argument and an optional command to execute", .badArguments)
        }
        let command = Array(invocation.flags.arguments.dropFirst())
        let (format, connection) = try invocation.open()
        let tenure = try await Tenure(connection, seconds: invocation.flags.int("ttl"))
        let result: Result<Void, any Error>
        do {
            let lock = try await tenure.taking { try await tenure.client.lock(name, under: tenure.keeper) }
            if command.isEmpty {
                try await hold(lock, tenure, connection, format, invocation.console)
            } else if let failure = await ChildProcess.run(command, adding: variables(of: lock)) {
                throw failure
            }
            result = .success(())
        } catch { result = .failure(error) }
        await tenure.end()
        try result.get()
    }

    private static func hold(
        _ lock: Lock, _ tenure: Tenure, _ connection: any EtcdConnection, _ format: any OutputFormat,
        _ console: any Console
    ) async throws {
        var request = Etcdserverpb_RangeRequest()
        request.key = Data(lock.key)
        let response = try await connection.call(.range, request)
        guard !response.kvs.isEmpty else { throw CommandFailure("lock lost on init", .error) }
        console.write(try format.bytes(response))
        if try await tenure.untilItEnds() == .leaseLost { throw CommandFailure("session expired", .error) }
    }

    private static func variables(of lock: Lock) -> [(name: String, value: String)] {
        [
            ("ETCD_LOCK_KEY", String(decoding: lock.key, as: UTF8.self)),
            ("ETCD_LOCK_REV", "\(lock.fencingToken)"),
        ]
    }
}
