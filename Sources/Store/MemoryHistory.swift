/// A history in memory, for tests and the simulator. It knows what was committed and what was flushed, so that a
/// crash can take away what a disk would have lost.
public struct MemoryHistory: HistoryLog, Sendable {
    fileprivate struct Row: Sendable {
        var revision: Revision
        var tombstone: Bool
        var record: [UInt8]
    }

    /// Rows in chunks, so that a copy followed by an append costs a chunk.
    fileprivate struct Content: Sendable {
        static let chunkSize = 256
        var chunks: [[Row]] = []
        var notes: [[UInt8]: [UInt8]] = [:]
        /// Of the records.
        var bytes = 0

        /// Of the first row at or after a revision.
        func position(of revision: Revision) -> (chunk: Int, row: Int) {
            var low = 0
            var high = chunks.count
            while low < high {
                let middle = (low + high) / 2
                if let last = chunks[middle].last, last.revision < revision { low = middle + 1 } else { high = middle }
            }
            guard low < chunks.count else { return (low, 0) }
            return (low, chunks[low].firstIndex { !($0.revision < revision) } ?? 0)
        }

        func record(at revision: Revision, tombstone: Bool) -> [UInt8]? {
            let (chunk, row) = position(of: revision)
            guard chunk < chunks.count, chunks[chunk][row].revision == revision,
                chunks[chunk][row].tombstone == tombstone
            else { return nil }
            return chunks[chunk][row].record
        }

        func scan(
            from first: Revision, through last: Revision,
            _ body: (Revision, Bool, UnsafeRawBufferPointer) throws -> Bool
        ) rethrows {
            var (chunk, row) = position(of: first)
            while chunk < chunks.count {
                for row in chunks[chunk][row...] {
                    if last < row.revision { return }
                    let more = try row.record.withUnsafeBytes { try body(row.revision, row.tombstone, $0) }
                    if !more { return }
                }
                chunk += 1
                row = 0
            }
        }
    }

    public struct Reader: HistoryReader {
        private let content: Content
        fileprivate init(_ content: Content) { self.content = content }

        public func record(at revision: Revision, tombstone: Bool) -> [UInt8]? {
            content.record(at: revision, tombstone: tombstone)
        }

        public func scan(
            from first: Revision, through last: Revision,
            _ body: (Revision, Bool, UnsafeRawBufferPointer) throws -> Bool
        ) rethrows {
            try content.scan(from: first, through: last, body)
        }
    }

    private var content = Content()
    private var committed = Content()
    private var flushed = Content()

    public init() {}

    /// Makes the batch visible to readers.
    public mutating func commit() { committed = content }

    /// Makes what was committed survive `rollback`.
    public mutating func flush() { flushed = committed }

    /// A crash: what was not flushed is gone.
    public mutating func rollback() {
        content = flushed
        committed = flushed
    }

    /// A value that holds what had been flushed, as a restarted member finds it.
    public func afterCrash() -> MemoryHistory {
        var copy = self
        copy.rollback()
        return copy
    }

    /// What the records take, to be held against a quota.
    public var byteCount: Int { content.bytes }

    public func reader() -> Reader { Reader(committed) }

    public mutating func append(_ revision: Revision, tombstone: Bool, record: [UInt8]) {
        precondition(content.chunks.last?.last.map { $0.revision < revision } ?? true, "revisions ascend")
        content.bytes += record.count
        if content.chunks.last?.count ?? Content.chunkSize < Content.chunkSize {
            content.chunks[content.chunks.count - 1].append(
                Row(revision: revision, tombstone: tombstone, record: record))
        } else {
            content.chunks.append([Row(revision: revision, tombstone: tombstone, record: record)])
        }
    }

    public func record(at revision: Revision, tombstone: Bool) -> [UInt8]? {
        content.record(at: revision, tombstone: tombstone)
    }

    public func scan(
        from first: Revision, through last: Revision, _ body: (Revision, Bool, UnsafeRawBufferPointer) throws -> Bool
    ) rethrows {
        try content.scan(from: first, through: last, body)
    }

    public mutating func remove(_ revision: Revision, tombstone: Bool) {
        let (chunk, row) = content.position(of: revision)
        guard chunk < content.chunks.count, content.chunks[chunk][row].revision == revision,
            content.chunks[chunk][row].tombstone == tombstone
        else { return }
        content.bytes -= content.chunks[chunk][row].record.count
        content.chunks[chunk].remove(at: row)
        if content.chunks[chunk].isEmpty { content.chunks.remove(at: chunk) }
    }

    public mutating func setNote(_ key: [UInt8], _ value: [UInt8]?) { content.notes[key] = value }

    public func note(_ key: [UInt8]) -> [UInt8]? { content.notes[key] }

    public func scanNotes(prefix: [UInt8], _ body: ([UInt8], [UInt8]) throws -> Bool) rethrows {
        let matching = content.notes.filter { $0.key.starts(with: prefix) }
        for (key, value) in matching.sorted(by: { compareBytes($0.key, $1.key) < 0 }) where try !body(key, value) {
            return
        }
    }
}
