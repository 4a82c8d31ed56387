import Foundation

/// A program run to its end on our own standard output and error.
enum ChildProcess {
    /// - Parameters:
    ///   - arguments: the program, looked up in `PATH` unless it names a path, and its arguments.
    ///   - variables: added to our environment, in place of those of the same name.
    /// - Returns: what went wrong, in the words of Go's `os/exec`; nil if it ended with status 0.
    static func run(_ arguments: [[UInt8]], adding variables: [(name: String, value: String)]) async -> String? {
        await withCheckedContinuation { continuation in
            // A thread of its own: the program takes as long as it takes.
            Thread.detachNewThread { continuation.resume(returning: runAndWait(arguments, variables)) }
        }
    }

    private static func runAndWait(
        _ arguments: [[UInt8]], _ variables: [(name: String, value: String)]
    ) -> String? {
        let program = String(decoding: arguments[0], as: UTF8.self)
        let argv = arguments.map { strdup(String(decoding: $0, as: UTF8.self)) } + [nil]
        let names = Set(variables.map(\.name))
        let kept = ProcessInfo.processInfo.environment.filter { !names.contains($0.key) }
        let assignments = kept.map { "\($0.key)=\($0.value)" } + variables.map { "\($0.name)=\($0.value)" }
        let environment = assignments.map { strdup($0) } + [nil]
        defer { for pointer in argv + environment { free(pointer) } }

        var pid: pid_t = 0
        let code = posix_spawnp(&pid, program, nil, nil, argv, environment)
        guard code == 0 else {
            if code == ENOENT, !program.contains("/") {
                return "exec: \(QuotedBytes.quote(program)): executable file not found in $PATH"
            }
            return "fork/exec \(program): \(String(cString: strerror(code)).lowercased())"
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { return "wait: \(String(cString: strerror(errno)).lowercased())" }
        }
        return describe(status)
    }

    /// A status of wait(2): the low seven bits are the signal that ended the program, or 0 and the next
    /// eight its exit status.
    private static func describe(_ status: Int32) -> String? {
        let signal = status & 0x7f
        guard signal != 0 else {
            let code = (status >> 8) & 0xff
            return code == 0 ? nil : "exit status \(code)"
        }
        let name = strsignal(signal).map { String(cString: $0).lowercased() } ?? "\(signal)"
        return "signal: \(name)\(status & 0x80 != 0 ? " (core dumped)" : "")"
    }
}
