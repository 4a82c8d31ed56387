import Discovery

/// What the agent of a gulpd is told: the part of it that starts, watches and reports the components on its machine.
public struct AgentSettings: Hashable, Sendable {
    /// Where the store is, as `http://HOST:PORT` or `HOST:PORT`; nil: at this gulpd's own member.
    ///
    /// With endpoints this gulpd runs no member.
    public var endpoints: [String]?
    /// Where the agent keeps its components' directories; nil: `agent` in the data directory.
    public var dataDirectory: String?
    /// Where the agent's own service (logs) listens; port 0 takes a free one.
    public var listen: HostAndPort
    /// Where others reach this machine's components and, with a port, the agent's service; nil: where it listens.
    public var advertise: HostAndPort?
    public var zone: String?
    public var labels: [String: String]
    /// What the machine offers to components; nil: all that it has.
    public var millicores: Int64?
    public var memoryBytes: Int64?
    /// For how long the store waits for the agent before its node counts as lost.
    public var leaseSeconds: Int64
    /// The guard's program; nil: `gulp-guard` beside gulpd.
    public var guardPath: String?

    public init(
        endpoints: [String]? = nil, dataDirectory: String? = nil,
        listen: HostAndPort = HostAndPort(host: "127.0.0.1", port: 0), advertise: HostAndPort? = nil,
        zone: String? = nil, labels: [String: String] = [:], millicores: Int64? = nil, memoryBytes: Int64? = nil,
        leaseSeconds: Int64 = 10, guardPath: String? = nil
    ) {
        self.endpoints = endpoints
        self.dataDirectory = dataDirectory
        self.listen = listen
        self.advertise = advertise
        self.zone = zone
        self.labels = labels
        self.millicores = millicores
        self.memoryBytes = memoryBytes
        self.leaseSeconds = leaseSeconds
        self.guardPath = guardPath
    }

    static let flags: [Flag] = [
        Flag("agent", .boolean, "false", "Run components on this machine, too."),
        Flag(
            "agent-endpoints", .text, "",
            "Where the store is, if not in this gulpd, which then runs an agent and no member."),
        Flag(
            "agent-data-dir", .text, "", "Where the agent keeps its components. Default: agent in the data directory."),
        Flag("agent-listen-address", .text, "127.0.0.1:0", "Where the agent serves logs; port 0 takes a free one."),
        Flag(
            "agent-advertise-address", .text, "",
            "HOST or HOST:PORT where others reach the agent and this machine's components. Default: where it listens."),
        Flag("agent-zone", .text, "", "The zone this machine is in."),
        Flag("agent-labels", .text, "", "Labels of this machine, KEY=VALUE separated by commas."),
        Flag("agent-cores", .text, "", "Cores that components may take, such as 1.5. Default: all."),
        Flag("agent-memory", .text, "", "Memory that components may take, such as 512MiB or 4GiB. Default: all."),
        Flag(
            "agent-lease-ttl", .duration, "10s",
            "How long the agent may be silent before its node counts as lost; whole seconds from 5s to 1h."),
        Flag("agent-guard", .text, "", "The guard's program. Default: gulp-guard beside gulpd."),
    ]

    /// What only a member takes; an agent without one refuses it rather than ignore it.
    private static let memberFlags = [
        "wal-dir", "listen-client-urls", "advertise-client-urls", "listen-peer-urls", "initial-advertise-peer-urls",
        "initial-cluster", "initial-cluster-state", "initial-cluster-token", "snapshot-count",
    ]

    /// nil when no agent is to run.
    ///
    /// - Throws: `ConfigurationError` for values that no agent can run by, and for settings of an agent without one.
    init?(_ settings: Settings) throws(ConfigurationError) {
        guard let agent = settings["agent"], GoSyntax.boolean(agent.text) == true else {
            for flag in Self.flags {
                guard let value = settings[flag.name], !flag.isDefault(value.text) else { continue }
                throw ConfigurationError("--\(flag.name) is for an agent; add --agent, or remove it")
            }
            return nil
        }
        self.init()
        dataDirectory = settings.given("agent-data-dir")
        zone = settings.given("agent-zone")
        guardPath = settings.given("agent-guard")
        try readEndpoints(settings)
        try readAddresses(settings)
        try readLabels(settings)
        try readCapacity(settings)
        if let text = settings.given("agent-lease-ttl") {
            let (seconds, rest) = (GoSyntax.nanoseconds(text) ?? 0).quotientAndRemainder(dividingBy: 1_000_000_000)
            guard rest == 0, (5...3600).contains(seconds) else {
                throw settings.invalid("agent-lease-ttl", "write whole seconds from 5s to 1h")
            }
            leaseSeconds = seconds
        }
    }

