import Raft
import Store

/// The key of a revision in the history.
struct HistoryKey: Hashable, Comparable {
    var revision: Revision
    var tombstone: Bool

    init(_ revision: Revision, tombstone: Bool) {
        self.revision = revision
        self.tombstone = tombstone
    }

    static func < (a: HistoryKey, b: HistoryKey) -> Bool {
        a.revision != b.revision ? a.revision < b.revision : !a.tombstone && b.tombstone
    }

    static let size = 18

    /// The key's bytes, on the stack.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withUnsafeTemporaryAllocation(byteCount: Self.size + 1, alignment: 8) { bytes in
            bytes[0] = StateFormat.historyPrefix
            bytes.storeBytes(of: revision.main.bigEndian, toByteOffset: 1, as: Int64.self)
            bytes[9] = UInt8(ascii: "_")
            bytes.storeBytes(of: revision.sub.bigEndian, toByteOffset: 10, as: Int64.self)
            bytes[18] = UInt8(ascii: "t")
            return try body(UnsafeRawBufferPointer(rebasing: bytes[..<(Self.size + (tombstone ? 1 : 0))]))
        }
    }

    var bytes: [UInt8] { withBytes { [UInt8]($0) } }

    /// Reads a key; nil when it is not one of the history.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.size || bytes.count == Self.size + 1 && bytes[18] == UInt8(ascii: "t"),
            bytes[0] == StateFormat.historyPrefix, bytes[9] == UInt8(ascii: "_")
        else { return nil }
        revision = Revision(
            main: Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: Int64.self)),
            sub: Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 10, as: Int64.self)))
        tombstone = bytes.count == Self.size + 1
    }
}

/// How the state's keys and values are laid out.
enum StateFormat {
    /// The first byte of every stored value.
    static let version: UInt8 = 1
    static let historyPrefix = UInt8(ascii: "k")
    static let notePrefix = UInt8(ascii: "n")
    static let markKey = [UInt8(ascii: "s")]
    /// Where the applied mark of the snapshot is kept that the state was installed from. Not part of a snapshot.
    static let installedKey = [UInt8(ascii: "s"), UInt8(ascii: "i")]

    static func noteKey(_ key: [UInt8]) -> [UInt8] { [notePrefix] + key }

    static func withFormatByte<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withUnsafeBytes(of: version, body)
    }

    /// The smallest key that is greater than every key with this prefix. The prefix begins with a byte below 0xff.
    static func end(ofPrefix prefix: [UInt8]) -> [UInt8] {
        var end = prefix
        while end.last == 0xff { end.removeLast() }
        if let last = end.popLast() { end.append(last + 1) }
        return end
    }
}

extension AppliedMark {
    func encoded(configuration: [UInt8]) -> [UInt8] {
        var bytes = [StateFormat.version]
        bytes.appendLittleEndian(index.rawValue)
        bytes.appendLittleEndian(term.rawValue)
        return bytes + configuration
    }

    /// Reads a mark's value after its format byte.
    init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = ByteReader(bytes)
        guard let index: UInt64 = reader.littleEndian(), let term: UInt64 = reader.littleEndian(),
            let configuration = ConfState(from: &reader), reader.remaining == 0
        else { return nil }
        self.init(index: LogIndex(index), term: Term(term), configuration: configuration)
    }
}

extension ConfState {
    /// Four lists of ids, each with its length before it, and the auto-leave flag.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        for list in [voters, learners, votersOutgoing, learnersNext] {
            bytes.appendLittleEndian(UInt32(list.count))
            for member in list { bytes.appendLittleEndian(member.rawValue) }
        }
        bytes.append(autoLeave ? 1 : 0)
        return bytes
    }

    init?(from reader: inout ByteReader) {
        var lists: [[MemberID]] = []
        for _ in 0..<4 {
            guard let count: UInt32 = reader.littleEndian(), Int(count) <= reader.remaining / 8 else { return nil }
            lists.append((0..<count).compactMap { _ in reader.littleEndian(UInt64.self).map { MemberID($0) } })
        }
        guard let flag: UInt8 = reader.littleEndian(), flag <= 1 else { return nil }
        self.init(
            voters: lists[0], learners: lists[1], votersOutgoing: lists[2], learnersNext: lists[3], autoLeave: flag == 1
        )
    }
}
