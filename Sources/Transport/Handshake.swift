import NIOCore
import Raft

/// What a connection is for. Raw values are the protocol's.
enum ConnectionKind: UInt8 {
    /// Messages from the dialler, for as long as both live.
    case stream = 1
    /// One question, who the cluster is, and one answer.
    case query = 2
    /// One snapshot, from the dialler.
    case snapshot = 3
}

/// Why a connection was refused by the member that was dialled.
public struct HandshakeRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// Raw values are the protocol's. A code of a later version reads as `other`; its text still says what it is.
    public enum Reason: UInt8, Sendable {
        case clusterMismatch = 1
        case wrongMember = 2
        case noCommonVersion = 3
        case unknownKind = 4
        case notReady = 5
        case other = 255
    }
    public var reason: Reason
    public var text: String

    init(_ reason: Reason, _ text: String) {
        self.reason = reason
        self.text = text
    }

    public var description: String { text }
}

/// The dialler's first bytes:
///
///     "gulppeer"   length u16   version u16   lowest version u16   cluster u64   from u64   to u64   kind u8
///
/// The length covers what follows it; bytes past the known fields belong to a later version and are passed over.
struct Hello: Equatable {
    var version = PeerProtocol.version
    var lowestVersion = PeerProtocol.lowestVersion
    /// 0 while the dialler does not know its cluster.
    var clusterID: UInt64
    var from: MemberID
    var to: MemberID
    /// A `ConnectionKind`, or something a later version knows.
    var kind: UInt8

    init(clusterID: UInt64, from: MemberID, to: MemberID, kind: ConnectionKind) {
        self.clusterID = clusterID
        self.from = from
        self.to = to
        self.kind = kind.rawValue
    }

    func encode(into buffer: inout ByteBuffer) {
        HandshakeCodec.write(into: &buffer) {
            $0.writeMultipleIntegers(version, lowestVersion, clusterID, from.rawValue, to.rawValue, kind)
        }
    }

    /// Takes a hello off `buffer`; nil while it has not arrived.
    static func decode(_ buffer: inout ByteBuffer) throws(WireError) -> Hello? {
        guard var reader = try HandshakeCodec.read(&buffer) else { return nil }
        let version: UInt16 = try reader.integer("version")
        let lowestVersion: UInt16 = try reader.integer("lowest version")
        let clusterID: UInt64 = try reader.integer("cluster id")
        let from = MemberID(try reader.integer("from"))
        var hello = Hello(
            clusterID: clusterID, from: from, to: MemberID(try reader.integer("to")), kind: .stream)
        hello.kind = try reader.integer("kind")
        hello.version = version
        hello.lowestVersion = lowestVersion
        return hello
    }

    /// Whether a member that is `identity` takes this connection, and as what.
    ///
    /// A query names neither a cluster nor a member: its sender knows neither.
    func accepted(by identity: PeerTransport.Identity) -> Result<ConnectionKind, HandshakeRefusal> {
        guard version >= PeerProtocol.lowestVersion, lowestVersion <= PeerProtocol.version else {
            return .failure(
                HandshakeRefusal(
                    .noCommonVersion,
                    "no common version of the peer protocol: here \(PeerProtocol.lowestVersion) to \(PeerProtocol.version), "
                        + "there \(lowestVersion) to \(version)"))
        }
        guard let kind = ConnectionKind(rawValue: self.kind) else {
            return .failure(HandshakeRefusal(.unknownKind, "unknown kind of connection \(self.kind)"))
        }
        if kind == .query && clusterID == 0 { return .success(kind) }
        guard clusterID == identity.clusterID else {
            return .failure(
                HandshakeRefusal(
                    .clusterMismatch,
                    "cluster id mismatch: member \(hex(identity.memberID)) is of cluster \(hex(identity.clusterID)), "
                        + "the dialler of \(hex(clusterID))"))
        }
        guard to == identity.memberID else {
            return .failure(
                HandshakeRefusal(
                    .wrongMember, "wrong member: this is \(hex(identity.memberID)), not \(hex(to)); check its peer URL")
            )
        }
        guard from != identity.memberID, from != .none else {
            return .failure(
                HandshakeRefusal(
                    .wrongMember, "wrong member: the dialler claims to be \(hex(from)), which it cannot be"))
        }
        return .success(kind)
    }
}

