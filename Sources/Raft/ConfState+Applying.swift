extension ConfState {
    /// The configuration after `change`, for whoever applies the log beside the node: the same outcome as
    /// ``RaftNode/applyConfChange(_:)-(ConfChangeV2)``. A change that does not fit changes nothing, on every member alike.
    /// - Throws: `.invalidConfiguration` when this configuration contradicts itself.
    public func applying(_ change: ConfChangeV2) throws(RaftError) -> ConfState {
        var membership = Membership(progress: ProgressTable(maxInflightMessages: 1, maxInflightBytes: 0))
        membership.restore(try ClusterConfiguration(self), lastIndex: .zero)
        guard let new = try? membership.applying(change, lastIndex: .zero) else { return self }
        return new.configuration.confState
    }
}
