/// Names of assemblies and components: lower-case DNS labels (RFC 1123), so that they can be host names and parts of
/// keys, and so that the dots of an ``InstanceID`` are unambiguous.
public enum Names {
    /// Why `name` cannot name an assembly or a component; nil when it can.
    public static func complaint(about name: String) -> String? {
        if name.isEmpty { return "a name must not be empty" }
        if name.utf8.count > 63 { return "\"\(name)\" is longer than 63 characters" }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        let isPlain = name.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        guard isPlain, let first = name.utf8.first, let last = name.utf8.last, isAlphanumeric(first),
            isAlphanumeric(last)
        else {
            return "\"\(name)\" is no name: use lower-case letters, digits and hyphens, "
                + "with a letter or a digit first and last"
        }
        return nil
    }

    /// Why `name` cannot name a node; nil when it can. Nodes carry gulpd's `--name`, which is freer.
    public static func complaint(aboutNode name: String) -> String? {
        if name.isEmpty { return "a node's name must not be empty" }
        if name.utf8.count > 253 { return "\"\(name)\" is longer than 253 characters" }
        let isPlain = name.unicodeScalars.allSatisfy { scalar in
            scalar.isASCII
                && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || "._-".unicodeScalars.contains(scalar))
        }
        return isPlain ? nil : "\"\(name)\" is no node name: use letters, digits, dots, underscores and hyphens"
    }
}

/// One of a component's instances: `ASSEMBLY.COMPONENT.INDEX`, with the index counted from 0.
public struct InstanceID: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var assembly: String
    public var component: String
    public var index: Int

    public init(assembly: String, component: String, index: Int) {
        self.assembly = assembly
        self.component = component
        self.index = index
    }

    /// nil for what is no instance's name.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, Names.complaint(about: String(parts[0])) == nil,
            Names.complaint(about: String(parts[1])) == nil, let index = Int(parts[2]), index >= 0,
            String(index) == parts[2]
        else { return nil }
        self.init(assembly: String(parts[0]), component: String(parts[1]), index: index)
    }

    public var description: String { "\(assembly).\(component).\(index)" }

    public static func < (a: Self, b: Self) -> Bool {
        (a.assembly, a.component, a.index) < (b.assembly, b.component, b.index)
    }
}

extension InstanceID: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = InstanceID(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(text)\" is no instance (ASSEMBLY.COMPONENT.INDEX)")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
