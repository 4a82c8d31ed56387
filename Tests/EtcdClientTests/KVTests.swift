import EtcdClient
import TestSupport
import Testing

extension WithServers {
    @Suite struct KV {
        @Test(arguments: ServerKind.allCases)
        func whatIsPutIsReadBackAndDeleted(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let first = try await client.put("a", "1")
                let second = try await client.put("a", "2", wantsPrevious: true)
                #expect(second.previous?.valueText == "1")
                #expect(second.header.revision == first.header.revision + 1)
                let read = try #require(try await client.get("a").first)
                #expect(read.valueText == "2")
                #expect(read.version == 2)
                #expect(read.createRevision == first.header.revision)
                var old = GetOptions()
                old.revision = first.header.revision
                #expect(try await client.get("a", options: old).first?.valueText == "1")
                let deleted = try await client.delete("a", wantsPrevious: true)
                #expect(deleted.deleted == 1)
                #expect(deleted.previous.map(\.valueText) == ["2"])
                #expect(try await client.get("a").first == nil)
            }
        }

        @Test(arguments: ServerKind.allCases)
        func rangesAreReadWithEveryOption(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                for key in ["p/b", "p/a", "p/c", "q"] { try await client.put(key, "v-\(key)") }
                try await client.put("p/a", "again")
                var options = GetOptions()
                options.limit = 2
                let page = try await client.get(.prefix("p/"), options: options)
                #expect(page.kvs.map(\.keyText) == ["p/a", "p/b"])
                #expect(page.hasMore)
                #expect(page.count == 3)
                let newest = try await client.get(.all, options: .first(by: .modRevision, .descending))
                #expect(newest.first?.keyText == "p/a")
                options = GetOptions()
                options.countOnly = true
                #expect(try await client.get(.from("p/b"), options: options).count == 3)
                options = GetOptions()
                options.keysOnly = true
                options.isSerializable = true
                options.sortTarget = .key
                options.sortOrder = .descending
                let keys = try await client.get(.range("p/a", upTo: "p/c"), options: options)
                #expect(keys.kvs.map(\.keyText) == ["p/b", "p/a"])
                #expect(keys.kvs.allSatisfy { $0.value.isEmpty })
                options = GetOptions()
                options.maxCreateRevision = try #require(try await client.get("p/b").first).createRevision
                #expect(try await client.get(.all, options: options).kvs.map(\.keyText) == ["p/b"])
            }
        }

        @Test(arguments: ServerKind.allCases)
        func aTransactionDoesOneBranchAtomically(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let take = Transaction.if(.isAbsent("owner"))
                    .then(.put("owner", "me"), .get("owner"))
                    .else(.get("owner"))
                let first = try await client.commit(take)
                #expect(first.succeeded)
                #expect(first.get(1)?.first?.valueText == "me")
                let second = try await client.commit(take)
                #expect(!second.succeeded)
                #expect(second.get(0)?.first?.modRevision == first.header.revision)
                let nested = try await client.commit(
                    Transaction.if(.value("owner", .equal, "me"), .version("owner", .less, 2))
                        .then(
                            .transaction(Transaction.if(.exists("none")).then(.put("x", "1")).else(.put("x", "2"))),
                            .delete("owner")))
                #expect(nested.succeeded)
                #expect(try await client.get("x").first?.valueText == "2")
                #expect(try await client.get("owner").first == nil)
            }
        }

        @Test(arguments: ServerKind.allCases)
        func errorsKeepEtcdsCodeAndText(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let empty = await #expect(throws: EtcdError.self) { _ = try await client.put("", "x") }
                #expect(empty?.reason == .keyNotProvided)
                #expect(empty?.code == .invalidArgument)
                #expect(empty?.mayHaveBeenExecuted == false)
                for value in 1...3 { try await client.put("k", "\(value)") }
                let now = try await client.get("k").header.revision
                try await client.compact(to: now, physically: true)
                var old = GetOptions()
                old.revision = now - 1
                let before = old
                let compacted = await #expect(throws: EtcdError.self) {
                    _ = try await client.get("k", options: before)
                }
                #expect(compacted?.reason == .compacted)
                let lease = await #expect(throws: EtcdError.self) {
                    _ = try await client.put("k", "x", lease: LeaseID(rawValue: 7))
                }
                #expect(lease?.reason == .leaseNotFound)
                try await client.touch("k")
                #expect(try await client.get("k").first?.valueText == "3")
            }
        }

        @Test(arguments: ServerKind.allCases)
        func theClusterSaysWhatItIs(_ kind: ServerKind) async throws {
            try await withCluster(kind, members: 3) { cluster, client in
                let members = try await client.members()
                #expect(Set(members.map(\.name)) == ["m1", "m2", "m3"])
                try await client.put("k", "v")
                let revision = try await client.get("k").header.revision
                var hashes: Set<UInt32> = []
                for server in cluster.servers {
                    try await eventually("\(server.name) knows its leader and has applied the put") {
                        let status = try await client.status(of: server.endpoint)
                        return status.leader != 0 && status.header.revision >= revision
                    }
                    hashes.insert(try await client.hashKV(of: server.endpoint, revision: revision).hash)
                }
                #expect(hashes.count == 1)
                #expect(try await client.alarms().isEmpty)
            }
        }

        @Test func aClientThatKnowsOneMemberFindsTheOthers() async throws {
            try await withCluster(members: 3) { cluster, _ in
                let client = try EtcdClient(endpoints: [cluster.servers[0].endpoint])
                try await eventually("all have announced their client URLs") {
                    try await client.syncEndpoints()
                    return await Set(client.endpoints) == Set(cluster.endpoints)
                }
                try await client.put("k", "v")
                try await cluster.servers[0].kill()
                #expect(try await client.get("k").first?.valueText == "v")
                await client.close()
            }
        }
    }
}
