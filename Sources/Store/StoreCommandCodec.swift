/// The form of a command in a log entry: a format byte, a kind byte, then the fields in order. Integers are base-128, byte strings
/// and lists carry their length, flags are bits of one byte.
extension StoreCommand {
    private static let format: UInt8 = 1
    /// As protobuf's decoders limit the nesting of messages; deeper commands are refused when validated.
    static let maximumDepth = 64

    private enum Kind: UInt8 {
        case put = 1
        case deleteRange, transaction, compact, leaseGrant, leaseRevoke, leaseCheckpoint, alarm
    }

    /// Appends the encoded command.
    public func encode(into buffer: inout [UInt8]) {
        buffer.append(Self.format)
        switch self {
        case .put(let put):
            // The hot one: room for all of it at once.
            buffer.reserveCapacity(buffer.count + put.key.count + put.value.count + 32)
            buffer.append(Kind.put.rawValue)
            put.encode(into: &buffer)
        case .deleteRange(let delete):
            buffer.append(Kind.deleteRange.rawValue)
            delete.encode(into: &buffer)
        case .transaction(let transaction):
            buffer.append(Kind.transaction.rawValue)
            transaction.encode(into: &buffer)
        case .compact(let compact):
            buffer.append(Kind.compact.rawValue)
            integer(compact.revision, &buffer)
        case .leaseGrant(let grant):
            buffer.append(Kind.leaseGrant.rawValue)
            integer(grant.id, &buffer)
            integer(grant.ttl, &buffer)
        case .leaseRevoke(let revoke):
            buffer.append(Kind.leaseRevoke.rawValue)
            integer(revoke.id, &buffer)
        case .leaseCheckpoint(let checkpoints):
            buffer.append(Kind.leaseCheckpoint.rawValue)
            ByteWriter.varint(UInt64(checkpoints.count), to: &buffer)
            for checkpoint in checkpoints {
                integer(checkpoint.id, &buffer)
                integer(checkpoint.remainingTTL, &buffer)
            }
        case .alarm(let command):
            buffer.append(Kind.alarm.rawValue)
            buffer.append(command.action.rawValue)
            buffer.append(command.alarm.kind.rawValue)
            ByteWriter.varint(command.alarm.member, to: &buffer)
        }
    }

    public func encoded() -> [UInt8] {
        var buffer: [UInt8] = []
        encode(into: &buffer)
        return buffer
    }

    public init(decoding bytes: ArraySlice<UInt8>) throws(CodecError) {
        self = try bytes.withUnsafeBytes { bytes in
            Result { () throws(CodecError) in try StoreCommand(decoding: bytes) }
        }.get()
    }

    /// Decodes exactly one command from any bytes.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(CodecError) {
        var reader = ByteReader(bytes)
        let format = try reader.byte()
        guard format == Self.format else { throw CodecError("a command of format \(format) is not known here") }
        let kindByte = try reader.byte()
        guard let kind = Kind(rawValue: kindByte) else {
            throw CodecError("a command of kind \(kindByte) is not known here")
        }
        switch kind {
        case .put: self = .put(try PutCommand(from: &reader))
        case .deleteRange: self = .deleteRange(try DeleteRangeCommand(from: &reader))
        case .transaction: self = .transaction(try TransactionCommand(from: &reader, depth: 1))
        case .compact: self = .compact(CompactCommand(revision: try reader.integer()))
        case .leaseGrant: self = .leaseGrant(LeaseGrantCommand(id: try reader.integer(), ttl: try reader.integer()))
        case .leaseRevoke: self = .leaseRevoke(LeaseRevokeCommand(id: try reader.integer()))
        case .leaseCheckpoint:
            var checkpoints: [LeaseCheckpoint] = []
            for _ in 0..<(try reader.elementCount()) {
                checkpoints.append(LeaseCheckpoint(id: try reader.integer(), remainingTTL: try reader.integer()))
            }
            self = .leaseCheckpoint(checkpoints)
        case .alarm:
            guard let action = AlarmCommand.Action(rawValue: try reader.byte()),
                let kind = Alarm.Kind(rawValue: try reader.byte())
            else { throw CodecError("an unknown alarm before \(reader.offset)") }
            self = .alarm(AlarmCommand(action, Alarm(kind, member: try reader.varint())))
        }
        guard reader.isAtEnd else { throw CodecError("\(bytes.count - reader.offset) bytes follow the command") }
    }
}

private func integer(_ value: Int64, _ buffer: inout [UInt8]) {
    ByteWriter.varint(UInt64(bitPattern: value), to: &buffer)
}

/// Flags as bits, the first the lowest.
private func flags(_ flags: Bool..., to buffer: inout [UInt8]) {
    buffer.append(flags.reversed().reduce(0) { $0 << 1 | ($1 ? 1 : 0) })
}

extension ByteReader {
    fileprivate mutating func flags(atMost limit: UInt8) throws(CodecError) -> UInt8 {
        let flags = try byte()
        guard flags < limit else { throw CodecError("unknown flags \(flags) at \(offset - 1)") }
        return flags
    }
}

extension PutCommand {
    fileprivate func encode(into buffer: inout [UInt8]) {
        let flags: UInt8 = (previousKV ? 1 : 0) | (ignoreValue ? 2 : 0) | (ignoreLease ? 4 : 0)
        buffer.append(flags)
        ByteWriter.bytes(key, to: &buffer)
        ByteWriter.bytes(value, to: &buffer)
        integer(lease, &buffer)
    }

    fileprivate init(from reader: inout ByteReader) throws(CodecError) {
        let flags = try reader.flags(atMost: 8)
        self.init(
            key: try reader.array(), value: try reader.array(), lease: try reader.integer(), previousKV: flags & 1 != 0,
            ignoreValue: flags & 2 != 0, ignoreLease: flags & 4 != 0)
    }
}

