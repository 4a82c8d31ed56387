import EtcdAPI
import GRPC
import NIOCore
import Replica

/// What a loop asks of the watches, which live with the apply thread.
enum WatchOperation: Sendable {
    /// - Parameter token: the loop's number for the creation, answered by ``WatchOutput/created(token:outcome:revision:)``.
    case create(loop: Int, token: UInt64, WatchRequest)
    case cancel([WatchID])
    /// Tell the revision once all of these watches have been told everything up to it.
    case progress(loop: Int, stream: UInt64, [WatchID])
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
    /// By the id the client knows; nil while the apply thread has not answered.
    var watches: [Int64: WatchID?] = [:]
    var nextID: Int64 = 0
}

/// Where a watch's events go.
struct WatchOwner {
    var call: RPCCall
    var watchID: Int64
}

/// `etcdserverpb.Watch`.
extension ClientService {
    /// An id that stands for no watch: of refused creations, and of answers to progress requests.
    private static let noWatch: Int64 = -1

    func watch(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_WatchRequest.self, message)
        if watchStreams[call] == nil {
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
            context.apply.post(
                .watch(.progress(loop: loop, stream: stream.number, stream.watches.values.compactMap(\.self))))
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
        stream.watches[id] = .some(nil)
        watchStreams[call] = stream
        nextWatch += 1
        watchCreations[nextWatch] = WatchOwner(call: call, watchID: id)
        let watch = WatchRequest(
            key: Array(request.key), rangeEnd: Array(request.rangeEnd), startRevision: request.startRevision,
            noPut: request.filters.contains(.noput), noDelete: request.filters.contains(.nodelete),
            previousKV: request.prevKv, progressNotify: request.progressNotify)
        context.apply.post(.watch(.create(loop: loop, token: nextWatch, watch)))
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
        // A watch of which the apply thread has not answered yet cannot be known to the client either.
        guard let watch = watchStreams[call]?.watches[id] ?? nil else { return }
        watchStreams[call]?.watches[id] = nil
        watchOwners[watch] = nil
        context.metrics.watchers.subtract(1, ordering: .relaxed)
        context.apply.post(.watch(.cancel([watch])))
        let header = self.header(revision: context.board.current.revision)
        call.send { buffer in
            header.write(into: &buffer)
            buffer.writeVarintField(2, UInt64(bitPattern: id))
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
        let watches = stream.watches.values.compactMap(\.self)
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
            watchStreams[owner.call]?.watches[owner.watchID] = nil
            refuseWatch(owner.call, reason: "mvcc: \(error.message)")
        case .success(let watch):
            watchStreams[owner.call]?.watches[owner.watchID] = .some(watch)
            watchOwners[watch] = owner
            context.metrics.watchers.add(1, ordering: .relaxed)
            let header = self.header(revision: revision)
            owner.call.send { buffer in
                header.write(into: &buffer)
                buffer.writeVarintField(2, UInt64(bitPattern: owner.watchID))
                buffer.writeVarintField(3, 1)
            }
        }
    }

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
