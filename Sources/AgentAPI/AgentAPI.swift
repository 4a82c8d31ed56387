/// The service that every agent offers beside the store: the lines that the components on its node wrote.
///
/// The store holds what is small and decides; what is large and many, as logs are, is asked of the node that has it, at
/// ``NodeRecord/agentAddress``. The messages are generated from `Protos/agent.proto` by swift-protobuf and committed;
/// `Protos/generate.sh` makes them anew.
@_exported import SwiftProtobuf

/// Paths of the service's methods, for the gRPC layer.
public enum AgentMethod {
    /// ``Megam_LogsRequest`` → stream of ``Megam_LogsResponse``.
    public static let logs = "/megam.Agent/Logs"
}