/// The answer to a `Hello`:
///
///     "gulppeer"   length u16   version u16   lowest version u16   cluster u64   member u64   outcome u8   text
struct Welcome: Equatable {
    var version = PeerProtocol.version
    var lowestVersion = PeerProtocol.lowestVersion
    var clusterID: UInt64
    var member: MemberID
    /// nil when the connection stands.
    var refusal: HandshakeRefusal?

    func encode(into buffer: inout ByteBuffer) {
        HandshakeCodec.write(into: &buffer) {
            $0.writeMultipleIntegers(version, lowestVersion, clusterID, member.rawValue)
            $0.writeInteger(refusal?.reason.rawValue ?? 0)
            $0.writeString(String(refusal?.text.prefix(512) ?? ""))
        }
    }

    /// Takes a welcome off `buffer`; nil while it has not arrived.
    static func decode(_ buffer: inout ByteBuffer) throws(WireError) -> Welcome? {
        guard var reader = try HandshakeCodec.read(&buffer) else { return nil }
        let version: UInt16 = try reader.integer("version")
        let lowestVersion: UInt16 = try reader.integer("lowest version")
        var welcome = Welcome(
            version: version, lowestVersion: lowestVersion, clusterID: try reader.integer("cluster id"),
            member: MemberID(try reader.integer("member")))
        let outcome: UInt8 = try reader.integer("outcome")
        if outcome != 0 {
            welcome.refusal = HandshakeRefusal(
                HandshakeRefusal.Reason(rawValue: outcome) ?? .other,
                String(decoding: reader.remainder(), as: UTF8.self))
        }
        return welcome
    }

    /// Why the dialler, which sent `hello`, does not go on; nil when it does.
    func objection(to hello: Hello) -> HandshakeRefusal? {
        if let refusal { return refusal }
        if version < PeerProtocol.lowestVersion || lowestVersion > PeerProtocol.version {
            return HandshakeRefusal(.noCommonVersion, "no common version of the peer protocol: there \(version)")
        }
        if hello.clusterID != 0 && clusterID != hello.clusterID {
            return HandshakeRefusal(
                .clusterMismatch,
                "cluster id mismatch: \(hex(member)) answers for cluster \(hex(clusterID)), not \(hex(hello.clusterID))"
            )
        }
        if hello.to != .none && member != hello.to {
            return HandshakeRefusal(.wrongMember, "wrong member: \(hex(member)) answers instead of \(hex(hello.to))")
        }
        return nil
    }
}

/// What both halves of the handshake share: the magic that tells a peer from anything else that connects, and a length.
private enum HandshakeCodec {
    static let magic = Array("gulppeer".utf8)
    static let maxBytes = 1024

    static func write(into buffer: inout ByteBuffer, _ body: (inout ByteBuffer) -> Void) {
        buffer.writeBytes(magic)
        let lengthIndex = buffer.writerIndex
        buffer.writeInteger(UInt16(0))
        body(&buffer)
        buffer.setInteger(UInt16(buffer.writerIndex - lengthIndex - 2), at: lengthIndex)
    }

    static func read(_ buffer: inout ByteBuffer) throws(WireError) -> WireReader? {
        // Refused at the first wrong byte, so that whoever speaks something else need not be waited for.
        guard buffer.readableBytesView.prefix(magic.count).elementsEqual(magic.prefix(buffer.readableBytes)) else {
            throw WireError("not a peer: the first bytes are not those of the peer protocol")
        }
        guard let length: UInt16 = buffer.getInteger(at: buffer.readerIndex + magic.count) else { return nil }
        guard length <= maxBytes else {
            throw WireError("a handshake of \(length) bytes, over the limit of \(maxBytes)")
        }
        guard buffer.readableBytes >= magic.count + 2 + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: magic.count + 2)
        guard let body = buffer.readSlice(length: Int(length)) else { return nil }
        return WireReader(body)
    }
}

/// Ids as they are written everywhere: lower-case hexadecimal.
func hex(_ id: UInt64) -> String { String(id, radix: 16) }
func hex(_ id: MemberID) -> String { hex(id.rawValue) }
