import EtcdAPI
import GRPC
import NIOCore
import Replica

/// `etcdserverpb.KV`.
extension ClientService {
    func range(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let query = try message.withProtoReader { reader throws(GRPCStatus) in try RangeQuery(decoding: &reader) }
        if let error = query.validate() { throw GRPCStatus(error) }
        read(.range(query), for: call, as: .range, serializable: query.serializable)
    }

    func put(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let command = try message.withProtoReader { reader throws(GRPCStatus) in try PutCommand(decoding: &reader) }
        if let error = command.validate() { throw GRPCStatus(error) }
        try propose(.put(command), for: call, as: .put, requestBytes: message.readableBytes)
    }

    func deleteRange(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let command = DeleteRangeCommand(try decode(Etcdserverpb_DeleteRangeRequest.self, message))
        guard !command.key.isEmpty else { throw .emptyKey }
        try propose(.deleteRange(command), for: call, as: .deleteRange, requestBytes: message.readableBytes)
    }

    func transaction(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let command = try TransactionCommand(decode(Etcdserverpb_TxnRequest.self, message))
        if let error = command.validate(maxTxnOps: context.configuration.maxTransactionOperations) {
            throw GRPCStatus(error)
        }
        if command.isReadOnly {
            read(.transaction(command), for: call, as: .txn, serializable: command.isSerializable)
        } else {
            try propose(.transaction(command), for: call, as: .txn, requestBytes: message.readableBytes)
        }
    }

    func compact(_ message: ByteBuffer, _ call: RPCCall) throws(GRPCStatus) {
        let request = try decode(Etcdserverpb_CompactionRequest.self, message)
        let id = try propose(
            .compact(CompactCommand(revision: request.revision)), for: call, as: .compact,
            requestBytes: message.readableBytes)
        pending[id]?.isPhysical = request.physical
    }

    // MARK: Answers

    func answerRange(_ call: RPCCall, _ result: RangeResult, _ header: ResponseHeader) {
        respond(call, header, recordBytes: result.recordBytes) { $0.write(result) }
    }

    func answerCommand(_ call: RPCCall, _ result: CommandResult, _ header: ResponseHeader) {
        var header = header
        switch result {
        case .put(let result):
            header.revision = result.revision
            respond(call, header) { $0.write(result) }
        case .deleteRange(let result):
            header.revision = result.revision
            respond(call, header, recordBytes: result.recordBytes) { $0.write(result) }
        case .transaction(let result):
            header.revision = result.revision
            respond(call, header, recordBytes: result.recordBytes) { $0.write(result) }
        case .alarm(_, let alarms):
            answerAlarms(call, alarms, header)
        case .compact(let revision), .leaseRevoke(let revision), .leaseCheckpoint(let revision):
            header.revision = revision
            respond(call, header) { _ in }
        case .leaseGrant(let revision, let id, let ttl):
            header.revision = revision
            respond(call, header) { buffer in
                buffer.writeVarintField(2, UInt64(bitPattern: id))
                buffer.writeVarintField(3, UInt64(bitPattern: ttl))
            }
        }
    }

    /// Answers with the header and what `write` adds, unless that is more than an answer can hold.
    @inline(__always)
    private func respond(
        _ call: RPCCall, _ header: ResponseHeader, recordBytes: Int = 0, _ write: (inout ByteBuffer) -> Void
    ) {
        guard recordBytes < ClientService.largestAnswer else { return call.finish(.answerTooLarge) }
        call.respond { buffer in
            header.write(into: &buffer)
            write(&buffer)
        }
    }
}

extension ClientService {
    /// Bytes of records in one answer; past 2 GiB etcd refuses too, and past 4 GiB no buffer holds it.
    fileprivate static let largestAnswer = Int(Int32.max) - 1 << 20
}

extension TransactionResult {
    fileprivate var recordBytes: Int {
        responses.reduce(0) { sum, response in
            switch response {
            case .range(let result): sum + result.recordBytes
            case .put(let result): sum + (result.previous?.count ?? 0)
            case .deleteRange(let result): sum + result.recordBytes
            case .transaction(let result): sum + result.recordBytes
            }
        }
    }
}

