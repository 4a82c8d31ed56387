import NIOCore

/// Where a member listens for its peers, taken from a peer URL.
public enum PeerAddress: Hashable, Sendable, CustomStringConvertible {
    case network(host: String, port: Int)
    case socket(path: String)

    /// - Throws: `PeerAddressError` for a URL that no peer connection can be made to.
    public init(_ url: String) throws(PeerAddressError) {
        func malformed(_ reason: String) -> PeerAddressError { PeerAddressError(url: url, reason: reason) }
        if url.hasPrefix("unix://") {
            let path = url.dropFirst("unix://".count)
            guard !path.isEmpty else { throw malformed("it names no socket") }
            self = .socket(path: String(path))
            return
        }
        guard url.hasPrefix("http://") else { throw malformed("peers are reached by http:// or unix://") }
        let authority = url.dropFirst("http://".count)
        guard let colon = authority.lastIndex(of: ":"), let port = UInt16(authority[authority.index(after: colon)...])
        else { throw malformed("it has no host:port") }
        var host = authority[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        self = .network(host: String(host), port: Int(port))
    }

    public var description: String {
        switch self {
        case .network(let host, let port): host.contains(":") ? "http://[\(host)]:\(port)" : "http://\(host):\(port)"
        case .socket(let path): "unix://\(path)"
        }
    }
}

/// A peer URL that cannot be used.
public struct PeerAddressError: Error, Equatable, Sendable, CustomStringConvertible {
    public let url: String
    public let reason: String
    public var description: String { "peer URL \(url): \(reason)" }
}
