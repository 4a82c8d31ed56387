import EtcdClient
import TestSupport
import Testing

extension WithServers {
    @Suite struct Leases {
        @Test(arguments: ServerKind.allCases)
        func aLeaseIsGrantedShownRenewedAndRevoked(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let lease = try await client.grantLease(timeToLive: .milliseconds(599_500))
                #expect(lease.timeToLive == .seconds(600))
                try await client.put("bound", "v", lease: lease.id)
                #expect(try await client.get("bound").first?.lease == lease.id)
                let status = try #require(try await client.timeToLive(of: lease.id, withKeys: true))
                #expect(status.granted == .seconds(600))
                #expect(status.remaining > .seconds(300))
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

        /// The keeper of a lease that has been kept for well over its time to live while `trouble` happened, with the
        /// key "bound". Twice the time is taken whenever the machine was too slow to renew it.
        private func keptBeyondItsTime(
            _ first: Duration, _ client: EtcdClient, _ trouble: () async throws -> Void
        ) async throws -> LeaseKeeper {
            var time = first
            while true {
                let keeper = try await client.keepLease(timeToLive: time)
                let granted = ContinuousClock.now
                // (Refused if the lease is gone by then.)
                let isBound = (try? await client.put("bound", "v", lease: keeper.lease)) != nil
                try await trouble()
                try await Task.sleep(until: granted + time * 2)
                if isBound, keeper.isCertain, keeper.loss == nil { return keeper }
                try? await keeper.revoke()
                time = time * 2
                try #require(time < .seconds(120), "no lease is kept beyond its time to live")
            }
        }

        @Test(arguments: ServerKind.allCases)
        func aKeptLeaseOutlivesItsTimeAndItsEndIsTold(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let keeper = try await keptBeyondItsTime(.seconds(2), client) {}
                #expect(try await client.get("bound").first?.lease == keeper.lease)
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
                for _ in 1...2 {
                    var killed: [Server] = []
                    let keeper = try await keptBeyondItsTime(.seconds(4), client) {
                        // (One may be down since a time that was too short.)
                        for server in killed { try await server.start() }
                        killed = [try await cluster.leader(client)]
                        for server in killed { try await server.kill() }
                    }
                    #expect(try await client.get("bound").first?.lease == keeper.lease)
                    for server in killed {
                        try await server.start()
                        try await eventually("\(server.name) serves again") {
                            (try? await client.status(of: server.endpoint, timeout: .seconds(1)))?.leader ?? 0 != 0
                        }
                    }
                }
            }
        }

        @Test func aLeaseThatCannotBeRenewedCountsAsLostNoLaterThanItCanExpire() async throws {
            try await withCluster { cluster, client in
                let keeper = try await client.keepLease(timeToLive: .seconds(2))
                try await cluster.servers[0].kill()
                let limit = keeper.certainUntil
                let loss = try await keeper.waitUntilLost()
                guard case .overdue = loss else { throw Complaint("lost as \(loss)") }
                #expect(!keeper.isCertain && ContinuousClock.now >= limit)
                let waiting = Task { try await keeper.waitUntilLost() }
                #expect(try await waiting.value == loss)
            }
        }
    }
}
