import CGuard
import Glibc

/// The three pipes from a child: what it prints, and the one that tells of its start by ending.
struct ChildPipes: ~Copyable {
    enum Use: Int, CaseIterable {
        case start
        case output
        case errors
    }

    /// By use; -1 once closed. The reading ends do not block.
    private(set) var reading: [CInt] = [-1, -1, -1]
    private(set) var writing: [CInt] = [-1, -1, -1]

    init() throws(StartFailure) {
        for use in Use.allCases {
            var ends: [CInt] = [-1, -1]
            guard cguard_pipe(&ends) == 0 else {
                throw StartFailure(errno: errno, message: "the guard cannot make a pipe: \(systemMessage(errno))")
            }
            reading[use.rawValue] = ends[0]
            writing[use.rawValue] = ends[1]
        }
    }

    deinit {
        for descriptor in reading + writing where descriptor >= 0 { _ = Glibc.close(descriptor) }
    }

    /// The child has its ends: only it and its descendants hold the pipes open from now on.
    mutating func closeWriting() {
        for index in writing.indices {
            _ = Glibc.close(writing[index])
            writing[index] = -1
        }
    }

    mutating func close(_ use: Use) {
        _ = Glibc.close(reading[use.rawValue])
        reading[use.rawValue] = -1
    }

    /// Reads the start pipe, which is readable. nil: the command was executed, or the child died before.
    mutating func takeStartFailure() -> cguard_start_failure? {
        guard reading[Use.start.rawValue] >= 0 else { return nil }
        var failure = cguard_start_failure()
        let size = MemoryLayout<cguard_start_failure>.size
        let count = read(reading[Use.start.rawValue], &failure, size)
        close(.start)
        return count == size ? failure : nil
    }
}
