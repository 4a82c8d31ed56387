import Discovery
import Testing

@testable import Configuration

/// Resolves as the program does; `files` are what can be read.
private func resolve(
    _ arguments: [String] = [], _ environment: [String: String] = [:], files: [String: String] = [:]
) throws(ConfigurationError) -> MemberConfiguration {
    struct NoSuchFile: Error, CustomStringConvertible { let description = "no such file or directory" }
    let resolution = try MemberConfiguration.resolve(arguments: arguments, environment: environment) { path in
        guard let text = files[path] else { throw NoSuchFile() }
        return text
    }
    guard case .run(let configuration, _) = resolution else { throw ConfigurationError("shows a text") }
    return configuration
}

@Suite struct DefaultTests {
    @Test func withoutAnySettingsTheDefaultsAreEtcds() throws {
        let configuration = try resolve()
        #expect(configuration == MemberConfiguration())
        #expect(configuration.name == "default")
        #expect(configuration.dataDirectory == "default.etcd")
        #expect(configuration.logDirectory == nil)
        #expect(configuration.listenClientURLs.map(\.text) == ["http://localhost:2379"])
        #expect(configuration.advertiseClientURLs.map(\.text) == ["http://localhost:2379"])
        #expect(configuration.listenPeerURLs.map(\.text) == ["http://localhost:2380"])
        #expect(configuration.initialAdvertisePeerURLs.map(\.text) == ["http://localhost:2380"])
        #expect(configuration.initialCluster.text == "default=http://localhost:2380")
        #expect(configuration.initialClusterState == .new)
        #expect(configuration.initialClusterToken == "etcd-cluster")
        #expect(configuration.heartbeatIntervalMilliseconds == 100)
        #expect(configuration.electionTimeoutMilliseconds == 1000)
        #expect(configuration.snapshotCount == 100_000)
        #expect(configuration.maxRequestBytes == 1_572_864)
        #expect(configuration.maxTransactionOperations == 128)
        #expect(configuration.logLevel == .info)
    }

    @Test func theNameDecidesTheDataDirectoryAndTheInitialCluster() throws {
        let configuration = try resolve(["--name", "n1"])
        #expect(configuration.dataDirectory == "n1.etcd")
        #expect(configuration.initialCluster.text == "n1=http://localhost:2380")
    }

    @Test func theAdvertisedPeerURLsDecideTheInitialCluster() throws {
        let configuration = try resolve(["--name=n1", "--initial-advertise-peer-urls=http://h:2,http://h:1"])
        #expect(configuration.initialCluster.text == "n1=http://h:1,n1=http://h:2")
        try configuration.checkFounding()
    }

    @Test func everyDefaultInTheTableIsAcceptedWhenGiven() throws {
        for flag in Flag.all where flag.kind != .ignored && flag.name != "config-file" {
            var arguments = ["--\(flag.name)=\(flag.defaultText)"]
            if flag.name == "listen-client-urls" { arguments.append("--advertise-client-urls=\(flag.defaultText)") }
            #expect(throws: Never.self, "\(flag.name)") { try resolve(arguments) }
        }
    }
}

@Suite struct AgentTests {
    @Test func withoutTheFlagThereIsNoAgent() throws {
        #expect(try resolve([]).agent == nil)
        #expect(try resolve([]).runsMember)
        #expect(try resolve(["--agent=false"]).agent == nil)
    }

    @Test func anAgentBesideAMemberTakesTheMembersSettings() throws {
        let configuration = try resolve(["--agent", "--name=n1"], ["GULPD_AGENT_ZONE": "a"])
        #expect(configuration.runsMember)
        #expect(configuration.agent == AgentSettings(zone: "a"))
    }

