import Glibc

/// Writes what the child says into the run's log files, with a fixed amount of memory. A full disk costs lines, never
/// the component: what could not be written is counted, and said as soon as something can be written again.
struct LogWriter: ~Copyable {
    /// The unfinished line of one stream.
    private struct Pending {
        let name: StaticString
        var bytes: [UInt8] = []

        init(_ name: StaticString) {
            self.name = name
            bytes.reserveCapacity(LogFiles.pieceLimit)
        }
    }

    private static let batchLimit = 64 << 10
    private let files: LogFiles
    private let limitBytes: Int64
    private var file: CInt = -1
    /// Where the present file begins in the log, its size, and the base of the older one that is kept.
    private var base: Int64 = 0
    private var size: Int64 = 0
    private var olderBase: Int64?
    /// Of the standard output, and of the standard error.
    private var pending = [Pending("stdout"), Pending("stderr")]
    /// Records on their way to the file; none is ever split over two batches.
    private var batch: [UInt8] = []
    private var droppedLines = 0
    private var dropError: CInt = 0

    init(directory: String, limitBytes: Int) {
        files = LogFiles(directory: directory)
        self.limitBytes = Int64(limitBytes)
        batch.reserveCapacity(Self.batchLimit + LogFiles.pieceLimit + LogFiles.recordOverhead)
    }

    deinit {
        if file >= 0 { close(file) }
    }

    /// Takes what was read from one of the child's pipes.
    mutating func append(_ bytes: UnsafeRawBufferPointer, to stream: LogLine.Stream) {
        let time = Timestamp.now()
        split(bytes, stream == .stdout ? 0 : 1, time)
        flush(time)
    }

    /// Writes the unfinished lines and what is to be said of dropped ones. Nothing follows.
    mutating func finish() {
        let time = Timestamp.now()
        for index in pending.indices where !pending[index].bytes.isEmpty { emit(index, endsLine: true, time) }
        flush(time)
        if droppedLines > 0 { sayDropped(time) }
    }

    private mutating func split(_ bytes: UnsafeRawBufferPointer, _ index: Int, _ time: Timestamp) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let room = LogFiles.pieceLimit - pending[index].bytes.count
            // One byte more than there is room for may be the line feed that makes a full piece a whole line.
            if let newline = rest.prefix(room + 1).firstIndex(of: UInt8(ascii: "\n")) {
                pending[index].bytes += rest[..<newline]
                emit(index, endsLine: true, time)
                rest = rest[(newline + 1)...]
            } else if room == 0 {
                emit(index, endsLine: false, time)
            } else {
                pending[index].bytes += rest.prefix(room)
                rest = rest.dropFirst(room)
            }
        }
    }

    private mutating func emit(_ index: Int, endsLine: Bool, _ time: Timestamp) {
        append(time, pending[index].name, endsLine)
        batch += pending[index].bytes
        batch.append(UInt8(ascii: "\n"))
        pending[index].bytes.removeAll(keepingCapacity: true)
        if batch.count >= Self.batchLimit { flush(time) }
    }

    private mutating func append(_ time: Timestamp, _ stream: StaticString, _ endsLine: Bool) {
        time.append(to: &batch)
        batch.append(UInt8(ascii: " "))
        batch += UnsafeBufferPointer(start: stream.utf8Start, count: stream.utf8CodeUnitCount)
        batch += endsLine ? [0x20, UInt8(ascii: "F"), 0x20] : [0x20, UInt8(ascii: "P"), 0x20]
    }

    private mutating func flush(_ time: Timestamp) {
        guard !batch.isEmpty else { return }
        if droppedLines > 0 { sayDropped(time) }
        write()
    }

    /// Puts a line about the dropped ones before the batch.
    private mutating func sayDropped(_ time: Timestamp) {
        let held = batch
        batch.removeAll(keepingCapacity: true)
        let before = droppedLines
        append(time, "stderr", true)
        batch += "[gulp-guard] \(before) lines were not kept: \(systemMessage(dropError))\n".utf8
        droppedLines = 0
        write()
        if droppedLines > 0 { droppedLines = before }
        batch += held
    }

    /// Writes the batch, or as many of its records as the disk takes, and counts the rest.
    private mutating func write() {
        var written = 0
        if openFile() {
            while written < batch.count {
                let count = batch.withUnsafeBytes {
                    Glibc.write(file, $0.baseAddress?.advanced(by: written), $0.count - written)
                }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else {
                    dropError = errno
                    break
                }
                written += count
            }
        }
        if written < batch.count {
            // Only whole records stay: a reader may have seen them, and the next must begin a line.
            let whole = batch[..<written].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            if written > whole { ftruncate(file, off_t(size) + off_t(whole)) }
            droppedLines += batch[whole...].count { $0 == UInt8(ascii: "\n") }
            written = whole
        }
        size += Int64(written)
        batch.removeAll(keepingCapacity: true)
    }

    /// Makes sure that there is a file with room, beginning the next one if the present is full.
    private mutating func openFile() -> Bool {
        if file >= 0 && size < limitBytes { return true }
        let next = open(
            files.path(of: base + size), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard next >= 0 else {
            dropError = errno
            // A full file is better than none.
            return file >= 0
        }
        if file >= 0 {
            close(file)
            if let olderBase { unlink(files.path(of: olderBase)) }
            olderBase = base
        }
        base += size
        size = 0
        file = next
        return true
    }
}
