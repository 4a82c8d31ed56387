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
        case .proposalDropped(let reason): "proposal dropped: \(reason)"
        case .cannotCampaign(let reason): "cannot campaign: \(reason)"
        case .localMessage(let kind): "a message of the local kind \(kind) came from outside"
        case .unknownSender(let member): "response from \(member), who is not in the configuration"
        case .invalidMessage(let kind, let from, let reason): "invalid \(kind) message from \(from): \(reason)"
        case .malformedConfChange(let reason): "malformed membership change: \(reason)"
        case .invalidConfiguration(let reason): "invalid consensus configuration: \(reason)"
        case .invalidInitialState(let reason): "the consensus state is inconsistent: \(reason)"
        }
    }
}