extension RangeResult {
    fileprivate var recordBytes: Int { kvs.reduce(0) { $0 + $1.count } }
}

extension DeleteRangeResult {
    fileprivate var recordBytes: Int { previous.reduce(0) { $0 + $1.count } }
}

/// The answers' fields after the header.
extension ByteBuffer {
    fileprivate mutating func write(_ result: RangeResult) {
        for kv in result.kvs { writeBytesField(2, kv) }
        writeVarintField(3, result.more ? 1 : 0)
        writeVarintField(4, UInt64(bitPattern: result.count))
    }

    fileprivate mutating func write(_ result: PutResult) {
        if let previous = result.previous { writeBytesField(2, previous) }
    }

    fileprivate mutating func write(_ result: DeleteRangeResult) {
        writeVarintField(2, UInt64(bitPattern: result.deleted))
        for kv in result.previous { writeBytesField(3, kv) }
    }

    fileprivate mutating func write(_ result: TransactionResult) {
        writeVarintField(2, result.succeeded ? 1 : 0)
        for response in result.responses {
            // ResponseOp { oneof: range 1, put 2, delete range 3, transaction 4 }; the headers inside carry
            // the revision alone.
            writeNested(3) { operation in
                switch response {
                case .range(let result): operation.writeInner(1, result.revision) { $0.write(result) }
                case .put(let result): operation.writeInner(2, result.revision) { $0.write(result) }
                case .deleteRange(let result): operation.writeInner(3, result.revision) { $0.write(result) }
                case .transaction(let result): operation.writeInner(4, result.revision) { $0.write(result) }
                }
            }
        }
    }

    /// An answer inside a transaction's.
    private mutating func writeInner(_ field: UInt8, _ revision: Int64, _ body: (inout ByteBuffer) -> Void) {
        writeNested(field) { answer in
            answer.writeNested(1) { $0.writeVarintField(3, UInt64(bitPattern: revision)) }
            body(&answer)
        }
    }

    private mutating func writeNested(_ field: UInt8, _ body: (inout ByteBuffer) -> Void) {
        var inner = ByteBuffer()
        body(&inner)
        writeInteger(field << 3 | 2)
        writeVarint(UInt64(inner.readableBytes))
        writeBuffer(&inner)
    }

    /// Reads the message's fields in place.
    func withProtoReader<Value>(
        _ body: (inout ProtoReader) throws(GRPCStatus) -> Value
    ) throws(GRPCStatus) -> Value {
        let result: Result<Value, GRPCStatus> = withUnsafeReadableBytes { bytes in
            var reader = ProtoReader(bytes)
            do throws(GRPCStatus) { return .success(try body(&reader)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

// MARK: Requests

extension PutCommand {
    /// `etcdserverpb.PutRequest`.
    init(decoding reader: inout ProtoReader) throws(GRPCStatus) {
        self.init(key: [], value: [])
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let bytes)): key = Array(bytes)
            case (2, .bytes(let bytes)): self.value = Array(bytes)
            case (3, .varint(let number)): lease = Int64(bitPattern: number)
            case (4, .varint(let flag)): previousKV = flag != 0
            case (5, .varint(let flag)): ignoreValue = flag != 0
            case (6, .varint(let flag)): ignoreLease = flag != 0
            default: break
            }
        }
    }

    init(_ request: Etcdserverpb_PutRequest) {
        self.init(
            key: Array(request.key), value: Array(request.value), lease: request.lease, previousKV: request.prevKv,
            ignoreValue: request.ignoreValue, ignoreLease: request.ignoreLease)
    }
}

extension RangeQuery {
    /// `etcdserverpb.RangeRequest`.
    init(decoding reader: inout ProtoReader) throws(GRPCStatus) {
        self.init(key: [])
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let bytes)): key = Array(bytes)
            case (2, .bytes(let bytes)): rangeEnd = Array(bytes)
            case (3, .varint(let number)): limit = Int64(bitPattern: number)
            case (4, .varint(let number)): revision = Int64(bitPattern: number)
            case (5, .varint(let number)): sortOrder = SortOrder(wire: number)
            case (6, .varint(let number)): sortTarget = SortTarget(wire: number)
            case (7, .varint(let flag)): serializable = flag != 0
            case (8, .varint(let flag)): keysOnly = flag != 0
            case (9, .varint(let flag)): countOnly = flag != 0
            case (10, .varint(let number)): minModRevision = Int64(bitPattern: number)
            case (11, .varint(let number)): maxModRevision = Int64(bitPattern: number)
            case (12, .varint(let number)): minCreateRevision = Int64(bitPattern: number)
            case (13, .varint(let number)): maxCreateRevision = Int64(bitPattern: number)
            default: break
            }
        }
    }

    init(_ request: Etcdserverpb_RangeRequest) {
        self.init(
            key: Array(request.key), rangeEnd: Array(request.rangeEnd), limit: request.limit,
            revision: request.revision, sortOrder: SortOrder(wire: UInt64(clamping: request.sortOrder.rawValue)),
            sortTarget: SortTarget(wire: UInt64(clamping: request.sortTarget.rawValue)),
            serializable: request.serializable, keysOnly: request.keysOnly, countOnly: request.countOnly,
            minModRevision: request.minModRevision, maxModRevision: request.maxModRevision,
            minCreateRevision: request.minCreateRevision, maxCreateRevision: request.maxCreateRevision)
    }
}

