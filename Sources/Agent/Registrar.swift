import EtcdClient
import Glibc
import LaunchModel
import Logging

/// A time in which the node is registered: its `alive` key is there, under a lease that is kept.
struct Registration: Sendable {
    /// Grows with each.
    var number: Int
    var keeper: LeaseKeeper
    /// ``NodePresence``'s key, and what it holds as long as no other agent has taken it.
    var aliveKey: String
    var presence: [UInt8]
    /// Says that the store showed it to be over.
    var doubt: @Sendable () -> Void
}

/// Registers the node, for ever again, and tells what the store wants of it.
///
/// ```
/// lease: the noted one if it lives, else a new one ──► `alive` and the node's record, in one transaction
///   ▲                                                     │
///   │ pause, doubling                                     ▼
///   └── lease lost, `alive` gone, watch refused ◄── read all at one revision, watch from the next
/// ```
///
/// Whose `alive` it is shows in the key's lease. If it is another agent's, this one waits until it is gone. Of two
/// agents that found the same lease noted (a data directory was copied) the one that came last has put its own name
/// into `alive`: the other gives the lease up at once, and waits like any other.
struct Registrar: Sendable {
    /// What it tells, in this order.
    enum News: Sendable {
        /// With the reports that lie in the store.
        case registered(Registration, reports: [InstanceID: StoredReport])
        /// All assignments, or those that changed (`isAll` false).
        case wishes(number: Int, [InstanceID: Wish], isAll: Bool)
        case unregistered
    }

    let client: EtcdClient
    let configuration: AgentConfiguration
    let data: DataDirectory
    let record: NodeRecord
    let logger: Logger
    let tell: @Sendable (News) -> Void

    /// This process, in ``NodePresence``.
    private let process = String(UInt64.random(in: .min ... .max), radix: 16)

    private static let pauses: ClosedRange<Duration> = .milliseconds(200) ... .seconds(10)
    private var aliveKey: String { Keys.alive(configuration.nodeName) }

    private var notOurs: Ended { Ended("the key \(aliveKey) is no longer under this agent's lease") }

    /// Why a registration has ended.
    private struct Ended: Error, CustomStringConvertible {
        let description: String
        /// Another agent has taken the lease itself.
        let isLeaseTaken: Bool
        init(_ description: String, isLeaseTaken: Bool = false) {
            self.description = description
            self.isLeaseTaken = isLeaseTaken
        }
    }

    /// Until it is cancelled.
    func run() async throws {
        var number = 0
        var failures = 0
        // Under which this process was registered last.
        var held: LeaseID?
        while true {
            number += 1
            var registeredAt: ContinuousClock.Instant?
            do {
                let keeper = try await takeLease()
                defer { keeper.stop() }
                let (revision, presence) = try await register(keeper, isHeld: held == keeper.lease)
                held = keeper.lease
                registeredAt = .now
                logger.info("registered", metadata: ["lease": "\(keeper.lease)", "revision": "\(revision)"])
                // One stream for each registration: it ends with the task that reads it.
                let (doubts, doubt) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
                let registration = Registration(
                    number: number, keeper: keeper, aliveKey: aliveKey, presence: presence,
                    doubt: { doubt.yield() })
                try await serve(registration, doubts)
            } catch {
                try Task.checkCancellation()
                if (error as? Ended)?.isLeaseTaken ?? false { data.dropLease() }
                // One that is over at once is a failure like any other.
                if let registeredAt, ContinuousClock.now - registeredAt > Self.pauses.upperBound { failures = 0 }
                failures += 1
                // A store that is away for a night does not fill the log.
                logger.log(
                    level: failures <= 3 || failures % 30 == 0 ? .warning : .debug,
                    registeredAt != nil ? "no longer registered; registering again" : "cannot register; trying again",
                    metadata: ["reason": "\(error)", "failures": "\(failures)"])
            }
            tell(.unregistered)
            let pause = min(Self.pauses.lowerBound * (1 << min(failures - 1, 10)), Self.pauses.upperBound)
            try await Task.sleep(for: pause * Double.random(in: 0.75...1.25))
        }
    }

