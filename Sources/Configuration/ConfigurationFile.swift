import Yams

extension Settings {
    /// Reads a configuration file in etcd's form: a YAML mapping whose keys are the names of flags, and two mappings
    /// for TLS, `client-transport-security` and `peer-transport-security`, whose keys are the flags' without prefix.
    ///
    /// A key without a value is as good as not there. etcd passes over keys it does not know; here they are refused,
    /// because they are settings that somebody wanted.
    static func readFile(_ text: String, path: String) throws(ConfigurationError) -> Settings {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            let reason = "\(error)".split(separator: "\n").joined(separator: " ")
            throw ConfigurationError("configuration file \(path) is not YAML: \(reason)")
        }
        var settings = Settings()
        guard let root, !isNull(root) else { return settings }
        guard let mapping = root.mapping else {
            throw ConfigurationError("configuration file \(path) must be a mapping of settings, as in \"name: m1\"")
        }
        for (keyNode, value) in mapping {
            let key = keyNode.string ?? ""
            let prefix = ["client-transport-security": "", "peer-transport-security": "peer-"][key]
            guard let prefix else {
                try settings.set(fileKey: key, flag: key, value, path: path)
                continue
            }
            if isNull(value) { continue }
            guard let section = value.mapping else {
                throw ConfigurationError("\(key) in \(path) must be a mapping")
            }
            for (nestedNode, value) in section {
                let nested = nestedNode.string ?? ""
                try settings.set(fileKey: "\(key).\(nested)", flag: prefix + nested, value, path: path)
            }
        }
        return settings
    }

    private mutating func set(
        fileKey key: String, flag name: String, _ node: Node, path: String
    ) throws(ConfigurationError) {
        guard let flag = Flag.named(name), flag.kind != .ignored, name != "config-file", name != "version" else {
            throw ConfigurationError(
                "unknown setting \"\(key)\" in \(path); the keys are the flags' names, which gulpd --help lists")
        }
        if Self.isNull(node) { return }
        let texts = node.sequence.map { $0.map(\.scalar?.string) } ?? [node.scalar?.string]
        let text = texts.compactMap(\.self).joined(separator: ",")
        guard texts.allSatisfy({ $0 != nil }) else {
            throw ConfigurationError("\(key) in \(path) must be a plain value")
        }
        // An empty string in the file stands for "not set", as it does for etcd.
        if text.isEmpty && flag.kind != .text { return }
        // A bare number is a duration in nanoseconds there.
        let isBareNumber = flag.kind == .duration && !text.isEmpty && text.allSatisfy(\.isNumber)
        try set(flag, isBareNumber ? text + "ns" : text, from: .file(key: key, path: path))
    }

    private static func isNull(_ node: Node) -> Bool {
        guard let scalar = node.scalar else { return false }
        return scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }
}
