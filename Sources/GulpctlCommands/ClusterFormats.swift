import EtcdAPI

/// The part of a format that shows members and endpoints.
protocol ClusterFormat: Sendable {
    func bytes(_ response: Etcdserverpb_MemberListResponse) throws(CommandFailure) -> [UInt8]
    func bytes(_ statuses: [EndpointStatus]) throws(CommandFailure) -> [UInt8]
    func bytes(_ hashes: [EndpointHash]) throws(CommandFailure) -> [UInt8]
    /// In the simple format only those that are healthy: the others are news for standard error.
    func bytes(_ healths: [EndpointHealth]) throws(CommandFailure) -> [UInt8]
}

/// What an endpoint says of itself.
struct EndpointStatus: Sendable {
    var endpoint: String
    var response: Etcdserverpb_StatusResponse
}

/// The hash of what an endpoint holds.
struct EndpointHash: Sendable {
    var endpoint: String
    var response: Etcdserverpb_HashKVResponse
}

/// Whether an endpoint could do a read that needs the cluster.
struct EndpointHealth: Sendable, Equatable {
    var endpoint: String
    var took: Duration
    /// What is wrong; empty for a healthy one.
    var error = ""

    var isHealthy: Bool { error.isEmpty }
}

/// What the simple format and the table show, cell by cell.
private enum Rows {
    static func of(_ response: Etcdserverpb_MemberListResponse) -> [[String]] {
        response.members.map { member in
            [
                hex(member.id), member.name.isEmpty ? "unstarted" : "started", member.name,
                member.peerUrls.joined(separator: ","), member.clientUrls.joined(separator: ","), "\(member.isLearner)",
            ]
        }
    }

    static func of(_ statuses: [EndpointStatus]) -> [[String]] {
        statuses.map { status in
            let response = status.response
            return [
                status.endpoint, hex(response.header.memberID), response.version, size(response.dbSize),
                "\(response.leader == response.header.memberID)", "\(response.isLearner)", "\(response.raftTerm)",
                "\(response.raftIndex)", "\(response.raftAppliedIndex)", response.errors.joined(separator: ", "),
            ]
        }
    }

    static func of(_ hashes: [EndpointHash]) -> [[String]] { hashes.map { [$0.endpoint, "\($0.response.hash)"] } }

    static func of(_ healths: [EndpointHealth]) -> [[String]] {
        healths.map { [$0.endpoint, "\($0.isHealthy)", GoSyntax.text(of: $0.took), $0.error] }
    }

    static func hex(_ id: UInt64) -> String { String(id, radix: 16) }

    /// Two digits, in powers of 1000: `9.5 kB`, `20 kB`.
    static func size(_ bytes: Int64) -> String {
        guard bytes >= 10 else { return "\(max(bytes, 0)) B" }
        var scale: Int64 = 1
        var unit = 0
        while unit < 6, bytes / scale >= 1000 {
            scale *= 1000
            unit += 1
        }
        let tenths = (Double(bytes) / Double(scale) * 10 + 0.5).rounded(.down)
        let number = tenths < 100 ? "\(tenths / 10)" : "\(Int64((tenths / 10).rounded(.toNearestOrEven)))"
        return "\(number) \(["B", "kB", "MB", "GB", "TB", "PB", "EB"][unit])"
    }
}

extension SimpleFormat {
    func bytes(_ response: Etcdserverpb_MemberListResponse) -> [UInt8] { lines(Rows.of(response)) }
    func bytes(_ statuses: [EndpointStatus]) -> [UInt8] { lines(Rows.of(statuses)) }
    func bytes(_ hashes: [EndpointHash]) -> [UInt8] { lines(Rows.of(hashes)) }

    func bytes(_ healths: [EndpointHealth]) -> [UInt8] {
        healths.filter(\.isHealthy).flatMap { health in
            let took = GoSyntax.text(of: health.took)
            return Array(
                "\(health.endpoint) is healthy: successfully committed proposal: took = \(took)\n".utf8)
        }
    }

    private func lines(_ rows: [[String]]) -> [UInt8] {
        rows.flatMap { Array(($0.joined(separator: ", ") + "\n").utf8) }
    }
}

extension TableFormat {
    func bytes(_ response: Etcdserverpb_MemberListResponse) -> [UInt8] {
        table(["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"], Rows.of(response))
    }

    func bytes(_ statuses: [EndpointStatus]) -> [UInt8] {
        let titles = [
            "ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER", "RAFT TERM", "RAFT INDEX",
            "RAFT APPLIED INDEX", "ERRORS",
        ]
        return table(titles, Rows.of(statuses))
    }

    func bytes(_ hashes: [EndpointHash]) -> [UInt8] { table(["ENDPOINT", "HASH"], Rows.of(hashes)) }

    func bytes(_ healths: [EndpointHealth]) -> [UInt8] {
        table(["ENDPOINT", "HEALTH", "TOOK", "ERROR"], Rows.of(healths))
    }
}

extension FieldsFormat {
    func bytes(_ response: Etcdserverpb_MemberListResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        for member in response.members {
            lines.addMember(
                member.id, member.name, member.peerUrls, member.clientUrls, isLearner: member.isLearner)
            lines.addEmptyLine()
        }
        return lines.bytes
    }

