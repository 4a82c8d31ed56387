import Glibc

/// The log files of a run: `log.N`, where N is the number of bytes of log that were written before it. A position in
/// the log is therefore found without knowing how often it rotated.
///
/// Lines have the form that container runtimes write (CRI): `2026-11-25T01:02:03.123456789Z stdout F text`, with `P`
/// instead of `F` when the line goes on in a later record of the same stream.
struct LogFiles {
    let directory: String

    func path(of base: Int64) -> String { "\(directory)/log.\(base)" }

    /// The bases of the files that are there, oldest first.
    func bases() throws(GuardError) -> [Int64] {
        try names(in: directory).compactMap { $0.hasPrefix("log.") ? Int64($0.dropFirst(4)) : nil }.sorted()
    }

    /// The file that has the byte at `offset`, or would have it next; the oldest one if that is lost; nil if there is
    /// no log. `next` is the base of the file after it.
    func place(of offset: Int64) throws(GuardError) -> (base: Int64, next: Int64?)? {
        let bases = try bases()
        guard !bases.isEmpty else { return nil }
        let index = bases.lastIndex { $0 <= offset } ?? bases.startIndex
        return (bases[index], index + 1 < bases.count ? bases[index + 1] : nil)
    }

    /// At most `limit` bytes of a file; fewer only at its end; nil if it is gone.
    func part(of base: Int64, at offset: Int64, _ limit: Int) throws(GuardError) -> [UInt8]? {
        let number = open(path(of: base), O_RDONLY | O_CLOEXEC)
        if number < 0 && errno == ENOENT { return nil }
        let file = try Descriptor(number, cannot: "open", path(of: base))
        var failure: CInt = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            count = 0
            while count < limit {
                let read = pread(
                    file.number, buffer.baseAddress?.advanced(by: count), limit - count, off_t(offset) + off_t(count))
                if read < 0 && errno == EINTR { continue }
                if read < 0 { failure = errno }
                if read <= 0 { return }
                count += read
            }
        }
        guard failure == 0 else { throw GuardError(cannot: "read", path(of: base), failure) }
        return bytes
    }

    /// Whether a record ends right before `offset`.
    func endsRecord(_ base: Int64, before offset: Int64) throws(GuardError) -> Bool {
        try part(of: base, at: offset - 1, 1)?.first == UInt8(ascii: "\n")
    }

    /// A file's size; nil if it is gone.
    func size(of base: Int64) throws(GuardError) -> Int64? {
        var status = stat()
        if stat(path(of: base), &status) == 0 { return Int64(status.st_size) }
        if errno == ENOENT { return nil }
        throw GuardError(cannot: "look at", path(of: base))
    }

    /// The longest piece of a child's line in one record.
    static let pieceLimit = 16 << 10
    /// The most bytes that a record has beside its piece: 30 of time, 6 of stream, a tag, three spaces, a line feed.
    static let recordOverhead = 41
}

extension LogLine {
    /// Reads a record without its line feed; nil if it is none (the guard was killed while it wrote it).
    init?(record: some Collection<UInt8>) {
        let fields = record.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 4, let stream = Stream(rawValue: String(decoding: fields[1], as: UTF8.self)),
            fields[2].count == 1, let tag = fields[2].first
        else { return nil }
        self.init(
            time: String(decoding: fields[0], as: UTF8.self), stream: stream, bytes: Array(fields[3]),
            endsLine: tag == UInt8(ascii: "F"))
    }
}