    // MARK: The lease and the node's key

    /// The lease of the last registration if it lives and is this node's, else a new one.
    private func takeLease() async throws -> LeaseKeeper {
        if let note = data.readLease() {
            if note.isFor(configuration.nodeName) {
                do {
                    let keeper = try await client.keepLease(LeaseID(rawValue: note.lease))
                    logger.info("the lease lives; taking it up again", metadata: ["lease": "\(keeper.lease)"])
                    return keeper
                } catch let error as EtcdError where error.reason == .leaseNotFound {}
            } else {
                // Left to end by itself: until then runs that must not outlive it may still live.
                logger.warning(
                    "the noted lease is of another node or another boot of the machine; taking a new one",
                    metadata: ["lease": "\(LeaseID(rawValue: note.lease))", "noted-node": "\(note.node ?? "unknown")"])
            }
        }
        let keeper = try await client.keepLease(timeToLive: configuration.leaseTTL)
        self.note(keeper.lease, since: .now)
        return keeper
    }

    /// Without a note the next agent only has to wait until the lease ends.
    private func note(_ lease: LeaseID, since: Timestamp) {
        let note = LeaseNote(
            lease: lease.rawValue, since: since, node: configuration.nodeName, boot: LeaseNote.presentBoot)
        do throws(AgentError) { try data.write(note) } catch {
            logger.error("cannot note the lease", metadata: ["error": "\(error)"])
        }
    }

    /// Throws if what lies in `alive` is another agent's that was given this lease.
    private func checkProcess(_ alive: KeyValue) throws {
        if (try? NodePresence(json: alive.value))?.process == process { return }
        logger.error(
            "another agent has this one's lease and name: was the data directory copied?",
            metadata: ["presence": "\(alive.valueText)"])
        throw Ended("another agent has taken the lease up", isLeaseTaken: true)
    }

    /// Puts the node's keys. Waits while another agent has that name.
    ///
    /// - Parameter isHeld: this process was registered under the lease before.
    /// - Returns: a revision at which the node was registered, and what `alive` holds.
    private func register(_ keeper: LeaseKeeper, isHeld: Bool) async throws -> (Int64, presence: [UInt8]) {
        let nodeKey = Keys.node(configuration.nodeName)
        var holder: LeaseID??
        while true {
            let read = try await client.commit(Transaction().then(.get(.key(aliveKey)), .get(.key(nodeKey))))
            let alive = read.get(0)?.first
            if let alive, alive.lease != keeper.lease {
                if holder != .some(alive.lease) {
                    holder = .some(alive.lease)
                    logger.warning(
                        "another agent is registered as this node; waiting until its lease ends",
                        metadata: [
                            "presence": "\(alive.valueText)", "lease": "\(alive.lease.map { "\($0)" } ?? "none")",
                        ])
                }
                try await waitUntilChanged(after: read.header.revision, keeper)
                continue
            }
            if let alive, isHeld { try checkProcess(alive) }
            let noted = alive == nil ? nil : data.readLease()
            let since = noted?.since ?? .now
            if alive == nil { note(keeper.lease, since: since) }
            let presence = NodePresence(since: since, pid: getpid(), process: process).json
            var writes: [Transaction.Operation] = []
            if alive?.value != presence { writes.append(.put(aliveKey, presence, lease: keeper.lease)) }
            if read.get(1)?.first?.value != record.json { writes.append(.put(nodeKey, record.json)) }
            // What was seen, and not just its lease: one that was held up cannot replace another agent's.
            let result = try await client.commit(
                Transaction.if(.modRevision(.key(aliveKey), .equal, alive?.modRevision ?? 0)).then(writes),
                mayRepeat: true)
            // Told to have failed after it was repeated, it is found to have succeeded by the next look.
            if result.succeeded { return (result.header.revision, presence) }
        }
    }