    @Test func anAgentIsToldWhatItsMachineIs() throws {
        let configuration = try resolve([
            "--agent", "--agent-endpoints=http://h:1,h:2", "--agent-listen-address=[::1]:7", "--agent-labels=a=b,c=",
            "--agent-advertise-address=n1.example", "--agent-cores=1.5", "--agent-memory=1.5GiB",
            "--agent-lease-ttl=1m",
            "--agent-guard=/g", "--agent-data-dir=d",
        ])
        #expect(!configuration.runsMember)
        #expect(
            configuration.agent
                == AgentSettings(
                    endpoints: ["http://h:1", "h:2"], dataDirectory: "d", listen: HostAndPort(host: "::1", port: 7),
                    advertise: HostAndPort(host: "n1.example", port: nil), labels: ["a": "b", "c": ""],
                    millicores: 1_500, memoryBytes: 1_610_612_736, leaseSeconds: 60, guardPath: "/g"))
    }

    @Test(arguments: [
        (["--agent-zone=a"], "--agent-zone is for an agent; add --agent"),
        (["--agent", "--agent-endpoints=https://h:1"], "only http is served"),
        (["--agent", "--agent-endpoints=h:1,,h:2"], "for flag -agent-endpoints"),
        (["--agent", "--agent-endpoints=h"], "for flag -agent-endpoints"),
        (["--agent", "--agent-endpoints=h:1", "--initial-cluster=a=http://h:2"], "--initial-cluster is for a member"),
        (["--agent", "--agent-listen-address=h"], "write HOST:PORT"),
        (["--agent", "--agent-listen-address=h:70000"], "write HOST:PORT"),
        (["--agent", "--agent-listen-address=0.0.0.0:1"], "name one by --agent-advertise-address"),
        (["--agent", "--agent-advertise-address=h:0"], "write HOST or HOST:PORT"),
        (["--agent", "--agent-labels=a"], "write KEY=VALUE"), (["--agent", "--agent-labels=a=1,a=2"], "twice"),
        (["--agent", "--agent-cores=0"], "above 0"), (["--agent", "--agent-cores=nan"], "above 0"),
        (["--agent", "--agent-memory=1XB"], "write a size"), (["--agent", "--agent-memory=1e30GB"], "write a size"),
        (["--agent", "--agent-lease-ttl=4s"], "from 5s to 1h"),
        (["--agent", "--agent-lease-ttl=5500ms"], "whole seconds"),
    ])
    func whatNoAgentCanRunByIsRefused(arguments: [String], complaint: String) {
        let error = #expect(throws: ConfigurationError.self) { try resolve(arguments) }
        #expect(error?.description.contains(complaint) == true, "\(String(describing: error))")
    }
}

@Suite struct PrecedenceTests {
    @Test func aFlagWinsOverTheEnvironmentAndGulpdOverEtcd() throws {
        let environment = ["ETCD_NAME": "e", "GULPD_NAME": "g", "ETCD_DATA_DIR": "d", "ETCD_MAX_TXN_OPS": ""]
        #expect(try resolve([], environment).name == "g")
        #expect(try resolve([], environment).dataDirectory == "d")
        #expect(try resolve([], environment).maxTransactionOperations == 128)
        #expect(try resolve(["--name", "f"], environment).name == "f")
    }

    @Test(arguments: [
        ["--name", "x"], ["--name=x"], ["-name", "x"], ["-name=x"], ["--pre-vote", "--name=x"],
        ["--pre-vote=true", "--name=x"], ["--enable-v2=f", "-name=x"], ["--name=a", "--name=x"], ["--name=x", "--"],
        ["--snapshot", "--name=x"],
    ])
    func flagsAreReadAsGoReadsThem(arguments: [String]) throws {
        #expect(try resolve(arguments).name == "x")
    }

    @Test(arguments: [("0x10", 16), ("16", 16), ("0b10000", 16), ("020", 16), ("0o20", 16), ("1_6", 16)])
    func numbersAreReadAsGoReadsThem(text: String, expected: Int) throws {
        #expect(try resolve(["--max-txn-ops", text]).maxTransactionOperations == expected)
    }

