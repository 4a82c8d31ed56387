import EtcdAPI
import EtcdClient
import Foundation

/// `gulpctl elect`.
enum ElectCommand {
    static let command = Command(
        name: "elect", summary: "Stand for an election, or follow it", arguments: "NAME [PROPOSAL]",
        details: """
            With PROPOSAL, waits until elected, prints the leader's key and PROPOSAL, and leads until SIGINT or SIGTERM.
            With --listen, prints the leader's key and proposal, now and whenever they change.
            """,
        flags: [.bool("listen", letter: "l", "follow the election without standing")],
        run: run)

    private static func run(_ invocation: Invocation) async throws {
        let arguments = invocation.flags.arguments
        guard (1...2).contains(arguments.count) else {
            throw CommandFailure(
                "elect takes one election name argument and an optional proposal argument", .badArguments)
        }
        let listens = invocation.flags.bool("listen")
        if arguments.count == 1, !listens {
            throw CommandFailure("no proposal argument but -l not set", .badArguments)
        }
        if arguments.count == 2, listens { throw CommandFailure("proposal given but -l is set", .badArguments) }
        let (format, connection) = try invocation.open()
        if listens {
            try await observe(arguments[0], connection, format, invocation.console)
        } else {
            try await campaign(arguments[0], arguments[1], connection, format, invocation.console)
        }
    }

    private static func campaign(
        _ name: [UInt8], _ proposal: [UInt8], _ connection: any EtcdConnection, _ format: any OutputFormat,
        _ console: any Console
    ) async throws {
        let tenure = try await Tenure(connection, seconds: 60)
        let result: Result<Void, any Error>
        do {
            let leadership = try await tenure.taking {
                try await tenure.client.campaign(name, value: proposal, under: tenure.keeper)
            }
            console.write(try format.bytes(try await read(leadership.key, connection)))
            if try await tenure.untilItEnds() == .leaseLost {
                throw CommandFailure("elect: session expired", .error)
            }
            result = .success(())
        } catch { result = .failure(error) }
        await tenure.end()
        try result.get()
    }

    /// Ends well with a signal, which is the only way to end it.
    private static func observe(
        _ name: [UInt8], _ connection: any EtcdConnection, _ format: any OutputFormat, _ console: any Console
    ) async throws {
        let client = try await connection.makeClient()
        let signals = TerminationSignals()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for try await leader in client.observeLeader(of: name) {
                    guard let leader else { continue }
                    // Read again for its header, which the formats show; it may have gone meanwhile.
                    var response = try await read(leader.key, connection)
                    response.count = 0
                    if !response.kvs.isEmpty { console.write(try format.bytes(response)) }
                }
                throw CommandFailure("elect: observer lost", .error)
            }
            group.addTask { try await signals.wait() }
            defer { group.cancelAll() }
            try await group.next()
        }
        await client.close()
    }

    private static func read(
        _ key: [UInt8], _ connection: any EtcdConnection
    ) async throws -> Etcdserverpb_RangeResponse {
        var request = Etcdserverpb_RangeRequest()
        request.key = Data(key)
        return try await connection.call(.range, request)
    }
}
