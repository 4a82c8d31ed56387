import EtcdAPI
import EtcdClient
import Foundation
import GRPC

/// The cluster behind `--endpoints`. Calls go through the library's client, which finds a server that answers,
/// repeats reads, and never repeats a write that may have been executed. Watches have streams of their own,
/// since what `watch` prints includes each answer's header.
actor ClusterConnection: EtcdConnection {
    private let options: GlobalOptions
    private let console: any Console
    private let endpoints: [Endpoint]
    private var client: EtcdClient
    private let streams: WatchDialer
    private var isLoggedIn: Bool
    /// What the cluster gave for `--user`, if it demands authentication.
    private var token: String?
    private var hasWarned = false

    init(_ options: GlobalOptions, console: any Console) throws {
        try options.checkServed()
        if options.isDebug { console.writeError(options.assignments) }
        endpoints = try Endpoint.list(options.endpoints)
        self.options = options
        self.console = console
        // A command that reads waits for a leader as long as its time allows, as etcdctl does.
        client = try Self.client(of: endpoints, options, requireLeader: false, token: nil)
        streams = WatchDialer(endpoints, options, console)
        isLoggedIn = options.user.isEmpty
    }

    func call<Request, Response>(
        _ method: EtcdMethod<Request, Response>, _ request: Request, mayRepeat: Bool, at endpoint: EtcdEndpoint?
    ) async throws -> Response {
        let deadline = ContinuousClock.now + options.commandTimeout
        try await logIn(before: deadline)
        do {
            return try await client.call(method, request, mayRepeat: mayRepeat, needsLeader: false, at: endpoint)
        } catch let error as EtcdError {
            debug("\(Request.protoMessageName): \(error)")
            throw rpcError(error, isTimeUp: ContinuousClock.now >= deadline, isOfOneEndpoint: endpoint != nil)
        }
    }

    func openWatchStream() async throws -> any WatchStream {
        try await logIn(before: nil)
        return try await streams.open(token: token)
    }

    func makeClient() async throws -> EtcdClient {
        try await logIn(before: ContinuousClock.now + options.commandTimeout)
        return try Self.client(of: endpoints, options, requireLeader: true, token: token)
    }

    private static func client(
        of endpoints: [Endpoint], _ options: GlobalOptions, requireLeader: Bool, token: String?
    ) throws -> EtcdClient {
        var settings = EtcdClientOptions()
        settings.requestTimeout = options.commandTimeout
        settings.connectTimeout = options.connectTimeout
        settings.requireLeader = requireLeader
        settings.authenticationToken = token
        return try EtcdClient(endpoints: endpoints.map(\.address), options: settings)
    }

    /// The error in the words that etcdctl has for it. Whatever kept a call from being answered, when the time is
    /// up etcdctl says that it is up.
    private func rpcError(_ error: EtcdError, isTimeUp: Bool, isOfOneEndpoint: Bool) -> RPCError {
        guard error.code == .unavailable, isTimeUp, !error.message.hasPrefix("etcdserver: ") else {
            return RPCError(error.code, error.message)
        }
        if !hasWarned, !isOfOneEndpoint {
            hasWarned = true
            console.writeError("WARNING: \(error.message)\n")
        }
        return RPCError(.deadlineExceeded, error.message)
    }

    /// Logs `--user` in, once. A cluster without authentication needs nobody to.
    private func logIn(before deadline: ContinuousClock.Instant?) async throws {
        guard !isLoggedIn else { return }
        let parts = options.user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var request = Etcdserverpb_AuthenticateRequest()
        request.name = String(parts[0])
        request.password =
            if !options.password.isEmpty { options.password } else if parts.count == 2 { String(parts[1]) } else {
                getpass("Password: ").map { String(cString: $0) } ?? ""
            }
        do {
            let token = try await streams.authenticate(request, before: deadline)
            let former = client
            client = try Self.client(of: endpoints, options, requireLeader: false, token: token)
            self.token = token
            await former.close()
        } catch let error as RPCError where error.message == "etcdserver: authentication is not enabled" {
            // Nobody is asked who they are.
        } catch let error as RPCError where error.code != .unavailable && error.code != .deadlineExceeded {
            throw CommandFailure(error.commandText, .badConnection)
        }
        isLoggedIn = true
    }

    private func debug(_ text: String) {
        if options.isDebug { console.writeError("DEBUG: \(text)\n") }
    }
}
