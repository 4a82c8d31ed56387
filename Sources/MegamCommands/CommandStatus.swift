import EtcdClient

/// How a command went, for scripts.
enum CommandStatus: Int32, Sendable {
    case done = 0
    /// There is no such thing, the store refused it, an agent cannot be reached …
    case failed = 1
    /// The command line or the assembly's file is wrong; nothing was done.
    case usage = 2
    /// The assembly is in `preerror` or `posterror`.
    case assemblyError = 3
    /// It did not come to pass within --wait-timeout.
    case timedOut = 4
    case storeUnreachable = 5

    static let help = """
        Exit codes:
          0  done
          1  failed: not found, exists, refused, an agent out of reach
          2  the command line or the file is wrong; nothing was done
          3  the assembly is in an error state (preerror, posterror)
          4  not reached within --wait-timeout
          5  the store cannot be reached
          130  ended by Ctrl-C
        """
}

/// Why a command ends, in one line for people.
struct CommandFailure: Error {
    var status: CommandStatus
    var text: String

    init(_ status: CommandStatus, _ text: String) {
        self.status = status
        self.text = text
    }

    init(_ error: EtcdError) {
        let doubt = error.mayHaveBeenExecuted ? "; it may have been done all the same, look before you repeat it" : ""
        switch error.code {
        case .unavailable, .deadlineExceeded:
            self.init(
                .storeUnreachable,
                "the store cannot be reached: \(error.message)\(doubt); is gulpd running, and --endpoints right?")
        case .invalidArgument where error.reason == .requestTooLarge:
            self.init(.failed, "the store refuses a record of this size; make the assembly smaller")
        default: self.init(.failed, "the store refused: \(error.message)\(doubt)")
        }
    }
}
