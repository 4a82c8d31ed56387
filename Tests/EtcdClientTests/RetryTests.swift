import EtcdClient
import Glibc
import TestSupport
import Testing

extension WithServers {
    @Suite struct Retries {
        /// A client that reaches the only member through a proxy, and one that reaches it directly.
        private func withProxy(
            _ body: (CuttingProxy, _ through: EtcdClient, _ direct: EtcdClient) async throws -> Void
        ) async throws {
            try await withCluster { cluster, direct in
                let proxy = try await CuttingProxy(to: cluster.servers[0].port)
                let through = try EtcdClient(endpoints: ["127.0.0.1:\(proxy.port)"])
                _ = try await through.get("warm")
                do { try await body(proxy, through, direct) } catch {
                    await through.close()
                    await proxy.close()
                    throw error
                }
                await through.close()
                await proxy.close()
            }
        }

        @Test func aPutWhoseAnswerWasLostIsNotSentAgainAndSaysSo() async throws {
            try await withProxy { proxy, through, direct in
                proxy.dropAnswers()
                let put = Task { try await through.put("k", "v") }
                try await eventually("the put is executed") { try await direct.get("k").first?.version == 1 }
                await proxy.cut()
                let error = await #expect(throws: EtcdError.self) { _ = try await put.value }
                #expect(error?.mayHaveBeenExecuted == true)
                #expect(error?.code == .unavailable)
                // The client is of use again, and nothing was sent behind its back.
                try await through.put("after", "")
                #expect(try await direct.get("k").first?.version == 1)
            }
        }

        @Test func aReadWhoseAnswerWasLostIsAskedAgain() async throws {
            try await withProxy { proxy, through, direct in
                try await direct.put("k", "v")
                proxy.dropAnswers()
                let read = Task { try await through.get("k") }
                // Nothing tells that the read has arrived; whether it has or not, it must be answered.
                try await Task.sleep(for: .milliseconds(100))
                await proxy.cut()
                #expect(try await read.value.first?.valueText == "v")
                #expect(proxy.connectionCount == 2)
            }
        }

        @Test func aTransactionThatMayBeRepeatedIsAndTellsWhatItFinds() async throws {
            try await withProxy { proxy, through, direct in
                proxy.dropAnswers()
                let transaction = Transaction.if(.isAbsent("k")).then(.put("k", "mine")).else(.get("k"))
                let commit = Task { try await through.commit(transaction, mayRepeat: true) }
                try await eventually("it is executed") { try await direct.get("k").first?.version == 1 }
                await proxy.cut()
                let result = try await commit.value
                #expect(!result.succeeded)
                #expect(result.get(0)?.first?.valueText == "mine")
                #expect(try await direct.get("k").first?.version == 1)
            }
        }

        @Test func aGrantWhoseAnswerWasLostLeavesOneLease() async throws {
            try await withProxy { proxy, through, direct in
                proxy.dropAnswers()
                let grant = Task { try await through.grantLease(timeToLive: .seconds(60)) }
                try await eventually("it is granted") { try await direct.leases().count == 1 }
                await proxy.cut()
                let lease = try await grant.value
                #expect(try await direct.leases() == [lease.id])
                #expect(lease.timeToLive == .seconds(60))
            }
        }

        @Test func writesGoToTheMembersThatAnswerWhenOthersAreDown() async throws {
            try await withCluster(members: 3) { cluster, other in
                let closed = try TestSupport.freePorts(1)[0]
                let client = try EtcdClient(
                    endpoints: [EtcdEndpoint(host: "127.0.0.1", port: closed)] + cluster.endpoints)
                // A follower: what others pass on to a leader just killed is lost with it, and its fate unknown.
                let leader = try await cluster.leader(other)
                try await #require(cluster.servers.first { $0.port != leader.port }).kill()
                let revisions = try await withThrowingTaskGroup(of: Int64.self) { group in
                    for index in 0..<50 { group.addTask { try await client.put("k\(index)", "v").header.revision } }
                    return try await group.reduce(into: Set()) { $0.insert($1) }
                }
                #expect(revisions.count == 50)
                await client.close()
            }
        }

        @Test func readsLeaveAMemberThatHangs() async throws {
            var options = EtcdClientOptions()
            options.attemptTimeout = .milliseconds(500)
            try await withCluster(members: 3, options: options) { cluster, client in
                try await client.put("k", "v")
                let leader = try await cluster.leader(client)
                let hung = try #require(cluster.servers.first { $0.port != leader.port })
                await hung.signal(SIGSTOP)
                for _ in 0..<10 { #expect(try await client.get("k").first?.valueText == "v") }
                await hung.signal(SIGCONT)
            }
        }

        @Test func withoutAMemberACallEndsAndSaysWhoDidNotAnswer() async throws {
            let port = try TestSupport.freePorts(1)[0]
            let client = try EtcdClient(endpoints: ["127.0.0.1:\(port)"])
            let error = await #expect(throws: EtcdError.self) {
                _ = try await client.put("k", "v", timeout: .milliseconds(400))
            }
            #expect(error?.code == .unavailable)
            #expect(error?.mayHaveBeenExecuted == false)
            #expect(error?.message.contains("127.0.0.1:\(port): ") == true)
            let waiting = Task { try await client.get("k", timeout: .seconds(60)) }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { _ = try await waiting.value }
            await client.close()
        }
    }
}
