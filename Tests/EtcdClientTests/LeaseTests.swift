import EtcdClient
import TestSupport
import Testing

extension WithServers {
    @Suite struct Leases {
        @Test(arguments: ServerKind.allCases)
        func aLeaseIsGrantedShownRenewedAndRevoked(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let lease = try await client.grantLease(timeToLive: .milliseconds(59_500))
                #expect(lease.timeToLive == .seconds(60))
                try await client.put("bound", "v", lease: lease.id)
                #expect(try await client.get("bound").first?.lease == lease.id)
                let status = try #require(try await client.timeToLive(of: lease.id, withKeys: true))
                #expect(status.granted == .seconds(60))
                #expect(status.remaining > .seconds(50))
                #expect(status.keys == [Array("bound".utf8)])
                #expect(try await client.leases() == [lease.id])
                let renewed = try #require(try await client.renewLease(lease.id))
                #expect(renewed.certainUntil > lease.certainUntil)
                try await client.revokeLease(lease.id)
                #expect(try await client.get("bound").first == nil)
                #expect(try await client.renewLease(lease.id) == nil)
                #expect(try await client.timeToLive(of: lease.id) == nil)
                let error = await #expect(throws: EtcdError.self) { _ = try await client.keepLease(lease.id) }
                #expect(error?.reason == .leaseNotFound)
            }
        }

        @Test(arguments: ServerKind.allCases)
        func aKeptLeaseOutlivesItsTimeAndItsEndIsTold(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let keeper = try await client.keepLease(timeToLive: .seconds(2))
                try await client.put("bound", "v", lease: keeper.lease)
                try await Task.sleep(for: .seconds(5))
                #expect(keeper.isCertain)
                #expect(try await client.get("bound").first != nil)
                try await client.revokeLease(keeper.lease)
                #expect(try await keeper.waitUntilLost() == .ended)
                #expect(!keeper.isCertain)
                let stopped = try await client.keepLease(timeToLive: .seconds(60))
                try await stopped.revoke()
                #expect(stopped.loss == .stopped)
                #expect(try await client.leases().isEmpty)
            }
        }

        @Test func aLeaseIsKeptThroughTheDeathOfTheLeader() async throws {
            try await withCluster(members: 3) { cluster, client in
                let keeper = try await client.keepLease(timeToLive: .seconds(4))
                try await client.put("bound", "v", lease: keeper.lease)
                for _ in 1...2 {
                    let leader = try await cluster.leader(client)
                    try await leader.kill()
                    try await Task.sleep(for: .seconds(5))
                    #expect(keeper.loss == nil)
                    #expect(keeper.isCertain)
                    try await leader.start()
                    try await eventually("\(leader.name) serves again") {
                        (try? await client.status(of: leader.endpoint, timeout: .seconds(1)))?.leader ?? 0 != 0
                    }
                }
                #expect(try await client.get("bound").first?.lease == keeper.lease)
            }
        }

        @Test func aLeaseThatCannotBeRenewedCountsAsLostNoLaterThanItCanExpire() async throws {
            try await withCluster { cluster, client in
                let keeper = try await client.keepLease(timeToLive: .seconds(2))
                try await cluster.servers[0].kill()
                let limit = keeper.certainUntil
                let loss = try await keeper.waitUntilLost()
                guard case .overdue = loss else { throw Complaint("lost as \(loss)") }
                #expect(!keeper.isCertain)
                #expect(ContinuousClock.now - limit < .seconds(2))
                let waiting = Task { try await keeper.waitUntilLost() }
                #expect(try await waiting.value == loss)
            }
        }
    }
}
