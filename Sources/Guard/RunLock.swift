import CGuard

/// The lock of a run's directory, held. Letting go of it unlocks.
struct RunLock: ~Copyable, Sendable {
    private let file: Descriptor

    /// Takes over a descriptor that holds the lock.
    init(_ file: consuming Descriptor) {
        self.file = file
    }

    deinit {
        // Closing is not enough: another thread that starts a process may have a copy of the descriptor for a moment.
        if !isHandedOver { _ = cguard_unlock(file.number) }
    }

    /// To be inherited by a guard.
    var number: CInt { file.number }

    /// A guard has inherited it: from now on it is held as long as that lives.
    var isHandedOver = false
}
