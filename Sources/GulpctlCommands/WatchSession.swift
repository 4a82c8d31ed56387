import EtcdAPI
import GRPC

/// Runs watches over one stream at a time, and opens another when that one is lost.
actor WatchSession {
    private let connection: any EtcdConnection
    private var ledger = WatchLedger<WatchPrinter>()
    private var stream: (any WatchStream)?

    init(_ connection: any EtcdConnection) { self.connection = connection }

    func add(_ create: Etcdserverpb_WatchCreateRequest, printer: WatchPrinter) throws {
        ledger.add(create, owner: printer)
        try sendNext()
    }

    /// Every watch will hear of the revision that the server has come to; without a stream, none.
    func requestProgress() throws {
        var request = Etcdserverpb_WatchRequest()
        request.progressRequest = Etcdserverpb_WatchProgressRequest()
        try stream?.send(request)
    }

    /// Prints what the watches receive.
    ///
    /// - Parameter endsWithTheLastWatch: return when the server has ended every watch; else go on for ever.
    func run(endsWithTheLastWatch: Bool) async throws {
        /// When the last stream was lost on which watches had been served.
        var lostAt: ContinuousClock.Instant?
        while !(endsWithTheLastWatch && ledger.isEmpty) {
            let stream = try await connection.openWatchStream()
            self.stream = stream
            var hasServed = false
            defer { if hasServed { lostAt = .now } }
            do {
                try sendNext()
                while let response = try await stream.next() {
                    hasServed = true
                    let notices = ledger.received(response)
                    try sendNext()
                    for (printer, notice) in notices { try await printer.print(notice) }
                    if endsWithTheLastWatch, ledger.isEmpty { return }
                }
            } catch let error as RPCError {
                self.stream = nil
                try Task.checkCancellation()  // the program ends: that is no news of the watches
                let isElecting = !hasServed && (lostAt.map { ContinuousClock.now - $0 < Self.electionTime } ?? false)
                if !Self.isWorthAnotherStream(error), !(isElecting && error.message == Self.noLeader) {
                    try await endAll(because: error.commandText)
                }
            }
            self.stream = nil
            ledger.streamLost()
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private static let noLeader = "etcdserver: no leader"
    /// For so long after the loss of a server, others that have no leader are taken to be electing one, and a server
    /// that comes back not to have found it yet. (etcdctl ends its watches if it meets one then.)
    private static let electionTime = Duration.seconds(10)

    private func sendNext() throws {
        // Taken only with a stream to send it on: what was taken counts as sent.
        guard let stream, let create = ledger.takeRequest() else { return }
        var request = Etcdserverpb_WatchRequest()
        request.createRequest = create
        try stream.send(request)
    }

    private func endAll(because reason: String) async throws {
        let printers = ledger.owners
        ledger.removeAll()
        for printer in printers { try await printer.print(WatchNotice(closedBecause: reason)) }
    }

    /// A server that has lost its leader ends its watches, so that their owners know; other trouble with
    /// a server or the way to it may be over on the next stream.
    private static func isWorthAnotherStream(_ error: RPCError) -> Bool {
        (error.code == .unavailable || error.code == .internal) && error.message != noLeader
    }
}
