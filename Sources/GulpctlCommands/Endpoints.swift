/// One server of the cluster.
struct Endpoint: Sendable, Equatable, CustomStringConvertible {
    var host: String
    var port: Int

    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Reads `host:port`, `[v6]:port`, `http://host:port`; a path after it means nothing, as for etcdctl.
    init(_ text: String) throws(CommandFailure) {
        var rest = Substring(text.trimmed)
        if let scheme = rest.range(of: "://") {
            switch rest[..<scheme.lowerBound] {
            case "http": rest = rest[scheme.upperBound...]
            case "https":
                throw CommandFailure("endpoint \(text): TLS is not served yet; use http://", .badArguments)
            default:
                throw CommandFailure("endpoint \(text): only host:port and http:// are served", .badArguments)
            }
        }
        rest = rest.prefix { $0 != "/" }
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0 else {
            throw CommandFailure("endpoint \(text): missing or bad port; write host:port", .badArguments)
        }
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw CommandFailure("endpoint \(text): write an IPv6 address as [address]:port", .badArguments)
        }
        self.host = host.isEmpty ? "127.0.0.1" : String(host)
        self.port = Int(port)
    }

    /// The endpoints that `--endpoints` lists, in order; empty places between commas are skipped.
    static func list(_ texts: [String]) throws(CommandFailure) -> [Endpoint] {
        var endpoints: [Endpoint] = []
        for text in texts where !text.trimmed.isEmpty { endpoints.append(try Endpoint(text)) }
        guard !endpoints.isEmpty else {
            throw CommandFailure("etcdclient: no available endpoints", .badConnection)
        }
        return endpoints
    }
}

extension String {
    fileprivate var trimmed: String {
        var rest = self[...].drop { $0.isWhitespace }
        while rest.last?.isWhitespace == true { rest = rest.dropLast() }
        // etcdctl reads the list as CSV, in which a value may stand in quotes.
        if rest.count >= 2, rest.hasPrefix("\""), rest.hasSuffix("\"") { rest = rest.dropFirst().dropLast() }
        return String(rest)
    }
}
