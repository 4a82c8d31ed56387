import Discovery

/// Everything a member can be told, with etcd's defaults. `resolve` fills it from flags, environment and file; a
/// program or a test may also build it directly, and call `check()` itself.
public struct MemberConfiguration: Hashable, Sendable {
    /// Whether the member founds a cluster or joins one.
    public enum ClusterState: String, Sendable { case new, existing }

    /// How much is logged. `panic` and `fatal` are etcd's names for what is worse than an error.
    public enum LogLevel: String, Sendable, CaseIterable { case debug, info, warn, error, panic, fatal }

    /// Unique in the cluster.
    public var name: String
    public var dataDirectory: String
    /// Where the Raft log is kept; nil for a place under the data directory.
    public var logDirectory: String?

    public var listenClientURLs: [MemberURL]
    public var advertiseClientURLs: [MemberURL]
    public var listenPeerURLs: [MemberURL]
    public var initialAdvertisePeerURLs: [MemberURL]

    public var initialCluster: InitialCluster
    public var initialClusterState: ClusterState
    public var initialClusterToken: String

    /// The time between a leader's heartbeats, which is also Raft's tick.
    public var heartbeatIntervalMilliseconds: Int
    public var electionTimeoutMilliseconds: Int
    /// Entries applied between two snapshots.
    public var snapshotCount: Int
    public var maxRequestBytes: Int
    public var maxTransactionOperations: Int

    public var logLevel: LogLevel

    /// The agent that runs beside the member, or in its place; nil for none.
    public var agent: AgentSettings?

    /// Whether a member of the store runs in this gulpd.
    public var runsMember: Bool { agent?.endpoints == nil }

    /// - Parameters:
    ///   - dataDirectory: `NAME.etcd` when nil.
    ///   - initialCluster: this member alone, at its advertised peer URLs, when nil.
    public init(
        name: String = "default", dataDirectory: String? = nil, logDirectory: String? = nil,
        listenClientURLs: [MemberURL] = [.http(host: "localhost", port: 2379)],
        advertiseClientURLs: [MemberURL] = [.http(host: "localhost", port: 2379)],
        listenPeerURLs: [MemberURL] = [.http(host: "localhost", port: 2380)],
        initialAdvertisePeerURLs: [MemberURL] = [.http(host: "localhost", port: 2380)],
        initialCluster: InitialCluster? = nil, initialClusterState: ClusterState = .new,
        initialClusterToken: String = Discovery.defaultToken, heartbeatIntervalMilliseconds: Int = 100,
        electionTimeoutMilliseconds: Int = 1000, snapshotCount: Int = 100_000, maxRequestBytes: Int = 1_572_864,
        maxTransactionOperations: Int = 128, logLevel: LogLevel = .info,
        agent: AgentSettings? = nil
    ) {
        self.name = name
        self.dataDirectory = dataDirectory ?? "\(name).etcd"
        self.logDirectory = logDirectory
        self.listenClientURLs = listenClientURLs
        self.advertiseClientURLs = advertiseClientURLs
        self.listenPeerURLs = listenPeerURLs
        self.initialAdvertisePeerURLs = initialAdvertisePeerURLs
        self.initialCluster = initialCluster ?? .single(name: name, peerURLs: initialAdvertisePeerURLs)
        self.initialClusterState = initialClusterState
        self.initialClusterToken = initialClusterToken
        self.heartbeatIntervalMilliseconds = heartbeatIntervalMilliseconds
        self.electionTimeoutMilliseconds = electionTimeoutMilliseconds
        self.snapshotCount = snapshotCount
        self.maxRequestBytes = maxRequestBytes
        self.maxTransactionOperations = maxTransactionOperations
        self.logLevel = logLevel
        self.agent = agent
    }

    /// Refuses settings that contradict each other or could not work, in etcd's order and words where it has some.
    public func check() throws(ConfigurationError) {
        try check(listenPeerURLs, of: "listen-peer-urls") { url throws(MemberURLError) in try url.checkBindable() }
        try check(listenClientURLs, of: "listen-client-urls") { url throws(MemberURLError) in try url.checkBindable() }
        try check(initialAdvertisePeerURLs, of: "initial-advertise-peer-urls") { url throws(MemberURLError) in
            try url.checkReachable()
        }
        try check(advertiseClientURLs, of: "advertise-client-urls") { url throws(MemberURLError) in
            try url.checkReachable()
        }
        // Clients may be advertised a proxy that speaks TLS; what this member itself listens on or dials cannot.
        let own = listenPeerURLs + listenClientURLs + initialAdvertisePeerURLs
        if let url = (own + initialCluster.members.flatMap(\.peerURLs)).first(where: \.scheme.isSecure) {
            throw ConfigurationError("\(url): TLS is not served yet by gulpd \(VersionText.own); use http")
        }
        try checkTimes()
        guard initialCluster[name] != nil else {
            throw ConfigurationError(
                "couldn't find local name \"\(name)\" in the initial cluster configuration \(initialCluster.text); "
                    + "add it to --initial-cluster, or start with the --name it lists")
        }
    }

    private func checkTimes() throws(ConfigurationError) {
        let (heartbeat, election) = (heartbeatIntervalMilliseconds, electionTimeoutMilliseconds)
        guard heartbeat > 0 else {
            throw ConfigurationError("--heartbeat-interval must be >0 (set to \(heartbeat)ms)")
        }
        guard election > 0 else {
            throw ConfigurationError("--election-timeout must be >0 (set to \(election)ms)")
        }
        guard election / 5 >= heartbeat else {
            throw ConfigurationError(
                "--election-timeout[\(election)ms] should be at least as 5 times as "
                    + "--heartbeat-interval[\(heartbeat)ms]")
        }
        guard election <= 50_000 else {
            throw ConfigurationError(
                "--election-timeout[\(election)ms] is too long, and should be set less than 50000ms")
        }
    }

    private func check(
        _ urls: [MemberURL], of flag: String, _ rule: (MemberURL) throws(MemberURLError) -> Void
    ) throws(ConfigurationError) {
        guard !urls.isEmpty else { throw ConfigurationError("--\(flag) names no URL") }
        for url in urls {
            do throws(MemberURLError) {
                try rule(url)
            } catch {
                throw ConfigurationError("--\(flag): \(error)")
            }
        }
    }

    /// Refuses to found a cluster that lists this member at other URLs than it advertises: the others would look for
    /// it where it is not. To be called before a member without data starts; a member that has some goes by that, and
    /// may advertise what the cluster has learnt since.
    ///
    /// A name and an address are taken for the same host here, since only a resolver could tell.
    public func checkFounding() throws(ConfigurationError) {
        let listed = initialCluster[name]?.peerURLs ?? []
        func agree(_ a: MemberURL, _ b: MemberURL) -> Bool {
            a == b || (a.scheme == b.scheme && a.port == b.port && !(a.hasAddress && b.hasAddress))
        }
        let advertised = initialAdvertisePeerURLs
        if let url = advertised.first(where: { url in !listed.contains { agree($0, url) } }) {
            throw ConfigurationError(
                "--initial-advertise-peer-urls has \(url) but missing from --initial-cluster=\(initialCluster.text)")
        }
        if let url = listed.first(where: { url in !advertised.contains { agree($0, url) } }) {
            throw ConfigurationError(
                "--initial-cluster has \(name)=\(url) but missing from --initial-advertise-peer-urls="
                    + advertised.map(\.text).joined(separator: ","))
        }
    }
}
