import EtcdAPI
import GRPC
import NIOCore
import Synchronization

/// All watches of a client over one stream at a time. When the stream is lost, every watch is created again on
/// the next one from the revision after the last that it was told.
///
/// The ids on the wire are the client's own and never used twice, so that answers to a watch that was parked or
/// cancelled cannot be taken for those of its successor. (Servers take such ids since etcd 3.4.)
actor WatchHub {
    private struct Entry {
        let feed: WatchFeed
        /// `startRevision` moves on with what was told.
        var request: Etcdserverpb_WatchCreateRequest
        var hasStarted = false
        /// On the current stream, once it was asked for there.
        var wireID: Int64?
        /// Stopped on the server until its reader has caught up.
        var isParked = false
    }

    private let pool: ConnectionPool
    private let metadata: RPCClient.Metadata
    private let numbers = Atomic<UInt64>(0)
    private var entries: [UInt64: Entry] = [:]
    private var isClosed = false
    private var runner: Task<Void, Never>?

    // Of the current stream.
    private var stream: RPCClientStream?
    private var numberOfWireID: [Int64: UInt64] = [:]
    private var lastWireID: Int64 = 0
    /// Asked for and not confirmed: the server answers in order.
    private var unconfirmed: [Int64] = []
    /// For each progress request under way: only watches confirmed with a lesser id are meant by its answer.
    private var progressBounds: [Int64] = []

    init(pool: ConnectionPool, metadata: RPCClient.Metadata) {
        self.pool = pool
        self.metadata = metadata
    }

    // MARK: The client's side

    nonisolated func takeNumber() -> UInt64 { numbers.wrappingAdd(1, ordering: .relaxed).newValue }

    func add(_ number: UInt64, _ request: Etcdserverpb_WatchCreateRequest, _ feed: WatchFeed) {
        // It may have been abandoned already: both are told by tasks of their own.
        guard !feed.hasEnded else { return }
        guard !isClosed else {
            feed.end(EtcdError.clientClosed)
            return
        }
        entries[number] = Entry(feed: feed, request: request)
        create(number)
        if runner == nil { runner = Task { await run() } }
    }

    func remove(_ number: UInt64) {
        if let entry = entries.removeValue(forKey: number) { dropFromServer(entry) }
    }

    func unpark(_ number: UInt64) {
        guard entries[number]?.isParked == true else { return }
        entries[number]?.isParked = false
        create(number)
    }

    func requestProgress(_ number: UInt64) {
        guard let stream, let id = entries[number]?.wireID, !unconfirmed.contains(id), progressBounds.count < 1024
        else { return }
        var request = Etcdserverpb_WatchRequest()
        request.progressRequest = Etcdserverpb_WatchProgressRequest()
        progressBounds.append(unconfirmed.first ?? lastWireID + 1)
        send(request, on: stream)
    }

    func close() async {
        isClosed = true
        let ended = entries.values.map(\.feed)
        entries.removeAll()
        for feed in ended { feed.end(EtcdError.clientClosed) }
        stream?.cancel()
        runner?.cancel()
        await runner?.value
    }

    // MARK: The stream

    private func run() async {
        while !isClosed, !entries.isEmpty {
            let pick: ConnectionPool.Pick
            do { pick = try await pool.pick(before: nil) } catch { break }
            let opened = pick.client.stream(path: "/etcdserverpb.Watch/Watch", metadata: metadata)
            streamOpened(opened)
            let end = await read(opened, pick)
            streamLost()
            guard !isClosed else { break }
            if let end, !RetryRules.isWatchResumable(end) {
                failAll(EtcdError(end.code, end.message))
            } else {
                await pool.failed(
                    pick, end?.message ?? "it ended the watches",
                    isLost: end?.message.hasPrefix("the connection to ") ?? false)
            }
        }
        runner = nil
    }

    /// Takes in what comes until the stream ends; nil: the server ended it without an error.
    private func read(_ opened: RPCClientStream, _ pick: ConnectionPool.Pick) async -> RPCError? {
        var isSuspect = pick.isSuspect
        let messages = MessageReader(opened)
        do {
            while let message = try await messages.next() {
                let response = try Etcdserverpb_WatchResponse(serializedBytes: Array(message.readableBytesView))
                if isSuspect {
                    isSuspect = false
                    await pool.succeeded(pick.endpoint)
                }
                received(response)
            }
            return nil
        } catch let error as RPCError {
            return error
        } catch {
            opened.cancel()
            return RPCError(.internal, "\(pick.endpoint) sent a watch answer that cannot be read: \(error)")
        }
    }

    private func streamOpened(_ opened: RPCClientStream) {
        stream = opened
        for number in entries.keys.sorted() { create(number) }
    }

    private func streamLost() {
        stream?.cancel()
        stream = nil
        numberOfWireID.removeAll()
        unconfirmed.removeAll()
        progressBounds.removeAll()
        for number in entries.keys { entries[number]?.wireID = nil }
    }

    private func failAll(_ error: EtcdError) {
        let ended = entries.values.map(\.feed)
        entries.removeAll()
        for feed in ended { feed.end(error) }
    }

    private func create(_ number: UInt64) {
        guard let stream, let entry = entries[number], entry.wireID == nil, !entry.isParked else { return }
        lastWireID += 1
        var request = Etcdserverpb_WatchRequest()
        request.createRequest = entry.request
        request.createRequest.watchID = lastWireID
        entries[number]?.wireID = lastWireID
        numberOfWireID[lastWireID] = number
        unconfirmed.append(lastWireID)
        send(request, on: stream)
    }

    private func dropFromServer(_ entry: Entry) {
        guard let id = entry.wireID else { return }
        numberOfWireID[id] = nil
        // A server may not know a watch that it has not confirmed: that one is cancelled when it is.
        if !unconfirmed.contains(id) { cancelOnServer(id) }
    }

    private func cancelOnServer(_ id: Int64) {
        guard let stream else { return }
        var request = Etcdserverpb_WatchRequest()
        request.cancelRequest.watchID = id
        send(request, on: stream)
    }

    private func send(_ request: Etcdserverpb_WatchRequest, on stream: RPCClientStream) {
        // Encoding fails only for a message with required fields, or of more than 2 GB.
        guard let bytes: [UInt8] = try? request.serializedBytes() else { return }
        stream.send(bytes)
    }

    // MARK: What the server says

    private func received(_ response: Etcdserverpb_WatchResponse) {
        if response.created {
            confirmed(response)
        } else if response.watchID == -1 {
            progressed(response)
        } else if let number = numberOfWireID[response.watchID], let entry = entries[number] {
            if response.compactRevision != 0 {
                finish(number, .compacted(response.compactRevision), nil)
            } else if response.canceled {
                finish(number, nil, Self.refusal(response.cancelReason))
            } else {
                deliver(response, to: number, entry)
            }
        }
    }

    private func confirmed(_ response: Etcdserverpb_WatchResponse) {
        // A refused creation carries no id: it is the one that was asked for first.
        let isRefused = response.watchID == -1 || response.canceled
        guard let id = response.watchID == -1 ? unconfirmed.first : response.watchID,
            let index = unconfirmed.firstIndex(of: id)
        else { return }
        unconfirmed.remove(at: index)
        guard let number = numberOfWireID[id], let entry = entries[number] else {
            if !isRefused { cancelOnServer(id) }
            return
        }
        if response.compactRevision != 0 { return finish(number, .compacted(response.compactRevision), nil) }
        if isRefused { return finish(number, nil, Self.refusal(response.cancelReason)) }
        if entry.request.startRevision == 0 {
            entries[number]?.request.startRevision = response.header.revision + 1
        }
        guard !entry.hasStarted, let start = entries[number]?.request.startRevision else { return }
        entries[number]?.hasStarted = true
        hand(.started(from: start), to: number)
    }

    private func deliver(_ response: Etcdserverpb_WatchResponse, to number: UInt64, _ entry: Entry) {
        guard !response.events.isEmpty else {
            // The server tells it in order with the watch's events.
            entries[number]?.request.startRevision = max(entry.request.startRevision, response.header.revision + 1)
            return hand(.progress(response.header.revision), to: number)
        }
        let fresh = response.events.filter { $0.kv.modRevision >= entry.request.startRevision }
        guard let last = fresh.last else { return }
        entries[number]?.request.startRevision = last.kv.modRevision + 1
        hand(.events(fresh.map(WatchEvent.init)), to: number)
    }

    /// An answer to a progress request. It does not move on where a watch would be resumed: etcd before 3.5.8
    /// could give it before the last events.
    private func progressed(_ response: Etcdserverpb_WatchResponse) {
        guard !progressBounds.isEmpty else { return }
        let bound = progressBounds.removeFirst()
        for (id, number) in numberOfWireID where id < bound { hand(.progress(response.header.revision), to: number) }
    }

    private func hand(_ update: WatchUpdate, to number: UInt64) {
        guard let entry = entries[number], entry.feed.deliver(update), !entry.isParked else { return }
        entries[number]?.isParked = true
        entries[number]?.wireID = nil
        dropFromServer(entry)
    }

    private func finish(_ number: UInt64, _ last: WatchUpdate?, _ error: EtcdError?) {
        guard let entry = entries.removeValue(forKey: number) else { return }
        if let id = entry.wireID { numberOfWireID[id] = nil }
        if let last { _ = entry.feed.deliver(last) }
        entry.feed.end(error)
    }

    private static func refusal(_ reason: String) -> EtcdError {
        let text = reason.isEmpty ? "the server ended the watch without a reason" : reason
        return EtcdError(reason.hasSuffix("permission denied") ? .permissionDenied : .cancelled, text)
    }
}

/// An iterator that may cross isolation: it is one reference to a sendable stream.
private struct MessageReader: Sendable {
    private let stream: RPCClientStream

    init(_ stream: RPCClientStream) { self.stream = stream }

    nonisolated func next() async throws -> ByteBuffer? {
        var iterator = stream.messages.makeAsyncIterator()
        return try await iterator.next()
    }
}
