import EtcdAPI
import GRPC
import NIOCore
import Replica

/// What a loop asks of the watches, which live with the apply thread.
enum WatchOperation: Sendable {
    /// - Parameter token: the loop's number for the creation, answered by ``WatchOutput/created(token:outcome:revision:)``.
    case create(WatchPlace, token: UInt64, WatchRequest)
    case cancel([WatchID])
    /// Their client does not keep up: what happens waits in the history.
    case pause([WatchID])
    case resume([WatchID])
    /// Tell the revision once all watches of the stream have been told everything up to it.
    case progress(WatchPlace)
}

/// The loop and the stream that a watch belongs to.
struct WatchPlace: Sendable, Hashable {
    var loop: Int
    var stream: UInt64
}

/// What the apply thread tells a loop, in the order in which it is to reach the clients.
enum WatchOutput: Sendable {
    case created(token: UInt64, outcome: Result<WatchID, StoreError>, revision: Int64)
    case delivery(WatchDelivery)
    /// A quiet watch that asked for it hears of the revision.
    case quiet(WatchID, revision: Int64)
    case progress(stream: UInt64, revision: Int64)
}

/// One client's `Watch` call, with any number of watches.
struct WatchStream {
    /// Names the stream towards the apply thread, since the call's handle may be gone when the answer comes.
    var number: UInt64
    /// By the id the client knows.
    var watches: [Int64: Watch] = [:]
    var nextID: Int64 = 0
    /// Set while what was sent waits for a client that does not read it.
    var isPaused = false

    enum Watch {
        /// The apply thread has not answered yet.
        case beingCreated(token: UInt64)
        case open(WatchID)
    }

    var open: [WatchID] {
        watches.values.compactMap { watch in
            if case .open(let id) = watch { id } else { nil }
        }
    }
}

/// Where a watch's events go.
struct WatchOwner {
    var call: RPCCall
    var watchID: Int64
    /// Cancelled before it was created: the client chose the id, and did not wait.
    var isCancelled = false
}

/// `etcdserverpb.Watch`.
extension ClientService {
    /// An id that stands for no watch: of refused creations, and of answers to progress requests.
    private static let noWatch: Int64 = -1
    /// Bytes that may wait for a stream's client; past it the stream's watches pause.
    private static let largestBacklog = 8 << 20

