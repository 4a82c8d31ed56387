/// All of the store but its history: what commands do to the index and the leases.
///
/// It is not generic, so that its code is compiled once and well wherever `Store` is used; what it reads from the history
/// comes through a closure, what it writes there is left in `events` and `notes` for `Store` to carry over.
struct StoreCore: Sendable {
    var index = KeyIndex()
    var leases = LeaseTable()
    var alarms = AlarmTable()
    var revision: Int64 = 1
    /// -1 when never compacted, as etcd reports it.
    var compactedRevision: Int64 = -1
    /// Everything applied since it was last taken; also the rows for the history.
    var events: [StoreEvent] = []
    var notes: [(key: [UInt8], value: [UInt8]?)] = []
    var compaction = Compaction()

    /// The most bytes of records kept in the index.
    var cacheLimit = 64 << 20
    private var evictionCursor: [UInt8] = []
    private var evictionThreshold = Int64.max

    /// The main revision that a command's changes share, and how many there were.
    struct Write {
        let begin: Int64
        var changes: Int64 = 0
        var next: Revision { Revision(main: begin + 1, sub: changes) }
        /// The revision as the transaction sees it.
        var current: Int64 { changes > 0 ? begin + 1 : begin }
    }

    mutating func apply(_ command: StoreCommand, _ source: RecordSource) throws -> CommandOutcome {
        if let refusal = alarms.refusal(of: command) { return .failure(refusal) }
        switch command {
        case .put(let put):
            if put.lease != 0, !leases.contains(put.lease) { return .failure(.leaseNotFound) }
            return try writing { core, write in try core.put(put, &write, source).map(CommandResult.put) }
        case .deleteRange(let delete):
            return try writing { core, write in
                .success(.deleteRange(try core.deleteRange(delete, &write, source)))
            }
        case .transaction(let transaction):
            return try writing { core, write in
                try core.transact(transaction, &write, source).map(CommandResult.transaction)
            }
        case .compact(let compact):
            return self.compact(compact.revision).map { .failure($0) } ?? .success(.compact(revision: revision))
        case .leaseGrant(let grant):
            if let error = leases.grant(id: grant.id, ttl: grant.ttl) { return .failure(error) }
            let ttl = max(1, grant.ttl)
            notes.append((StoreNote.lease(grant.id), StoreNote.leaseValue(ttl: ttl, remainingTTL: 0)))
            return .success(.leaseGrant(revision: revision, id: grant.id, ttl: ttl))
        case .leaseRevoke(let revoke):
            guard leases.contains(revoke.id) else { return .failure(.leaseNotFound) }
            return writing { core, write in
                for key in core.leases.keys(of: revoke.id) { core.delete(key, &write) }
                core.leases.remove(id: revoke.id)
                core.notes.append((StoreNote.lease(revoke.id), nil))
                return .success(.leaseRevoke(revision: write.current))
            }
        case .leaseCheckpoint(let checkpoints):
            for checkpoint in checkpoints {
                guard let ttl = leases.checkpoint(checkpoint) else { continue }
                notes.append(
                    (
                        StoreNote.lease(checkpoint.id),
                        StoreNote.leaseValue(ttl: ttl, remainingTTL: checkpoint.remainingTTL)
                    ))
            }
            return .success(.leaseCheckpoint(revision: revision))
        case .alarm(let command):
            return .success(.alarm(revision: revision, apply(command)))
        }
    }

    @inline(__always)
    private mutating func writing(
        _ body: (inout StoreCore, inout Write) throws -> CommandOutcome
    ) rethrows -> CommandOutcome {
        var write = Write(begin: revision)
        let outcome = try body(&self, &write)
        revision = write.current
        if index.cachedBytes > cacheLimit { shedRecords() }
        return outcome
    }

    func read(at current: Int64) -> RangeRead {
        RangeRead(index: index, currentRevision: current, compactedRevision: compactedRevision)
    }

    // MARK: Changes

    mutating func put(
        _ command: PutCommand, _ write: inout Write, _ source: RecordSource
    ) throws -> Result<PutResult, StoreError> {
        var result = PutResult(revision: write.begin + 1)
        var value = command.value
        var lease = command.lease
        if command.previousKV || command.ignoreValue || command.ignoreLease {
            if let entry = index.entry(command.key), entry.isLive {
                let record = try Self.record(of: entry, source)
                if command.previousKV { result.previous = record }
                let layout = try KeyValueLayout(record)
                if command.ignoreValue { value = Array(record[layout.value]) }
                if command.ignoreLease { lease = layout.lease }
            } else if command.ignoreValue || command.ignoreLease {
                return .failure(.keyNotFound)
            }
        }
        let revision = write.next
        var record: [UInt8] = []
        let effect = index.put(command.key, at: revision) { createRevision, version in
            record = KeyValueRecord.encode(
                key: command.key, createRevision: createRevision, modRevision: revision.main, version: version,
                value: value, lease: lease)
            return record
        }
        write.changes += 1
        leases.detach(command.key)
        if lease != 0 { leases.attach(command.key, to: lease) }
        events.append(
            StoreEvent(
                revision: revision, isDelete: false, key: command.key, record: record, previous: effect.previous,
                previousRecord: effect.previousRecord))
        return .success(result)
    }

    mutating func deleteRange(
        _ command: DeleteRangeCommand, _ write: inout Write, _ source: RecordSource
    ) throws -> DeleteRangeResult {
        var keys: [[UInt8]] = []
        var previous: [[UInt8]] = []
        try index.visit(KeyRange(key: command.key, rangeEnd: command.rangeEnd)) { key, entry in
            guard entry.isLive else { return true }
            keys.append(key)
            if command.previousKV { previous.append(try Self.record(of: entry, source)) }
            return true
        }
        for key in keys { delete(key, &write) }
        return DeleteRangeResult(revision: write.current, deleted: Int64(keys.count), previous: previous)
    }

    private mutating func delete(_ key: [UInt8], _ write: inout Write) {
        let revision = write.next
        let effect = index.delete(key, at: revision)
        write.changes += 1
        leases.detach(key)
        let record = KeyValueRecord(key: key).encoded()
        events.append(
            StoreEvent(
                revision: revision, isDelete: true, key: key, record: record, previous: effect.previous,
                previousRecord: effect.previousRecord))
    }

    static func record(of entry: KeyEntry, _ source: RecordSource) throws -> [UInt8] {
        if let record = entry.record { return record }
        guard let record = try source(entry.revision) else {
            throw CodecError("the history lacks the record of revision \(entry.revision.main).\(entry.revision.sub)")
        }
        return record
    }

    // MARK: The cache of records

    /// Goes round the keys and drops records until the rest fits. A record written since the last round stays, so what is
    /// written often stays cached, unless nothing else is found within a few leaves: a command must not wait for a whole round.
    private mutating func shedRecords() {
        var leaves = 0
        while index.cachedBytes > cacheLimit {
            leaves += 1
            let threshold = leaves > 64 ? Int64.max : evictionThreshold
            if let next = index.evict(at: evictionCursor, writtenBefore: threshold) {
                evictionCursor = next
            } else {
                evictionCursor = []
                evictionThreshold = revision
            }
        }
    }

    mutating func remember(_ records: [[UInt8]]) throws {
        for record in records {
            let layout = try KeyValueLayout(record)
            // A record without its value (`keys_only`) must not pass for the whole: an empty value is cheap to read anyway.
            if layout.value.isEmpty { continue }
            index.remember(record, of: Array(record[layout.key]), modRevision: layout.modRevision)
        }
        if index.cachedBytes > cacheLimit { shedRecords() }
    }
}
