/// `HOST`, `HOST:PORT` or `[IPv6]:PORT`.
public struct HostAndPort: Hashable, Sendable, CustomStringConvertible {
    /// A name or an address, without the brackets of an IPv6 one.
    public var host: String
    public var port: Int?

    public init(host: String, port: Int?) {
        self.host = host
        self.port = port
    }

    /// nil for what is none.
    public init?(_ text: String) {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
        }
        guard !host.isEmpty, host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || ".-_:%".contains($0)) })
        else { return nil }
        self.host = String(host)
        if rest.isEmpty {
            port = nil
        } else {
            guard rest.first == ":", let port = UInt16(rest.dropFirst()) else { return nil }
            self.port = Int(port)
        }
    }

    /// Whether it stands for all of a machine's addresses.
    var isUnspecified: Bool { ["0.0.0.0", "::", "0", "::0"].contains(host) }

    public var description: String {
        (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "")
    }
}
