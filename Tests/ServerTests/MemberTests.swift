import Discovery
import EtcdAPI
import Foundation
import GRPC
import NIOCore
import Testing

@testable import Server

/// Whole members in this process, over loopback.
@Suite(.serialized) struct MemberTests {
    @Test func aLoneMemberComesBackWithWhatItHadAndMakesItsNewAddressKnown() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        var client = try await cluster.client(0)
        let revision = try await client.put("k", Array("v".utf8))
        await client.close()
        await cluster.stop(0)

        // The log still holds how it made itself known before; replaying that is not enough.
        let address = try MemberURL("http://127.0.0.1:20000")
        cluster.reconfigure(0) { $0.advertiseClientURLs = [address] }
        try await cluster.start([0])
        client = try await cluster.client(0)
        #expect(try await client.get("k") == "v")
        #expect(try await client.put("k", Array("w".utf8)) == revision + 1)
        let members: Etcdserverpb_MemberListResponse = try await client.call(
            "Cluster/MemberList", Etcdserverpb_MemberListRequest())
        #expect(members.members.map(\.clientUrls) == [[address.text]])
        // As etcd, this service leaves the revision out of its headers.
        #expect(members.header.revision == 0 && members.header.raftTerm > 0)
        await client.close()
        await cluster.stopAll()
    }

    @Test func anAlarmIsRaisedListedHeededAndCleared() async throws {
        let cluster = try TestCluster(1)
        try await cluster.start([0])
        var client = try await cluster.client(0)
        func alarm(
            _ action: Etcdserverpb_AlarmRequest.AlarmAction, _ kind: Etcdserverpb_AlarmType = .nospace
        ) async throws -> [Etcdserverpb_AlarmMember] {
            let request = Etcdserverpb_AlarmRequest.with {
                $0.action = action
                $0.memberID = 7
                $0.alarm = kind
            }
            let response: Etcdserverpb_AlarmResponse = try await client.call("Maintenance/Alarm", request)
            #expect(response.header.revision == 1)
            return response.alarms
        }
        let raised = Etcdserverpb_AlarmMember.with {
            $0.memberID = 7
            $0.alarm = .nospace
        }
        #expect(try await alarm(.activate, .none) == [])
        #expect(try await alarm(.activate) == [raised])
        await client.close()
        await cluster.stop(0)
        try await cluster.start([0])
        client = try await cluster.client(0)
        #expect(try await alarm(.get, .none) == [raised])
        #expect(try await alarm(.get) == [raised])
        #expect(try await alarm(.get, .corrupt) == [])
        let error = await #expect(throws: RPCError.self) { try await client.put("k", [1]) }
        #expect(error == RPCError(.resourceExhausted, "etcdserver: mvcc: database space exceeded"))
        #expect(try await alarm(.deactivate, .corrupt) == [])
        #expect(try await alarm(.deactivate) == [raised])
        #expect(try await alarm(.get, .none) == [])
        try await client.put("k", [1])
        await client.close()
        await cluster.stopAll()
    }

    @Test func everyMemberTakesWritesAndTheOthersGoOnWithoutTheLeader() async throws {
        let cluster = try TestCluster(3)
        try await cluster.start([0, 1, 2])
        for index in 0..<3 {
            let client = try await cluster.client(index)
            try await client.put("from \(index)", Array("\(index)".utf8))
            let other = try await cluster.client((index + 1) % 3)
            #expect(try await other.get("from \(index)") == "\(index)")
            await client.close()
            await other.close()
        }

        let leader = try await cluster.leader()
        let rest = [0, 1, 2].filter { $0 != leader }
        let client = try await cluster.client(rest[0])
        await cluster.stop(leader)
        let revision = try await Deadline.retry { try await client.put("after", Array("x".utf8)) }
        #expect(try await client.get("from \(leader)") == "\(leader)")

        try await cluster.start([leader])
        let back = try await cluster.client(leader)
        #expect(try await back.get("after") == "x")
        #expect(try await back.hash(at: revision) == client.hash(at: revision))
        await back.close()
        await client.close()
        await cluster.stopAll()
    }

    @Test func aLeaseIsRenewedAndLookedAtThroughAnyMember() async throws {
        let cluster = try TestCluster(3)
        try await cluster.start([0, 1, 2])
        let leader = try await cluster.leader()
        let follower = (leader + 1) % 3
        let client = try await cluster.client(follower)
        var grant = Etcdserverpb_LeaseGrantRequest()
        grant.ttl = -3
        let granted: Etcdserverpb_LeaseGrantResponse = try await client.call("Lease/LeaseGrant", grant)
        // A TTL that is too short, or none at all, is raised to 1.5 election timeouts.
        #expect(granted.ttl == 1 && granted.id != 0)
        grant.ttl = 1000
        let long: Etcdserverpb_LeaseGrantResponse = try await client.call("Lease/LeaseGrant", grant)

        let stream = client.stream("Lease/LeaseKeepAlive")
        var renewal = Etcdserverpb_LeaseKeepAliveRequest()
        for id in [long.id, 12345, long.id] {
            renewal.id = id
            try stream.send(renewal)
        }
        stream.finish()
        let answers = try await stream.next(4, Etcdserverpb_LeaseKeepAliveResponse.self)
        #expect(answers.map(\.ttl) == [1000, 0, 1000])

        // With the leader gone the next one keeps the lease, and does not take it for expired.
        await cluster.stop(leader)
        var question = Etcdserverpb_LeaseTimeToLiveRequest()
        question.id = long.id
        let left: Etcdserverpb_LeaseTimeToLiveResponse = try await Deadline.retry {
            try await client.call("Lease/LeaseTimeToLive", question)
        }
        #expect(left.ttl > 900 && left.grantedTtl == 1000)
        await client.close()
        await cluster.stopAll()
    }

    @Test func aMemberFarBehindGetsTheStateInsteadOfTheLog() async throws {
        let cluster = try TestCluster(3) { $0.snapshotCount = 100 }
        try await cluster.start([0, 1, 2])
        let late = (try await cluster.leader() + 1) % 3
        await cluster.stop(late)
        let client = try await cluster.client((late + 1) % 3)
        // More than the entries kept for followers that are a little late.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<50 {
                group.addTask {
                    for number in 0..<120 { try await client.put("\(writer)", Array("\(number)".utf8)) }
                }
            }
            try await group.waitForAll()
        }
        let revision = try await client.put("last", Array("x".utf8))
        let hash = try await client.hash(at: revision)

        for _ in 0..<2 {
            try await cluster.start([late])
            let back = try await cluster.client(late)
            #expect(try await back.get("last") == "x")
            #expect(try await back.hash(at: revision) == hash)
            let status: Etcdserverpb_StatusResponse = try await back.call(
                "Maintenance/Status", Etcdserverpb_StatusRequest())
            #expect(status.raftIndex >= status.raftAppliedIndex && status.raftAppliedIndex > 6000)
            #expect(status.dbSize > 0)
            await back.close()
            // And once more from what was installed.
            await cluster.stop(late)
        }
        await client.close()
        await cluster.stopAll()
    }

    @Test func withoutAQuorumOnlySerializableReadsAreAnswered() async throws {
        let cluster = try TestCluster(3)
        try await cluster.start([0, 1, 2])
        let client = try await cluster.client(0)
        try await client.put("k", Array("v".utf8))
        await cluster.stop(1)
        await cluster.stop(2)
        try await Deadline.retry {
            let error = try await #require(throws: RPCError.self) {
                var request = Etcdserverpb_RangeRequest()
                request.key = Data("k".utf8)
                let _: Etcdserverpb_RangeResponse = try await client.call(
                    "KV/Range", request, metadata: [("hasleader", "true")])
            }
            guard error.message == "etcdserver: no leader" else { throw error }
        }
        #expect(try await client.get("k", serializable: true) == "v")
        let error = try await #require(throws: RPCError.self) { try await client.get("k") }
        #expect(error.code == .unavailable && error.message == "etcdserver: request timed out")
        try await cluster.start([1])
        #expect(try await client.get("k") == "v")
        await client.close()
        await cluster.stopAll()
    }

    @Test func clientsAreNotServedOnSocketsInTheFileSystem() async throws {
        let cluster = try TestCluster(1)
        let url = try MemberURL("unix:///tmp/gulp-test.sock")
        cluster.reconfigure(0) { $0.listenClientURLs = [url] }
        await #expect(throws: ServerError.self) {
            try await Member.start(cluster.configurations[0], logger: TestCluster.silence)
        }
    }
}
