/// The messages of the etcd v3 API, as swift-protobuf generates them from `Protos/`.
///
/// The generated code is committed, so that a build needs neither protoc nor its plugin;
/// `Protos/generate.sh` makes it anew. Names are the package's, an underscore and the message's:
/// `Etcdserverpb_PutRequest`, `Mvccpb_KeyValue`.
///
/// The hottest answers (Put, Range, watch events) do not pass through these types on the server:
/// a stored record already is an encoded `mvccpb.KeyValue` and is copied as it stands.
@_exported import SwiftProtobuf
