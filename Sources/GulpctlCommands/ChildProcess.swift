import Foundation

/// A program run to its end on our own standard output and error.
enum ChildProcess {
    /// - Parameters:
    ///   - arguments: the program, looked up in `PATH` unless it names a path, and its arguments.
    ///   - variables: added to our environment, in place of those of the same name.
    /// - Returns: what went wrong, in the words of Go's `os/exec`, and the status to end with because of it;
    ///   nil if it ended with status 0.
    static func run(
        _ arguments: [[UInt8]], adding variables: [(name: String, value: String)]
    ) async -> ChildFailure? {
        await withCheckedContinuation { continuation in
            // A thread of its own: the program takes as long as it takes.
            Thread.detachNewThread { continuation.resume(returning: runAndWait(arguments, variables)) }
        }
    }

    private static func runAndWait(
        _ arguments: [[UInt8]], _ variables: [(name: String, value: String)]
    ) -> ChildFailure? {
        let program = String(decoding: arguments[0], as: UTF8.self)
        let argv = arguments.map { strdup(String(decoding: $0, as: UTF8.self)) } + [nil]
        let names = Set(variables.map(\.name))
        let kept = ProcessInfo.processInfo.environment.filter { !names.contains($0.key) }
        let assignments = kept.map { "\($0.key)=\($0.value)" } + variables.map { "\($0.name)=\($0.value)" }
        let environment = assignments.map { strdup($0) } + [nil]
        defer { for pointer in argv + environment { free(pointer) } }

        // What we do about signals is not the program's: it shall end by them unless it says otherwise.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var pid: pid_t = 0
        let code = posix_spawnp(&pid, program, nil, &attributes, argv, environment)
        guard code == 0 else {
            if code == ENOENT, !program.contains("/") {
                return failure("exec: \(QuotedBytes.quote(program)): executable file not found in $PATH")
            }
            return failure("fork/exec \(program): \(String(cString: strerror(code)).lowercased())")
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            guard errno == EINTR else { return failure("wait: \(String(cString: strerror(errno)).lowercased())") }
        }
        return describe(status)
    }

    private static func failure(_ text: String) -> ChildFailure { ChildFailure(text: text, status: 1) }

    /// A status of wait(2): the low seven bits are the signal that ended the program, or 0 and the next
    /// eight its exit status.
    private static func describe(_ status: Int32) -> ChildFailure? {
        let signal = status & 0x7f
        guard signal != 0 else {
            let code = (status >> 8) & 0xff
            return code == 0 ? nil : ChildFailure(text: "exit status \(code)", status: code)
        }
        let name = strsignal(signal).map { String(cString: $0).lowercased() } ?? "\(signal)"
        let text = "signal: \(name)\(status & 0x80 != 0 ? " (core dumped)" : "")"
        // Go has no status for it but -1.
        return ChildFailure(text: text, status: 255)
    }
}
