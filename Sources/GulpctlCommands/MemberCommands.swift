import EtcdAPI

/// `gulpctl member …`.
enum MemberCommands {
    static let command = Command.group("member", "Look at the cluster's members", [list])

    private static let list = Command(
        name: "member list", summary: "Print the cluster's members", arguments: "",
        details: """
            The simple format's columns are: id, started or unstarted, name, addresses for peers, addresses for
            clients, whether it is a learner. With --hex, JSON has the ids in hexadecimal.
            """,
        flags: []
    ) { invocation in
        let (format, connection) = try invocation.open()
        invocation.console.write(try format.bytes(try await members(connection)))
    }

    static func members(_ connection: any EtcdConnection) async throws -> Etcdserverpb_MemberListResponse {
        var request = Etcdserverpb_MemberListRequest()
        request.linearizable = true
        return try await connection.call(.memberList, request)
    }
}
