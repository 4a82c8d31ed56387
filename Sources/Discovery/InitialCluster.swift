import Raft

/// The founding members of a cluster, as `--initial-cluster` lists them: `a=http://10.0.0.1:2380,b=http://10.0.0.2:2380`.
/// A member with several peer URLs is listed once for each.
public struct InitialCluster: Hashable, Sendable {
    /// A founding member. Its URLs are in the order of their text.
    public struct Member: Hashable, Sendable {
        public var name: String
        public var peerURLs: [MemberURL]
        public init(name: String, peerURLs: [MemberURL]) {
            self.name = name
            self.peerURLs = peerURLs
        }
    }

    /// In the order of their names.
    public private(set) var members: [Member]

    /// - Throws: `InitialClusterError` when no URL or a URL twice is among them.
    public init(_ members: [Member]) throws(InitialClusterError) {
        var byName: [String: [MemberURL]] = [:]
        for member in members { byName[member.name, default: []] += member.peerURLs }
        self.members = byName.map { name, urls in
            Member(name: name, peerURLs: urls.sorted { $0.text.utf8.lexicographicallyPrecedes($1.text.utf8) })
        }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }

        var seen: Set<MemberURL> = []
        for url in self.members.flatMap(\.peerURLs) where !seen.insert(url).inserted {
            throw .duplicateURL(url, in: text)
        }
        guard !self.members.isEmpty else { throw .empty }
    }

    /// A cluster of one member. A URL given twice counts once.
    public static func single(name: String, peerURLs: [MemberURL]) -> InitialCluster {
        InitialCluster(only: Member(name: name, peerURLs: Set(peerURLs).sorted { $0.text < $1.text }))
    }

    private init(only member: Member) { members = [member] }

    /// - Throws: `InitialClusterError`, which says which part of `text` is wrong.
    public static func parse(_ text: String) throws(InitialClusterError) -> InitialCluster {
        var members: [Member] = []
        for part in text.split(separator: ",") {
            guard let equals = part.firstIndex(of: "=") else { throw .noURL(String(part)) }
            let name = String(part[..<equals])
            do throws(MemberURLError) {
                try members.append(
                    Member(name: name, peerURLs: [MemberURL(String(part[part.index(after: equals)...]))]))
            } catch {
                throw .url(error, name: name)
            }
        }
        return try InitialCluster(members)
    }

    /// The list in the form of the flag, in the order of names and URLs.
    public var text: String {
        members.flatMap { member in member.peerURLs.map { "\(member.name)=\($0.text)" } }.joined(separator: ",")
    }

    public subscript(name: String) -> Member? { members.first { $0.name == name } }

    /// The founding members with their ids, in the order of these, none with client URLs yet.
    public func founders(token: String) -> [ClusterMember] {
        members.map {
            ClusterMember(
                id: MemberID(foundingMemberAt: $0.peerURLs, token: token), name: $0.name, peerURLs: $0.peerURLs)
        }.sorted { $0.id < $1.id }
    }

    /// The id of the cluster these members found.
    public func clusterID(token: String) -> ClusterID {
        ClusterID(foundedBy: founders(token: token).map(\.id))
    }
}

/// Why a list of founding members cannot be used.
public enum InitialClusterError: Error, Equatable, CustomStringConvertible {
    case empty
    case noURL(String)
    case url(MemberURLError, name: String)
    case duplicateURL(MemberURL, in: String)

    public var description: String {
        switch self {
        case .empty: "the initial cluster is empty; list its members as name=URL,name=URL"
        case .noURL(let part): "\"\(part)\" in the initial cluster has no URL; write name=URL"
        case .url(let error, let name): "member \"\(name)\" of the initial cluster: \(error)"
        case .duplicateURL(let url, let text):
            "initial cluster \(text) has duplicate url \(url); every member needs peer URLs of its own"
        }
    }
}
