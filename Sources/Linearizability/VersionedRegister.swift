/// One key of a store that counts its writes: since it was created (version) and over the whole store (revision).
///
/// The store's revisions grow with writes to other keys, too, so one key's history has gaps in them; the versions have none.
/// To check many keys, give each one's operations to a model of its own (`checkLinearizability(of:by:against:)`).
public struct VersionedRegister: SequentialModel, Sendable {
    public enum Call: Sendable, Hashable {
        case get
        case put(UInt64)
        case delete
        /// Put if the key was last written at this revision; 0: if there is none.
        case putIf(modRevision: Int64, UInt64)
    }

    public enum Answer: Sendable, Hashable {
        case found(value: UInt64, version: Int64, modRevision: Int64)
        case absent
        /// At which revision.
        case put(Int64)
        /// At which revision; nil: there was nothing to delete.
        case deleted(Int64?)
        /// A `putIf` whose condition did not hold.
        case refused
    }

    public struct State: Sendable, Hashable {
        public var value: UInt64 = 0
        /// 0: there is no such key.
        public var version: Int64 = 0
        /// nil: by a write nobody was answered about.
        public var modRevision: Int64? = 0
        /// Of the last write or deletion that is known.
        var knownRevision: Int64 = 0
    }

    public init() {}

    public var initialState: State { State() }

    public func apply(_ call: Call, answered answer: Answer?, to state: State) -> State? {
        switch (call, answer) {
        case (.get, nil):
            return state
        case (.get, .absent):
            return state.version == 0 ? state : nil
        case (.get, .found(let value, let version, let revision)):
            guard state.version == version, state.value == value, version > 0 else { return nil }
            return learning(revision, state)
        case (.put(let value), nil):
            return put(value, at: nil, state)
        case (.put(let value), .put(let revision)):
            return put(value, at: revision, state)
        case (.delete, nil):
            return state.version == 0 ? state : deleted(at: nil, state)
        case (.delete, .deleted(nil)):
            return state.version == 0 ? state : nil
        case (.delete, .deleted(let revision)):
            return state.version > 0 ? deleted(at: revision, state) : nil
        case (.putIf(let expected, let value), nil):
            // An unknown revision may be the expected one, unless something later is known.
            guard mayBe(expected, state) else { return state }
            return put(value, at: nil, state)
        case (.putIf(let expected, let value), .put(let revision)):
            guard mayBe(expected, state), expected < revision else { return nil }
            return put(value, at: revision, state)
        case (.putIf(let expected, _), .refused):
            return state.modRevision == expected ? nil : state
        default:
            return nil
        }
    }

    /// A `get` may teach a revision that nobody was told of.
    public func changesNothing(_ call: Call, answered answer: Answer) -> Bool {
        switch answer {
        case .absent, .deleted(nil), .refused: true
        case .found, .put, .deleted: false
        }
    }

    public func ceiling(of call: Call, answered answer: Answer) -> Int64? {
        switch answer {
        case .found(_, _, let revision): revision
        case .put(let revision), .deleted(let revision?): revision - 1
        case .absent, .deleted(nil), .refused: nil
        }
    }

    public func position(of state: State) -> Int64 { state.knownRevision }

    private func mayBe(_ revision: Int64, _ state: State) -> Bool {
        if let known = state.modRevision { return known == revision }
        return revision > state.knownRevision
    }

    private func learning(_ revision: Int64, _ state: State) -> State? {
        guard mayBe(revision, state) else { return nil }
        var state = state
        state.modRevision = revision
        state.knownRevision = revision
        return state
    }

    private func put(_ value: UInt64, at revision: Int64?, _ state: State) -> State? {
        if let revision, revision <= state.knownRevision { return nil }
        return State(
            value: value, version: state.version + 1, modRevision: revision,
            knownRevision: revision ?? state.knownRevision)
    }

    private func deleted(at revision: Int64?, _ state: State) -> State? {
        if let revision, revision <= state.knownRevision { return nil }
        return State(value: 0, version: 0, modRevision: 0, knownRevision: revision ?? state.knownRevision)
    }
}
