import EtcdAPI
import Foundation

/// JSON as Go's encoder makes it of etcd's messages: byte strings in base64, integers as numbers, fields in
/// the messages' order, those at their default left out. That is not protobuf's JSON mapping, in which
/// 64-bit integers are strings. A watch's answer has the field names of etcd's client library.
struct JSONFormat: OutputFormat {
    /// `--hex` was given; the members' list heeds it.
    var isHex = false

    func bytes(_ response: Etcdserverpb_RangeResponse) -> [UInt8] { object(response).line }
    func bytes(_ response: Etcdserverpb_PutResponse) -> [UInt8] { object(response).line }
    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) -> [UInt8] { object(response).line }

    func bytes(_ response: Etcdserverpb_TxnResponse) -> [UInt8] {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        if response.succeeded { object.add("succeeded", "true") }
        let answers = response.responses.map { operation in
            var answer = JSONObject()
            switch operation.response {
            case .responseRange(let range): answer.add("response_range", self.object(range).text)
            case .responsePut(let put): answer.add("response_put", self.object(put).text)
            case .responseDeleteRange(let deletion): answer.add("response_delete_range", self.object(deletion).text)
            // txn's grammar has no transactions within the transaction.
            case .responseTxn, nil: break
            }
            return #"{"Response":\#(answer.text)}"#
        }
        if !answers.isEmpty { object.add("responses", JSONObject.array(answers)) }
        return object.line
    }

    private func object(_ response: Etcdserverpb_RangeResponse) -> JSONObject {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        if !response.kvs.isEmpty { object.add("kvs", JSONObject.array(response.kvs.map(\.json))) }
        if response.more { object.add("more", "true") }
        object.add("count", response.count)
        return object
    }

    private func object(_ response: Etcdserverpb_PutResponse) -> JSONObject {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        if response.hasPrevKv { object.add("prev_kv", response.prevKv.json) }
        return object
    }

    private func object(_ response: Etcdserverpb_DeleteRangeResponse) -> JSONObject {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        object.add("deleted", response.deleted)
        if !response.prevKvs.isEmpty { object.add("prev_kvs", JSONObject.array(response.prevKvs.map(\.json))) }
        return object
    }

    func bytes(_ response: Etcdserverpb_WatchResponse) -> [UInt8] {
        var object = JSONObject()
        object.add("Header", response.header.json)
        // An answer that the client made up itself, on the end of its stream, has neither header nor events.
        object.add("Events", response.hasHeader ? JSONObject.array(response.events.map(\.json)) : "null")
        object.add("CompactRevision", "\(response.compactRevision)")
        object.add("Canceled", "\(response.canceled)")
        object.add("Created", "\(response.created)")
        return object.line
    }

}

/// A JSON object under construction. Names need no escaping: they are field names.
struct JSONObject {
    private var members: [String] = []

    init() {}

    /// Begins with the fields of a header.
    init(_ header: Etcdserverpb_ResponseHeader) {
        add("cluster_id", header.clusterID)
        add("member_id", header.memberID)
        add("revision", header.revision)
        add("raft_term", header.raftTerm)
    }

    var text: String { "{" + members.joined(separator: ",") + "}" }
    var line: [UInt8] { Array((text + "\n").utf8) }

    mutating func add(_ name: String, _ json: String) { members.append("\"\(name)\":\(json)") }

    /// Left out when zero.
    mutating func add(_ name: String, _ number: some FixedWidthInteger) {
        if number != 0 { add(name, "\(number)") }
    }

    /// Left out when empty.
    mutating func add(_ name: String, _ bytes: Data) {
        if !bytes.isEmpty { add(name, "\"\(bytes.base64EncodedString())\"") }
    }

    /// Left out when empty.
    mutating func add(_ name: String, text: String) {
        if !text.isEmpty { add(name, Self.quote(text)) }
    }

    static func array(_ elements: [String]) -> String { "[" + elements.joined(separator: ",") + "]" }
    static func array(of texts: [String]) -> String { array(texts.map(quote)) }

    /// Text in quotes, escaped as Go's encoder does, which writes for HTML as well.
    static func quote(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "<", ">", "&", "\u{2028}", "\u{2029}", "\u{0}"..."\u{1f}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

extension Etcdserverpb_ResponseHeader {
    var json: String { JSONObject(self).text }
}

extension Mvccpb_KeyValue {
    fileprivate var json: String {
        var object = JSONObject()
        object.add("key", key)
        object.add("create_revision", createRevision)
        object.add("mod_revision", modRevision)
        object.add("version", version)
        object.add("value", value)
        object.add("lease", lease)
        return object.text
    }
}

extension Mvccpb_Event {
    fileprivate var json: String {
        var object = JSONObject()
        object.add("type", type.rawValue)
        if hasKv { object.add("kv", kv.json) }
        if hasPrevKv { object.add("prev_kv", prevKv.json) }
        return object.text
    }
}
