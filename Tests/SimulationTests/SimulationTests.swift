import Foundation
import Testing

@testable import Simulation

/// A run of a minute takes a second or so without optimisation: few seeds, and short ones.
@Suite struct SimulationTests {
    @Test func aHandfulOfSeedsPasses() {
        for seed in UInt64(1)...8 {
            let report = simulate(SimulationOptions(seed: seed, virtualSeconds: 20))
            #expect(report.failure == nil, "seed \(seed)")
        }
    }

    @Test(arguments: [1, 2, 5]) func clustersOfOtherSizesPass(members: Int) {
        for seed in UInt64(1)...2 {
            let report = simulate(SimulationOptions(seed: seed, virtualSeconds: 10, members: members))
            #expect(report.failure == nil, "seed \(seed)")
        }
    }

    /// In seed 101709 a candidate's own vote takes so long to become durable that it leads after its successor.
    @Test func aLeaderElectedAfterItsSuccessorPasses() {
        let report = simulate(SimulationOptions(seed: 101_709))
        #expect(report.failure == nil)
    }

    /// In these a member crashes after the term that comes with a snapshot is durable and before the state is, with
    /// entries in its log that never were committed.
    @Test(arguments: [204_777, 205_577] as [UInt64]) func aCrashBeforeASnapshotIsInstalledPasses(seed: UInt64) {
        let report = simulate(SimulationOptions(seed: seed, virtualSeconds: 25))
        #expect(report.failure == nil)
    }

    @Test func aSeedGivesTheSameTraceEveryTime() {
        for seed in UInt64(20)...22 {
            let options = SimulationOptions(seed: seed, virtualSeconds: 15)
            #expect(simulate(options).traceDigest == simulate(options).traceDigest, "seed \(seed)")
        }
        let other = simulate(SimulationOptions(seed: 23, virtualSeconds: 15)).traceDigest
        #expect(other != simulate(SimulationOptions(seed: 22, virtualSeconds: 15)).traceDigest)
    }

    /// Swift seeds its hashing per process, so two processes walk sets and dictionaries in different orders.
    @Test func theTraceDoesNotDependOnTheSeedOfSwiftsHashing() throws {
        let tool = try #require(
            builtSimulator(),
            "no simulate in .build/release or beside the tests; build it: swift build -c release --product simulate")
        let digests = try [nil, nil, "1"].map { hashing in
            let process = Process()
            process.executableURL = tool
            process.arguments = ["--seed", "30", "--seeds", "2", "--virtual-seconds", "15", "--digests"]
            var environment = ProcessInfo.processInfo.environment
            environment["SWIFT_DETERMINISTIC_HASHING"] = hashing
            process.environment = environment
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            return text.split(separator: "\n").filter { $0.hasPrefix("seed ") }.joined(separator: "\n")
        }
        #expect(digests[0].contains("seed 31: "), "the simulator printed no digests")
        #expect(digests[0] == digests[1] && digests[1] == digests[2])
    }

    /// In release, as `make test` builds it, or beside the tests; nil when it was not built.
    private func builtSimulator() -> URL? {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return [".build/release/simulate", ".build/debug/simulate"].map { package.appendingPathComponent($0) }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }
}
