import EtcdAPI
import Foundation
import NIOCore
import Synchronization

/// One change of one key.
public struct WatchEvent: Sendable, Hashable {
    public enum Kind: Sendable, Hashable { case put, delete }

    /// Whether the key was written or deleted.
    public var kind: Kind
    /// What was written; of a deletion, the key and the revision that deleted it (`modRevision`).
    public var kv: KeyValue
    /// What the key was before, if it was asked for, existed, and has not been compacted.
    public var previous: KeyValue?

    init(_ message: Mvccpb_Event) {
        kind = message.type == .delete ? .delete : .put
        kv = KeyValue(message.kv)
        previous = message.hasPrevKv ? KeyValue(message.prevKv) : nil
    }
}

/// What a watch tells.
public enum WatchUpdate: Sendable, Hashable {
    /// The watch stands: everything from this revision on will be told. Comes once.
    case started(from: Int64)
    /// Changes in the order of their revisions. All changes of one revision are in the same update.
    case events([WatchEvent])
    /// Everything up to this revision has been told.
    case progress(Int64)
    /// What was to be told next has been compacted away, up to this revision. The watch is over:
    /// read the range, and watch from the revision after the one that the read answered.
    case compacted(Int64)
}

/// How a range is watched.
public struct WatchOptions: Sendable, Hashable {
    /// Tell only some kinds of change.
    public var ignoresPuts = false
    public var ignoresDeletes = false
    /// Tell what each key was before.
    public var wantsPrevious = false
    /// Tell the revision now and then (``WatchUpdate/progress(_:)``) while there are no changes.
    public var wantsProgress = false

    public init() {}
}

/// The changes of a range, in order, each once, whatever happens to connections, members and leaders on the way.
///
/// A sequence for one reader. It ends after ``WatchUpdate/compacted(_:)`` and after ``cancel()``; it throws
/// ``EtcdError`` if the cluster refuses it or the client is closed. The watch ends when the last
/// reference to the sequence or its iterator is gone, or the reading task is cancelled.
public struct Watch: AsyncSequence, Sendable {
    public typealias Element = WatchUpdate

    let handle: WatchHandle

    public func makeAsyncIterator() -> Iterator { Iterator(handle: handle) }

    /// Ends the watch; what waits to be read is dropped.
    public func cancel() { handle.end() }

    /// Asks the server up to where the watch has been told everything; ``WatchUpdate/progress(_:)`` answers. A request before
    /// ``WatchUpdate/started(from:)``, or that meets a lost connection, is not answered: ask again. Watches of one client share the question, so that
    /// an answer may come unasked. (Before 3.5.8 etcd could answer before it had sent the last events.)
    public func requestProgress() { handle.requestProgress() }

    public struct Iterator: AsyncIteratorProtocol {
        let handle: WatchHandle

        public mutating func next() async throws -> WatchUpdate? { try await handle.feed.next() }
    }
}

/// Ends the watch when nobody can read it any longer.
final class WatchHandle: Sendable {
    let feed: WatchFeed
    private let number: UInt64
    private let hub: WatchHub

    init(feed: WatchFeed, number: UInt64, hub: WatchHub) {
        self.feed = feed
        self.number = number
        self.hub = hub
    }

    deinit { end() }

    func end() { feed.end(nil, dropsRest: true) }

    func requestProgress() {
        let (number, hub) = (number, hub)
        Task { await hub.requestProgress(number) }
    }
}

/// Updates between the hub and the one task that reads them.
final class WatchFeed: Sendable {
    private typealias Waiter = CheckedContinuation<WatchUpdate?, any Error>

    private struct State {
        var updates = CircularBuffer<WatchUpdate>()
        var bytes = 0
        var waiter: Waiter?
        var hasEnded = false
        var error: (any Error)?
        /// The hub has stopped the watch on the server until the reader has caught up.
        var isParked = false
    }

    enum Signal: Sendable { case caughtUp, abandoned }

    private let state = Mutex(State())
    private let maxBytes: Int
    private let signal: @Sendable (Signal) -> Void

