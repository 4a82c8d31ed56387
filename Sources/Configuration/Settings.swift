/// The values that were given, by flag name, with where each comes from. Defaults are not among them.
struct Settings {
    /// Where a value was found; it decides how an error speaks of it.
    enum Source: Equatable {
        case flag
        case variable(String)
        case file(key: String, path: String)
    }

    struct Value: Equatable {
        var text: String
        var source: Source
    }

    private(set) var values: [String: Value] = [:]

    subscript(name: String) -> Value? { values[name] }

    /// Takes a value unless it cannot be one of the flag.
    mutating func set(_ flag: Flag, _ text: String, from source: Source) throws(ConfigurationError) {
        if let complaint = flag.complaint(about: text) {
            throw Self.invalid(flag.name, text, source, complaint)
        }
        values[flag.name] = Value(text: text, source: source)
    }

    static func invalid(_ name: String, _ text: String, _ source: Source, _ complaint: String) -> ConfigurationError {
        switch source {
        case .flag:
            ConfigurationError("invalid value \"\(text)\" for flag -\(name): \(complaint)", exitCode: 2)
        case .variable(let variable):
            ConfigurationError("invalid value \"\(text)\" for \(variable): \(complaint)")
        case .file(let key, let path):
            ConfigurationError("invalid value \"\(text)\" for \(key) in \(path): \(complaint)")
        }
    }

    // MARK: Where settings come from

    /// Reads flags as Go does: `-name value`, `--name value`, `--name=value`; a boolean's value only after `=`.
    ///
    /// Flags end at `--` or at the first argument that is none; that argument is returned if there is one.
    mutating func readArguments(_ arguments: some Sequence<String>) throws(ConfigurationError) -> String? {
        var rest = Array(arguments)[...]
        while let argument = rest.popFirst() {
            if argument == "--" { return rest.first }
            guard argument.hasPrefix("-"), argument != "-" else { return argument }
            let body = argument.dropFirst(argument.hasPrefix("--") ? 2 : 1)
            let equals = body.firstIndex(of: "=")
            let name = String(body[..<(equals ?? body.endIndex)])
            guard !name.isEmpty, !name.hasPrefix("-") else {
                throw ConfigurationError("bad flag syntax: \(argument); write --flag=value", exitCode: 2)
            }
            if name == "help" || name == "h" {
                values["help"] = Value(text: "true", source: .flag)
                continue
            }
            guard let flag = Flag.named(name) else {
                throw ConfigurationError(
                    "flag provided but not defined: -\(name); gulpd --help lists the flags", exitCode: 2)
            }
            if let equals {
                try set(flag, String(body[body.index(after: equals)...]), from: .flag)
            } else if flag.kind == .boolean || flag.kind == .ignored {
                try set(flag, "true", from: .flag)
            } else if let value = rest.popFirst() {
                try set(flag, value, from: .flag)
            } else {
                throw ConfigurationError("flag needs an argument: -\(name)", exitCode: 2)
            }
        }
        return nil
    }

    /// Takes from the environment what no flag gave. An empty variable counts as none, as etcd has it.
    ///
    /// - Returns: the variables that look like settings and are none.
    mutating func readEnvironment(_ environment: [String: String]) throws(ConfigurationError) -> [String] {
        var known: Set<String> = []
        // `--version` asks a question, and images set ETCD_VERSION for purposes of their own.
        for flag in Flag.all {
            let variables = ["GULPD_", "ETCD_"].map { $0 + flag.variableSuffix }
            known.formUnion(variables)
            guard values[flag.name] == nil, flag.name != "version" else { continue }
            for variable in variables {
                guard let text = environment[variable], !text.isEmpty else { continue }
                try set(flag, text, from: .variable(variable))
                break
            }
        }
        return environment.keys.filter {
            ($0.hasPrefix("ETCD_") || $0.hasPrefix("GULPD_")) && !known.contains($0)
        }.sorted()
    }
}
