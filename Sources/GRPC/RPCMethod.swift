import Glibc

/// One method of a service, as the server is told about it.
public struct RPCMethod: Sendable, Hashable {
    /// The request's path, `/package.Service/Method`.
    public var path: String
    /// Whether the client may send any number of messages; else it sends exactly one.
    public var clientStreaming: Bool
    /// Whether the server may send any number of messages; else it sends exactly one or an error.
    public var serverStreaming: Bool

    public init(path: String, clientStreaming: Bool = false, serverStreaming: Bool = false) {
        self.path = path
        self.clientStreaming = clientStreaming
        self.serverStreaming = serverStreaming
    }
}

/// The methods of a server, found by path. `RPCCall.method` is an index into the list it was made of.
struct MethodTable {
    let methods: [RPCMethod]
    private let paths: [[UInt8]]
    private let services: Set<String>
    /// Indices of the methods whose path has this many bytes: a handful each, compared byte by byte,
    /// which is cheaper than to make a `String` of every request's path and hash it.
    private let indicesByLength: [[Int]]

    init(_ methods: [RPCMethod]) {
        self.methods = methods
        paths = methods.map { Array($0.path.utf8) }
        services = Set(methods.map { Self.split($0.path).service })
        var byLength = [[Int]](repeating: [], count: (paths.map(\.count).max() ?? 0) + 1)
        for (index, path) in paths.enumerated() { byLength[path.count].append(index) }
        indicesByLength = byLength
    }

    func index(ofPath path: UnsafeRawBufferPointer) -> Int? {
        guard path.count < indicesByLength.count else { return nil }
        guard let bytes = path.baseAddress else { return nil }
        return indicesByLength[path.count].first { memcmp(paths[$0], bytes, path.count) == 0 }
    }

    /// Why there is no such method, in grpc-go's words.
    func refusal(ofPath path: String) -> GRPCStatus {
        guard path.utf8.first == UInt8(ascii: "/"), path.dropFirst().contains("/") else {
            return GRPCStatus(.unimplemented, "malformed method name: \"\(path)\"")
        }
        let (service, method) = Self.split(path)
        if services.contains(service) {
            return GRPCStatus(.unimplemented, "unknown method \(method) for service \(service)")
        }
        return GRPCStatus(.unimplemented, "unknown service \(service)")
    }

    private static func split(_ path: String) -> (service: String, method: String) {
        let name = path.dropFirst()
        guard let slash = name.lastIndex(of: "/") else { return (String(name), "") }
        return (String(name[..<slash]), String(name[name.index(after: slash)...]))
    }
}
