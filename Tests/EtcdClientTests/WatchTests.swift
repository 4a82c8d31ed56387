import EtcdClient
import Glibc
import TestSupport
import Testing

extension WithServers {
    @Suite struct Watches {
        @Test(arguments: ServerKind.allCases)
        func aWatchTellsEveryChangeInOrder(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                var options = WatchOptions()
                options.wantsPrevious = true
                var updates = client.watch(.prefix("k"), options: options).makeAsyncIterator()
                guard case .started(let start) = try await updates.next() else { throw Complaint("not started first") }
                try await client.put("k1", "a")
                try await client.put("k1", "b")
                try await client.put("other", "x")
                _ = try await client.commit(Transaction().then(.put("k2", "c"), .delete("k1")))
                var events: [WatchEvent] = []
                while events.count < 4, case .events(let more)? = try await updates.next() {
                    if more.contains(where: { $0.kv.modRevision == start + 3 }) {
                        #expect(more.count(where: { $0.kv.modRevision == start + 3 }) == 2)
                    }
                    events += more
                }
                #expect(events.map(\.kv.keyText) == ["k1", "k1", "k2", "k1"])
                #expect(events.map(\.kind) == [.put, .put, .put, .delete])
                #expect(events.map(\.kv.modRevision) == [start, start + 1, start + 3, start + 3])
                #expect(events[1].previous?.valueText == "a")
                #expect(events[3].previous?.valueText == "b")
            }
        }

