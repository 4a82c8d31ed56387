extension Store {
    /// A checksum over everything members must agree on: revisions, the index, the records it leads to, and the leases with
    /// their keys, and the alarms. Equal for stores that applied the same commands, however far each has removed what compactions made
    /// unreachable and whatever its cache holds. Reads every record: for tests, the simulator and audits.
    public func digest() throws -> UInt64 {
        var digest = FNV1a()
        digest.add(core.revision)
        digest.add(core.compactedRevision)
        try core.index.visit(KeyRange(key: [], rangeEnd: [0])) { key, entry in
            let gone = entry.unreachableCount(at: core.compactedRevision)
            guard gone < entry.revisionCount else { return true }
            digest.add(key)
            digest.add(entry.createRevision)
            digest.add(entry.version)
            var revisions: [OlderRevision] = []
            entry.visitOldest(entry.revisionCount) { revisions.append($0) }
            for revision in revisions.dropFirst(gone) {
                digest.add(revision.revision.main)
                digest.add(revision.revision.sub)
                digest.add(revision.isTombstone ? 1 : 0)
                let record = try history.record(at: revision.revision, tombstone: revision.isTombstone)
                guard let record else {
                    throw CodecError("the history lacks revision \(revision.revision.main).\(revision.revision.sub)")
                }
                digest.add(record)
            }
            return true
        }
        for id in core.leases.ids {
            digest.add(id)
            digest.add(try history.note(StoreNote.lease(id)) ?? [])
            for key in core.leases.keys(of: id) { digest.add(key) }
        }
        for alarm in alarms {
            digest.add(Int64(alarm.kind.rawValue))
            digest.add(Int64(bitPattern: alarm.member))
        }
        return digest.value
    }
}

/// The 64-bit Fowler-Noll-Vo hash; each byte string is preceded by its length.
struct FNV1a {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ number: Int64) {
        for shift in stride(from: 0, to: 64, by: 8) {
            value = (value ^ UInt64(truncatingIfNeeded: number >> Int64(shift)) & 0xff) &* 0x100_0000_01b3
        }
    }

    mutating func add(_ bytes: [UInt8]) {
        add(Int64(bytes.count))
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
}
