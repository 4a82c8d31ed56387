import EtcdAPI
import EtcdClient
import GRPC

/// `gulpctl lease …`.
enum LeaseCommands {
    static let command = Command.group(
        "lease", "Grant, end, look at and renew leases", [grant, keepAlive, list, revoke, timeToLive])

    private static let grant = Command(
        name: "lease grant", summary: "Make a lease", arguments: "TTL",
        details: "TTL is in seconds. The server raises one that is too short, and chooses the lease's id.", flags: []
    ) { invocation in
        guard invocation.flags.arguments.count == 1 else {
            throw CommandFailure("lease grant command needs TTL argument", .badArguments)
        }
        var request = Etcdserverpb_LeaseGrantRequest()
        do {
            request.ttl = try GoSyntax.int64(invocation.argument(0), base: 10)
        } catch let error as GoSyntaxError {
            throw CommandFailure("bad TTL (\(error.text))", .badArguments)
        }
        let (format, connection) = try invocation.open()
        let response = try await failing("grant") { try await connection.call(.leaseGrant, request) }
        invocation.console.write(try format.bytes(response))
    }

    private static let revoke = Command(
        name: "lease revoke", summary: "End a lease and delete its keys", arguments: "ID", details: idIsHex, flags: []
    ) { invocation in
        var request = Etcdserverpb_LeaseRevokeRequest()
        request.id = try lease(invocation, else: "lease revoke command needs 1 argument")
        let (format, connection) = try invocation.open()
        let response = try await failing("revoke") { try await connection.call(.leaseRevoke, request) }
        invocation.console.write(try format.bytes(response, revoked: request.id))
    }

    private static let timeToLive = Command(
        name: "lease timetolive", summary: "Print how long a lease has to live", arguments: "ID", details: idIsHex,
        flags: [.bool("keys", "also print the keys that end with the lease")]
    ) { invocation in
        var request = Etcdserverpb_LeaseTimeToLiveRequest()
        request.id = try lease(invocation, else: "lease timetolive command needs lease ID as argument")
        request.keys = invocation.flags.bool("keys")
        let (format, connection) = try invocation.open()
        let response = try await badConnection { try await connection.call(.leaseTimeToLive, request) }
        invocation.console.write(try format.bytes(response, showsKeys: request.keys))
    }

    private static let list = Command(
        name: "lease list", summary: "Print the ids of all leases", arguments: "", flags: []
    ) { invocation in
        let (format, connection) = try invocation.open()
        let response = try await badConnection {
            try await connection.call(.leases, Etcdserverpb_LeaseLeasesRequest())
        }
        invocation.console.write(try format.bytes(response))
    }

    private static let keepAlive = Command(
        name: "lease keep-alive", summary: "Renew a lease again and again", arguments: "ID",
        details: idIsHex + " Ends when the lease has ended or could not be renewed in its time.",
        flags: [.bool("once", "renew it once and end")]
    ) { invocation in
        var request = Etcdserverpb_LeaseKeepAliveRequest()
        request.id = try lease(invocation, else: "lease keep-alive command needs lease ID as argument")
        let (format, connection) = try invocation.open()
        if invocation.flags.bool("once") {
            let response = try await badConnection {
                let response = try await connection.call(.leaseKeepAlive, request)
                guard response.ttl > 0 else { throw RPCError(.notFound, "etcdserver: requested lease not found") }
                return response
            }
            return invocation.console.write(try format.bytes(response))
        }
        // The library's keeper tells of no renewals, which are what is printed here.
        var end = ContinuousClock.now + firstRenewalTime
        while true {
            let sentAt = ContinuousClock.now
            guard let response = try await renewal(request, connection, until: end), response.ttl > 0 else { break }
            invocation.console.write(try format.bytes(response))
            let granted = Duration.seconds(response.ttl)
            end = sentAt + granted
            try await Task.sleep(until: sentAt + max(granted / 3, .milliseconds(500)), clock: .continuous)
        }
        if format is SimpleFormat {
            invocation.console.write("lease \(LeaseFormats.id(request.id)) expired or revoked.\n")
        }
    }

    private static let idIsHex = "ID is in hexadecimal, as lease grant prints it."
    /// How long the first renewal may take, as for etcdctl.
    private static let firstRenewalTime = Duration.seconds(6)

    /// Asks again while no server answers; nil if none does until `end`.
    private static func renewal(
        _ request: Etcdserverpb_LeaseKeepAliveRequest, _ connection: any EtcdConnection,
        until end: ContinuousClock.Instant
    ) async throws -> Etcdserverpb_LeaseKeepAliveResponse? {
        while ContinuousClock.now < end {
            do {
                return try await connection.call(.leaseKeepAlive, request)
            } catch let error as RPCError where error.code == .unavailable || error.code == .deadlineExceeded {
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        return nil
    }

    private static func lease(_ invocation: Invocation, else complaint: String) throws(CommandFailure) -> Int64 {
        guard invocation.flags.arguments.count == 1 else { throw CommandFailure(complaint, .badArguments) }
        do {
            return try GoSyntax.int64(invocation.argument(0), base: 16)
        } catch {
            throw CommandFailure("bad lease ID arg (\(error.text)), expecting ID in Hex", .badArguments)
        }
    }

    private static func failing<Answer>(_ verb: String, _ call: () async throws -> Answer) async throws -> Answer {
        do { return try await call() } catch let error as RPCError {
            throw CommandFailure("failed to \(verb) lease (\(error.commandText))", .error)
        }
    }

    /// etcdctl gives a failure of these commands the status of a connection that could not be made.
    private static func badConnection<Answer>(_ call: () async throws -> Answer) async throws -> Answer {
        do { return try await call() } catch let error as RPCError {
            throw CommandFailure(error.commandText, .badConnection)
        }
    }
}
