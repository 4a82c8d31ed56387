/// Identifies a request among all that one member has proposed, across its restarts.
public struct RequestID: Hashable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// How a member presents itself to clients; published through the log once it serves.
public struct MemberAttributes: Sendable, Equatable {
    public var id: MemberID
    public var name: String
    public var peerURLs: [String]
    public var clientURLs: [String]
    public var isLearner: Bool
    public init(id: MemberID, name: String, peerURLs: [String], clientURLs: [String], isLearner: Bool = false) {
        self.id = id
        self.name = name
        self.peerURLs = peerURLs
        self.clientURLs = clientURLs
        self.isLearner = isLearner
    }
}

/// What a log entry asks the state to do.
public enum ReplicatedCommand: Sendable {
    case store(StoreCommand)
    /// Name and client URLs of a member that is in the configuration already.
    case publish(MemberAttributes)
    /// The context of a configuration change; stands in no normal entry.
    case members([MemberListChange])
}

/// The payload of a normal log entry: who asked, under which authority, for what.
///
/// Layout, little-endian: format byte (1), origin member (8), request id (8), auth revision (8),
/// length of the user's name (2) and the name, the command's kind (1), the command.
public struct Proposal: Sendable {
    /// The member whose client asked; only there is somebody waiting for the answer.
    public var origin: MemberID
    public var requestID: RequestID
    /// The caller and the revision of the auth store that admitted it; checked again at apply,
    /// since permissions may have changed in between. Empty and zero while auth is off.
    public var user: String
    public var authRevision: UInt64
    public var command: ReplicatedCommand

    public init(
        origin: MemberID, requestID: RequestID, user: String = "", authRevision: UInt64 = 0, command: ReplicatedCommand
    ) {
        self.origin = origin
        self.requestID = requestID
        self.user = user
        self.authRevision = authRevision
        self.command = command
    }

    static let format: UInt8 = 1
    private enum CommandKind: UInt8 {
        case store = 1
        case publish = 2
        case members = 3
    }

    /// The entry's payload. A user's name longer than 65,535 bytes of UTF-8 is cut by no one: auth refuses it earlier.
    public func encoded() -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(64)
        encode(into: &out)
        return out
    }

    public func encode(into out: inout [UInt8]) {
        out.append(Proposal.format)
        out.appendInteger(origin.rawValue)
        out.appendInteger(requestID.rawValue)
        out.appendInteger(authRevision)
        let name = user.utf8
        precondition(name.count <= Int(UInt16.max), "a user's name is bounded before it is proposed")
        out.appendInteger(UInt16(name.count))
        out.append(contentsOf: name)
        switch command {
        case .store(let command):
            out.append(CommandKind.store.rawValue)
            command.encode(into: &out)
        case .publish(let member):
            out.append(CommandKind.publish.rawValue)
            member.encode(into: &out)
        case .members(let changes):
            out.append(CommandKind.members.rawValue)
            out.appendInteger(UInt16(changes.count))
            for change in changes { change.encode(into: &out) }
        }
    }

    /// Reads a payload that came from the log or from another member.
    /// - Throws: ``ProposalError`` when the bytes are not a proposal of a known format.
    public init(decoding bytes: [UInt8]) throws {
        var reader = ByteReader(bytes)
        let format = try reader.integer(UInt8.self)
        guard format == Proposal.format else { throw ProposalError.unknownFormat(format) }
        origin = MemberID(try reader.integer(UInt64.self))
        requestID = RequestID(try reader.integer(UInt64.self))
        authRevision = try reader.integer(UInt64.self)
        user = try reader.string(Int(reader.integer(UInt16.self)))
        let kind = try reader.integer(UInt8.self)
        switch CommandKind(rawValue: kind) {
        case .store: command = .store(try StoreCommand(decoding: bytes[reader.position...]))
        case .publish: command = .publish(try MemberAttributes(decoding: &reader))
        case .members:
            let count = try reader.integer(UInt16.self)
            command = .members(try (0..<count).map { _ in try MemberListChange(decoding: &reader) })
        case nil: throw ProposalError.unknownCommand(kind)
        }
    }
}

/// A payload that this member cannot read. It stops the member: applying around it would make its state differ.
public enum ProposalError: Error, Equatable, CustomStringConvertible {
    case truncated
    case invalidText
    case unknownFormat(UInt8)
    case unknownCommand(UInt8)
    /// A change of the members outside of a configuration change, or one that does not say the same as it.
    case misplacedMembershipChange

    public var description: String {
        switch self {
        case .truncated: "a log entry ends before its command does"
        case .invalidText: "a log entry holds text that is not UTF-8"
        case .unknownFormat(let format):
            "a log entry has format \(format), which this version does not know; run the version that wrote it"
        case .unknownCommand(let kind):
            "a log entry holds a command of kind \(kind), which this version does not know; run the version that wrote it"
        case .misplacedMembershipChange: "a log entry changes the members otherwise than it changes the configuration"
        }
    }
}

extension MemberAttributes {
    /// Format byte (1), id, learner flag, name, then both lists of URLs, each text with its length (2).
    public func encode(into out: inout [UInt8]) {
        out.append(1)
        out.appendInteger(id.rawValue)
        out.append(isLearner ? 1 : 0)
        out.appendText(name)
        out.appendTexts(peerURLs)
        out.appendTexts(clientURLs)
    }

    init(decoding reader: inout ByteReader) throws {
        let format = try reader.integer(UInt8.self)
        guard format == 1 else { throw ProposalError.unknownFormat(format) }
        id = MemberID(try reader.integer(UInt64.self))
        isLearner = try reader.integer(UInt8.self) != 0
        name = try reader.string(Int(reader.integer(UInt16.self)))
        peerURLs = try reader.texts()
        clientURLs = try reader.texts()
    }

    public init(decoding bytes: [UInt8]) throws {
        var reader = ByteReader(bytes)
        try self.init(decoding: &reader)
    }
}

/// Reads integers and text from bytes that nobody vouches for.
struct ByteReader {
    private let bytes: [UInt8]
    private(set) var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
        let width = MemoryLayout<I>.size
        guard bytes.count - position >= width else { throw ProposalError.truncated }
        var value: I = 0
        withUnsafeMutableBytes(of: &value) { target in
            bytes.withUnsafeBytes {
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[position..<position + width]))
            }
        }
        position += width
        return I(littleEndian: value)
    }

    mutating func string(_ count: Int) throws -> String {
        guard bytes.count - position >= count else { throw ProposalError.truncated }
        guard let text = String(validating: bytes[position..<position + count], as: UTF8.self) else {
            throw ProposalError.invalidText
        }
        position += count
        return text
    }

    mutating func texts() throws -> [String] {
        let count = try integer(UInt16.self)
        return try (0..<count).map { _ in try string(Int(integer(UInt16.self))) }
    }
}

extension [UInt8] {
    mutating func appendInteger<I: FixedWidthInteger>(_ value: I) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    mutating func appendText(_ text: String) {
        precondition(text.utf8.count <= Int(UInt16.max), "names and URLs are bounded when they are configured")
        appendInteger(UInt16(text.utf8.count))
        append(contentsOf: text.utf8)
    }

    mutating func appendTexts(_ texts: [String]) {
        appendInteger(UInt16(texts.count))
        for text in texts { appendText(text) }
    }
}