extension DeleteRangeCommand {
    fileprivate func encode(into buffer: inout [UInt8]) {
        flags(previousKV, to: &buffer)
        ByteWriter.bytes(key, to: &buffer)
        ByteWriter.bytes(rangeEnd, to: &buffer)
    }

    fileprivate init(from reader: inout ByteReader) throws(CodecError) {
        let flags = try reader.flags(atMost: 2)
        self.init(key: try reader.array(), rangeEnd: try reader.array(), previousKV: flags & 1 != 0)
    }
}

extension RangeQuery {
    fileprivate func encode(into buffer: inout [UInt8]) {
        flags(serializable, keysOnly, countOnly, isFiltered, to: &buffer)
        buffer.append(sortOrder.rawValue)
        buffer.append(sortTarget.rawValue)
        ByteWriter.bytes(key, to: &buffer)
        ByteWriter.bytes(rangeEnd, to: &buffer)
        integer(limit, &buffer)
        integer(revision, &buffer)
        if isFiltered {
            integer(minModRevision, &buffer)
            integer(maxModRevision, &buffer)
            integer(minCreateRevision, &buffer)
            integer(maxCreateRevision, &buffer)
        }
    }

    fileprivate init(from reader: inout ByteReader) throws(CodecError) {
        let flags = try reader.flags(atMost: 16)
        guard let order = SortOrder(rawValue: try reader.byte()), let target = SortTarget(rawValue: try reader.byte())
        else { throw CodecError("an unknown order before \(reader.offset)") }
        self.init(
            key: try reader.array(), rangeEnd: try reader.array(), limit: try reader.integer(),
            revision: try reader.integer(), sortOrder: order, sortTarget: target, serializable: flags & 1 != 0,
            keysOnly: flags & 2 != 0, countOnly: flags & 4 != 0)
        if flags & 8 != 0 {
            minModRevision = try reader.integer()
            maxModRevision = try reader.integer()
            minCreateRevision = try reader.integer()
            maxCreateRevision = try reader.integer()
        }
    }
}

extension Compare {
    fileprivate func encode(into buffer: inout [UInt8]) {
        buffer.append(result.rawValue)
        ByteWriter.bytes(key, to: &buffer)
        ByteWriter.bytes(rangeEnd, to: &buffer)
        switch target {
        case .version(let number): numeric(0, number, &buffer)
        case .createRevision(let number): numeric(1, number, &buffer)
        case .modRevision(let number): numeric(2, number, &buffer)
        case .value(let value):
            buffer.append(3)
            ByteWriter.bytes(value, to: &buffer)
        case .lease(let number): numeric(4, number, &buffer)
        }
    }

    private func numeric(_ kind: UInt8, _ number: Int64, _ buffer: inout [UInt8]) {
        buffer.append(kind)
        integer(number, &buffer)
    }

    fileprivate init(from reader: inout ByteReader) throws(CodecError) {
        guard let result = Result(rawValue: try reader.byte()) else {
            throw CodecError("an unknown comparison before \(reader.offset)")
        }
        let key = try reader.array()
        let rangeEnd = try reader.array()
        let target: Target
        switch try reader.byte() {
        case 0: target = .version(try reader.integer())
        case 1: target = .createRevision(try reader.integer())
        case 2: target = .modRevision(try reader.integer())
        case 3: target = .value(try reader.array())
        case 4: target = .lease(try reader.integer())
        case let other: throw CodecError("an unknown comparison target \(other) before \(reader.offset)")
        }
        self.init(key: key, rangeEnd: rangeEnd, target, result)
    }
}

extension TransactionCommand {
    fileprivate func encode(into buffer: inout [UInt8]) {
        ByteWriter.varint(UInt64(compares.count), to: &buffer)
        for compare in compares { compare.encode(into: &buffer) }
        for branch in [success, failure] {
            ByteWriter.varint(UInt64(branch.count), to: &buffer)
            for operation in branch { operation.encode(into: &buffer) }
        }
    }

    fileprivate init(from reader: inout ByteReader, depth: Int) throws(CodecError) {
        guard depth <= StoreCommand.maximumDepth else {
            throw CodecError("transactions are nested more than \(StoreCommand.maximumDepth) deep")
        }
        self.init()
        for _ in 0..<(try reader.elementCount()) { compares.append(try Compare(from: &reader)) }
        for _ in 0..<(try reader.elementCount()) { success.append(try Operation(from: &reader, depth: depth)) }
        for _ in 0..<(try reader.elementCount()) { failure.append(try Operation(from: &reader, depth: depth)) }
    }
}

extension Operation {
    fileprivate func encode(into buffer: inout [UInt8]) {
        switch self {
        case .range(let query):
            buffer.append(1)
            query.encode(into: &buffer)
        case .put(let put):
            buffer.append(2)
            put.encode(into: &buffer)
        case .deleteRange(let delete):
            buffer.append(3)
            delete.encode(into: &buffer)
        case .transaction(let transaction):
            buffer.append(4)
            transaction.encode(into: &buffer)
        }
    }

    fileprivate init(from reader: inout ByteReader, depth: Int) throws(CodecError) {
        switch try reader.byte() {
        case 1: self = .range(try RangeQuery(from: &reader))
        case 2: self = .put(try PutCommand(from: &reader))
        case 3: self = .deleteRange(try DeleteRangeCommand(from: &reader))
        case 4: self = .transaction(try TransactionCommand(from: &reader, depth: depth + 1))
        case let other: throw CodecError("an unknown operation \(other) before \(reader.offset)")
        }
    }
}
