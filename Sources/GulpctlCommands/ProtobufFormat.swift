import EtcdAPI

/// The answer's message itself, encoded, with nothing around it.
struct ProtobufFormat: OutputFormat {
    func bytes(_ response: Etcdserverpb_RangeResponse) throws(CommandFailure) -> [UInt8] { try encode(response) }
    func bytes(_ response: Etcdserverpb_PutResponse) throws(CommandFailure) -> [UInt8] { try encode(response) }
    func bytes(_ response: Etcdserverpb_DeleteRangeResponse) throws(CommandFailure) -> [UInt8] { try encode(response) }
    func bytes(_ response: Etcdserverpb_TxnResponse) throws(CommandFailure) -> [UInt8] { try encode(response) }

    func bytes(_ response: Etcdserverpb_WatchResponse) throws(CommandFailure) -> [UInt8] {
        var shown = Etcdserverpb_WatchResponse()
        shown.header = response.header
        shown.created = response.created
        shown.canceled = response.canceled
        shown.compactRevision = response.compactRevision
        shown.events = response.events
        return try encode(shown)
    }

    static let refusal = CommandFailure("protobuf not supported as output format", .badFeature)

    func encode(_ message: some SwiftProtobuf.Message) throws(CommandFailure) -> [UInt8] {
        do { return try message.serializedBytes() } catch { throw CommandFailure("\(error)", .error) }
    }
}
