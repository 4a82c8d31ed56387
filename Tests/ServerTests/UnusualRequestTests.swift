import EtcdAPI
import Foundation
import GRPC
import NIOCore
import SwiftProtobuf
import Testing

@testable import Server

/// What clients may send by mistake or on purpose: each is answered, and the member goes on.
@Suite struct UnusualRequestTests {
    /// The requests' fields at their limits.
    private func extremes() throws -> [(String, [UInt8])] {
        var requests: [(String, any SwiftProtobuf.Message)] = []
        for number in [Int64.min, -1, 1, .max] {
            var range = Etcdserverpb_RangeRequest()
            range.key = Data([0])
            range.rangeEnd = Data([0])
            range.limit = number
            range.minModRevision = number
            range.maxCreateRevision = number
            requests.append(("KV/Range", range))
            range.revision = number
            requests.append(("KV/Range", range))
            var put = Etcdserverpb_PutRequest()
            put.key = Data("k".utf8)
            put.lease = number
            requests.append(("KV/Put", put))
            var compaction = Etcdserverpb_CompactionRequest()
            compaction.revision = number
            requests.append(("KV/Compact", compaction))
            var grant = Etcdserverpb_LeaseGrantRequest()
            grant.id = number
            grant.ttl = number
            requests.append(("Lease/LeaseGrant", grant))
            var question = Etcdserverpb_LeaseTimeToLiveRequest()
            question.id = number
            question.keys = true
            requests.append(("Lease/LeaseTimeToLive", question))
            var revocation = Etcdserverpb_LeaseRevokeRequest()
            revocation.id = number
            requests.append(("Lease/LeaseRevoke", revocation))
            var hash = Etcdserverpb_HashKVRequest()
            hash.revision = number
            requests.append(("Maintenance/HashKV", hash))
        }
        var nested = Etcdserverpb_TxnRequest()
        requests.append(("KV/Txn", nested))
        for _ in 0..<40 {
            var outer = Etcdserverpb_TxnRequest()
            outer.success = [.with { $0.requestTxn = nested }, .with { _ in }]
            nested = outer
            requests.append(("KV/Txn", nested))
        }
        return try requests.map { ($0.0, try $0.1.serializedBytes()) }
    }

    @Test func everyRequestIsAnsweredAndTheMemberGoesOn() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        var requests = try extremes().map { ("/etcdserverpb.\($0.0)", $0.1) }
        var random = WireTests.Random(state: 11)
        for method in APIMethod.allCases where !method.isStream {
            requests.append((method.path, []))
            for _ in 0..<40 {
                let count = Int.random(in: 1...30, using: &random)
                requests.append((method.path, (0..<count).map { _ in UInt8.random(in: 0...40, using: &random) }))
            }
        }
        for (path, bytes) in requests {
            do {
                _ = try await client.rpc.unary(path: path, message: bytes, timeout: .seconds(120))
            } catch let error as RPCError {
                let isAnswer = ![.deadlineExceeded, .unavailable, .cancelled].contains(error.code)
                #expect(isAnswer, "\(path) \(bytes): \(error)")
            }
        }
        let last = try await client.put("last", Array("x".utf8))
        #expect(last > 1)
        await client.close()
        await cluster.stopAll()
    }

    @Test func watchesAtTheLimitsOfTheirFieldsAreAnswered() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        for number in [Int64.min, -1, .max] {
            let stream = client.stream("Watch/Watch")
            var request = Etcdserverpb_WatchRequest()
            request.createRequest.watchID = number
            request.createRequest.startRevision = number
            try stream.send(request)
            // An empty range, and a message that asks nothing.
            request.createRequest.watchID = 1
            request.createRequest.key = Data("b".utf8)
            request.createRequest.rangeEnd = Data("a".utf8)
            try stream.send(request)
            try stream.send(Etcdserverpb_WatchRequest())
            let answers = try await stream.next(2, Etcdserverpb_WatchResponse.self)
            #expect(answers.map(\.created) == [true, true])
            #expect(
                answers.map(\.watchID) == [number, -1] && answers[1].cancelReason == "mvcc: watcher range is empty")
            stream.cancel()
        }
        await client.close()
        await cluster.stopAll()
    }
}
