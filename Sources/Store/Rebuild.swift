extension StoreCore {
    /// Fills an empty core from the history and its notes.
    mutating func rebuild(from history: borrowing some HistoryLog) throws {
        if let mark = try history.note(StoreNote.compacted) { compactedRevision = try StoreNote.revision(mark) }
        let done =
            try history.note(StoreNote.compactionDone).map { value throws in try StoreNote.revision(value) } ?? -1
        if done < compactedRevision { compaction.cursor = [] }
        try history.scanNotes(prefix: StoreNote.leasePrefix) { key, value in
            let (ttl, remaining) = try StoreNote.leaseTTL(value)
            leases.restore(id: try StoreNote.leaseID(key), ttl: ttl, remainingTTL: remaining)
            return true
        }
        try history.scanNotes(prefix: StoreNote.alarmPrefix) { key, value in
            alarms.activate(try StoreNote.alarm(key, value))
            return true
        }
        try history.scan(from: Revision(main: 0), through: Revision(main: .max, sub: .max)) {
            revision, tombstone, bytes in
            guard revision.main >= self.revision else {
                throw CodecError("revision \(revision.main) follows \(self.revision) in the history")
            }
            let layout = try KeyValueLayout(bytes)
            let key = Array(bytes[layout.key])
            index.restore(
                key, at: revision, createRevision: layout.createRevision, version: layout.version, tombstone: tombstone)
            leases.detach(key)
            if !tombstone, layout.lease != 0, leases.contains(layout.lease) { leases.attach(key, to: layout.lease) }
            self.revision = revision.main
            return true
        }
        revision = max(revision, compactedRevision)
    }
}
