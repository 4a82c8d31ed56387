extension Flag {
    /// Every flag of etcd 3.5 and those of the agent, in the order of `--help`. The served ones first.
    /// Names, kinds and defaults are facts of etcd's interface (its `--help` and configuration documentation).
    static let all: [Flag] = served + unserved

    static let served: [Flag] = member + AgentSettings.flags

    static let member: [Flag] = [
        Flag("name", .text, "default", "The member's name, unique in the cluster; --initial-cluster lists it."),
        Flag("data-dir", .text, "", "Where the member keeps its data. Default: NAME.etcd in the working directory."),
        Flag("wal-dir", .text, "", "Where the Raft log is kept, if not under the data directory."),
        Flag("listen-client-urls", .urls, "http://localhost:2379", "Where clients are served."),
        Flag(
            "advertise-client-urls", .urls, "http://localhost:2379",
            "Where clients can reach this member. Required with --listen-client-urls."),
        Flag("listen-peer-urls", .urls, "http://localhost:2380", "Where the other members are served."),
        Flag(
            "initial-advertise-peer-urls", .urls, "http://localhost:2380",
            "Where the other members can reach this one."),
        Flag(
            "initial-cluster", .text, "default=http://localhost:2380",
            "The founding members, NAME=PEER-URL separated by commas. Default: this member alone."),
        Flag(
            "initial-cluster-state", .choice(["new", "existing"]), "new",
            "'new' to found a cluster, 'existing' to join one."),
        Flag("initial-cluster-token", .text, "etcd-cluster", "Tells clusters apart that are listed alike."),
        Flag("heartbeat-interval", .unsigned, "100", "Milliseconds between a leader's heartbeats."),
        Flag(
            "election-timeout", .unsigned, "1000",
            "Milliseconds without a leader after which a member campaigns; at least 5 heartbeats, at most 50000."),
        Flag("snapshot-count", .unsigned, "100000", "Log entries applied between two snapshots."),
        Flag("max-request-bytes", .unsigned, "1572864", "The largest request of a client, in bytes."),
        Flag("max-txn-ops", .unsigned, "128", "The most operations in one transaction."),
        Flag("log-level", .text, "info", "What is logged: debug, info, warn, error, panic or fatal."),
        Flag(
            "config-file", .text, "",
            "A YAML file of these settings. With it, other flags and the environment are ignored."),
        Flag("version", .boolean, "false", "Print the version and exit."),
    ]

    static let unserved: [Flag] = [
        // The member.
        Flag("initial-election-tick-advance", .boolean, "true"),
        Flag("max-snapshots", .unsigned, "5"),
        Flag("max-wals", .unsigned, "5"),
        Flag("quota-backend-bytes", .integer, "0"),
        Flag("backend-bbolt-freelist-type", .choice(["map", "array"]), "map"),
        Flag("backend-batch-interval", .duration, "0s"),
        Flag("backend-batch-limit", .integer, "0"),
        Flag("max-concurrent-streams", .unsigned, "4294967295"),
        Flag("grpc-keepalive-min-time", .duration, "5s"),
        Flag("grpc-keepalive-interval", .duration, "2h"),
        Flag("grpc-keepalive-timeout", .duration, "20s"),
        Flag("socket-reuse-port", .boolean, "false"),
        Flag("socket-reuse-address", .boolean, "false"),
        Flag("raft-read-timeout", .duration, "5s"),
        Flag("raft-write-timeout", .duration, "5s"),
        Flag("listen-client-http-urls", .text, ""),
        // The cluster.
        Flag("discovery", .text, ""),
        Flag("discovery-fallback", .choice(["proxy", "exit"]), "proxy"),
        Flag("discovery-proxy", .text, ""),
        Flag("discovery-srv", .text, ""),
        Flag("discovery-srv-name", .text, ""),
        Flag("strict-reconfig-check", .boolean, "true"),
        Flag("pre-vote", .boolean, "true"),
        Flag("auto-compaction-retention", .text, "0", equivalents: ["", "0s", "0h"]),
        Flag("auto-compaction-mode", .text, "periodic"),
        Flag("enable-v2", .boolean, "false"),
        Flag("v2-deprecation", .choice(["not-yet", "write-only", "write-only-drop-data", "gone"]), "not-yet"),
        // Security.
        Flag("cert-file", .text, ""),
        Flag("key-file", .text, ""),
        Flag("client-cert-file", .text, ""),
        Flag("client-key-file", .text, ""),
        Flag("client-cert-auth", .boolean, "false"),
        Flag("client-crl-file", .text, ""),
        Flag("client-cert-allowed-hostname", .text, ""),
        Flag("trusted-ca-file", .text, ""),
        Flag("auto-tls", .boolean, "false"),
        Flag("peer-cert-file", .text, ""),
        Flag("peer-key-file", .text, ""),
        Flag("peer-client-cert-file", .text, ""),
        Flag("peer-client-key-file", .text, ""),
        Flag("peer-client-cert-auth", .boolean, "false"),
        Flag("peer-trusted-ca-file", .text, ""),
        Flag("peer-cert-allowed-cn", .text, ""),
        Flag("peer-cert-allowed-hostname", .text, ""),
        Flag("peer-auto-tls", .boolean, "false"),
        Flag("self-signed-cert-validity", .unsigned, "1"),
        Flag("peer-crl-file", .text, ""),
        Flag("cipher-suites", .text, ""),
        Flag("tls-min-version", .text, "TLS1.2"),
        Flag("tls-max-version", .text, ""),
        Flag("cors", .text, "*", equivalents: [""]),
        Flag("host-whitelist", .text, "*", equivalents: [""]),
        Flag("auth-token", .text, "simple"),
        Flag("bcrypt-cost", .unsigned, "10"),
        Flag("auth-token-ttl", .unsigned, "300"),
        // Observation.
        Flag("enable-pprof", .boolean, "false"),
        Flag("metrics", .text, "basic"),
        Flag("listen-metrics-urls", .text, ""),
        Flag("logger", .text, "zap"),
        Flag("log-outputs", .text, "default", equivalents: ["stderr"]),
        Flag("enable-log-rotation", .boolean, "false"),
        Flag(
            "log-rotation-config-json", .text,
            #"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#),
        Flag("enable-grpc-gateway", .boolean, "true"),
        // The proxy of the v2 API.
        Flag("proxy", .choice(["off", "readonly", "on"]), "off"),
        Flag("proxy-failure-wait", .unsigned, "5000"),
        Flag("proxy-refresh-interval", .unsigned, "30000"),
        Flag("proxy-dial-timeout", .unsigned, "1000"),
        Flag("proxy-write-timeout", .unsigned, "5000"),
        Flag("proxy-read-timeout", .unsigned, "0"),
        // Experiments.
        Flag("experimental-enable-distributed-tracing", .boolean, "false"),
        Flag("experimental-distributed-tracing-address", .text, "localhost:4317"),
        Flag("experimental-distributed-tracing-service-name", .text, "etcd"),
        Flag("experimental-distributed-tracing-instance-id", .text, ""),
        Flag("experimental-distributed-tracing-sampling-rate", .integer, "0"),
        Flag("experimental-initial-corrupt-check", .boolean, "false"),
        Flag("experimental-corrupt-check-time", .duration, "0s"),
        Flag("experimental-compact-hash-check-enabled", .boolean, "false"),
        Flag("experimental-compact-hash-check-time", .duration, "1m"),
        Flag("experimental-enable-v2v3", .text, ""),
        Flag("experimental-enable-lease-checkpoint", .boolean, "false"),
        Flag("experimental-enable-lease-checkpoint-persist", .boolean, "false"),
        Flag("experimental-compaction-batch-limit", .integer, "1000"),
        Flag("experimental-compaction-sleep-interval", .duration, "10ms"),
        Flag("experimental-peer-skip-client-san-verification", .boolean, "false"),
        Flag("experimental-watch-progress-notify-interval", .duration, "10m"),
        Flag("experimental-downgrade-check-time", .duration, "5s"),
        Flag("experimental-warning-apply-duration", .duration, "100ms"),
        Flag("experimental-warning-unary-request-duration", .duration, "300ms"),
        Flag("experimental-memory-mlock", .boolean, "false"),
        Flag("experimental-txn-mode-write-with-shared-buffer", .boolean, "true"),
        Flag("experimental-bootstrap-defrag-threshold-megabytes", .unsigned, "0"),
        Flag("experimental-max-learners", .integer, "1"),
        Flag("experimental-wait-cluster-ready-timeout", .duration, "5s"),
        Flag("experimental-stop-grpc-service-on-defrag", .boolean, "false"),
        Flag("experimental-snapshot-catchup-entries", .unsigned, "5000"),
        // What is never safe.
        Flag("force-new-cluster", .boolean, "false"),
        Flag("unsafe-no-fsync", .boolean, "false"),
        // Taken and ignored by etcd since its first versions.
        Flag("cluster-active-size", .ignored, ""),
        Flag("cluster-remove-delay", .ignored, ""),
        Flag("cluster-sync-interval", .ignored, ""),
        Flag("config", .ignored, ""),
        Flag("force", .ignored, ""),
        Flag("max-result-buffer", .ignored, ""),
        Flag("max-retry-attempts", .ignored, ""),
        Flag("peer-heartbeat-interval", .ignored, ""),
        Flag("peer-election-timeout", .ignored, ""),
        Flag("retry-interval", .ignored, ""),
        Flag("snapshot", .ignored, ""),
        Flag("v", .ignored, ""),
        Flag("vv", .ignored, ""),
    ]

    init(
        _ name: String, _ kind: Kind, _ defaultText: String, _ help: String? = nil, equivalents: [String] = []
    ) {
        self.init(name: name, kind: kind, defaultText: defaultText, help: help, equivalents: equivalents)
    }
}