    @Test func snapshotCountZeroStandsForTheDefault() throws {
        #expect(try resolve(["--snapshot-count=0"]).snapshotCount == 100_000)
    }

    @Test func unknownVariablesAreWarnedAboutAndTheVersionsIsPassedOver() throws {
        let resolution = try MemberConfiguration.resolve(
            arguments: [], environment: ["ETCD_BOGUS": "1", "ETCD_VERSION": "3.5.1", "HOME": "/"])
        #expect(
            resolution == .run(MemberConfiguration(), warnings: ["unrecognized environment variable ETCD_BOGUS"]))
    }

    @Test func versionAndHelpAreShownWhateverElseIsGiven() throws {
        let version = try MemberConfiguration.resolve(arguments: ["--version", "x"], environment: [:])
        #expect(version == .show("gulpd Version: 0.1.0\netcd Version: 3.5.16\n"))
        for argument in ["--help", "-h"] {
            guard case .show(let text) = try MemberConfiguration.resolve(arguments: [argument], environment: [:])
            else {
                Issue.record("\(argument) shows no help")
                continue
            }
            for flag in Flag.served { #expect(text.contains("--\(flag.name)")) }
        }
    }
}

@Suite struct FileTests {
    static let yaml = """
        # A member.
        name: m1
        data-dir:
        snapshot-count: 5000
        listen-client-urls: http://127.0.0.1:2379
        advertise-client-urls: 'http://127.0.0.1:2379'
        initial-cluster: m1=http://localhost:2380,m2=http://localhost:2390
        initial-cluster-state: new
        log-outputs: [stderr]
        grpc-keepalive-min-time: 5000000000
        client-transport-security:
          cert-file:
          client-cert-auth: false
        peer-transport-security: {trusted-ca-file: ''}
        """

    @Test func withAFileFlagsAndEnvironmentAreIgnored() throws {
        let configuration = try resolve(
            ["--name=flag", "--config-file", "m.yml", "--max-txn-ops=1"], ["ETCD_LOG_LEVEL": "debug"],
            files: ["m.yml": Self.yaml])
        #expect(configuration.name == "m1")
        #expect(configuration.dataDirectory == "m1.etcd")
        #expect(configuration.snapshotCount == 5000)
        #expect(configuration.maxTransactionOperations == 128)
        #expect(configuration.logLevel == .info)
        #expect(configuration.initialCluster.members.count == 2)
    }

    @Test func theFileMayBeNamedByTheEnvironment() throws {
        let files = ["a.yml": "name: a", "b.yml": "name: b", "empty.yml": ""]
        #expect(try resolve([], ["ETCD_CONFIG_FILE": "a.yml"], files: files).name == "a")
        #expect(try resolve([], ["ETCD_CONFIG_FILE": "a.yml", "GULPD_CONFIG_FILE": "b.yml"], files: files).name == "b")
        #expect(try resolve([], ["ETCD_CONFIG_FILE": "empty.yml"], files: files).name == "default")
    }

    @Test func aFileMayListenWithoutAdvertising() throws {
        let files = ["a.yml": "listen-client-urls: http://127.0.0.1:1"]
        #expect(try resolve(["--config-file=a.yml"], files: files).advertiseClientURLs.map(\.port) == [2379])
    }

