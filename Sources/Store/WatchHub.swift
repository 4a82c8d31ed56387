/// A watch of one hub; ids ascend in the order of creation.
public struct WatchID: Hashable, Comparable, Sendable {
    public let number: Int64
    public init(number: Int64) { self.number = number }
    public static func < (a: WatchID, b: WatchID) -> Bool { a.number < b.number }
}

/// What a client asks to watch.
public struct WatchRequest: Sendable, Equatable {
    public var range: KeyRange
    /// The first revision of interest; 0 or less for what comes from now on.
    public var startRevision: Int64
    public var noPut: Bool
    public var noDelete: Bool
    /// Events carry the record before.
    public var previousKV: Bool
    /// The client wants to hear of the revision when nothing happens. For the caller; see `WatchHub.progressWatches`.
    public var progressNotify: Bool

    /// As the API: an empty key stands for the key of one byte 0.
    public init(
        key: [UInt8], rangeEnd: [UInt8] = [], startRevision: Int64 = 0, noPut: Bool = false, noDelete: Bool = false,
        previousKV: Bool = false, progressNotify: Bool = false
    ) {
        range = KeyRange(key: key.isEmpty ? [0] : key, rangeEnd: rangeEnd)
        self.startRevision = startRevision
        self.noPut = noPut
        self.noDelete = noDelete
        self.previousKV = previousKV
        self.progressNotify = progressNotify
    }
}

/// What to tell one watch.
public struct WatchDelivery: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        /// Encoded `mvccpb.Event`s in order, shared between the watches that get them. All events of a revision are in one delivery.
        case events([[UInt8]])
        /// The watch wanted events from before this compaction; it is cancelled.
        case compacted(revision: Int64)
    }
    public var watch: WatchID
    /// The revision published last, for the answer's header.
    public var revision: Int64
    public var content: Content
}

/// Who watches what, and who is to be told of a change.
///
/// A watch is synced, and told of each event as it is published, or it is not: it starts in the past or was slow, and catches up
/// from the history in slices (`catchUp`) that do not hold up the synced ones. Deliveries come in order of watch id.
public struct WatchHub: Sendable {
    struct Watch: Sendable {
        let id: WatchID
        let request: WatchRequest
        /// The least revision not delivered, as far as that matters: exact while unsynced, the start while synced.
        var next: Int64
        var isSynced: Bool
        var isPaused = false
        /// Its place among the deliveries being gathered.
        var delivery = -1

        func wants(_ event: StoreEvent) -> Bool {
            event.revision.main >= next && !(event.isDelete ? request.noDelete : request.noPut)
        }
    }

    private var watches: [Watch?] = []
    private var freeSlots: [Int] = []
    private var slots: [WatchID: Int] = [:]
    private var nextID: Int64 = 1
    private var synced = WatchMatcher()
    private var unsynced = WatchMatcher()
    private var unsyncedSlots: [Int] = []
    /// Slices begin in turn at the watch farthest behind and at the one nearest, so that neither waits for the other.
    private var nearestFirst = false
    /// Events up to here were published.
    public private(set) var revision: Int64

    /// - Parameter revision: the store's, all of whose events so far are history.
    public init(revision: Int64) { self.revision = revision }

    public var count: Int { slots.count }
    /// True if `catchUp` has something to do.
    public var needsCatchUp: Bool { unsyncedSlots.contains { watches[$0]?.isPaused == false } }

    // MARK: Watches

    /// Begins a watch. What was published before counts as the past.
    public mutating func create(_ request: WatchRequest) -> Result<WatchID, StoreError> {
        if request.range.isEmpty { return .failure(.emptyWatchRange) }
        let id = WatchID(number: nextID)
        nextID += 1
        let next = request.startRevision <= 0 ? revision + 1 : request.startRevision
        let slot = freeSlots.popLast() ?? watches.count
        if slot == watches.count { watches.append(nil) }
        watches[slot] = Watch(id: id, request: request, next: next, isSynced: next > revision)
        slots[id] = slot
        file(slot)
        return .success(id)
    }

    /// Ends a watch; false if there is none of that id.
    @discardableResult
    public mutating func cancel(_ id: WatchID) -> Bool {
        guard let slot = slots.removeValue(forKey: id) else { return false }
        unfile(slot)
        watches[slot] = nil
        freeSlots.append(slot)
        return true
    }

    /// True if everything published so far was delivered to the watch (or did not concern it).
    public func isSynced(_ id: WatchID) -> Bool { slots[id].flatMap { watches[$0]?.isSynced } ?? false }

