import NIOCore
import Raft

/// The bytes of a Raft message, all integers in network byte order:
///
///     format u8 = 1   kind u8   flags u8 (1: reject, 2: has snapshot)
///     to, from, term, logTerm, index, commit, vote, rejectHint: u64 each
///     context: counted bytes
///     snapshot, if any: index u64, term u64, voters, learners, votersOutgoing, learnersNext: counted u64, autoLeave u8
///     entries: count u32, then for each: term u64, index u64, kind u8, payload: counted bytes
///
/// Every field travels whatever the kind, so that what a kind means can change without the format.
enum MessageCodec {
    static let format: UInt8 = 1

    private enum Flags {
        static let reject: UInt8 = 1
        static let snapshot: UInt8 = 2
    }

    /// The bytes an entry takes beside its payload.
    private static let entryOverheadBytes = 21

    /// Roughly what `message` takes, for bounds on queues.
    static func estimatedBytes(_ message: Message) -> Int {
        message.entries.reduce(96 + message.context.count) { $0 + entryOverheadBytes + $1.payload.count }
    }

    static func encode(_ message: Message, into buffer: inout ByteBuffer) {
        let flags = (message.reject ? Flags.reject : 0) | (message.snapshot != nil ? Flags.snapshot : 0)
        buffer.writeMultipleIntegers(format, message.kind.rawValue, flags)
        buffer.writeMultipleIntegers(
            message.to.rawValue, message.from.rawValue, message.term.rawValue, message.logTerm.rawValue,
            message.index.rawValue, message.commit.rawValue, message.vote.rawValue, message.rejectHint.rawValue)
        buffer.writeCounted(message.context)
        if let snapshot = message.snapshot { encode(snapshot, into: &buffer) }
        buffer.writeInteger(UInt32(message.entries.count))
        for entry in message.entries {
            buffer.writeMultipleIntegers(
                entry.term.rawValue, entry.index.rawValue, entry.kind.rawValue, UInt32(entry.payload.count))
            buffer.writeBytes(entry.payload)
        }
    }

    private static func encode(_ snapshot: SnapshotMetadata, into buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(snapshot.index.rawValue, snapshot.term.rawValue)
        let configuration = snapshot.configuration
        for members in [
            configuration.voters, configuration.learners, configuration.votersOutgoing, configuration.learnersNext,
        ] {
            buffer.writeInteger(UInt32(members.count))
            for member in members { buffer.writeInteger(member.rawValue) }
        }
        buffer.writeInteger(UInt8(configuration.autoLeave ? 1 : 0))
    }

    /// - Throws: `WireError` for anything that `encode` would not have written.
    static func decode(_ bytes: ByteBuffer) throws(WireError) -> Message {
        var reader = WireReader(bytes)
        let format: UInt8 = try reader.integer("message format")
        guard format == Self.format else { throw WireError("a message of unknown format \(format)") }
        let kindByte: UInt8 = try reader.integer("message kind")
        guard let kind = Message.Kind(rawValue: kindByte) else {
            throw WireError("a message of unknown kind \(kindByte)")
        }
        let flags: UInt8 = try reader.integer("message flags")
        guard flags & ~(Flags.reject | Flags.snapshot) == 0 else { throw WireError("unknown message flags \(flags)") }

        var message = Message(kind: kind, to: MemberID(try reader.integer("to")))
        message.from = MemberID(try reader.integer("from"))
        message.term = Term(try reader.integer("term"))
        message.logTerm = Term(try reader.integer("log term"))
        message.index = LogIndex(try reader.integer("index"))
        message.commit = LogIndex(try reader.integer("commit"))
        message.vote = MemberID(try reader.integer("vote"))
        message.rejectHint = LogIndex(try reader.integer("reject hint"))
        message.reject = flags & Flags.reject != 0
        message.context = try reader.bytes("context")
        if flags & Flags.snapshot != 0 { message.snapshot = try decodeSnapshot(&reader) }

        let count = try reader.count("entries", minimumBytes: entryOverheadBytes)
        message.entries.reserveCapacity(count)
        for _ in 0..<count { message.entries.append(try decodeEntry(&reader)) }
        try reader.expectEnd()
        return message
    }

    private static func decodeEntry(_ reader: inout WireReader) throws(WireError) -> Entry {
        let term = Term(try reader.integer("entry term"))
        let index = LogIndex(try reader.integer("entry index"))
        let kindByte: UInt8 = try reader.integer("entry kind")
        guard let kind = Entry.Kind(rawValue: kindByte) else { throw WireError("an entry of unknown kind \(kindByte)") }
        return Entry(term: term, index: index, kind: kind, payload: try reader.bytes("entry payload"))
    }

    private static func decodeSnapshot(_ reader: inout WireReader) throws(WireError) -> SnapshotMetadata {
        func members(_ field: StaticString) throws(WireError) -> [MemberID] {
            let count = try reader.count(field, minimumBytes: 8)
            var members: [MemberID] = []
            members.reserveCapacity(count)
            for _ in 0..<count { members.append(MemberID(try reader.integer(field))) }
            return members
        }
        let index = LogIndex(try reader.integer("snapshot index"))
        let term = Term(try reader.integer("snapshot term"))
        let configuration = ConfState(
            voters: try members("voters"), learners: try members("learners"),
            votersOutgoing: try members("outgoing voters"), learnersNext: try members("next learners"),
            autoLeave: try reader.boolean("auto leave"))
        return SnapshotMetadata(index: index, term: term, configuration: configuration)
    }
}
