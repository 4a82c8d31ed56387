/// Where one member serves its clients.
public struct EtcdEndpoint: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`, `[v6]:port` and `http://host:port`; a path after it means nothing, as for etcd's clients.
    public init(_ text: String) throws(EtcdError) {
        var rest = Substring(text)
        if let scheme = rest.firstRange(of: "://") {
            guard rest[..<scheme.lowerBound] == "http" else {
                throw EtcdError(.invalidArgument, "endpoint \(text): only host:port and http:// are served")
            }
            rest = rest[scheme.upperBound...]
        }
        rest = rest.prefix { $0 != "/" }
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0
        else { throw EtcdError(.invalidArgument, "endpoint \(text): missing or bad port; write host:port") }
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw EtcdError(.invalidArgument, "endpoint \(text): write an IPv6 address as [address]:port")
        }
        self.init(host: host.isEmpty ? "127.0.0.1" : String(host), port: Int(port))
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