    @Test(arguments: [
        ("bogus: 1", "unknown setting \"bogus\" in f.yml"),
        ("version: true", "unknown setting \"version\""),
        ("client-transport-security: {bogus: 1}", "unknown setting \"client-transport-security.bogus\""),
        ("client-transport-security: 5", "must be a mapping"),
        ("client-transport-security: {cert-file: a}", "client-transport-security.cert-file in f.yml is not served"),
        ("peer-transport-security: {auto-tls: true}", "peer-transport-security.auto-tls in f.yml is not served"),
        ("snapshot-count: abc", "invalid value \"abc\" for snapshot-count in f.yml: parse error"),
        ("listen-client-urls: foo", "invalid value \"foo\" for listen-client-urls in f.yml: URL scheme"),
        ("name: {a: b}", "name in f.yml must be a plain value"),
        ("- a", "must be a mapping of settings"),
        ("a: [", "configuration file f.yml is not YAML"),
        ("name: a\nname: b", "configuration file f.yml is not YAML"),
    ])
    func aFileWithAMistakeIsRefused(text: String, expected: String) throws {
        let error = #expect(throws: ConfigurationError.self) {
            try resolve(["--config-file=f.yml"], files: ["f.yml": text])
        }
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\n") == false)
        #expect(error?.exitCode == 1)
    }
}

@Suite struct RefusalTests {
    /// The conditions and exit codes were compared with etcd 3.5.1, except where a row says otherwise.
    @Test(
        arguments: [
            (["--bogus"], 2, "flag provided but not defined: -bogus"),
            (["--name"], 2, "flag needs an argument: -name"),
            (["--=x"], 2, "bad flag syntax: --=x"),
            (["---name=x"], 2, "bad flag syntax"),
            (["--snapshot-count=abc"], 2, "invalid value \"abc\" for flag -snapshot-count: parse error"),
            (["--snapshot-count=-1"], 2, "parse error"),
            (["--snapshot-count="], 2, "parse error"),
            (["--snapshot-count=0x"], 2, "parse error"),
            (["--snapshot-count=18446744073709551616"], 2, "value out of range"),
            (["--snapshot-count=18446744073709551615"], 2, "value out of range"),  // etcd takes it
            (["--pre-vote=bogus"], 2, "invalid value \"bogus\" for flag -pre-vote: parse error"),
            (["--initial-cluster-state=bogus"], 2, "for flag -initial-cluster-state: invalid value"),
            (["--listen-client-urls=foo"], 2, "URL scheme must be http, https, unix, or unixs: foo"),
            (["--listen-client-urls=http://127.0.0.1"], 2, "URL address does not have the form \"host:port\""),
            (["--listen-client-urls=http://127.0.0.1:1/a"], 2, "URL must not contain a path"),
            (["--listen-peer-urls="], 2, "URL scheme must be"),
            (["extra"], 1, "'extra' is not a valid flag"),
            (["--", "extra"], 1, "'extra' is not a valid flag"),
            (["--listen-client-urls=http://127.0.0.1:1"], 1, "--advertise-client-urls is required when"),
            (
                ["--listen-client-urls=http://example.com:1", "--advertise-client-urls=http://h:1"], 1,
                "expected IP in URL for binding (http://example.com:1)"
            ),
            (["--listen-peer-urls=http://example.com:1"], 1, "--listen-peer-urls: expected IP in URL for binding"),
            (["--advertise-client-urls=http://:1"], 1, "unexpected empty host (http://:1)"),
            (["--heartbeat-interval=0"], 1, "--heartbeat-interval must be >0 (set to 0ms)"),
            (["--election-timeout=0"], 1, "--election-timeout must be >0 (set to 0ms)"),
            (["--election-timeout=499"], 1, "--election-timeout[499ms] should be at least as 5 times"),
            (["--election-timeout=50001"], 1, "is too long, and should be set less than 50000ms"),
            (["--heartbeat-interval=9223372036854775807"], 1, "should be at least as 5 times"),
            (["--initial-cluster=foo=http://h:1"], 1, "couldn't find local name \"default\" in the initial cluster"),
            (
                ["--initial-cluster=foo"], 1,
                "error setting up initial cluster: \"foo\" in the initial cluster has no URL"
            ),
            (["--initial-cluster="], 1, "the initial cluster is empty"),
            (["--initial-cluster=default=http://h:1,b=http://h:1"], 1, "has duplicate url http://h:1"),
            (["--initial-advertise-peer-urls=http://h:1,http://h:1"], 1, "has duplicate url"),
            (["--config-file=none.yml"], 1, "open none.yml: no such file or directory"),
            // Not as etcd: these are served there.
            (["--cert-file=a.pem"], 1, "--cert-file is not served yet by gulpd 0.1.0; leave it at its default ''"),
            (["--pre-vote=false"], 1, "--pre-vote is not served yet"),
            (["--quota-backend-bytes=-1"], 1, "--quota-backend-bytes is not served yet"),
            (["--experimental-corrupt-check-time=1h"], 1, "--experimental-corrupt-check-time is not served yet"),
            (["--listen-peer-urls=https://127.0.0.1:1"], 1, "TLS is not served yet"),
            (["--log-level=bogus"], 1, "unrecognized --log-level: \"bogus\""),  // etcd panics
        ] as [([String], Int32, String)])
    func aMistakeIsRefusedInOneLine(arguments: [String], exitCode: Int32, expected: String) throws {
        let error = #expect(throws: ConfigurationError.self) { try resolve(arguments) }
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\n") == false)
        #expect(error?.exitCode == exitCode)
    }

