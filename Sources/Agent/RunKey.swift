import Guard
import LaunchModel

/// Names one run on this node: the instance, the token of its assignment, and which attempt it is, counted from 1.
struct RunKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    var instance: InstanceID
    var token: Int64
    var attempt: Int

    /// `TOKEN.ATTEMPT`: the name of its directory within the instance's.
    var directoryName: String { "\(token).\(attempt)" }

    var description: String { "\(instance)/\(directoryName)" }

    init(_ instance: InstanceID, token: Int64, attempt: Int) {
        self.instance = instance
        self.token = token
        self.attempt = attempt
    }

    /// nil for a name that is no run's directory.
    init?(_ instance: InstanceID, directoryName: some StringProtocol) {
        let parts = directoryName.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let token = Int64(parts[0]), let attempt = Int(parts[1]), token > 0, attempt > 0,
            directoryName == "\(token).\(attempt)"
        else { return nil }
        self.init(instance, token: token, attempt: attempt)
    }

    static func < (a: Self, b: Self) -> Bool {
        (a.instance, a.token, a.attempt) < (b.instance, b.token, b.attempt)
    }
}

/// A moment on the two clocks that matter here: intervals are measured on one that nobody sets, and people are told the
/// other.
struct Now: Sendable {
    var boot: BootTime
    var wall: Timestamp

    static var current: Now { Now(boot: .now, wall: .now) }
}
