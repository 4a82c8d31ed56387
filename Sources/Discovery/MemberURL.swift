#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Where a member listens or is reached: `http://10.0.0.1:2380`, `https://[::1]:2379`, `unix:///run/gulpd.sock`.
///
/// A value of this type is well formed: one of the four schemes, for the two of HTTP a host and a port, and no path,
/// query or user. What the URL is used for decides whether it is also acceptable there (`checkBindable()`,
/// `checkReachable()`).
public struct MemberURL: Hashable, Sendable, CustomStringConvertible {
    public enum Scheme: String, Sendable {
        case http, https, unix, unixs
        /// Whether what is spoken there is wrapped in TLS.
        public var isSecure: Bool { self == .https || self == .unixs }
        /// Whether it is a socket in the file system.
        public var isLocalSocket: Bool { self == .unix || self == .unixs }
    }

    public let scheme: Scheme
    /// A name or an IP address, without the brackets of an IPv6 one; the path for a socket in the file system.
    public let host: String
    /// 0 for a socket in the file system.
    public let port: Int
    /// The URL as it was given, its scheme in lower case. Ids are computed from it, so it is never rewritten further.
    public let text: String

    public var description: String { text }

    /// - Throws: `MemberURLError`, which quotes `text` and says what is wrong with it.
    public init(_ text: String) throws(MemberURLError) {
        let trimmed = text.trimmingSpaces()
        guard let separator = trimmed.firstRange(of: "://"),
            let scheme = Scheme(rawValue: trimmed[..<separator.lowerBound].lowercased())
        else { throw MemberURLError(.scheme, text) }
        let rest = trimmed[separator.upperBound...]
        guard trimmed.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value < 0x7f }) else {
            throw MemberURLError(.characters, text)
        }
        self.scheme = scheme
        self.text = "\(scheme.rawValue)://\(rest)"

        if scheme.isLocalSocket {
            guard !rest.isEmpty else { throw MemberURLError(.emptySocketPath, text) }
            host = String(rest)
            port = 0
            return
        }
        if rest.contains("/") { throw MemberURLError(.path, text) }
        if rest.contains(where: { "?#@\\".contains($0) }) { throw MemberURLError(.hostAndPort, text) }
        guard let colon = rest.lastIndex(of: ":") else { throw MemberURLError(.hostAndPort, text) }
        let digits = rest[rest.index(after: colon)...]
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(digits),
            port <= 65535
        else { throw MemberURLError(.port, text) }
        var host = rest[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { throw MemberURLError(.hostAndPort, text) }
            host = host.dropFirst().dropLast()
            guard Self.isIPv6(String(host)) else { throw MemberURLError(.hostAndPort, text) }
        } else if host.contains(where: { ":[]".contains($0) }) {
            throw MemberURLError(.hostAndPort, text)
        }
        self.host = String(host)
        self.port = port
    }

    /// `http://host:port`. For settings that are written in the program; those of the user are parsed.
    public static func http(host: String, port: Int) -> MemberURL {
        MemberURL(plainHost: host, port: port)
    }

    private init(plainHost host: String, port: Int) {
        scheme = .http
        self.host = host
        self.port = port
        text = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    /// Parses a list separated by commas, as flags take it.
    ///
    /// - Returns: the URLs in the order of their text, as etcd keeps them.
    public static func list(_ text: String) throws(MemberURLError) -> [MemberURL] {
        var urls: [MemberURL] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            try urls.append(MemberURL(String(part)))
        }
        return urls.sorted { $0.text.utf8.lexicographicallyPrecedes($1.text.utf8) }
    }

    /// Refuses a URL that cannot be listened on: a socket is bound to an address, and a name may stand for several
    /// or for another tomorrow. `localhost` is the one name that is taken.
    public func checkBindable() throws(MemberURLError) {
        if scheme.isLocalSocket || host == "localhost" || hasAddress { return }
        throw MemberURLError(.nameForBinding, text)
    }

    /// Refuses a URL that nobody could be sent to: one without a host.
    public func checkReachable() throws(MemberURLError) {
        if host.isEmpty { throw MemberURLError(.emptyHost, text) }
    }

    /// Whether the host is an IP address rather than a name.
    public var hasAddress: Bool {
        var address = in_addr()
        return inet_pton(AF_INET, host, &address) == 1 || Self.isIPv6(host)
    }

    private static func isIPv6(_ host: String) -> Bool {
        // A zone (fe80::1%eth0) is not part of the address.
        var address = in6_addr()
        return inet_pton(AF_INET6, String(host.prefix { $0 != "%" }), &address) == 1
    }
}

/// What is wrong with a URL, in etcd's words where it has some.
public struct MemberURLError: Error, Equatable, CustomStringConvertible {
    public enum Reason: Sendable {
        case scheme, hostAndPort, port, path, characters, emptySocketPath, nameForBinding, emptyHost
    }
    public let reason: Reason
    public let text: String

    init(_ reason: Reason, _ text: String) {
        self.reason = reason
        self.text = text
    }

    public var description: String {
        switch reason {
        case .scheme: "URL scheme must be http, https, unix, or unixs: \(text)"
        case .hostAndPort: "URL address does not have the form \"host:port\": \(text)"
        case .port: "URL port must be a number up to 65535: \(text)"
        case .path: "URL must not contain a path: \(text)"
        case .characters: "URL must not contain spaces or other than ASCII characters: \(text)"
        case .emptySocketPath: "URL names no socket: \(text)"
        case .nameForBinding: "expected IP in URL for binding (\(text)); give the interface's address, or localhost"
        case .emptyHost: "unexpected empty host (\(text)); name the host that others reach"
        }
    }
}

extension String {
    func trimmingSpaces() -> String {
        var slice = self[...]
        while slice.first?.isWhitespace == true { slice.removeFirst() }
        while slice.last?.isWhitespace == true { slice.removeLast() }
        return String(slice)
    }
}
