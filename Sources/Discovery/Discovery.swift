/// How the members of a cluster are named before they have ever spoken to each other.
///
/// A cluster is bootstrapped from a static list, `--initial-cluster`, that every founding member is started with. From
/// that list alone each of them computes the same identities, so that no coordinator is needed:
///
///     --initial-cluster  a=http://10.0.0.1:2380,b=http://10.0.0.2:2380      --initial-cluster-token  etcd-cluster
///              │                                                                        │
///              ├── peer URLs of a, sorted and joined ── + token ── SHA-1 ── first 8 bytes ── member id of a
///              └── peer URLs of b, sorted and joined ── + token ── SHA-1 ── first 8 bytes ── member id of b
///                                                                                │
///              cluster id ── first 8 bytes ── SHA-1 ── the member ids, sorted, 8 bytes big endian each
///
/// The rules are etcd's, so that a member here and one there, given the same list, agree on who is who. The module
/// promises exactly that: the same ids, the same notion of a valid URL (`MemberURL`), the same refusals of a list that
/// could not work (`InitialCluster`). It opens no socket and reads no file; what is done with the ids is left to others.
///
/// Sources: etcd's documentation of clustering flags; the ids were compared with those etcd 3.5.1 prints.
public enum Discovery {
    /// The token that is used when none is given (`--initial-cluster-token`).
    public static let defaultToken = "etcd-cluster"
}
