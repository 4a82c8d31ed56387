import EtcdAPI

/// Every field of an answer on a line of its own, `"Name" : value`, byte strings quoted.
struct FieldsFormat: OutputFormat {
    func bytes(_ response: Etcdserverpb_RangeResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        for kv in response.kvs { lines.add(kv) }
        lines.add("More", response.more)
        lines.add("Count", response.count)
        return lines.bytes
    }

    func bytes(_ response: Etcdserverpb_PutResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        if response.hasPrevKv { lines.add(response.prevKv, prefix: "Prev") }
        return lines.bytes
    }

    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        lines.add("Deleted", response.deleted)
        for kv in response.prevKvs { lines.add(kv, prefix: "Prev") }
        return lines.bytes
    }

    func bytes(_ response: Etcdserverpb_TxnResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        lines.add("Succeeded", response.succeeded)
        return lines.bytes
            + response.responses.flatMap { operation -> [UInt8] in
                switch operation.response {
                case .responseRange(let range): bytes(range)
                case .responsePut(let put): bytes(put)
                case .responseDeleteRange(let deletion): bytes(deletion)
                // txn's grammar has no transactions within the transaction.
                case .responseTxn, nil: []
                }
            }
    }

    func bytes(_ response: Etcdserverpb_WatchResponse) -> [UInt8] {
        var lines = FieldLines(response.header)
        for event in response.events {
            lines.add("Type", event.type.name)
            if event.hasPrevKv { lines.add(event.prevKv, prefix: "Prev") }
            lines.add(event.kv)
        }
        return lines.bytes
    }
}

/// Lines under construction.
struct FieldLines {
    private(set) var bytes: [UInt8] = []

    init() {}

    init(_ header: Etcdserverpb_ResponseHeader) {
        add("ClusterID", header.clusterID)
        add("MemberID", header.memberID)
        add("Revision", header.revision)
        add("RaftTerm", header.raftTerm)
    }

    mutating func add(_ name: String, _ value: some CustomStringConvertible) {
        bytes += "\"\(name)\" : \(value)\n".utf8
    }

    mutating func addEmptyLine() { bytes.append(UInt8(ascii: "\n")) }

    mutating func addMember(
        _ id: UInt64, _ name: String, _ peerURLs: [String], _ clientURLs: [String], isLearner: Bool
    ) {
        add("ID", id)
        add("Name", QuotedBytes.quote(name))
        for url in peerURLs { add("PeerURL", QuotedBytes.quote(url)) }
        for url in clientURLs { add("ClientURL", QuotedBytes.quote(url)) }
        add("IsLearner", isLearner)
    }

    mutating func add(_ kv: Mvccpb_KeyValue, prefix: String = "") {
        add(prefix + "Key", QuotedBytes.quote(kv.key))
        add(prefix + "CreateRevision", kv.createRevision)
        add(prefix + "ModRevision", kv.modRevision)
        add(prefix + "Version", kv.version)
        add(prefix + "Value", QuotedBytes.quote(kv.value))
        add(prefix + "Lease", kv.lease)
    }
}
