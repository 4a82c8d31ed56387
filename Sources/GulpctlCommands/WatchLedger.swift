import EtcdAPI
import Foundation

/// What a watch has received: an answer of the server, or the end that the client itself found.
struct WatchNotice: Equatable, Sendable {
    var response: Etcdserverpb_WatchResponse
    /// Why the watch ended, when no answer of the server's says it.
    var closeReason: String?

    init(_ response: Etcdserverpb_WatchResponse) { self.response = response }

    /// The watch is over for `reason`.
    init(closedBecause reason: String) {
        response = Etcdserverpb_WatchResponse()
        response.canceled = true
        closeReason = reason
    }

    /// Why the watch ended; nil while it goes on.
    var cancellation: String? {
        if let closeReason { return closeReason }
        if response.compactRevision != 0 { return "etcdserver: mvcc: required revision has been compacted" }
        guard response.canceled else { return nil }
        return response.cancelReason.isEmpty
            ? "etcdserver: mvcc: required revision is a future revision" : response.cancelReason
    }

    var isProgress: Bool {
        response.events.isEmpty && !response.canceled && !response.created
            && response.compactRevision == 0 && response.header.revision != 0
    }
}

/// The watches of one stream, and where each has come to, so that a lost stream's watches go on where
/// they were on the next one.
///
/// Watches are created one at a time, each when the one before has been confirmed: a server that refuses
/// one does not say which it meant.
struct WatchLedger<Owner: Sendable>: Sendable {
    typealias Create = Etcdserverpb_WatchCreateRequest

    private struct Watch {
        /// As first asked for, with `startRevision` moved on as events come in.
        var create: Create
        var owner: Owner
    }

    private var waiting: [Watch] = []
    private var isHeadSent = false
    private var active: [Int64: Watch] = [:]

    var isEmpty: Bool { waiting.isEmpty && active.isEmpty }

    /// Every watch's owner, those confirmed first and in the order of their ids.
    var owners: [Owner] { active.sorted { $0.key < $1.key }.map(\.value.owner) + waiting.map(\.owner) }

    mutating func add(_ create: Create, owner: Owner) { waiting.append(Watch(create: create, owner: owner)) }

    /// The request to send now, if any; called again after every `add`, `received` and `streamLost`.
    mutating func takeRequest() -> Create? {
        guard !isHeadSent, let head = waiting.first else { return nil }
        isHeadSent = true
        return head.create
    }

    /// The stream is gone: everything has to be created anew, from where it stands.
    mutating func streamLost() {
        waiting = active.sorted { $0.key < $1.key }.map(\.value) + waiting
        active.removeAll()
        isHeadSent = false
    }

    mutating func removeAll() {
        waiting.removeAll()
        active.removeAll()
        isHeadSent = false
    }

    /// Takes an answer in and says who is to hear of it.
    mutating func received(_ response: Etcdserverpb_WatchResponse) -> [(owner: Owner, notice: WatchNotice)] {
        if response.created { return created(response) }
        let id = response.watchID
        if response.canceled, response.compactRevision == 0 {
            guard let watch = active.removeValue(forKey: id), !response.cancelReason.isEmpty else { return [] }
            return [(watch.owner, WatchNotice(closedBecause: response.cancelReason))]
        }
        // The answer to a progress request belongs to all.
        let ids = id == -1 ? active.keys.sorted() : [id]
        return ids.compactMap { id in
            guard let watch = active[id] else { return nil }
            if response.compactRevision != 0 {
                active[id] = nil
            } else {
                let revision = response.events.last?.kv.modRevision ?? response.header.revision
                active[id]?.create.startRevision = max(watch.create.startRevision, revision + 1)
            }
            return (watch.owner, WatchNotice(response))
        }
    }

    private mutating func created(_ response: Etcdserverpb_WatchResponse) -> [(owner: Owner, notice: WatchNotice)] {
        // A confirmation that nobody awaits is a server's mistake and changes nothing.
        guard isHeadSent, !waiting.isEmpty else { return [] }
        var watch = waiting.removeFirst()
        isHeadSent = false
        if response.watchID == -1 || (response.canceled && !response.cancelReason.isEmpty) {
            return [(watch.owner, WatchNotice(closedBecause: response.cancelReason))]
        }
        if watch.create.startRevision == 0 { watch.create.startRevision = response.header.revision + 1 }
        active[response.watchID] = watch
        return []
    }
}
