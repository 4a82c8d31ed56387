import GRPC
import Replica

/// What a member asks of the leader over the peer connection: the leases' remaining time is only there.
/// Layout, little-endian: format byte (1), kind (1), lease id (8).
struct LeaderQuestion: Sendable, Equatable {
    enum Kind: UInt8, Sendable {
        case keepAlive = 1
        case timeToLive = 2
        case timeToLiveWithKeys = 3
    }
    var kind: Kind
    var lease: Int64

    init?(_ operation: ReadOperation) {
        switch operation {
        case .leaseKeepAlive(let lease): (kind, self.lease) = (.keepAlive, lease)
        case .leaseTimeToLive(let lease, let withKeys):
            (kind, self.lease) = (withKeys ? .timeToLiveWithKeys : .timeToLive, lease)
        default: return nil
        }
    }

    var operation: ReadOperation {
        switch kind {
        case .keepAlive: .leaseKeepAlive(lease)
        case .timeToLive: .leaseTimeToLive(lease, withKeys: false)
        case .timeToLiveWithKeys: .leaseTimeToLive(lease, withKeys: true)
        }
    }

    func encoded() -> [UInt8] {
        var out: [UInt8] = [1, kind.rawValue]
        out.appendInteger(lease)
        return out
    }

    /// nil when the bytes are not a question of this version.
    init?(decoding bytes: [UInt8]) {
        var reader = PeerReader(bytes)
        guard reader.byte() == 1, let kind = reader.byte().flatMap(Kind.init), let lease = reader.integer() else {
            return nil
        }
        self.kind = kind
        self.lease = lease
    }
}

/// The leader's answer.
/// Layout, little-endian: format byte (1), kind (1); then what the kind has.
enum LeaderAnswer: Sendable {
    case notLeader
    case answer(LoopAnswer.Body, revision: Int64)

    func encoded() -> [UInt8] {
        var out: [UInt8] = [1]
        switch self {
        case .answer(.keepAlive(let ttl), let revision):
            out.append(2)
            out.appendInteger(revision)
            out.appendInteger(ttl ?? -1)
        case .answer(.timeToLive(let lease), let revision):
            out.append(3)
            out.appendInteger(revision)
            out.append(lease == nil ? 0 : 1)
            if let lease {
                out.appendInteger(lease.id)
                out.appendInteger(lease.ttl)
                out.appendInteger(lease.grantedTTL)
                out.appendInteger(Int64(lease.keys.count))
                for key in lease.keys {
                    out.appendInteger(Int64(key.count))
                    out.append(contentsOf: key)
                }
            }
        case .notLeader, .answer:
            out.append(1)
        }
        return out
    }

    /// nil when the bytes are not an answer of this version.
    init?(decoding bytes: [UInt8]) {
        var reader = PeerReader(bytes)
        guard reader.byte() == 1, let kind = reader.byte() else { return nil }
        switch kind {
        case 1: self = .notLeader
        case 2:
            guard let revision = reader.integer(), let ttl = reader.integer() else { return nil }
            self = .answer(.keepAlive(ttl < 0 ? nil : ttl), revision: revision)
        case 3:
            guard let revision = reader.integer(), let exists = reader.byte() else { return nil }
            guard exists == 1 else {
                self = .answer(.timeToLive(nil), revision: revision)
                return
            }
            guard let id = reader.integer(), let ttl = reader.integer(), let granted = reader.integer(),
                let count = reader.integer()
            else { return nil }
            var keys: [[UInt8]] = []
            for _ in 0..<max(0, count) {
                guard let length = reader.integer(), let key = reader.bytes(length) else { return nil }
                keys.append(key)
            }
            self = .answer(
                .timeToLive(LeaseTimeToLive(id: id, ttl: ttl, grantedTTL: granted, keys: keys)), revision: revision)
        default: return nil
        }
    }
}

extension [UInt8] {
    fileprivate mutating func appendInteger(_ value: Int64) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}

/// Reads what another member wrote, trusting none of it.
private struct PeerReader {
    private var rest: ArraySlice<UInt8>
    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func byte() -> UInt8? { rest.popFirst() }

    mutating func integer() -> Int64? {
        guard let bytes = bytes(8) else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | Int64($1) }
    }

    mutating func bytes(_ count: Int64) -> [UInt8]? {
        guard count >= 0, count <= Int64(rest.count) else { return nil }
        defer { rest = rest.dropFirst(Int(count)) }
        return Array(rest.prefix(Int(count)))
    }
}
