import LaunchModel

/// One transaction that the planner wants: it holds only if nothing it was decided on has changed.
///
/// Every step may be sent twice: each compares a key that it also writes, so that the second finds its compares failed.
/// Two steps about one assembly exclude each other, since both write its record and compare its revision.
public struct Step: Sendable, Hashable {
    /// What it is about. There is at most one step about each on its way.
    public enum Subject: Sendable, Hashable, CustomStringConvertible {
        case status
        case node(String)
        case assembly(String)

        public var description: String {
            switch self {
            case .status: "engine"
            case .node(let name): "node \(name)"
            case .assembly(let name): name
            }
        }
    }

    /// A key's mod revision; 0: there is no such key.
    public struct Compare: Sendable, Hashable {
        public var key: String
        public var modRevision: Int64
    }

    public struct Put: Sendable, Hashable {
        public var key: String
        public var value: [UInt8]
    }

    /// What is deleted in one operation.
    public enum Span: Sendable, Hashable {
        case key(String)
        /// An assembly's events with these sequence numbers.
        case events(String, Range<Int>)
        /// Everything under an assembly's prefix.
        case assembly(String)
    }

    public var subject: Subject
    public var compares: [Compare] = []
    public var puts: [Put] = []
    public var deletes: [Span] = []
    /// What the new assignments take of their nodes, for as long as it is unknown whether they were written; those that
    /// are left for the assembly's next steps, too.
    public var reservations: [Reservation] = []

    /// What happens with it, in sentences, for the log.
    public var story: [String] = []

    public init(_ subject: Subject) { self.subject = subject }

    var deletesAssignments: Bool {
        deletes.contains { span in
            guard case .key(let key) = span, case .assignment = Place(key: Array(key.utf8)) else { return false }
            return true
        }
    }

    /// A place that an instance would take.
    public struct Reservation: Sendable, Hashable {
        public var node: String
        public var instance: InstanceID
        public var resources: Resources
    }

    /// The most operations, and compares, of one step. The stores' own limit is 128.
    public static let maximumOperations = 100
    /// The most bytes of values of one step with several changes. The stores' own limit is 1.5 MiB.
    static let maximumBytes = 512 << 10
}