    /// Returns when `alive` has changed; throws if the lease is lost meanwhile.
    private func waitUntilChanged(after revision: Int64, _ keeper: LeaseKeeper) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for try await update in client.watch(.key(aliveKey), from: revision + 1) {
                    switch update {
                    case .events, .compacted: return
                    case .started, .progress: continue
                    }
                }
            }
            group.addTask { throw Ended("the lease was lost while waiting: \(try await keeper.waitUntilLost())") }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    // MARK: The assignments

    /// Tells what there is to tell until the registration ends, which it throws.
    private func serve(_ registration: Registration, _ doubts: AsyncStream<Void>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                throw Ended("the lease was lost: \(try await registration.keeper.waitUntilLost())")
            }
            group.addTask {
                for await _ in doubts { throw notOurs }
                try Task.checkCancellation()
            }
            group.addTask { try await follow(registration) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func follow(_ registration: Registration) async throws {
        var isFirst = true
        while true {
            // Linearizable: at or after the revision of the registration.
            let read = try await client.commit(
                Transaction().then(
                    .get(.prefix(Keys.agent(configuration.nodeName))),
                    .get(.prefix(Keys.reports(configuration.nodeName)))))
            let own = read.get(0)?.kvs ?? []
            guard let alive = own.first(where: { $0.keyText == aliveKey }), alive.lease == registration.keeper.lease
            else { throw notOurs }
            try checkProcess(alive)
            if isFirst {
                isFirst = false
                let reports = StoredReport.read(read.get(1)?.kvs ?? [], lease: registration.keeper.lease)
                tell(.registered(registration, reports: reports))
            }
            let wishes = own.compactMap { kv in wish(of: kv, isThere: true) }
            tell(.wishes(number: registration.number, Dictionary(wishes) { _, new in new }, isAll: true))
            try await watch(registration, from: read.header.revision + 1)
            logger.info("changes were compacted before they were read; reading everything")
        }
    }

    /// Returns when what was to be told has been compacted.
    private func watch(_ registration: Registration, from revision: Int64) async throws {
        let prefix = KeyRange.prefix(Keys.agent(configuration.nodeName))
        for try await update in client.watch(prefix, from: revision) {
            switch update {
            case .started, .progress: continue
            case .compacted: return
            case .events(let events):
                var wishes: [InstanceID: Wish] = [:]
                for event in events {
                    if event.kv.keyText == aliveKey {
                        guard event.kind == .put, event.kv.lease == registration.keeper.lease else {
                            throw Ended("the key \(aliveKey) was deleted or taken")
                        }
                        try checkProcess(event.kv)
                    } else if let (instance, wish) = wish(of: event.kv, isThere: event.kind == .put) {
                        wishes[instance] = wish
                    }
                }
                if !wishes.isEmpty { tell(.wishes(number: registration.number, wishes, isAll: false)) }
            }
        }
        throw Ended("the watch of the assignments has ended")
    }

    private func wish(of kv: KeyValue, isThere: Bool) -> (InstanceID, Wish)? {
        guard case .assignment(configuration.nodeName, let instance) = Place(key: kv.key) else {
            if kv.keyText != aliveKey {
                logger.warning("a key that names no instance", metadata: ["key": "\(kv.keyText)"])
            }
            return nil
        }
        return (instance, isThere ? Wish(kv, of: instance) : .absent)
    }
}

extension Wish {
    /// What an assignment's key says. The value comes from outside: it is believed only if it is sound.
    init(_ kv: KeyValue, of instance: InstanceID) {
        func unreadable(_ reason: String) -> Wish {
            .unreadable(
                token: kv.createRevision,
                reason:
                    "its assignment cannot be used: \(reason); destroy the assembly, mend its file and launch it again")
        }
        let assignment: Assignment
        do throws(RecordError) { assignment = try Assignment(json: kv.value) } catch {
            self = unreadable(error.description)
            return
        }
        // By itself: what it depends on is no matter of this node's.
        var component = assignment.component
        component.dependsOn = []
        if assignment.instance != instance || component.name != instance.component {
            self = unreadable("it is of \(assignment.instance), component \(component.name)")
        } else if let complaint = AssemblySpecification(name: instance.assembly, components: [component]).complaint() {
            self = unreadable(complaint.description)
        } else {
            self = .assigned(token: kv.createRevision, assignment)
        }
    }
}
