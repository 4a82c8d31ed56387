import Glibc

/// What went wrong with a run's directory or process, for the person who reads it.
public struct GuardError: Error, Hashable, CustomStringConvertible {
    /// What happened, on what, and what to do.
    public let description: String

    init(_ description: String) {
        self.description = description
    }

    /// The failure of a system call, as in "cannot write /var/…/exit: No space left on device".
    init(cannot action: String, _ subject: String, _ error: CInt = errno) {
        description = "cannot \(action) \(subject): \(systemMessage(error))"
    }
}

/// The system's words for an error number.
func systemMessage(_ error: CInt) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        buffer.initialize(repeating: 0)
        guard let base = buffer.baseAddress, strerror_r(error, base, buffer.count) == 0 else { return "error \(error)" }
        return String(cString: base)
    }
}
