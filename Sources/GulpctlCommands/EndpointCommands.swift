import EtcdAPI
import EtcdClient
import GRPC

/// `gulpctl endpoint …`: questions that each endpoint is to answer for itself.
enum EndpointCommands {
    static let command = Command.group(
        "endpoint", "Ask each endpoint how it is", flags: flags, [hashKV, health, status])

    private static let flags = [Flag.bool("cluster", "ask the addresses of all members instead of --endpoints")]

    private static let status = Command(
        name: "endpoint status", summary: "Print what each endpoint says of itself", arguments: "",
        details: """
            The simple format's columns are: endpoint, member's id, version, size of the database, whether it leads,
            whether it is a learner, Raft's term, index and applied index, errors.
            """,
        flags: flags
    ) { invocation in
        let (format, connection) = try invocation.open()
        let (statuses, failure) = try await each(invocation, connection, "status") { endpoint in
            EndpointStatus(
                endpoint: endpoint.text,
                response: try await connection.call(
                    .status, Etcdserverpb_StatusRequest(), mayRepeat: false, at: endpoint.address))
        }
        invocation.console.write(try format.bytes(statuses))
        if failure != nil { throw SilentFailure() }
    }

    private static let hashKV = Command(
        name: "endpoint hashkv", summary: "Print a hash of what each endpoint holds", arguments: "",
        details: "Members that hold the same history have the same hash, if they have compacted it alike.",
        flags: [.int("rev", "of the history up to this revision; 0: of all")] + flags
    ) { invocation in
        let (format, connection) = try invocation.open()
        var request = Etcdserverpb_HashKVRequest()
        request.revision = invocation.flags.int("rev")
        let (hashes, failure) = try await each(invocation, connection, "hash") { [request] endpoint in
            EndpointHash(
                endpoint: endpoint.text,
                response: try await connection.call(.hashKV, request, mayRepeat: false, at: endpoint.address))
        }
        invocation.console.write(try format.bytes(hashes))
        if let failure { throw failure }
    }

    private static let health = Command(
        name: "endpoint health", summary: "Try a read through each endpoint", arguments: "",
        details: """
            An endpoint is healthy if it answers a read that needs a majority of the cluster and no alarm is raised.
            The status is 1 if one is not.
            """,
        flags: flags
    ) { invocation in
        let (format, connection) = try invocation.open()
        let endpoints = try await endpoints(invocation, connection)
        let healths = await withTaskGroup(of: EndpointHealth.self) { group in
            for endpoint in endpoints {
                group.addTask { await health(of: endpoint, connection) }
            }
            // As they come, which is etcdctl's order.
            return await group.reduce(into: []) { $0.append($1) }
        }
        if format is SimpleFormat {
            for health in healths where !health.isHealthy {
                invocation.console.writeError(
                    "\(health.endpoint) is unhealthy: failed to commit proposal: \(health.error)\n")
            }
        }
        invocation.console.write(try format.bytes(healths))
        guard healths.allSatisfy(\.isHealthy) else { throw CommandFailure("unhealthy cluster", .error) }
    }

    private static func health(of endpoint: Endpoint, _ connection: any EtcdConnection) async -> EndpointHealth {
        var health = EndpointHealth(endpoint: endpoint.text, took: .zero)
        var request = Etcdserverpb_RangeRequest()
        // A key like any other: what counts is that it is answered.
        request.key.append(contentsOf: "health".utf8)
        let begun = ContinuousClock.now
        do {
            _ = try await connection.call(.range, request, mayRepeat: false, at: endpoint.address)
        } catch let error as RPCError where error.message == "etcdserver: permission denied" {
            // The cluster agreed on that.
        } catch {
            health.error = CommandFailure(error).text
        }
        health.took = ContinuousClock.now - begun
        guard health.isHealthy else { return health }
        do {
            let alarms = try await connection.call(
                .alarm, Etcdserverpb_AlarmRequest(), mayRepeat: false, at: endpoint.address
            ).alarms
            if !alarms.isEmpty {
                health.error = "Active Alarm(s): " + alarms.map { name(of: $0.alarm) + " " }.joined()
            }
        } catch {
            health.error = "Unable to fetch the alarm list"
        }
        return health
    }

    private static func name(of alarm: Etcdserverpb_AlarmType) -> String {
        switch alarm {
        case .nospace: "NOSPACE"
        case .corrupt: "CORRUPT"
        default: "UNKNOWN"
        }
    }

    /// Asks one endpoint after the other and tells of each failure at once.
    ///
    /// - Returns: the answers, and the last failure.
    private static func each<Answer>(
        _ invocation: Invocation, _ connection: any EtcdConnection, _ what: String,
        _ ask: (Endpoint) async throws -> Answer
    ) async throws -> ([Answer], CommandFailure?) {
        var answers: [Answer] = []
        var failure: CommandFailure?
        for endpoint in try await endpoints(invocation, connection) {
            do { answers.append(try await ask(endpoint)) } catch {
                let found = CommandFailure(error)
                invocation.console.writeError(
                    "Failed to get the \(what) of endpoint \(endpoint.text) (\(found.text))\n")
                failure = found
            }
        }
        return (answers, failure)
    }

    private static func endpoints(
        _ invocation: Invocation, _ connection: any EtcdConnection
    ) async throws -> [Endpoint] {
        guard invocation.flags.bool("cluster") else { return try Endpoint.list(invocation.options.endpoints) }
        let members: Etcdserverpb_MemberListResponse
        do { members = try await MemberCommands.members(connection) } catch let error as RPCError {
            throw CommandFailure(
                "failed to fetch endpoints from etcd cluster member list: \(error.commandText)", .error)
        }
        return try members.members.flatMap(\.clientUrls).map { try Endpoint($0) }
    }
}