// Values that no version knows are taken as the default, as etcd 3.5 does: `invalid sort option` is 3.6's.
extension RangeQuery.SortOrder {
    fileprivate init(wire: UInt64) { self = UInt8(exactly: wire).flatMap(Self.init) ?? .none }
}

extension RangeQuery.SortTarget {
    fileprivate init(wire: UInt64) { self = UInt8(exactly: wire).flatMap(Self.init) ?? .key }
}

extension DeleteRangeCommand {
    init(_ request: Etcdserverpb_DeleteRangeRequest) {
        self.init(key: Array(request.key), rangeEnd: Array(request.rangeEnd), previousKV: request.prevKv)
    }
}

extension TransactionCommand {
    init(_ request: Etcdserverpb_TxnRequest) throws(GRPCStatus) {
        self.init()
        for compare in request.compare { compares.append(try Compare(compare)) }
        for operation in request.success { success.append(try Operation(operation)) }
        for operation in request.failure { failure.append(try Operation(operation)) }
    }
}

extension Compare {
    fileprivate init(_ compare: Etcdserverpb_Compare) throws(GRPCStatus) {
        let result: Result? =
            switch compare.result {
            case .equal: .equal
            case .greater: .greater
            case .less: .less
            case .notEqual: .notEqual
            case .UNRECOGNIZED: nil
            }
        // The union may be unset: then the key is compared with the target's zero.
        let target: Target? =
            switch compare.target {
            case .version: .version(compare.version)
            case .create: .createRevision(compare.createRevision)
            case .mod: .modRevision(compare.modRevision)
            case .value: .value(Array(compare.value))
            case .lease: .lease(compare.lease)
            case .UNRECOGNIZED: nil
            }
        guard let result, let target else {
            throw GRPCStatus(.invalidArgument, "etcdserver: unknown comparison in txn request")
        }
        self.init(key: Array(compare.key), rangeEnd: Array(compare.rangeEnd), target, result)
    }
}

extension Operation {
    fileprivate init(_ operation: Etcdserverpb_RequestOp) throws(GRPCStatus) {
        switch operation.request {
        case .requestRange(let request): self = .range(RangeQuery(request))
        case .requestPut(let request): self = .put(PutCommand(request))
        case .requestDeleteRange(let request): self = .deleteRange(DeleteRangeCommand(request))
        case .requestTxn(let request): self = .transaction(try TransactionCommand(request))
        case nil: throw .emptyKey
        }
    }
}
