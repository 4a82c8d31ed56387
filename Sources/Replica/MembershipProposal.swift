/// One change of the list of members.
public enum MemberListChange: Sendable, Equatable {
    /// A member that was never one before; a learner or a voter as its attributes say.
    case add(MemberAttributes)
    /// A learner becomes a voter. To be proposed on the leader, which alone knows whether it has caught up.
    case promote(MemberID)
    /// A voter becomes a learner.
    case demote(MemberID)
    /// For good: its id is never used again.
    case remove(MemberID)
    case update(MemberID, peerURLs: [String])
}

/// A change of the members on its way into the log, where it is the context of a configuration change: what consensus
/// needs stands in that change, what the list of members needs in here.
public struct MembershipProposal: Sendable, Equatable {
    public var requestID: RequestID
    /// As in ``Proposal``.
    public var user: String
    public var authRevision: UInt64
    /// One is a simple change; several are made at once, through a joint configuration. (Dissertation, 4.3.)
    public var changes: [MemberListChange]

    public init(requestID: RequestID, user: String = "", authRevision: UInt64 = 0, changes: [MemberListChange]) {
        precondition(!changes.isEmpty && changes.count <= Int(UInt16.max), "a proposal changes something, and not all")
        self.requestID = requestID
        self.user = user
        self.authRevision = authRevision
        self.changes = changes
    }

    /// The learners that are to become voters.
    var promoted: [MemberID] {
        changes.compactMap { if case .promote(let member) = $0 { member } else { nil } }
    }

    /// What consensus is asked for.
    func confChange(origin: MemberID) -> ConfChangeV2 {
        let proposal = Proposal(
            origin: origin, requestID: requestID, user: user, authRevision: authRevision, command: .members(changes))
        return ConfChangeV2(changes: changes.map(\.memberChange), context: proposal.encoded())
    }
}

/// Why a change of the members changed nothing. `message` is etcd's text on the wire where etcd has the case.
public enum MembershipError: Error, Sendable, Equatable, Hashable {
    case memberExists
    case memberNotFound
    /// Its id was removed once; a member that comes back does so under a new one.
    case memberRemoved
    case peerURLExists
    case notLearner
    /// Only a voter can be demoted.
    case notVoter
    /// Nobody would be left to vote.
    case noVoters
    /// A change of several members is not finished yet.
    case inTransition

    public var message: String {
        switch self {
        case .memberExists: "etcdserver: member ID already exist"
        case .memberNotFound: "etcdserver: member not found"
        case .memberRemoved: "etcdserver: the member has been permanently removed from the cluster"
        case .peerURLExists: "etcdserver: Peer URLs already exists"
        case .notLearner: "etcdserver: can only promote a learner member"
        case .notVoter: "etcdserver: can only demote a voting member"
        case .noVoters: "etcdserver: re-configuration failed due to not enough started members"
        case .inTransition: "etcdserver: another change of the members is not finished"
        }
    }
}

extension MemberListChange {
    var memberChange: MemberChange {
        switch self {
        case .add(let member): MemberChange(member.isLearner ? .addLearner : .addVoter, member.id)
        case .promote(let id): MemberChange(.addVoter, id)
        case .demote(let id): MemberChange(.addLearner, id)
        case .remove(let id): MemberChange(.remove, id)
        case .update(let id, _): MemberChange(.update, id)
        }
    }

    private enum Kind: UInt8 {
        case add = 1
        case promote, demote, remove, update
    }

    /// Kind (1), then the member's attributes, or its id (8) and for an update the list of URLs.
    func encode(into out: inout [UInt8]) {
        func begin(_ kind: Kind, _ id: MemberID) {
            out.append(kind.rawValue)
            out.appendInteger(id.rawValue)
        }
        switch self {
        case .add(let member):
            out.append(Kind.add.rawValue)
            member.encode(into: &out)
        case .promote(let id): begin(.promote, id)
        case .demote(let id): begin(.demote, id)
        case .remove(let id): begin(.remove, id)
        case .update(let id, let peerURLs):
            begin(.update, id)
            out.appendTexts(peerURLs)
        }
    }

    init(decoding reader: inout ByteReader) throws {
        let byte = try reader.integer(UInt8.self)
        switch Kind(rawValue: byte) {
        case .add: self = .add(try MemberAttributes(decoding: &reader))
        case .promote: self = .promote(MemberID(try reader.integer(UInt64.self)))
        case .demote: self = .demote(MemberID(try reader.integer(UInt64.self)))
        case .remove: self = .remove(MemberID(try reader.integer(UInt64.self)))
        case .update: self = .update(MemberID(try reader.integer(UInt64.self)), peerURLs: try reader.texts())
        case nil: throw ProposalError.unknownCommand(byte)
        }
    }
}