    /// - Parameter signal: told when the reader of a parked watch has taken everything, and when nobody reads any longer.
    init(maxBytes: Int, signal: @escaping @Sendable (Signal) -> Void) {
        self.maxBytes = maxBytes
        self.signal = signal
    }

    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// - Returns: whether too much waits: the watch is to be parked.
    func deliver(_ update: WatchUpdate) -> Bool {
        let (waiter, isOver) = state.withLock { state -> (Waiter?, Bool) in
            guard !state.hasEnded else { return (nil, false) }
            if let waiter = state.waiter.take() { return (waiter, false) }
            state.updates.append(update)
            state.bytes += update.bytes
            if state.bytes > maxBytes { state.isParked = true }
            return (nil, state.isParked)
        }
        waiter?.resume(returning: update)
        return isOver
    }

    /// The sequence ends, after what waits to be read unless `dropsRest`, with `error` if there is one.
    func end(_ error: (any Error)?, dropsRest: Bool = false) {
        let (waiter, isFirst) = state.withLock { state -> (Waiter?, Bool) in
            if dropsRest { state.updates.removeAll() }
            guard !state.hasEnded else { return (nil, false) }
            state.hasEnded = true
            state.error = error
            return (state.waiter.take(), true)
        }
        if let error { waiter?.resume(throwing: error) } else { waiter?.resume(returning: nil) }
        if isFirst { signal(.abandoned) }
    }

    func next() async throws -> WatchUpdate? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (answer, hasCaughtUp) = state.withLock { state -> (Result<WatchUpdate?, any Error>?, Bool) in
                    if let update = state.updates.popFirst() {
                        state.bytes -= update.bytes
                        let hasCaughtUp = state.isParked && state.updates.isEmpty && !state.hasEnded
                        if hasCaughtUp { state.isParked = false }
                        return (.success(update), hasCaughtUp)
                    }
                    if state.hasEnded {
                        // An error is thrown once; after it the sequence is at its end.
                        return (state.error.take().map { .failure($0) } ?? .success(nil), false)
                    }
                    precondition(state.waiter == nil, "a watch has one reader")
                    state.waiter = continuation
                    return (nil, false)
                }
                if hasCaughtUp { signal(.caughtUp) }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            end(CancellationError(), dropsRest: true)
        }
    }
}

extension WatchUpdate {
    /// About what it takes in memory.
    fileprivate var bytes: Int {
        guard case .events(let events) = self else { return 0 }
        return events.reduce(0) { sum, event in
            let previous = event.previous.map { $0.key.count + $0.value.count } ?? 0
            return sum + MemoryLayout<WatchEvent>.stride + event.kv.key.count + event.kv.value.count + previous
        }
    }
}

extension EtcdClient {
    /// Watches a key or a range.
    ///
    /// - Parameter revision: the first revision whose changes are told; 0: those after the moment when
    ///   ``WatchUpdate/started(from:)`` is told.
    public func watch(_ range: KeyRange, from revision: Int64 = 0, options: WatchOptions = WatchOptions()) -> Watch {
        let number = hub.takeNumber()
        let hub = hub
        let feed = WatchFeed(maxBytes: self.options.maxBufferedWatchBytes) { signal in
            Task {
                switch signal {
                case .caughtUp: await hub.unpark(number)
                case .abandoned: await hub.remove(number)
                }
            }
        }
        var request = Etcdserverpb_WatchCreateRequest(range, options)
        request.startRevision = revision
        Task { [request] in await hub.add(number, request, feed) }
        return Watch(handle: WatchHandle(feed: feed, number: number, hub: hub))
    }
}

extension Etcdserverpb_WatchCreateRequest {
    fileprivate init(_ range: KeyRange, _ options: WatchOptions) {
        self.init()
        key = Data(range.key)
        rangeEnd = Data(range.end)
        progressNotify = options.wantsProgress
        prevKv = options.wantsPrevious
        if options.ignoresPuts { filters.append(.noput) }
        if options.ignoresDeletes { filters.append(.nodelete) }
    }
}
