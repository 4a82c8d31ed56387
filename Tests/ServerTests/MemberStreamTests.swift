import EtcdAPI
import Foundation
import FoundationNetworking
import GRPC
import NIOCore
import Testing

@testable import Server

/// Streams of a lone member: what clients may do to them, and what is left when they end.
@Suite(.serialized) struct MemberStreamTests {
    private func watchRequest(_ key: String, id: Int64 = 0, from revision: Int64 = 0) -> Etcdserverpb_WatchRequest {
        var request = Etcdserverpb_WatchRequest()
        request.createRequest.key = Data(key.utf8)
        request.createRequest.watchID = id
        request.createRequest.startRevision = revision
        return request
    }

    private func cancelRequest(_ id: Int64) -> Etcdserverpb_WatchRequest {
        var request = Etcdserverpb_WatchRequest()
        request.cancelRequest.watchID = id
        return request
    }

    /// What `/metrics` says of the watches.
    private func watchers(_ client: TestClient) async throws -> [String] {
        let (data, _) = try await URLSession.shared.data(
            from: #require(URL(string: "http://127.0.0.1:\(client.port)/metrics")))
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init).filter {
            $0.hasPrefix("etcd_debugging_mvcc_watch")
        }
    }

    @Test func aStreamEndedByTheServerLeavesNoWatchBehind() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        let stream = client.stream("Watch/Watch")
        try stream.send(watchRequest("k"))
        let created = try await stream.next(1, Etcdserverpb_WatchResponse.self)
        #expect(created.map(\.created) == [true])
        // The second arrives after the end that the first brings about.
        stream.send([0xff] as [UInt8])
        try stream.send(watchRequest("k"))
        let error = await #expect(throws: RPCError.self) {
            _ = try await stream.next(1, Etcdserverpb_WatchResponse.self)
        }
        #expect(error?.code == .internal)
        #expect(
            try await watchers(client)
                == ["etcd_debugging_mvcc_watcher_total 0", "etcd_debugging_mvcc_watch_stream_total 0"])
        await client.close()
        await cluster.stopAll()
    }

    @Test func watchesAreNamedAndCancelledAsTheClientSaysWithoutWaiting() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        let stream = client.stream("Watch/Watch")
        try stream.send(cancelRequest(99))
        try stream.send(watchRequest("k", id: 7))
        try stream.send(watchRequest("k", id: 7))
        try stream.send(cancelRequest(7))
        try stream.send(watchRequest("k", id: 7))
        let first = try await stream.next(4, Etcdserverpb_WatchResponse.self)
        let refused = try #require(first.first { $0.watchID == -1 })
        #expect(refused.created && refused.canceled)
        #expect(refused.cancelReason == "mvcc: duplicate watch ID provided on the WatchStream")
        let others = first.filter { $0.watchID == 7 }
        #expect(others.map(\.created) == [true, false, true] && others.map(\.canceled) == [false, true, false])

        let revision = try await client.put("k", Array("v".utf8))
        var progress = Etcdserverpb_WatchRequest()
        progress.progressRequest = Etcdserverpb_WatchProgressRequest()
        try stream.send(progress)
        // One event, from the one watch that is left, and then the progress that covers it.
        let rest = try await stream.next(2, Etcdserverpb_WatchResponse.self)
        #expect(rest.map(\.watchID) == [7, -1] && rest[0].events.count == 1)
        #expect(rest[1].header.revision >= revision)
        stream.cancel()
        await client.close()
        await cluster.stopAll()
    }

    @Test func aProgressAnswerStandsBehindWhatAWatchOfThePastHasToTell() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        let first = try await client.put("k", Array("0".utf8))
        for number in 1..<20 { try await client.put("k", Array("\(number)".utf8)) }
        let stream = client.stream("Watch/Watch")
        try stream.send(watchRequest("k", from: first))
        var progress = Etcdserverpb_WatchRequest()
        progress.progressRequest = Etcdserverpb_WatchProgressRequest()
        try stream.send(progress)
        var events = 0
        while true {
            let response = try #require(try await stream.next(1, Etcdserverpb_WatchResponse.self).first)
            events += response.events.count
            if response.watchID == -1 { break }
        }
        #expect(events == 20)
        stream.cancel()
        await client.close()
        await cluster.stopAll()
    }

    @Test func aWatcherThatDoesNotReadGetsEverythingOnceItDoes() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        let slow = try await cluster.client(0)
        let stream = slow.stream("Watch/Watch")
        try stream.send(watchRequest("k"))
        #expect(try await stream.next(1, Etcdserverpb_WatchResponse.self).count == 1)
        // Twice the backlog at which a stream's watches pause; in small pieces, for which the client's window is kept.
        let value = [UInt8](repeating: 1, count: 4 << 10)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask { for _ in 0..<250 { try await client.put("k", value) } }
            }
            try await group.waitForAll()
        }
        let revisions = try await Deadline.within(seconds: 120) {
            var revisions: [Int64] = []
            while revisions.count < 4000 {
                let response = try await stream.next(1, Etcdserverpb_WatchResponse.self)
                revisions += response.flatMap(\.events).map(\.kv.modRevision)
            }
            return revisions
        }
        #expect(revisions == Array(2..<4002))
        stream.cancel()
        await slow.close()
        await client.close()
        await cluster.stopAll()
    }

    @Test func aPhysicalCompactionIsAnsweredWhenTheRecordsAreGone() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        var revision: Int64 = 0
        for number in 0..<10 { revision = try await client.put("k", Array("\(number)".utf8)) }
        var request = Etcdserverpb_CompactionRequest()
        request.revision = revision
        request.physical = true
        let response: Etcdserverpb_CompactionResponse = try await client.call("KV/Compact", request)
        #expect(response.header.revision == revision)
        let error = try await #require(throws: RPCError.self) {
            let _: Etcdserverpb_CompactionResponse = try await client.call("KV/Compact", request)
        }
        #expect(error.message == "etcdserver: mvcc: required revision has been compacted")
        await client.close()
        await cluster.stopAll()
    }

    @Test func openStreamsAreEndedWhenTheMemberStops() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        let client = try await cluster.client(0)
        let stream = client.stream("Watch/Watch")
        try stream.send(watchRequest("k"))
        #expect(try await stream.next(1, Etcdserverpb_WatchResponse.self).count == 1)
        await cluster.stopAll()
        let error = await #expect(throws: RPCError.self) {
            _ = try await stream.next(1, Etcdserverpb_WatchResponse.self)
        }
        #expect(error?.message == "etcdserver: server stopped")
        await client.close()
    }
}
