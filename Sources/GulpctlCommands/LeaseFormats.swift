import EtcdAPI

/// The part of a format that shows what leases' commands were answered.
protocol LeaseFormat: Sendable {
    func bytes(_ response: Etcdserverpb_LeaseGrantResponse) throws(CommandFailure) -> [UInt8]
    func bytes(_ response: Etcdserverpb_LeaseRevokeResponse, revoked lease: Int64) throws(CommandFailure) -> [UInt8]
    func bytes(_ response: Etcdserverpb_LeaseKeepAliveResponse) throws(CommandFailure) -> [UInt8]
    /// - Parameter showsKeys: the keys were asked for, whether or not there are any.
    func bytes(_ response: Etcdserverpb_LeaseTimeToLiveResponse, showsKeys: Bool) throws(CommandFailure) -> [UInt8]
    func bytes(_ response: Etcdserverpb_LeaseLeasesResponse) throws(CommandFailure) -> [UInt8]
}

enum LeaseFormats {
    /// A lease's id as etcdctl prints it: 16 hexadecimal digits or, of one that is negative, a sign and 15 or more.
    static func id(_ lease: Int64) -> String {
        let digits = String(lease.magnitude, radix: 16)
        let sign = lease < 0 ? "-" : ""
        return sign + String(repeating: "0", count: max(0, 16 - sign.count - digits.count)) + digits
    }
}

extension SimpleFormat {
    func bytes(_ response: Etcdserverpb_LeaseGrantResponse) -> [UInt8] {
        Array("lease \(LeaseFormats.id(response.id)) granted with TTL(\(response.ttl)s)\n".utf8)
    }

    func bytes(_ response: Etcdserverpb_LeaseRevokeResponse, revoked lease: Int64) -> [UInt8] {
        Array("lease \(LeaseFormats.id(lease)) revoked\n".utf8)
    }

    func bytes(_ response: Etcdserverpb_LeaseKeepAliveResponse) -> [UInt8] {
        Array("lease \(LeaseFormats.id(response.id)) keepalived with TTL(\(response.ttl))\n".utf8)
    }

    func bytes(_ response: Etcdserverpb_LeaseTimeToLiveResponse, showsKeys: Bool) -> [UInt8] {
        let lease = "lease \(LeaseFormats.id(response.id))"
        if response.grantedTtl == 0, response.ttl == -1 { return Array("\(lease) already expired\n".utf8) }
        var line = Array("\(lease) granted with TTL(\(response.grantedTtl)s), remaining(\(response.ttl)s)".utf8)
        if showsKeys {
            let keys = response.keys.map { Array($0) }.joined(separator: [UInt8(ascii: " ")])
            line += Array(", attached keys([".utf8) + keys + Array("])".utf8)
        }
        return line + [UInt8(ascii: "\n")]
    }

    func bytes(_ response: Etcdserverpb_LeaseLeasesResponse) -> [UInt8] {
        let ids = response.leases.map { LeaseFormats.id($0.id) + "\n" }
        return Array("found \(ids.count) leases\n\(ids.joined())".utf8)
    }
}

extension FieldsFormat {
    func bytes(_ response: Etcdserverpb_LeaseGrantResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        lines.add("ID", response.id)
        lines.add("TTL", response.ttl)
        return lines.bytes
    }

    func bytes(_ response: Etcdserverpb_LeaseRevokeResponse, revoked lease: Int64) -> [UInt8] {
        FieldLines(response.header).bytes
    }

    func bytes(_ response: Etcdserverpb_LeaseKeepAliveResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        lines.add("ID", response.id)
        lines.add("TTL", response.ttl)
        return lines.bytes
    }

    func bytes(_ response: Etcdserverpb_LeaseTimeToLiveResponse, showsKeys: Bool) -> [UInt8] {
        var lines = FieldLines(response.header)
        lines.add("ID", response.id)
        lines.add("TTL", response.ttl)
        lines.add("GrantedTTL", response.grantedTtl)
        for key in response.keys { lines.add("Key", QuotedBytes.quote(key)) }
        return lines.bytes
    }

    func bytes(_ response: Etcdserverpb_LeaseLeasesResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        for lease in response.leases { lines.add("ID", lease.id) }
        return lines.bytes
    }
}

/// These answers have the field names of etcd's client library, after those of their header.
extension JSONFormat {
    func bytes(_ response: Etcdserverpb_LeaseGrantResponse) -> [UInt8] {
        var object = JSONObject(response.header)
        object.add("ID", "\(response.id)")
        object.add("TTL", "\(response.ttl)")
        object.add("Error", JSONObject.quote(response.error))
        return object.line
    }

    func bytes(_ response: Etcdserverpb_LeaseRevokeResponse, revoked lease: Int64) -> [UInt8] {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        return object.line
    }

    func bytes(_ response: Etcdserverpb_LeaseKeepAliveResponse) -> [UInt8] {
        var object = JSONObject(response.header)
        object.add("ID", "\(response.id)")
        object.add("TTL", "\(response.ttl)")
        return object.line
    }

    func bytes(_ response: Etcdserverpb_LeaseTimeToLiveResponse, showsKeys: Bool) -> [UInt8] {
        var object = JSONObject(response.header)
        object.add("id", "\(response.id)")
        object.add("ttl", "\(response.ttl)")
        object.add("granted-ttl", "\(response.grantedTtl)")
        let keys = response.keys.map { "\"\($0.base64EncodedString())\"" }
        object.add("keys", keys.isEmpty ? "null" : JSONObject.array(keys))
        return object.line
    }

    func bytes(_ response: Etcdserverpb_LeaseLeasesResponse) -> [UInt8] {
        var object = JSONObject(response.header)
        object.add("leases", JSONObject.array(response.leases.map { #"{"id":\#($0.id)}"# }))
        return object.line
    }
}

/// etcdctl encodes no more of these than their header, and of a revocation not even that.
extension ProtobufFormat {
    func bytes(_ response: Etcdserverpb_LeaseGrantResponse) throws(CommandFailure) -> [UInt8] {
        try encode(response.header)
    }

    func bytes(_ response: Etcdserverpb_LeaseRevokeResponse, revoked lease: Int64) throws(CommandFailure) -> [UInt8] {
        throw Self.refusal
    }

    func bytes(_ response: Etcdserverpb_LeaseKeepAliveResponse) throws(CommandFailure) -> [UInt8] {
        try encode(response.header)
    }

    func bytes(_ response: Etcdserverpb_LeaseTimeToLiveResponse, showsKeys: Bool) throws(CommandFailure) -> [UInt8] {
        try encode(response.header)
    }

    func bytes(_ response: Etcdserverpb_LeaseLeasesResponse) throws(CommandFailure) -> [UInt8] {
        try encode(response.header)
    }
}

extension TableFormat {
    func bytes(_ response: Etcdserverpb_LeaseGrantResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_LeaseRevokeResponse, revoked lease: Int64) throws(CommandFailure) -> [UInt8] {
        throw Self.refusal
    }
    func bytes(_ response: Etcdserverpb_LeaseKeepAliveResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
    func bytes(_ response: Etcdserverpb_LeaseTimeToLiveResponse, showsKeys: Bool) throws(CommandFailure) -> [UInt8] {
        throw Self.refusal
    }
    func bytes(_ response: Etcdserverpb_LeaseLeasesResponse) throws(CommandFailure) -> [UInt8] { throw Self.refusal }
}
