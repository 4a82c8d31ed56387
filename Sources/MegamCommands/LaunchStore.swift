import AssemblyFile
import EtcdClient
import LaunchModel

/// What the commands read and write of the store.
struct LaunchStore: Sendable {
    let client: EtcdClient
    let console: any Console

    // MARK: Reading

    /// Ranges as of one revision. What cannot be read is said, and left out.
    func inventory(_ ranges: [KeyRange]) async throws -> Inventory {
        let result = try await client.commit(Transaction().then(ranges.map { .get($0) }))
        var inventory = Inventory()
        inventory.revision = result.header.revision
        for index in ranges.indices { inventory.take(result.get(index)?.kvs ?? []) }
        for complaint in inventory.complaints { console.complain("warning: \(complaint)") }
        return inventory
    }

    /// The names of all assemblies, in order.
    func names() async throws -> [String] {
        var options = GetOptions()
        options.keysOnly = true
        let keys = try await client.get(.prefix(Keys.assemblies), options: options).kvs
        return keys.compactMap { kv in
            if case .specification(let name) = Place(key: kv.key) { name } else { nil }
        }
    }

    /// Why there is nothing of this name.
    func notFound(_ name: String) async throws -> CommandFailure {
        let names = try await names()
        if names.contains(name) {
            return CommandFailure(
                .failed, "the specification of \(name) cannot be read; megam destroy \(name) removes the assembly")
        }
        let hint: String
        if let near = Spelling.nearest(to: name, among: names) {
            hint = "did you mean \(near)?"
        } else if names.isEmpty {
            hint = "there is none at all"
        } else {
            hint = "there are \(names.prefix(8).joined(separator: ", "))\(names.count > 8 ? " …" : "")"
        }
        return CommandFailure(.failed, "there is no assembly \"\(name)\"; \(hint)")
    }

    // MARK: Writing

    enum Launched: Sendable {
        /// The revision that did it.
        case created(Int64)
        /// What there is already.
        case exists(Inventory)
    }

    /// Stores a new assembly, if nothing of its name is left in the store.
    func launch(_ specification: AssemblySpecification) async throws -> Launched {
        let name = specification.name
        let before = try await client.get(.key(Keys.state(name)), options: countOnly).header.revision
        let all = KeyRange.prefix(Keys.assembly(name))
        // An empty range meets any compare; a key that exists was created after revision 0.
        let transaction = Transaction.if(.createRevision(all, .equal, 0))
            .then(
                .put(Keys.specification(name), specification.json), .put(Keys.wanted(name), Wanted(.running).json)
            )
            .else(.get(all))
        do {
            let result = try await client.commit(transaction)
            if result.succeeded { return .created(result.header.revision) }
            var inventory = Inventory()
            inventory.take(result.get(0)?.kvs ?? [])
            return .exists(inventory)
        } catch let error as EtcdError where error.mayHaveBeenExecuted {
            // The answer was lost. If what was to be stored has been, after we began, then it was done.
            guard let stored = try? await client.get(.key(Keys.specification(name))).first,
                stored.createRevision > before, stored.value == specification.json
            else { throw error }
            return .created(stored.createRevision)
        }
    }

    /// What was wanted of an assembly, and is now.
    struct Changed: Sendable {
        /// The launch that it is about: the revision that created the specification.
        var launch: Int64
        var wanted: Wanted
        /// The revision up to which the assembly's keys were seen.
        var revision: Int64
        /// The assembly as it was.
        var state: AssemblyRecord?
    }

    /// Changes what is wanted of an assembly, on the ground of what it is now. Works on records that cannot be read, too:
    /// what cannot be read can still be destroyed.
    ///
    /// - Parameter change: nil to leave it as it is.
    func change(_ name: String, _ change: (Wanted) throws -> Wanted?) async throws -> Changed {
        let (specificationKey, wantedKey) = (Keys.specification(name), Keys.wanted(name))
        while true {
            let read = try await client.commit(
                Transaction().then(.get(.key(specificationKey)), .get(.key(wantedKey)), .get(.key(Keys.state(name)))))
            guard let specification = read.get(0)?.first else { throw try await notFound(name) }
            let stored = read.get(1)?.first
            let wanted = stored.flatMap { try? Wanted(json: $0.value) } ?? Wanted(.running)
            var changed = Changed(
                launch: specification.createRevision, wanted: wanted, revision: read.header.revision,
                state: read.get(2)?.first.flatMap { try? AssemblyRecord(json: $0.value) })
            guard let new = try change(wanted) else { return changed }
            let result = try await client.commit(
                Transaction.if(
                    .createRevision(.key(specificationKey), .equal, specification.createRevision),
                    .modRevision(.key(wantedKey), .equal, stored?.modRevision ?? 0)
                ).then(.put(wantedKey, new.json)))
            if result.succeeded {
                changed.wanted = new
                changed.revision = result.header.revision
                return changed
            }
        }
    }

    /// Says so when nobody is there to do what was asked for.
    func warnWithoutEngine() async throws {
        if try await client.leader(of: Keys.engineElection) == nil {
            console.complain("warning: no megamd leads; this is stored, and done as soon as one does")
        }
    }

    // MARK: Watching

    enum Change: Sendable {
        case events([WatchEvent])
        /// Changes were compacted away: all that there is now.
        case everything([KeyValue], revision: Int64)
    }

    /// Tells the changes of a range after a revision, through outages of the store, until `isDone` says so.
    func changes(
        of range: KeyRange, after revision: Int64, until isDone: (Change) async throws -> Bool
    ) async throws {
        var revision = revision
        while true {
            for try await update in client.watch(range, from: revision + 1) {
                switch update {
                case .events(let events): if try await isDone(.events(events)) { return }
                case .started, .progress, .compacted: break
                }
            }
            // The watch ends when its next changes have been compacted, or with its task.
            try Task.checkCancellation()
            do {
                let all = try await client.get(range)
                revision = all.header.revision
                if try await isDone(.everything(all.kvs, revision: revision)) { return }
            } catch let error as EtcdError where error.code == .unavailable || error.code == .deadlineExceeded {
                continue
            }
        }
    }

    private var countOnly: GetOptions {
        var options = GetOptions()
        options.countOnly = true
        return options
    }
}

/// The result of `body`; nil when it takes longer than `limit`, and is cancelled.
func within<Value: Sendable>(
    _ limit: Duration, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value? {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
    }
}

extension LaunchStore.Change {
    /// What it says of an assembly, and whether this launch of it is gone.
    func read(of name: String, launch: Int64?) -> (Inventory, isGone: Bool) {
        var inventory = Inventory()
        switch self {
        case .events(let events):
            inventory.take(events.filter { $0.kind == .put }.map(\.kv))
            let isGone = events.contains { event in
                event.kind == .delete && Place(key: event.kv.key) == .specification(assembly: name)
            }
            return (inventory, isGone)
        case .everything(let kvs, _):
            inventory.take(kvs)
            let isThere = kvs.contains { $0.keyText == Keys.specification(name) && $0.createRevision == launch }
            return (inventory, !isThere)
        }
    }
}
