import EtcdClient
import Foundation
import TestSupport
import Testing

extension WithServers {
    @Suite struct Locks {
        @Test(arguments: ServerKind.allCases)
        func tasksExcludeEachOtherAndNoCountIsLost(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let inside = Shared(0)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<5 {
                        group.addTask {
                            for _ in 0..<4 {
                                try await client.withLock("lock", timeToLive: .seconds(300)) { _ in
                                    let present = inside.change { count in
                                        count += 1
                                        return count
                                    }
                                    #expect(present == 1)
                                    // Read, then write: two of them at once would lose a count.
                                    let count = try await client.get("counter").first.flatMap { Int($0.valueText) } ?? 0
                                    try await client.put("counter", "\(count + 1)")
                                    inside.change { $0 -= 1 }
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(try await client.get("counter").first?.valueText == "20")
                #expect(try await client.get(.prefix("lock/")).count == 0)
                #expect(try await client.leases().isEmpty)
            }
        }

        @Test func aLockIsPassedOnInOrderAndItsTokensGrow() async throws {
            try await withCluster { _, client in
                let keepers = try await [
                    client.keepLease(timeToLive: .seconds(300)), client.keepLease(timeToLive: .seconds(300)),
                    client.keepLease(timeToLive: .seconds(300)),
                ]
                let first = try await client.lock("l", under: keepers[0])
                #expect(String(decoding: first.key, as: UTF8.self) == "l/\(keepers[0].lease)")
                #expect(try await client.lock("l", under: keepers[0]) == first)
                #expect(try await client.tryLock("l", under: keepers[1]) == nil)
                let second = Task { try await client.lock("l", under: keepers[1]) }
                try await eventually("the second waits") { try await client.get(.prefix("l/")).count == 2 }
                let third = Task { try await client.lock("l", under: keepers[2]) }
                try await eventually("the third waits") { try await client.get(.prefix("l/")).count == 3 }
                // One that gives up does not block those behind it.
                second.cancel()
                await #expect(throws: CancellationError.self) { _ = try await second.value }
                #expect(try await client.get(.prefix("l/")).count == 2)
                try await first.unlock()
                let held = try await third.value
                #expect(held.fencingToken > first.fencingToken)
                let stale = try await client.commit(Transaction.if(first.condition).then(.put("x", "stale")))
                #expect(!stale.succeeded)
                let fresh = try await client.commit(Transaction.if(held.condition).then(.put("x", "fresh")))
                #expect(fresh.succeeded)
                // A waiter whose lease ends is told, and does not get the lock.
                let late = Task { try await client.lock("l", under: keepers[1]) }
                try await eventually("it waits") { try await client.get(.prefix("l/")).count == 2 }
                try await keepers[1].revoke()
                await #expect(throws: EtcdError.self) { _ = try await late.value }
                try await keepers[2].revoke()
                #expect(try await client.tryLock("l", under: keepers[0]) != nil)
            }
        }

        @Test func whatIsDoneUnderALockIsCancelledWhenItsLeaseIsLost() async throws {
            try await withCluster { _, client in
                let wasCancelled = Shared(false)
                let work = Task {
                    try await client.withLock("l", timeToLive: .seconds(15)) { _ in
                        try await client.put("inside", "")
                        do { try await Task.sleep(for: .seconds(1000)) } catch {
                            wasCancelled.change { $0 = true }
                            throw error
                        }
                    }
                }
                try await eventually("it is inside") { try await client.get("inside").count == 1 }
                for lease in try await client.leases() { try await client.revokeLease(lease) }
                await #expect(throws: EtcdError.self) { try await work.value }
                #expect(wasCancelled.value)
            }
        }

        @Test(arguments: ServerKind.allCases)
        func etcdctlWaitsForOurLockAndWeForIts(_ kind: ServerKind) async throws {
            let etcdctl = try ServerKind.etcd.executable() + "ctl"
            try await withCluster(kind) { cluster, client in
                let keeper = try await client.keepLease(timeToLive: .seconds(300))
                let ours = try await client.lock("shared", under: keeper)
                let process = Process()
                process.executableURL = URL(fileURLWithPath: etcdctl)
                process.arguments = [
                    "--endpoints", "\(cluster.endpoints[0])", "lock", "shared", "--", "sh", "-c", "sleep 1",
                ]
                process.environment = ProcessInfo.processInfo.environment.merging(["ETCDCTL_API": "3"]) { $1 }
                process.standardOutput = FileHandle.nullDevice
                try process.run()
                try await eventually("etcdctl waits behind us") { try await client.get(.prefix("shared/")).count == 2 }
                try await ours.unlock()
                try await eventually("etcdctl has it") { try await client.get(.prefix("shared/")).count == 1 }
                let again = try await client.lock("shared", under: keeper)
                #expect(again.fencingToken > ours.fencingToken)
                try await eventually("etcdctl has ended") { !process.isRunning }
                #expect(process.terminationStatus == 0)
            }
        }
    }

    @Suite struct Elections {
        @Test(arguments: ServerKind.allCases)
        func leadershipIsHandedOverWhenItIsResignedAndWhenItsLeaseEnds(_ kind: ServerKind) async throws {
            try await withCluster(kind) { _, client in
                let keepers = try await [
                    client.keepLease(timeToLive: .seconds(300)), client.keepLease(timeToLive: .seconds(300)),
                    client.keepLease(timeToLive: .seconds(300)),
                ]
                let seen = Shared<[String]>([])
                let observer = Task {
                    for try await leader in client.observeLeader(of: "e") {
                        let text = leader?.valueText ?? "none"
                        seen.change { $0.append(text) }
                    }
                }
                try await eventually("nobody leads") { seen.value.last == "none" }
                #expect(try await client.leader(of: "e") == nil)
                let first = try await client.campaign("e", value: "a", under: keepers[0])
                try await eventually("a is seen") { seen.value.last == "a" }
                let second = Task { try await client.campaign("e", value: "b", under: keepers[1]) }
                try await eventually("b stands") { try await client.get(.prefix("e/")).count == 2 }
                let third = Task { try await client.campaign("e", value: "c", under: keepers[2]) }
                try await eventually("c stands") { try await client.get(.prefix("e/")).count == 3 }
                try await first.proclaim("a2")
                try await eventually("a2 is seen") { seen.value.last == "a2" }
                #expect(try await client.leader(of: "e")?.valueText == "a2")
                try await first.resign()
                let b = try await second.value
                try await eventually("b is seen") { seen.value.last == "b" }
                await #expect(throws: EtcdError.self) { try await first.proclaim("late") }
                try await keepers[1].revoke()
                let c = try await third.value
                #expect(c.fencingToken > b.fencingToken)
                try await eventually("c is seen") { seen.value.last == "c" }
                observer.cancel()
                _ = await observer.result
            }
        }

        @Test func anElectionGoesOnWhenTheStoresLeaderDies() async throws {
            try await withCluster(members: 3) { cluster, client in
                let (a, b) = try await (
                    client.keepLease(timeToLive: .seconds(300)), client.keepLease(timeToLive: .seconds(300))
                )
                let first = try await client.campaign("e", value: "a", under: a)
                let second = Task { try await client.campaign("e", value: "b", under: b) }
                try await eventually("b stands") { try await client.get(.prefix("e/")).count == 2 }
                try await cluster.leader(client).kill()
                #expect(try await client.leader(of: "e")?.valueText == "a")
                try await first.resign()
                _ = try await second.value
                #expect(try await client.leader(of: "e")?.valueText == "b")
            }
        }
    }
}
