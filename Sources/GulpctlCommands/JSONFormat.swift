import EtcdAPI
import Foundation

/// JSON as Go's encoder makes it of etcd's messages: byte strings in base64, integers as numbers, fields in
/// the messages' order, those at their default left out. That is not protobuf's JSON mapping, in which
/// 64-bit integers are strings. A watch's answer has the field names of etcd's client library.
struct JSONFormat: OutputFormat {
    func bytes(_ response: Etcdserverpb_RangeResponse) -> [UInt8] {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        if !response.kvs.isEmpty { object.add("kvs", array(response.kvs.map(\.json))) }
        if response.more { object.add("more", "true") }
        object.add("count", response.count)
        return line(object)
    }

    func bytes(_ response: Etcdserverpb_PutResponse) -> [UInt8] {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        if response.hasPrevKv { object.add("prev_kv", response.prevKv.json) }
        return line(object)
    }

    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) -> [UInt8] {
        var object = JSONObject()
        if response.hasHeader { object.add("header", response.header.json) }
        object.add("deleted", response.deleted)
        if !response.prevKvs.isEmpty { object.add("prev_kvs", array(response.prevKvs.map(\.json))) }
        return line(object)
    }

    func bytes(_ response: Etcdserverpb_WatchResponse) -> [UInt8] {
        var object = JSONObject()
        object.add("Header", response.header.json)
        // An answer that the client made up itself, on the end of its stream, has neither header nor events.
        object.add("Events", response.hasHeader ? array(response.events.map(\.json)) : "null")
        object.add("CompactRevision", "\(response.compactRevision)")
        object.add("Canceled", "\(response.canceled)")
        object.add("Created", "\(response.created)")
        return line(object)
    }

    private func line(_ object: JSONObject) -> [UInt8] { Array((object.text + "\n").utf8) }

    private func array(_ elements: [String]) -> String { "[" + elements.joined(separator: ",") + "]" }
}

/// A JSON object under construction. Its names and texts need no escaping: they are field names,
/// numbers and base64.
private struct JSONObject {
    private var members: [String] = []

    var text: String { "{" + members.joined(separator: ",") + "}" }

    mutating func add(_ name: String, _ json: String) { members.append("\"\(name)\":\(json)") }

    /// Left out when zero.
    mutating func add(_ name: String, _ number: some FixedWidthInteger) {
        if number != 0 { add(name, "\(number)") }
    }

    /// Left out when empty.
    mutating func add(_ name: String, _ bytes: Data) {
        if !bytes.isEmpty { add(name, "\"\(bytes.base64EncodedString())\"") }
    }
}

extension Etcdserverpb_ResponseHeader {
    fileprivate var json: String {
        var object = JSONObject()
        object.add("cluster_id", clusterID)
        object.add("member_id", memberID)
        object.add("revision", revision)
        object.add("raft_term", raftTerm)
        return object.text
    }
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