    public func request(of id: WatchID) -> WatchRequest? { slots[id].flatMap { watches[$0]?.request } }

    /// The watches that asked for progress and have all events up to `revision`, in order.
    public var progressWatches: [WatchID] {
        watches.compactMap { $0?.request.progressNotify == true && $0?.isSynced == true ? $0?.id : nil }.sorted()
    }

    /// A watch's client is slow: forget that anything from revision `from` on was delivered, and let it catch up from the
    /// history. While `paused`, it waits for `resume`.
    public mutating func fallBehind(_ id: WatchID, from: Int64, paused: Bool = false) {
        guard let slot = slots[id] else { return }
        unfile(slot)
        watches[slot]?.next = from
        watches[slot]?.isSynced = from > revision && !paused
        watches[slot]?.isPaused = paused
        file(slot)
    }

    /// A watch's client is slow: it is told nothing more until `resume`, and then catches up from the history.
    public mutating func pause(_ id: WatchID) {
        guard let slot = slots[id], let watch = watches[slot], !watch.isPaused else { return }
        fallBehind(id, from: watch.isSynced ? max(watch.next, revision + 1) : watch.next, paused: true)
    }

    /// The history was replaced by one that reaches further, up to `newest` (an installed snapshot): what it holds beyond
    /// the events published so far was never published, and every watch catches up with it.
    public mutating func historyReplaced(upTo newest: Int64) {
        precondition(newest >= revision, "a history that ends before what was published")
        let published = revision
        revision = newest
        for slot in watches.indices {
            guard let watch = watches[slot], watch.isSynced else { continue }
            unfile(slot)
            watches[slot]?.next = max(watch.next, published + 1)
            watches[slot]?.isSynced = max(watch.next, published + 1) > newest
            file(slot)
        }
    }

    /// A paused watch may catch up again.
    public mutating func resume(_ id: WatchID) {
        guard let slot = slots[id] else { return }
        watches[slot]?.isPaused = false
    }

    private mutating func file(_ slot: Int) {
        guard let watch = watches[slot] else { return }
        if watch.isSynced {
            synced.insert(slot, watch.request.range)
        } else {
            unsynced.insert(slot, watch.request.range)
            unsyncedSlots.append(slot)
        }
    }

    private mutating func unfile(_ slot: Int) {
        guard let watch = watches[slot] else { return }
        if watch.isSynced {
            synced.remove(slot, watch.request.range)
        } else {
            unsynced.remove(slot, watch.request.range)
            unsyncedSlots.removeAll { $0 == slot }
        }
    }

    // MARK: Deliveries

    /// Tells the synced watches of new events, all of whole revisions and in order. Only `prev_kv`s that no cache held are read
    /// from the history.
    public mutating func publish<History>(
        _ events: [StoreEvent], from store: Store<History>
    ) throws -> [WatchDelivery] {
        guard let last = events.last else { return [] }
        precondition(events[0].revision.main > revision, "events are published once and in order")
        revision = last.revision.main
        if synced.isEmpty { return [] }
        var gathered = Gathering()
        for event in events { try deliver(event, matching: synced, into: &gathered, from: store) }
        return finish(gathered)
    }

    /// Lets watches that are behind catch up by one slice of the history: about `records` records or `bytes` bytes, at least
    /// one whole revision. A watch from before the last compaction is cancelled.
    public mutating func catchUp<History>(
        from store: Store<History>, records: Int = 1000, bytes: Int = 1 << 20
    ) throws -> [WatchDelivery] {
        let compacted = cancelCompacted(store.compactedRevision)
        let waiting = unsyncedSlots.compactMap { watches[$0] }.filter { !$0.isPaused }.map(\.next)
        guard let start = nearestFirst ? waiting.max() : waiting.min() else { return compacted }
        nearestFirst.toggle()
        var gathered = Gathering(floor: start)
        let end = try scanSlice(from: start, records, bytes, into: &gathered, store)
        for slot in unsyncedSlots {
            guard let watch = watches[slot], !watch.isPaused, watch.next >= start else { continue }
            if end < revision {
                watches[slot]?.next = max(watch.next, end + 1)
            } else {
                unfile(slot)
                watches[slot]?.next = max(watch.next, end + 1)
                watches[slot]?.isSynced = true
                file(slot)
            }
        }
        return merged(compacted, finish(gathered))
    }