    @Test func aBadVariableIsAConfigurationMistake() throws {
        let error = #expect(throws: ConfigurationError.self) { try resolve([], ["ETCD_SNAPSHOT_COUNT": "abc"]) }
        #expect(error == ConfigurationError("invalid value \"abc\" for ETCD_SNAPSHOT_COUNT: parse error"))
        let unserved = #expect(throws: ConfigurationError.self) { try resolve([], ["GULPD_AUTO_TLS": "1"]) }
        #expect(unserved?.message.hasPrefix("GULPD_AUTO_TLS (--auto-tls) is not served yet") == true)
    }

    @Test(arguments: [
        ["--auto-compaction-retention=0h"], ["--grpc-keepalive-interval=120m"], ["--enable-v2=0"],
        ["--backend-batch-interval=0"], ["--max-wals=0x5"], ["--log-outputs=stderr"], ["--peer-heartbeat-interval=7"],
    ])
    func whatIsNotServedMayBeSetToItsDefaultInAnySpelling(arguments: [String]) throws {
        #expect(try resolve(arguments) == MemberConfiguration())
    }

    @Test func aMemberListedElsewhereThanItAdvertisesIsRefusedToFound() throws {
        func founding(_ advertised: String, _ listed: String) throws {
            try resolve(["--initial-advertise-peer-urls=\(advertised)", "--initial-cluster=default=\(listed)"])
                .checkFounding()
        }
        try founding("http://127.0.0.1:1", "http://127.0.0.1:1")
        try founding("http://127.0.0.1:1", "http://localhost:1")
        #expect(throws: ConfigurationError.self) { try founding("http://127.0.0.1:1", "http://127.0.0.1:2") }
        #expect(throws: ConfigurationError.self) { try founding("http://127.0.0.1:1", "http://127.0.0.2:1") }
        #expect(throws: ConfigurationError.self) {
            try founding("http://127.0.0.1:1", "http://127.0.0.1:1,default=http://127.0.0.1:2")
        }
    }
}

@Suite struct GoSyntaxTests {
    @Test(
        arguments: [
            ("0", 0), ("5s", 5_000_000_000), ("1h30m", 5_400_000_000_000), ("1.5ms", 1_500_000), ("-2us", -2_000),
            ("100ns", 100),
        ] as [(String, Int64)])
    func durationsAreRead(text: String, expected: Int64) {
        #expect(GoSyntax.nanoseconds(text) == expected)
    }

    @Test(arguments: ["", "5", "s", "1x", "-", "1.2.3s", "1s5", "9999999999h"])
    func whatIsNoDurationIsRefused(text: String) {
        #expect(GoSyntax.nanoseconds(text) == nil)
    }
}
