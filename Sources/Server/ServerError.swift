import Replica

/// Why a member does not start, or stops by itself. Each is a sentence for the operator.
public enum ServerError: Error, CustomStringConvertible, Sendable {
    case alreadyBootstrapped(member: String, name: String)
    case wrongCluster(dataDirectory: String, holds: String, configured: String)
    case wrongMember(dataDirectory: String, holds: String, configured: String)
    case notAMember(name: String)
    case noMembers(String)
    case foreignPeers(cluster: String, configured: String)
    case clusterUnreachable([String])
    case removed
    case snapshotNotInstalled(LogIndex)
    case incompleteSnapshot
    case listen(url: String, reason: String)

    public var description: String {
        switch self {
        case .alreadyBootstrapped(let member, let name):
            "member \(member) has already been bootstrapped: \(name) has voted before and its data directory is gone; "
                + "restore the directory, or remove the member from the cluster and add it anew"
        case .wrongCluster(let directory, let holds, let configured):
            "data directory \(directory) belongs to cluster \(holds) but --initial-cluster names cluster \(configured); "
                + "start with an empty --data-dir, or fix --initial-cluster and --initial-cluster-token"
        case .wrongMember(let directory, let holds, let configured):
            "data directory \(directory) belongs to member \(holds) but the flags name member \(configured); "
                + "start with that member's --data-dir, or fix --initial-advertise-peer-urls"
        case .notAMember(let name):
            "member \(name) is not part of the running cluster; add it there first (etcdctl member add)"
        case .noMembers(let directory):
            "the state in \(directory) does not name the cluster's members; remove this member from the cluster, and add it "
                + "again with an empty data directory"
        case .foreignPeers(let cluster, let configured):
            "the peers that --initial-cluster names belong to cluster \(cluster), not to \(configured), which it founds; "
                + "fix --initial-cluster and --initial-cluster-token"
        case .clusterUnreachable(let urls):
            "--initial-cluster-state is existing, but no member of the cluster answers at \(urls.joined(separator: ", ")); "
                + "check that it runs and that --initial-cluster names its peer URLs"
        case .removed:
            "this member was removed from the cluster; to bring it back, add it there (etcdctl member add) and start it with "
                + "an empty data directory"
        case .snapshotNotInstalled(let index):
            "the snapshot at index \(index.rawValue) could not be installed; the reason stands before this line"
        case .incompleteSnapshot:
            "the snapshot received is not the one its message announces; it will be asked for again"
        case .listen(let url, let reason):
            "cannot listen on \(url): \(reason); stop what uses the address, or choose another"
        }
    }
}