        @Test(arguments: ServerKind.allCases)
        func aWatchFromACompactedRevisionSaysSoAndEnds(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                for value in 1...5 { try await client.put("k", "\(value)") }
                let revision = try await client.get("k").header.revision
                try await client.compact(to: revision)
                var seen: [WatchUpdate] = []
                for try await update in client.watch("k", from: 2) { seen.append(update) }
                #expect(seen.last == .compacted(revision))
                #expect(!seen.contains { if case .events = $0 { true } else { false } })
            }
        }

        @Test(arguments: ServerKind.allCases)
        func manyWatchesShareAStreamAndEndByThemselves(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let count = 200
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let started = Shared(0)
                    for index in 0..<count {
                        group.addTask {
                            for try await update in client.watch(.key("k\(index)")) {
                                switch update {
                                case .started: started.change { $0 += 1 }
                                case .events(let events):
                                    #expect(events.map(\.kv.keyText) == ["k\(index)"])
                                    return
                                default: break
                                }
                            }
                        }
                    }
                    try await eventually("all watches stand") { started.value == count }
                    for index in 0..<count { try await client.put("k\(index)", "v") }
                    try await group.waitForAll()
                }
            }
        }

        @Test(arguments: ServerKind.allCases)
        func progressIsToldWhenAsked(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let watch = client.watch("k")
                var updates = watch.makeAsyncIterator()
                _ = try await updates.next()
                let revision = try await client.put("elsewhere", "v").header.revision
                watch.requestProgress()
                let told = try await updates.next()
                #expect(told == .progress(revision))
            }
        }

        @Test func aSlowReaderCostsBoundedMemoryAndLosesNothing() async throws {
            var options = EtcdClientOptions()
            options.maxBufferedWatchBytes = 2000
            try await withCluster(options: options) { _, client in
                var updates = client.watch(.prefix("k")).makeAsyncIterator()
                guard case .started(let start) = try await updates.next() else { throw Complaint("not started first") }
                for value in 0..<100 { try await client.put("k", "\(value)") }
                var revisions: [Int64] = []
                while revisions.count < 100, let update = try await updates.next() {
                    if case .events(let events) = update { revisions += events.map(\.kv.modRevision) }
                }
                #expect(revisions == Array(start..<(start + 100)))
            }
        }

        @Test func aCancelledReaderEndsItsWatchAndAClosedClientAllOfThem() async throws {
            try await withCluster { cluster, client in
                let other = try EtcdClient(endpoints: cluster.endpoints)
                let reading = Task { for try await _ in other.watch("k") {} }
                let waiting = Task { for try await _ in other.watch("k") {} }
                try await Task.sleep(for: .milliseconds(100))
                reading.cancel()
                await #expect(throws: CancellationError.self) { try await reading.value }
                await other.close()
                await #expect(throws: EtcdError.self) { try await waiting.value }
                await #expect(throws: EtcdError.self) { _ = try await other.get("k") }
            }
        }

        @Test func aWatchThatWasLostAndCompactedMeanwhileSaysSo() async throws {
            try await withCluster { cluster, direct in
                let proxy = try await CuttingProxy(to: cluster.servers[0].port)
                let client = try EtcdClient(endpoints: ["127.0.0.1:\(proxy.port)"])
                var updates = client.watch("k").makeAsyncIterator()
                _ = try await updates.next()
                proxy.dropAnswers()
                for value in 1...5 { try await direct.put("k", "\(value)") }
                let revision = try await direct.get("k").header.revision
                try await direct.compact(to: revision)
                await proxy.cut()
                #expect(try await updates.next() == .compacted(revision))
                #expect(try await updates.next() == nil)
                await client.close()
                await proxy.close()
            }
        }

        @Test func aWatchLeavesAMemberThatHangs() async throws {
            try await withCluster(members: 3) { cluster, writer in
                var options = EtcdClientOptions()
                options.keepaliveInterval = .seconds(1)
                options.keepaliveTimeout = .seconds(1)
                // It begins with the one member that it knows, and learns of the others then.
                let client = try EtcdClient(endpoints: [cluster.servers[0].endpoint], options: options)
                var updates = client.watch("k").makeAsyncIterator()
                guard case .started(let start) = try await updates.next() else { throw Complaint("not started first") }
                try await eventually("all members are known") {
                    try await client.syncEndpoints()
                    return await client.endpoints.count == 3
                }
                await cluster.servers[0].signal(SIGSTOP)
                // One that was given to the stopped member is lost; the others elect a leader and go on.
                try await eventually("a put is acknowledged") {
                    (try? await writer.put("k", "v", timeout: .seconds(3))) != nil
                }
                guard case .events(let events) = try await updates.next() else { throw Complaint("no events") }
                #expect(events.first?.kv.modRevision == start)
                await cluster.servers[0].signal(SIGCONT)
                await client.close()
            }
        }

        /// Members are killed, started again, and stopped in their tracks while a key counts up.
        @Test func aWatchIsResumedWithoutLossOrRepetitionWhateverMembersDo() async throws {
            try await withCluster(members: 3) { cluster, client in
                let seen = Shared<[Int64]>([])
                let watch = client.watch(.prefix("count/"), from: 1)
                let reader = Task {
                    for try await update in watch {
                        switch update {
                        case .events(let events): seen.change { $0 += events.map(\.kv.modRevision) }
                        case .compacted(let revision): throw Complaint("compacted at \(revision)")
                        case .started, .progress: break
                        }
                    }
                }
                let isDone = Shared(false)
                let acknowledged = Shared<[Int64]>([])
                let writers = Task {
                    await withTaskGroup(of: Void.self) { group in
                        for writer in 0..<4 {
                            group.addTask {
                                while !isDone.value {
                                    // What was on its way to a leader that died is given up soon.
                                    if let put = try? await client.put("count/\(writer)", "", timeout: .seconds(1)) {
                                        acknowledged.change { $0.append(put.header.revision) }
                                    }
                                    try? await Task.sleep(for: .milliseconds(5))
                                }
                            }
                        }
                    }
                }
                try await eventually("writes are acknowledged") { acknowledged.value.count > 50 }
                for server in cluster.servers {
                    try await server.kill()
                    try await Task.sleep(for: .milliseconds(700))
                    try await server.start()
                    try await eventually("\(server.name) serves again") {
                        (try? await client.status(of: server.endpoint, timeout: .seconds(1)))?.leader ?? 0 != 0
                    }
                }
                let leader = try await cluster.leader(client)
                await leader.signal(SIGSTOP)
                try await Task.sleep(for: .seconds(2))
                await leader.signal(SIGCONT)
                isDone.change { $0 = true }
                await writers.value
                let last = try await client.put("count/last", "").header.revision
                try await eventually("the last write is told") { seen.value.last == last }
                reader.cancel()
                _ = await reader.result
                let told = seen.value
                #expect(told == Array(Set(told)).sorted(), "each once, in order")
                // Every revision since the first is a write of this key: none may be left out.
                #expect(told == Array(try #require(told.first)...last))
                #expect(Set(acknowledged.value).isSubset(of: told))
            }
        }
    }
}