    private mutating func readEndpoints(_ settings: Settings) throws(ConfigurationError) {
        guard let text = settings.given("agent-endpoints") else { return }
        let list = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        for endpoint in list {
            let url: MemberURL
            do throws(MemberURLError) {
                url = try MemberURL(endpoint.contains("://") ? endpoint : "http://\(endpoint)")
            } catch { throw settings.invalid("agent-endpoints", error.description) }
            guard url.scheme == .http else {
                throw settings.invalid("agent-endpoints", "\(endpoint): only http is served yet")
            }
        }
        if let flag = Self.memberFlags.first(where: { settings[$0] != nil }) {
            throw ConfigurationError(
                "--\(flag) is for a member, and with --agent-endpoints this gulpd runs none; remove one of the two")
        }
        endpoints = list
    }

    private mutating func readAddresses(_ settings: Settings) throws(ConfigurationError) {
        if let text = settings.given("agent-listen-address") {
            guard let address = HostAndPort(text), address.port != nil else {
                throw settings.invalid("agent-listen-address", "write HOST:PORT")
            }
            listen = address
        }
        if let text = settings.given("agent-advertise-address") {
            guard let address = HostAndPort(text), address.port != 0 else {
                throw settings.invalid("agent-advertise-address", "write HOST or HOST:PORT")
            }
            advertise = address
        } else if listen.isUnspecified {
            throw ConfigurationError(
                "--agent-listen-address \(listen) is no address that others can reach; "
                    + "name one by --agent-advertise-address")
        }
    }

    private mutating func readLabels(_ settings: Settings) throws(ConfigurationError) {
        guard let text = settings.given("agent-labels") else { return }
        for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw settings.invalid("agent-labels", "write KEY=VALUE separated by commas")
            }
            guard labels.updateValue(parts[1], forKey: parts[0]) == nil else {
                throw settings.invalid("agent-labels", "\(parts[0]) stands there twice")
            }
        }
    }

    private mutating func readCapacity(_ settings: Settings) throws(ConfigurationError) {
        if let text = settings.given("agent-cores") {
            guard let cores = Double(text), cores >= 0.001, cores <= 1_000_000 else {
                throw settings.invalid("agent-cores", "write a number of cores above 0, such as 1.5")
            }
            millicores = Int64((cores * 1_000).rounded())
        }
        if let text = settings.given("agent-memory") {
            guard let bytes = Self.bytes(text), bytes > 0 else {
                throw settings.invalid("agent-memory", "write a size such as 512MiB or 4GiB")
            }
            memoryBytes = bytes
        }
    }

    /// `512MiB`, `4GB`, `1048576`; nil for what is no size.
    private static func bytes(_ text: String) -> Int64? {
        let digits = text.prefix { $0.isNumber || $0 == "." }
        let units: [String: Double] = [
            "": 1, "B": 1, "KIB": 1024, "MIB": 1_048_576, "GIB": 1_073_741_824, "TIB": 1_099_511_627_776, "KB": 1e3,
            "MB": 1e6, "GB": 1e9, "TB": 1e12,
        ]
        guard let number = Double(digits), let unit = units[text.dropFirst(digits.count).uppercased()] else {
            return nil
        }
        return Int64(exactly: (number * unit).rounded())
    }
}

extension Settings {
    /// A value that was given and is not empty.
    fileprivate func given(_ name: String) -> String? { self[name].flatMap { $0.text.isEmpty ? nil : $0.text } }

    fileprivate func invalid(_ name: String, _ complaint: String) -> ConfigurationError {
        guard let value = self[name] else { return ConfigurationError("--\(name): \(complaint)") }
        return Self.invalid(name, value.text, value.source, complaint)
    }
}
