import Foundation

/// Where a command's words go: the process's own streams, or a test's.
protocol Console: Sendable {
    /// Standard output, at once and unbuffered.
    ///
    /// - Throws: ``OutputClosed``.
    func write(_ bytes: [UInt8]) throws
    func writeError(_ text: String)
    /// Whether standard output is a person's terminal.
    var isTerminal: Bool { get }
}

/// Nobody reads the output any longer, as in `megam logs hello | head`.
struct OutputClosed: Error {}

extension Console {
    func write(_ text: String) throws { try write(Array(text.utf8)) }

    /// One line on standard error, whatever is in `text`.
    func complain(_ text: String) {
        writeError("megam: \(text.split(whereSeparator: \.isNewline).joined(separator: " "))\n")
    }
}

struct StandardConsole: Console {
    var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    func write(_ bytes: [UInt8]) throws {
        guard Self.write(bytes, to: STDOUT_FILENO) else { throw OutputClosed() }
    }

    func writeError(_ text: String) { _ = Self.write(Array(text.utf8), to: STDERR_FILENO) }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                // Somebody made the terminal non-blocking; wait until it takes more.
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&waiting, 1, 1_000)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}