    func watch(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_WatchRequest.self, message)
        if watchStreams[call] == nil {
            // What still arrives of a stream that was ended here begins no new one.
            guard call.isOpen else { return }
            nextWatch += 1
            watchStreams[call] = WatchStream(number: nextWatch)
            watchCalls[nextWatch] = call
            context.metrics.watchStreams.add(1, ordering: .relaxed)
        }
        switch request.requestUnion {
        case .createRequest(let create): createWatch(create, call)
        case .cancelRequest(let cancel): cancelWatch(cancel.watchID, call)
        case .progressRequest:
            guard let stream = watchStreams[call] else { return }
            context.apply.post(.watch(.progress(WatchPlace(loop: loop, stream: stream.number))))
        case nil: break
        }
    }

    private func createWatch(_ request: Etcdserverpb_WatchCreateRequest, _ call: RPCCall) {
        guard var stream = watchStreams[call] else { return }
        var id = request.watchID
        if id == 0 {
            while stream.watches[stream.nextID] != nil { stream.nextID += 1 }
            id = stream.nextID
            stream.nextID += 1
        } else if stream.watches[id] != nil {
            refuseWatch(call, reason: "mvcc: duplicate watch ID provided on the WatchStream")
            return
        }
        nextWatch += 1
        stream.watches[id] = .beingCreated(token: nextWatch)
        watchStreams[call] = stream
        watchCreations[nextWatch] = WatchOwner(call: call, watchID: id)
        let watch = WatchRequest(
            key: Array(request.key), rangeEnd: Array(request.rangeEnd), startRevision: request.startRevision,
            noPut: request.filters.contains(.noput), noDelete: request.filters.contains(.nodelete),
            previousKV: request.prevKv, progressNotify: request.progressNotify)
        let place = WatchPlace(loop: loop, stream: stream.number)
        context.apply.post(.watch(.create(place, token: nextWatch, watch)))
    }

    private func refuseWatch(_ call: RPCCall, reason: String) {
        let header = self.header(revision: context.board.current.revision)
        call.send { buffer in
            header.write(into: &buffer)
            buffer.writeVarintField(2, UInt64(bitPattern: ClientService.noWatch))
            buffer.writeVarintField(3, 1)
            buffer.writeVarintField(4, 1)
            buffer.writeBytesField(6, Array(reason.utf8))
        }
    }

    private func cancelWatch(_ id: Int64, _ call: RPCCall) {
        switch watchStreams[call]?.watches.removeValue(forKey: id) {
        case .open(let watch): endWatch(watch, of: WatchOwner(call: call, watchID: id))
        case .beingCreated(let token): watchCreations[token]?.isCancelled = true
        case nil: break
        }
    }

    private func endWatch(_ watch: WatchID, of owner: WatchOwner) {
        watchOwners[watch] = nil
        context.metrics.watchers.subtract(1, ordering: .relaxed)
        context.apply.post(.watch(.cancel([watch])))
        let header = self.header(revision: context.board.current.revision)
        owner.call.send { buffer in
            header.write(into: &buffer)
            buffer.writeVarintField(2, UInt64(bitPattern: owner.watchID))
            buffer.writeVarintField(4, 1)
        }
    }

    /// - Parameter status: how to end the call; nil when it has ended already.
    func endWatchStream(_ call: RPCCall, status: GRPCStatus?) {
        guard let stream = watchStreams.removeValue(forKey: call) else {
            if let status { call.finish(status) }
            return
        }
        watchCalls[stream.number] = nil
        let watches = stream.open
        for watch in watches { watchOwners[watch] = nil }
        context.metrics.watchStreams.subtract(1, ordering: .relaxed)
        context.metrics.watchers.subtract(watches.count, ordering: .relaxed)
        if !watches.isEmpty { context.apply.post(.watch(.cancel(watches))) }
        if let status { call.finish(status) }
    }

    // MARK: From the apply thread

    func deliver(_ output: WatchOutput) {
        switch output {
        case .created(let token, let outcome, let revision): watchCreated(token, outcome, revision)
        case .delivery(let delivery): deliver(delivery)
        case .quiet(let watch, let revision):
            guard let owner = watchOwners[watch] else { return }
            let header = self.header(revision: revision)
            owner.call.send { buffer in
                header.write(into: &buffer)
                buffer.writeVarintField(2, UInt64(bitPattern: owner.watchID))
            }
        case .progress(let stream, let revision):
            guard let call = watchCalls[stream] else { return }
            let header = self.header(revision: revision)
            call.send { buffer in
                header.write(into: &buffer)
                buffer.writeVarintField(2, UInt64(bitPattern: ClientService.noWatch))
            }
        }
    }

    private func watchCreated(_ token: UInt64, _ outcome: Result<WatchID, StoreError>, _ revision: Int64) {
        guard let owner = watchCreations.removeValue(forKey: token) else { return }
        guard watchStreams[owner.call] != nil else {
            // The client went away meanwhile.
            if case .success(let watch) = outcome { context.apply.post(.watch(.cancel([watch]))) }
            return
        }
        switch outcome {
        case .failure(let error):
            if !owner.isCancelled { watchStreams[owner.call]?.watches[owner.watchID] = nil }
            refuseWatch(owner.call, reason: "mvcc: \(error.message)")
        case .success(let watch):
            watchOwners[watch] = owner
            context.metrics.watchers.add(1, ordering: .relaxed)
            let header = self.header(revision: revision)
            owner.call.send { buffer in
                header.write(into: &buffer)
                buffer.writeVarintField(2, UInt64(bitPattern: owner.watchID))
                buffer.writeVarintField(3, 1)
            }
            if owner.isCancelled {
                endWatch(watch, of: owner)
                return
            }
            watchStreams[owner.call]?.watches[owner.watchID] = .open(watch)
            if watchStreams[owner.call]?.isPaused == true { context.apply.post(.watch(.pause([watch]))) }
        }
    }

    // MARK: Slow clients

    /// A client that does not read must not fill the memory: its watches wait in the history until it has read.
    private func pauseIfBehind(_ call: RPCCall) {
        guard call.bufferedBytes > ClientService.largestBacklog, let stream = watchStreams[call], !stream.isPaused
        else {
            return
        }
        watchStreams[call]?.isPaused = true
        context.apply.post(.watch(.pause(stream.open)))
        call.whenDrained { [unowned self] in resume(call) }
    }

    private func resume(_ call: RPCCall) {
        guard let stream = watchStreams[call] else { return }
        watchStreams[call]?.isPaused = false
        context.apply.post(.watch(.resume(stream.open)))
    }

    // MARK: Events

    private func deliver(_ delivery: WatchDelivery) {
        guard let owner = watchOwners[delivery.watch] else { return }
        let header = self.header(revision: delivery.revision)
        switch delivery.content {
        case .events(let events):
            context.metrics.eventsDelivered.add(UInt64(events.count), ordering: .relaxed)
            owner.call.send { buffer in
                header.write(into: &buffer)
                buffer.writeVarintField(2, UInt64(bitPattern: owner.watchID))
                for event in events { buffer.writeBytesField(11, event) }
            }
            pauseIfBehind(owner.call)
        case .compacted(let revision):
            watchOwners[delivery.watch] = nil
            watchStreams[owner.call]?.watches[owner.watchID] = nil
            context.metrics.watchers.subtract(1, ordering: .relaxed)
            owner.call.send { buffer in
                header.write(into: &buffer)
                buffer.writeVarintField(2, UInt64(bitPattern: owner.watchID))
                buffer.writeVarintField(4, 1)
                buffer.writeVarintField(5, UInt64(bitPattern: revision))
            }
        }
    }
}
