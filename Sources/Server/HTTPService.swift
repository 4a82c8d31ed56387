import GRPC
import NIOCore

/// What is served over HTTP/1.1 on the client port: `/health`, `/version`, `/metrics`.
extension ClientService {
    func handleHTTP(_ exchange: HTTPExchange) {
        let parts = exchange.uri.split(separator: "?", maxSplits: 1)
        let path = parts.first ?? "/"
        guard ["/version", "/metrics", "/health"].contains(path) else {
            exchange.respond(404, "text/plain; charset=utf-8", "404 page not found\n")
            return
        }
        guard exchange.method == "GET" || exchange.method == "HEAD" else {
            exchange.respond(405, "text/plain; charset=utf-8", "Method Not Allowed\n", [("Allow", "GET")])
            return
        }
        switch path {
        case "/version":
            exchange.respond(
                200, "application/json",
                #"{"etcdserver":"\#(VersionText.etcd)","etcdcluster":"\#(VersionText.cluster)"}"#)
        case "/metrics":
            let text = context.metrics.text(
                context.board.current, serverVersion: VersionText.etcd, memberID: context.memberID.hexText)
            exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8", text)
        default:
            if leadership.leader == .none {
                respondHealth(exchange, "RAFT NO LEADER")
            } else if parts.count > 1, parts[1].split(separator: "&").contains("serializable=true") {
                respondHealth(exchange, nil)
            } else {
                // Healthy is a member that can answer a linearizable read.
                read(.health, for: exchange)
            }
        }
    }

    func answerHTTP(_ exchange: HTTPExchange, _ body: LoopAnswer.Body) {
        if case .healthy = body { respondHealth(exchange, nil) } else { respondHealth(exchange, "RANGE ERROR") }
    }

    /// - Parameter trouble: why the member is not healthy, in etcd's words; nil when it is.
    func respondHealth(_ exchange: HTTPExchange, _ trouble: String?) {
        exchange.respond(
            trouble == nil ? 200 : 503, "application/json",
            #"{"health":"\#(trouble == nil)","reason":"\#(trouble ?? "")"}"#)
    }
}

extension HTTPExchange {
    fileprivate func respond(
        _ status: Int, _ contentType: String, _ text: String, _ headers: [(String, String)] = []
    ) {
        respond(status: status, headers: headers + [("Content-Type", contentType)], body: ByteBuffer(string: text))
    }
}
