import Testing

@testable import Storage

/// What is read in a manifest's records.
@Suite struct FileListTests {
    private func varint(_ number: UInt64) -> [UInt8] {
        number < 0x80 ? [UInt8(number)] : [UInt8(number & 0x7f) | 0x80] + varint(number >> 7)
    }

    /// The record of a log that was synced up to a size as the next was begun.
    private func synced(_ log: UInt64, bytes: UInt64) -> [UInt8] {
        let fields = varint(log) + varint(2) + varint(bytes) + varint(1)
        return varint(1 << 13 + 7) + varint(UInt64(fields.count)) + fields
    }

    /// The record of a flush, after which the logs before one are deleted.
    private func deleted(before log: UInt64) -> [UInt8] {
        varint(1 << 13 + 8) + varint(UInt64(varint(log).count)) + varint(log)
    }

    @Test func logsThatWereSyncedAreListedUntilTheyAreDeleted() {
        let records = [synced(4, bytes: 300), synced(8, bytes: 70_000)]
        #expect(DatabaseFileList(records)?.syncedLogs == [4: 300, 8: 70_000])
        #expect(DatabaseFileList(records + [deleted(before: 8)])?.syncedLogs == [8: 70_000])
    }

    /// A flush on one thread may let a log go while another thread is about to note that the log was synced.
    @Test func aLogWhoseSyncIsNotedAfterItsDeletionIsNotLookedFor() {
        let records = [deleted(before: 8), synced(4, bytes: 300), synced(8, bytes: 400)]
        #expect(DatabaseFileList(records)?.syncedLogs == [8: 400])
    }
}
