/// A place in what a run's child wrote, in bytes of the log since the run's start. It stays valid when the log rotates:
/// if the lines there are gone, reading goes on at the oldest that is kept.
public struct LogPosition: Comparable, Hashable, Sendable {
    /// For a wire or a file; only numbers that a `LogReader` gave mean anything.
    public var byteOffset: Int64

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
    /// Which of the child's outputs.
    public enum Stream: String, Hashable, Sendable {
        case stdout
        case stderr
    }

    /// When the guard read it, as RFC 3339 with nanoseconds, in UTC.
    public var time: String
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
    public func read(from position: LogPosition, limitBytes: Int = 256 << 10) throws(GuardError) -> LogChunk {
        throw GuardError("not yet")
    }

    /// The place from which the last `count` lines are read; `start` or the oldest line kept if there are fewer.
    public func position(ofLast count: Int) throws(GuardError) -> LogPosition {
        throw GuardError("not yet")
    }
}
