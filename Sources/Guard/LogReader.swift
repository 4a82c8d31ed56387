/// A place in what a run's child wrote, in bytes of the log since the run's start. It stays valid when the log rotates:
/// if the lines there are gone, reading goes on at the oldest that is kept.
public struct LogPosition: Comparable, Hashable, Sendable {
    /// For a wire or a file; only numbers that a `LogReader` gave mean anything.
    public var byteOffset: Int64

    /// A place that was carried over a wire or a file.
    public init(byteOffset: Int64) {
        self.byteOffset = byteOffset
    }

    /// The run's first line.
    public static let start = LogPosition(byteOffset: 0)

    public static func < (left: LogPosition, right: LogPosition) -> Bool {
        left.byteOffset < right.byteOffset
    }
}

/// A line that a child wrote.
public struct LogLine: Hashable, Sendable {
    /// Which of the child's two outputs.
    public enum Stream: String, Hashable, Sendable {
        /// What it wrote to its standard output.
        case stdout
        /// What it wrote to its standard error; the guard's own remarks are here too and begin with `[gulp-guard]`.
        case stderr
    }

    /// When the guard read it, as RFC 3339 with nanoseconds, in UTC.
    public var time: String
    /// Where the child wrote it.
    public var stream: Stream
    /// Without the line feed. The child's bytes as they are: not necessarily UTF-8.
    public var bytes: [UInt8]
    /// Whether the line ends here. A line of more than 16 KiB comes in pieces, of which only the last is its end.
    public var endsLine: Bool

    /// The bytes as text, with what is no UTF-8 replaced.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Lines read in one step.
public struct LogChunk: Hashable, Sendable {
    /// In the order in which the guard read them.
    public var lines: [LogLine] = []
    /// Where to read on.
    public var next: LogPosition
    /// Bytes of log between the place asked for and the first line given that rotation has deleted.
    public var lostBytes: Int64 = 0
    /// Whether there was nothing after these lines when they were read. If the run goes on, more may come.
    public var isAtEnd: Bool
}

/// Reads what a run's child wrote, while it runs and afterwards. It keeps no file open and sees every rotation; to
/// follow a run, read again from `next`.
public struct LogReader: Sendable {
    let run: RunDirectory

    /// Reads the log of `run`, living or over.
    public init(_ run: RunDirectory) {
        self.run = run
    }

    /// The whole lines from `position` on, at most about `limitBytes` of log (one line at least, if there is one). A
    /// last line that the guard was killed in the middle of is given once the run is over.
    ///
    /// To have all of a run that is followed, read until `isAtEnd` once more after its status is `ended`.
    public func read(from position: LogPosition, limitBytes: Int = 256 << 10) throws(GuardError) -> LogChunk {
        // Long enough for the longest record.
        let limit = max(limitBytes, LogFiles.pieceLimit + LogFiles.recordOverhead)
        var chunk = LogChunk(next: max(position, .start), isAtEnd: false)
        var isOver = false
        while true {
            guard let place = try files.place(of: chunk.next.byteOffset) else {
                chunk.isAtEnd = true
                return chunk
            }
            if place.base > chunk.next.byteOffset {
                chunk.lostBytes += place.base - chunk.next.byteOffset
                chunk.next.byteOffset = place.base
            }
            let offset = chunk.next.byteOffset - place.base
            guard let bytes = try files.part(of: place.base, at: offset, limit) else { continue }  // rotated away
            var rest = bytes[...]
            let startsRecord = try offset == 0 ? true : files.endsRecord(place.base, before: offset)
            if !startsRecord {
                // A place inside a record: reading begins with the next.
                rest = rest[(rest.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? rest.endIndex)...]
            }
            while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
                if let line = LogLine(record: rest[..<newline]) { chunk.lines.append(line) }
                rest = rest[(newline + 1)...]
            }
            chunk.next.byteOffset += Int64(rest.startIndex)
            let reachedEnd = bytes.count < limit
            if !reachedEnd && rest.startIndex > 0 { return chunk }
            if let newer = place.next {
                // What is left ends no record, which only damage can bring about.
                chunk.next.byteOffset = newer
                if !chunk.lines.isEmpty { return chunk }
                continue
            }
            if !rest.isEmpty && !isOver, case .ended = try run.status() {
                // Once more: the line may have been finished between the two looks.
                isOver = true
                continue
            }
            if isOver, !rest.isEmpty {
                if let line = LogLine(record: rest) { chunk.lines.append(line) }
                chunk.next.byteOffset += Int64(rest.count)
            }
            chunk.isAtEnd = true
            return chunk
        }
    }

    /// The place from which the last `count` lines are read (a piece of a long line counts as one); the oldest place
    /// that is kept if there are fewer.
    public func position(ofLast count: Int) throws(GuardError) -> LogPosition {
        var left = count
        let bases = try files.bases()
        for base in bases.reversed() {
            guard var end = try files.size(of: base) else { break }
            if base == bases.last && count <= 0 { return LogPosition(byteOffset: base + end) }
            while end > 0 {
                let start = max(0, end - 64 << 10)
                guard let block = try files.part(of: base, at: start, Int(end - start)) else { break }
                for index in block.indices.reversed() where block[index] == UInt8(ascii: "\n") {
                    // The line feed before the first wanted line.
                    if left == 0 { return LogPosition(byteOffset: base + start + Int64(index) + 1) }
                    left -= 1
                }
                end = start
            }
        }
        return LogPosition(byteOffset: bases.first ?? 0)
    }

    private var files: LogFiles { LogFiles(directory: run.path) }
}