    func bytes(_ statuses: [EndpointStatus]) -> [UInt8] {
        statuses.flatMap { status in
            let response = status.response
            var lines = FieldLines(response.header)
            lines.add("Version", QuotedBytes.quote(response.version))
            lines.add("DBSize", response.dbSize)
            lines.add("Leader", response.leader)
            lines.add("IsLearner", response.isLearner)
            lines.add("RaftIndex", response.raftIndex)
            lines.add("RaftTerm", response.raftTerm)
            lines.add("RaftAppliedIndex", response.raftAppliedIndex)
            lines.add("Errors", "[\(response.errors.joined(separator: " "))]")
            lines.add("Endpoint", QuotedBytes.quote(status.endpoint))
            lines.addEmptyLine()
            return lines.bytes
        }
    }

    func bytes(_ hashes: [EndpointHash]) -> [UInt8] {
        hashes.flatMap { hash in
            var lines = FieldLines(hash.response.header)
            lines.add("Endpoint", QuotedBytes.quote(hash.endpoint))
            lines.add("Hash", hash.response.hash)
            lines.addEmptyLine()
            return lines.bytes
        }
    }

    func bytes(_ healths: [EndpointHealth]) -> [UInt8] {
        healths.flatMap { health in
            var lines = FieldLines()
            lines.add("Endpoint", QuotedBytes.quote(health.endpoint))
            lines.add("Health", health.isHealthy)
            lines.add("Took", GoSyntax.text(of: health.took))
            lines.add("Error", health.error)
            lines.addEmptyLine()
            return lines.bytes
        }
    }
}

extension JSONFormat {
    func bytes(_ response: Etcdserverpb_MemberListResponse) -> [UInt8] {
        if isHex { return hexBytes(response) }
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        let members = response.members.map { member in
            var object = JSONObject()
            object.add("ID", member.id)
            object.add("name", text: member.name)
            if !member.peerUrls.isEmpty { object.add("peerURLs", JSONObject.array(of: member.peerUrls)) }
            if !member.clientUrls.isEmpty { object.add("clientURLs", JSONObject.array(of: member.clientUrls)) }
            if member.isLearner { object.add("isLearner", "true") }
            return object.text
        }
        if !members.isEmpty { object.add("members", JSONObject.array(members)) }
        return object.line
    }

    /// With `--hex`, etcdctl writes this answer, and no other, by hand: ids as hexadecimal text, the term in
    /// hexadecimal too, one name spelled otherwise, and nothing of learners.
    private func hexBytes(_ response: Etcdserverpb_MemberListResponse) -> [UInt8] {
        func hex(_ id: UInt64) -> String { "\"\(String(id, radix: 16))\"" }
        func list(_ urls: [String]) -> String { urls.isEmpty ? "null" : JSONObject.array(of: urls) }
        var header = JSONObject()
        header.add("cluster_id", hex(response.header.clusterID))
        header.add("member_id", hex(response.header.memberID))
        header.add("raft_term", String(response.header.raftTerm, radix: 16))
        let members = response.members.map { member in
            var object = JSONObject()
            object.add("ID", hex(member.id))
            object.add("name", JSONObject.quote(member.name))
            object.add("peerURLs", list(member.peerUrls))
            object.add("clientURLS", list(member.clientUrls))
            return object.text
        }
        var object = JSONObject()
        object.add("header", header.text)
        object.add("members", JSONObject.array(members))
        return object.line
    }

    func bytes(_ statuses: [EndpointStatus]) -> [UInt8] {
        list(statuses) { status in
            let response = status.response
            var answer = JSONObject()
            if response.hasHeader { answer.add("header", response.header.json) }
            answer.add("version", text: response.version)
            answer.add("dbSize", response.dbSize)
            answer.add("leader", response.leader)
            answer.add("raftIndex", response.raftIndex)
            answer.add("raftTerm", response.raftTerm)
            answer.add("raftAppliedIndex", response.raftAppliedIndex)
            if !response.errors.isEmpty { answer.add("errors", JSONObject.array(of: response.errors)) }
            answer.add("dbSizeInUse", response.dbSizeInUse)
            if response.isLearner { answer.add("isLearner", "true") }
            return Self.named(status.endpoint, "Status", answer)
        }
    }

    func bytes(_ hashes: [EndpointHash]) -> [UInt8] {
        list(hashes) { hash in
            var answer = JSONObject()
            if hash.response.hasHeader { answer.add("header", hash.response.header.json) }
            answer.add("hash", hash.response.hash)
            answer.add("compact_revision", hash.response.compactRevision)
            return Self.named(hash.endpoint, "HashKV", answer)
        }
    }

    func bytes(_ healths: [EndpointHealth]) -> [UInt8] {
        list(healths) { health in
            var object = JSONObject()
            object.add("endpoint", JSONObject.quote(health.endpoint))
            object.add("health", "\(health.isHealthy)")
            object.add("took", JSONObject.quote(GoSyntax.text(of: health.took)))
            object.add("error", text: health.error)
            return object
        }
    }

    private func list<Element>(_ elements: [Element], _ object: (Element) -> JSONObject) -> [UInt8] {
        Array((JSONObject.array(elements.map { object($0).text }) + "\n").utf8)
    }

    private static func named(_ endpoint: String, _ name: String, _ answer: JSONObject) -> JSONObject {
        var object = JSONObject()
        object.add("Endpoint", JSONObject.quote(endpoint))
        object.add(name, answer.text)
        return object
    }
}

extension ProtobufFormat {
    func bytes(_ response: Etcdserverpb_MemberListResponse) throws(CommandFailure) -> [UInt8] { try encode(response) }
    func bytes(_ statuses: [EndpointStatus]) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ hashes: [EndpointHash]) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ healths: [EndpointHealth]) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
}
