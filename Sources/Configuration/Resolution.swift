import Discovery

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension MemberConfiguration {
    /// What the person who started the program asked for.
    public enum Resolution: Sendable, Equatable {
        /// Run a member. The warnings are lines for the log.
        case run(MemberConfiguration, warnings: [String])
        /// Print this text and exit with 0.
        case show(String)
    }

    /// Works out the settings of a member from what it was started with, by etcd's precedence.
    ///
    /// - Parameters:
    ///   - arguments: those of the program, without its own name.
    ///   - environment: all of it; `GULPD_…` wins over `ETCD_…`.
    ///   - readFile: returns the text of the file at a path. Called once, if a configuration file is named.
    /// - Throws: `ConfigurationError` with one line and the exit code.
    public static func resolve(
        arguments: [String], environment: [String: String],
        readFile: (String) throws -> String = { try readTextFile($0) }
    ) throws(ConfigurationError) -> Resolution {
        var settings = Settings()
        let stray = try settings.readArguments(arguments)
        if settings["help"] != nil { return .show(Usage.text) }
        if let version = settings["version"], GoSyntax.boolean(version.text) == true {
            return .show(VersionText.report)
        }
        if let stray { throw ConfigurationError("'\(stray)' is not a valid flag") }

        var warnings: [String] = []
        if let path = [
            settings["config-file"]?.text, environment["GULPD_CONFIG_FILE"], environment["ETCD_CONFIG_FILE"],
        ].compactMap(\.self).first(where: { !$0.isEmpty }) {
            let text: String
            do { text = try readFile(path) } catch { throw ConfigurationError("open \(path): \(error)") }
            settings = try Settings.readFile(text, path: path)
        } else {
            warnings = try settings.readEnvironment(environment).map { "unrecognized environment variable \($0)" }
            // A file may leave the advertised URLs out, flags may not: so it is with etcd.
            if settings["listen-client-urls"] != nil, settings["advertise-client-urls"] == nil {
                throw ConfigurationError(
                    "--advertise-client-urls is required when --listen-client-urls is set explicitly")
            }
        }
        try refuseUnserved(settings)
        let configuration = try MemberConfiguration(settings)
        try configuration.check()
        return .run(configuration, warnings: warnings)
    }

    private static func refuseUnserved(_ settings: Settings) throws(ConfigurationError) {
        for flag in Flag.unserved {
            guard let value = settings[flag.name], !flag.isDefault(value.text) else { continue }
            let name =
                switch value.source {
                case .flag: "--\(flag.name)"
                case .variable(let variable): "\(variable) (--\(flag.name))"
                case .file(let key, let path): "\(key) in \(path)"
                }
            throw ConfigurationError(
                "\(name) is not served yet by gulpd \(VersionText.own); "
                    + "leave it at its default '\(flag.defaultText)'")
        }
    }

    private init(_ settings: Settings) throws(ConfigurationError) {
        let name = settings["name"]?.text ?? "default"
        let directory = settings["data-dir"].map(\.text).flatMap { $0.isEmpty ? nil : $0 }
        let logDirectory = settings["wal-dir"].map(\.text).flatMap { $0.isEmpty ? nil : $0 }
        let advertised = try settings.urls("initial-advertise-peer-urls")

        let founders: InitialCluster
        do throws(InitialClusterError) {
            if let listed = settings["initial-cluster"] {
                founders = try .parse(listed.text)
            } else {
                founders = try InitialCluster([.init(name: name, peerURLs: advertised)])
            }
        } catch {
            throw ConfigurationError("error setting up initial cluster: \(error)")
        }

        self.init(
            name: name, dataDirectory: directory, logDirectory: logDirectory,
            listenClientURLs: try settings.urls("listen-client-urls"),
            advertiseClientURLs: try settings.urls("advertise-client-urls"),
            listenPeerURLs: try settings.urls("listen-peer-urls"), initialAdvertisePeerURLs: advertised,
            initialCluster: founders,
            initialClusterState: try settings.choice("initial-cluster-state"),
            initialClusterToken: settings["initial-cluster-token"]?.text ?? Discovery.defaultToken,
            heartbeatIntervalMilliseconds: try settings.integer("heartbeat-interval"),
            electionTimeoutMilliseconds: try settings.integer("election-timeout"),
            snapshotCount: try settings.integer("snapshot-count"),
            maxRequestBytes: try settings.integer("max-request-bytes"),
            maxTransactionOperations: try settings.integer("max-txn-ops"),
            logLevel: try settings.choice("log-level"), agent: try AgentSettings(settings))
        // 0 stands for the default, as it does for etcd: a snapshot after every entry is of no use.
        if snapshotCount == 0 { snapshotCount = MemberConfiguration().snapshotCount }
    }

    /// Reads a whole file as text. The error is the system's words for what went wrong.
    public static func readTextFile(_ path: String) throws -> String {
        struct SystemError: Error, CustomStringConvertible { let description: String }
        func lastError() -> SystemError { SystemError(description: String(cString: strerror(errno)).lowercased()) }
        guard let file = fopen(path, "rb") else { throw lastError() }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        if ferror(file) != 0 { throw lastError() }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Settings {
    /// The values below were checked when they were set; the defaults are those of the table.
    private func value(_ name: String) -> Value {
        self[name] ?? Value(text: Flag.named(name)?.defaultText ?? "", source: .flag)
    }

    fileprivate func urls(_ name: String) throws(ConfigurationError) -> [MemberURL] {
        let value = value(name)
        do throws(MemberURLError) { return try MemberURL.list(value.text) } catch {
            throw Self.invalid(name, value.text, value.source, error.description)
        }
    }

    fileprivate func integer(_ name: String) throws(ConfigurationError) -> Int {
        let value = value(name)
        guard let number = try? GoSyntax.unsigned(value.text), let small = Int(exactly: number) else {
            throw Self.invalid(name, value.text, value.source, "value out of range")
        }
        return small
    }

    fileprivate func choice<Choice: RawRepresentable<String>>(_ name: String) throws(ConfigurationError) -> Choice {
        let value = value(name)
        guard let choice = Choice(rawValue: value.text) else {
            throw ConfigurationError("unrecognized --\(name): \"\(value.text)\"; gulpd --help lists what it takes")
        }
        return choice
    }
}
