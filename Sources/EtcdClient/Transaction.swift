import EtcdAPI
import Foundation

/// Compares, and what to do if all of them hold, or not: one atomic step of the store.
///
/// ```
/// let taken = try await client.commit(
///     Transaction.if(.isAbsent("job/1/owner"))
///         .then(.put("job/1/owner", "me", lease: lease))
///         .else(.get("job/1/owner")))
/// ```
public struct Transaction: Sendable {
    var compares: [Compare] = []
    var success: [Operation] = []
    var failure: [Operation] = []

    public init() {}

    /// A transaction that does one thing if all of these hold, and another if not.
    public static func `if`(_ compares: Compare...) -> Transaction { Transaction().and(compares) }
    public static func `if`(_ compares: [Compare]) -> Transaction { Transaction().and(compares) }

    /// More compares; all must hold.
    public func and(_ compares: [Compare]) -> Transaction { with { $0.compares += compares } }

    /// What to do, in order, if the compares hold (or there are none).
    public func then(_ operations: Operation...) -> Transaction { then(operations) }
    public func then(_ operations: [Operation]) -> Transaction { with { $0.success += operations } }

    /// What to do, in order, if one does not hold.
    public func `else`(_ operations: Operation...) -> Transaction { `else`(operations) }
    public func `else`(_ operations: [Operation]) -> Transaction { with { $0.failure += operations } }

    private func with(_ change: (inout Transaction) -> Void) -> Transaction {
        var copy = self
        change(&copy)
        return copy
    }

    /// A condition on a key, or on each key of a range (which an empty range meets).
    public struct Compare: Sendable {
        /// How the key's side stands to the operand.
        public enum Relation: Sendable { case equal, notEqual, greater, less }

        let message: Etcdserverpb_Compare

        private init(
            _ range: KeyRange, _ relation: Relation, _ target: Etcdserverpb_Compare.CompareTarget,
            _ operand: Etcdserverpb_Compare.OneOf_TargetUnion
        ) {
            var message = Etcdserverpb_Compare()
            message.key = Data(range.key)
            message.rangeEnd = Data(range.end)
            message.target = target
            message.targetUnion = operand
            message.result =
                switch relation {
                case .equal: .equal
                case .notEqual: .notEqual
                case .greater: .greater
                case .less: .less
                }
            self.message = message
        }

        /// A key that does not exist has version 0 and revisions 0; one that does not exist has no value to compare.
        public static func version(_ range: KeyRange, _ relation: Relation, _ version: Int64) -> Compare {
            Compare(range, relation, .version, .version(version))
        }

        public static func createRevision(_ range: KeyRange, _ relation: Relation, _ revision: Int64) -> Compare {
            Compare(range, relation, .create, .createRevision(revision))
        }

        public static func modRevision(_ range: KeyRange, _ relation: Relation, _ revision: Int64) -> Compare {
            Compare(range, relation, .mod, .modRevision(revision))
        }

        public static func value(_ range: KeyRange, _ relation: Relation, _ value: some EtcdBytes) -> Compare {
            Compare(range, relation, .value, .value(Data(value.etcdBytes)))
        }

        public static func lease(_ range: KeyRange, _ relation: Relation, _ lease: LeaseID) -> Compare {
            Compare(range, relation, .lease, .lease(lease.rawValue))
        }

        /// There is such a key.
        public static func exists(_ key: some EtcdBytes) -> Compare { createRevision(.key(key), .notEqual, 0) }

        /// There is no such key.
        public static func isAbsent(_ key: some EtcdBytes) -> Compare { createRevision(.key(key), .equal, 0) }
    }

    /// One step of a transaction. A key may be written once in each branch.
    public struct Operation: Sendable {
        let message: Etcdserverpb_RequestOp

        private init(_ request: Etcdserverpb_RequestOp.OneOf_Request) {
            var message = Etcdserverpb_RequestOp()
            message.request = request
            self.message = message
        }

        /// Sees what the operations before it in this transaction wrote.
        public static func get(_ range: KeyRange, options: GetOptions = GetOptions()) -> Operation {
            Operation(.requestRange(Etcdserverpb_RangeRequest(range, options)))
        }

        /// Writes a key, as ``EtcdClient/put(_:_:lease:keepsLease:wantsPrevious:timeout:)`` does.
        public static func put(
            _ key: some EtcdBytes, _ value: some EtcdBytes, lease: LeaseID? = nil, keepsLease: Bool = false,
            wantsPrevious: Bool = false
        ) -> Operation {
            Operation(
                .requestPut(
                    Etcdserverpb_PutRequest(
                        key: key.etcdBytes, value: value.etcdBytes, lease: lease, keepsLease: keepsLease,
                        wantsPrevious: wantsPrevious)))
        }

        /// Deletes a key or a range.
        public static func delete(_ range: KeyRange, wantsPrevious: Bool = false) -> Operation {
            Operation(.requestDeleteRange(Etcdserverpb_DeleteRangeRequest(range, wantsPrevious: wantsPrevious)))
        }

        /// A transaction within the transaction.
        public static func transaction(_ transaction: Transaction) -> Operation {
            Operation(.requestTxn(transaction.message))
        }
    }

    var message: Etcdserverpb_TxnRequest {
        var request = Etcdserverpb_TxnRequest()
        request.compare = compares.map(\.message)
        request.success = success.map(\.message)
        request.failure = failure.map(\.message)
        return request
    }
}

/// What a transaction did.
public struct TransactionResult: Sendable {
    /// What one operation answered.
    public enum Answer: Sendable {
        case get(GetResponse)
        case put(PutResponse)
        case delete(DeleteResponse)
        case transaction(TransactionResult)
    }

    public var header: ResponseHeader
    /// The compares held: `then` was done. Otherwise `else` was.
    public var succeeded: Bool
    /// One for each operation of the branch that was done, in order.
    public var answers: [Answer]

    /// What the branch's operation at `index` read, if it was a get.
    public func get(_ index: Int) -> GetResponse? {
        guard answers.indices.contains(index), case .get(let response) = answers[index] else { return nil }
        return response
    }

    init(_ message: Etcdserverpb_TxnResponse) {
        header = ResponseHeader(message.header)
        succeeded = message.succeeded
        answers = message.responses.compactMap { response in
            switch response.response {
            case .responseRange(let range): .get(GetResponse(range))
            case .responsePut(let put): .put(PutResponse(put))
            case .responseDeleteRange(let delete): .delete(DeleteResponse(delete))
            case .responseTxn(let nested): .transaction(TransactionResult(nested))
            case nil: nil
            }
        }
    }
}

extension EtcdClient {
    /// Does a transaction.
    ///
    /// - Parameter mayRepeat: send it again when its answer was lost. Right for a transaction that does the same
    ///   when done twice, and for one whose compares fail once it was done, if the caller bears being told
    ///   `succeeded == false` about its own success. One that only reads is always repeated.
    public func commit(
        _ transaction: Transaction, timeout: Duration? = nil, mayRepeat: Bool = false
    ) async throws -> TransactionResult {
        let isReadOnly = (transaction.success + transaction.failure).allSatisfy { operation in
            if case .requestRange = operation.message.request { true } else { false }
        }
        let response = try await call(
            .transaction, transaction.message, timeout: timeout, mayRepeat: mayRepeat || isReadOnly)
        return TransactionResult(response)
    }
}
