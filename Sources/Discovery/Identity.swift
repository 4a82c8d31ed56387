import Raft

/// A cluster's identity. Peers that name different clusters do not speak to each other. 0 stands for "not known yet".
public struct ClusterID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: UInt64
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    public static func < (a: ClusterID, b: ClusterID) -> Bool { a.rawValue < b.rawValue }

    public static let unknown = ClusterID(0)

    /// The id of the cluster that `members` found together. The order they are given in does not matter.
    public init(foundedBy members: some Sequence<MemberID>) {
        var bytes: [UInt8] = []
        for member in members.sorted() {
            withUnsafeBytes(of: member.rawValue.bigEndian) { bytes.append(contentsOf: $0) }
        }
        self.init(SHA1.prefix64(of: bytes))
    }

    /// Lower-case hexadecimal without leading zeros, as etcd prints it.
    public var description: String { String(rawValue, radix: 16) }
}

extension MemberID {
    /// The id of a founding member: it follows from its peer URLs, in any order, and the cluster's token.
    ///
    /// etcd mixes the time into the id of a member that is added to a running cluster; a founding member's has none,
    /// because all founders must compute it alike.
    public init(foundingMemberAt peerURLs: [MemberURL], token: String) {
        let joined = peerURLs.map(\.text).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.joined() + token
        self.init(SHA1.prefix64(of: Array(joined.utf8)))
    }

    /// Lower-case hexadecimal without leading zeros, as etcd prints it.
    public var hexText: String { String(rawValue, radix: 16) }
}

/// A member as the cluster knows it.
public struct ClusterMember: Hashable, Sendable {
    public var id: MemberID
    /// Empty until the member has started for the first time and made itself known.
    public var name: String
    /// Where the other members reach it.
    public var peerURLs: [MemberURL]
    /// Where clients reach it, as it advertises.
    public var clientURLs: [MemberURL]
    /// A learner receives the log but neither votes nor counts.
    public var isLearner: Bool

    public init(
        id: MemberID, name: String, peerURLs: [MemberURL], clientURLs: [MemberURL] = [], isLearner: Bool = false
    ) {
        self.id = id
        self.name = name
        self.peerURLs = peerURLs
        self.clientURLs = clientURLs
        self.isLearner = isLearner
    }
}
