import EtcdClient

/// One server of the cluster, and how the user wrote it.
struct Endpoint: Sendable, Equatable, CustomStringConvertible {
    let text: String
    let address: EtcdEndpoint

    var description: String { address.description }

    /// Reads `host:port`, `[v6]:port`, `http://host:port`; a path after it means nothing, as for etcdctl.
    init(_ text: String) throws(CommandFailure) {
        self.text = text.trimmed
        guard !self.text.hasPrefix("https://") else {
            throw CommandFailure("endpoint \(text): TLS is not served yet; use http://", .badArguments)
        }
        do { address = try EtcdEndpoint(self.text) } catch { throw CommandFailure(error.message, .badArguments) }
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
