/// Why a call was refused. Nothing here means that the node is damaged: it stays usable.
public enum RaftError: Error, Equatable, Sendable {
    /// Why a proposal did not enter the log. Each is temporary; the proposer may try again.
    public enum DropReason: Equatable, Sendable {
        /// No leader is known (or this member is a candidate).
        case noLeader
        /// Leadership is being handed over; the next leader will take proposals.
        case transferring
        /// The leader has been removed from the configuration.
        case notMember
        /// `maxUncommittedBytes` of proposals already wait to be committed.
        case tooMuchUncommitted
        /// This member is a follower and may not forward.
        case forwardingDisabled
    }
    /// Why a member may not start an election.
    public enum CampaignRefusal: Equatable, Sendable {
        /// It is a learner or no member of its own configuration.
        case notVoter
        /// It is installing a snapshot, its log is incomplete until then.
        case installingSnapshot
        /// A committed membership change is not applied yet: it would count the wrong majority.
        case unappliedConfChange
        /// Reads are answered by leases, and this member has heard from a leader within an election timeout.
        case leaseHeld
    }
    case proposalDropped(DropReason)
    case cannotCampaign(CampaignRefusal)
    /// A message of a kind that members only send to themselves came from outside.
    case localMessage(Message.Kind)
    /// A response from someone who is not in the configuration.
    case unknownSender(MemberID)
    /// A message that is inconsistent in itself or with what this member durably knows.
    case invalidMessage(Message.Kind, from: MemberID, reason: String)
    /// A membership change's payload could not be decoded.
    case malformedConfChange(reason: String)
    case invalidConfiguration(reason: String)
    /// The state read from disk contradicts itself.
    case invalidInitialState(reason: String)
}

extension RaftError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .proposalDropped(let reason): "proposal dropped: \(reason.explanation)"
        case .cannotCampaign(let reason): "cannot campaign: \(reason.explanation)"
        case .localMessage(let kind): "a message of the local kind \(kind) came from outside"
        case .unknownSender(let member): "response from \(member), who is not in the configuration"
        case .invalidMessage(let kind, let from, let reason): "invalid \(kind) message from \(from): \(reason)"
        case .malformedConfChange(let reason): "malformed membership change: \(reason)"
        case .invalidConfiguration(let reason): "invalid consensus configuration: \(reason)"
        case .invalidInitialState(let reason): "the consensus state is inconsistent: \(reason)"
        }
    }
}

extension RaftError.DropReason {
    fileprivate var explanation: String {
        switch self {
        case .noLeader: "no leader is known; try again when one is elected"
        case .transferring: "leadership is being handed over; try again at the next leader"
        case .notMember: "this leader has been removed from the cluster; propose at a member"
        case .tooMuchUncommitted: "as much as maxUncommittedBytes allows waits to be committed; try again later"
        case .forwardingDisabled:
            "this member does not lead and disableProposalForwarding is set; propose at the leader"
        }
    }
}

extension RaftError.CampaignRefusal {
    fileprivate var explanation: String {
        switch self {
        case .notVoter: "this member is no voter in its configuration"
        case .installingSnapshot: "a snapshot is being installed, until then the log is incomplete"
        case .unappliedConfChange: "a committed membership change is not applied yet"
        case .leaseHeld: "a leader that answers reads by lease was heard within an election timeout"
        }
    }
}
