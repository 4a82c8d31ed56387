import Foundation

/// Where a command's words go and where it reads: the process's own streams, or a test's.
protocol Console: Sendable {
    /// Standard output, at once and unbuffered.
    func write(_ bytes: [UInt8])
    func writeError(_ text: String)
    /// Standard input to its end.
    func readToEnd() -> [UInt8]
    /// The lines of standard input without their ends; an unfinished last line is none.
    func lines() -> AsyncStream<[UInt8]>
}

extension Console {
    func write(_ text: String) { write(Array(text.utf8)) }
}

struct StandardConsole: Console {
    func write(_ bytes: [UInt8]) { Self.write(bytes, to: STDOUT_FILENO) }
    func writeError(_ text: String) { Self.write(Array(text.utf8), to: STDERR_FILENO) }

    func readToEnd() -> [UInt8] {
        var input: [UInt8] = []
        while let chunk = Self.readChunk() { input += chunk }
        return input
    }

    func lines() -> AsyncStream<[UInt8]> {
        AsyncStream { lines in
            // A thread of its own: reading a terminal blocks for as long as its user thinks.
            Thread.detachNewThread {
                var line: [UInt8] = []
                while let chunk = Self.readChunk() {
                    for byte in chunk {
                        if byte == UInt8(ascii: "\n") {
                            lines.yield(line)
                            line.removeAll()
                        } else {
                            line.append(byte)
                        }
                    }
                }
                lines.finish()
            }
        }
    }

    /// nil at the end of standard input, or when it cannot be read.
    private static func readChunk() -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
            if count > 0 { return Array(chunk[..<count]) }
            if count < 0, errno == EINTR { continue }
            return nil
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                // Whoever read our output has gone: end as any filter does.
                if errno == EPIPE, descriptor == STDOUT_FILENO {
                    signal(SIGPIPE, SIG_DFL)
                    raise(SIGPIPE)
                }
                return
            }
        }
    }
}
