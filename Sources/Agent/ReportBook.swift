import Guard
import LaunchModel

/// Which reports lie in the store under the present lease, and which are to be written next.
///
/// A report is written when it changed: at once if its state did, else at most once a second. So a component that
/// talks much, or ends and is started in a loop, costs bounded writes.
struct ReportBook: Sendable {
    /// One step of a transaction.
    enum Write: Hashable, Sendable {
        case put(InstanceID, Report)
        case delete(InstanceID)
    }

    /// As many steps as any store allows in one transaction (etcd: 128).
    static let mostWrites = 100
    /// So that a transaction stays far below what a store accepts (etcd: 1.5 MiB).
    static let mostBytes = 512 << 10
    /// The shortest time between two writes of a report whose state has not changed.
    static let shortestInterval: Duration = .seconds(1)

    private var written: [InstanceID: (report: Report?, at: BootTime)] = [:]

    /// Begins under a registration.
    ///
    /// - Parameter stored: what was read after it: what lies there under this lease, and (nil) all else.
    mutating func begin(_ stored: [InstanceID: Report?]) {
        written = stored.mapValues { ($0, BootTime(nanoseconds: 0)) }
    }

    /// What to write now (each key once, in order), and when to ask again although nothing has happened.
    func due(_ wanted: [InstanceID: Report], _ now: BootTime) -> (writes: [Write], askAgain: BootTime?) {
        var writes: [Write] = []
        var bytes = 0
        var askAgain: BootTime?
        for instance in Set(written.keys).union(wanted.keys).sorted() {
            guard writes.count < Self.mostWrites, bytes < Self.mostBytes else { return (writes, now) }
            guard let report = wanted[instance] else {
                writes.append(.delete(instance))
                continue
            }
            if let (last, at) = written[instance], let last {
                if last == report { continue }
                let isChangeOfState =
                    (last.state, last.token, last.generation) != (report.state, report.token, report.generation)
                let allowed = at + Self.shortestInterval
                if !isChangeOfState, allowed > now {
                    askAgain = min(askAgain ?? allowed, allowed)
                    continue
                }
            }
            writes.append(.put(instance, report))
            bytes += report.json.count
        }
        return (writes, askAgain)
    }

    /// The writes are in the store.
    mutating func done(_ writes: [Write], _ now: BootTime) {
        for write in writes {
            switch write {
            case .put(let instance, let report): written[instance] = (report, now)
            case .delete(let instance): written[instance] = nil
            }
        }
    }
}
