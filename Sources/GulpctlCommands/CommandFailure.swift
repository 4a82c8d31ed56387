import EtcdClient
import GRPC

/// The exit statuses of etcdctl.
enum ExitStatus: Int32, Sendable {
    case success = 0
    /// The server refused, or could not be reached in time.
    case error = 1
    /// No connection could even be tried.
    case badConnection = 2
    /// What was read from standard input is no command.
    case invalidInput = 3
    /// The command cannot do that.
    case badFeature = 4
    /// A watch ended without being asked to.
    case interrupted = 5
    /// The arguments contradict each other or are too many or few.
    case badArguments = 128
}

/// Why a command ends: what stands after `Error: `, and the exit status.
struct CommandFailure: Error, Equatable {
    var text: String
    var status: ExitStatus

    init(_ text: String, _ status: ExitStatus) {
        self.text = text
        self.status = status
    }

    init(_ error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as RPCError: self.init(error.commandText, .error)
        case let error as EtcdError: self.init(RPCError(error.code, error.message).commandText, .error)
        case is CancellationError: self.init("context canceled", .error)
        default: self.init("\(error)", .error)
        }
    }
}

/// A program that we ran ended badly; we end with its status.
struct ChildFailure: Error, Equatable {
    var text: String
    var status: Int32
}

/// A command line that cannot be read; shown with the way to the help.
struct UsageFailure: Error {
    var text: String
    /// The command that prints the help meant.
    var help: String
}

extension RPCError {
    /// The error as etcdctl prints it: the store's own errors by their text alone, others with their gRPC code.
    var commandText: String {
        if message.hasPrefix("etcdserver: ") { return message }
        return code == .deadlineExceeded ? "context deadline exceeded" : description
    }
}