    /// Gathers what a slice of the history holds for the watches behind; answers the revision up to which it is complete.
    private mutating func scanSlice<History>(
        from start: Int64, _ records: Int, _ bytes: Int, into gathered: inout Gathering, _ store: Store<History>
    ) throws -> Int64 {
        if start > revision { return revision }
        var end = revision
        var recordsLeft = records
        var bytesLeft = bytes
        var current = start
        let last = Revision(main: revision, sub: .max)
        try store.history.scan(from: Revision(main: start), through: last) { row, tombstone, record in
            if row.main != current, recordsLeft <= 0 || bytesLeft <= 0 {
                end = row.main - 1
                return false
            }
            current = row.main
            recordsLeft -= 1
            bytesLeft -= record.count
            let key = Array(record[try KeyValueLayout(record).key])
            guard unsynced.matches(key) else { return true }
            let event = StoreEvent(
                revision: row, isDelete: tombstone, key: key, record: Array(record),
                previous: store.core.index.entry(key)?.previous(of: row.main))
            try deliver(event, matching: unsynced, into: &gathered, from: store)
            return true
        }
        return end
    }

    private mutating func cancelCompacted(_ compactedRevision: Int64) -> [WatchDelivery] {
        let late = unsyncedSlots.compactMap { watches[$0] }.filter { $0.next < compactedRevision }.map(\.id).sorted()
        return late.map { id in
            cancel(id)
            return WatchDelivery(watch: id, revision: revision, content: .compacted(revision: compactedRevision))
        }
    }

    private func merged(_ a: [WatchDelivery], _ b: [WatchDelivery]) -> [WatchDelivery] {
        a.isEmpty ? b : (a + b).sorted { $0.watch < $1.watch }
    }

    /// Deliveries in the making.
    private struct Gathering {
        /// Watches farther behind than this are left for another slice: theirs must not skip what lies between.
        var floor = Int64.min
        var slots: [Int] = []
        var events: [[[UInt8]]] = []
        var matched: [Int] = []
    }

    private mutating func deliver<History>(
        _ event: StoreEvent, matching matcher: WatchMatcher, into gathered: inout Gathering, from store: Store<History>
    ) throws {
        gathered.matched.removeAll(keepingCapacity: true)
        matcher.match(event.key) { gathered.matched.append($0) }
        // Made once, shared by all that want it.
        var plain: [[UInt8]]?
        var withPrevious: [[UInt8]]?
        for slot in gathered.matched {
            guard let watch = watches[slot], watch.wants(event), watch.next >= gathered.floor, !watch.isPaused else {
                continue
            }
            let encoded: [[UInt8]]
            if watch.request.previousKV, event.previous != nil {
                encoded = try withPrevious ?? [event.encoded(previous: Self.previousRecord(of: event, from: store))]
                withPrevious = encoded
            } else {
                encoded = try plain ?? [event.encoded(previous: nil)]
                plain = encoded
            }
            if watch.delivery >= 0 {
                gathered.events[watch.delivery].append(encoded[0])
            } else {
                watches[slot]?.delivery = gathered.slots.count
                gathered.slots.append(slot)
                gathered.events.append(encoded)
            }
        }
    }

    private static func previousRecord<History>(of event: StoreEvent, from store: Store<History>) throws -> [UInt8]? {
        // What a read at the revision before would be refused is not shown either.
        guard event.revision.main > store.compactedRevision, let previous = event.previous else { return nil }
        return try event.previousRecord ?? store.record(at: previous)
    }

    private mutating func finish(_ gathered: Gathering) -> [WatchDelivery] {
        var deliveries: [WatchDelivery] = []
        deliveries.reserveCapacity(gathered.slots.count)
        for (slot, events) in zip(gathered.slots, gathered.events) {
            guard let id = watches[slot]?.id else { continue }
            watches[slot]?.delivery = -1
            deliveries.append(WatchDelivery(watch: id, revision: revision, content: .events(events)))
        }
        deliveries.sort { $0.watch < $1.watch }
        return deliveries
    }
}

extension StoreEvent {
    /// The event as `mvccpb.Event`: type (left out for a put), the record (of a deletion: key and revision), the previous record.
    func encoded(previous: [UInt8]?) throws(CodecError) -> [UInt8] {
        let kv = isDelete ? KeyValueRecord(key: key, modRevision: revision.main).encoded() : record
        var bytes: [UInt8] = []
        bytes.reserveCapacity(kv.count + (previous?.count ?? 0) + 14)
        if isDelete { bytes += [0x08, 1] }
        bytes.append(0x12)
        ByteWriter.bytes(kv, to: &bytes)
        if let previous {
            bytes.append(0x1a)
            ByteWriter.bytes(previous, to: &bytes)
        }
        return bytes
    }
}
