import ArgumentParser
import Foundation
import Simulation
import Synchronization

/// Runs seeds one after another and sums up.
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Runs clusters of the real replica in virtual time, under faults drawn from a seed, and checks them.",
        discussion: "A run depends on its options alone: a failing seed fails again, the same way.")

    @Option(help: "How many seeds to run.") var seeds = 1
    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "How long clients work under faults.") var virtualSeconds = 60
    @Option(help: "Members of each cluster, 1 to 9.") var members = 3
    @Flag(help: "One JSON object a seed, and one of the sums, instead of the table.") var json = false
    @Flag(help: "Print each seed's trace digest.") var digests = false

    func validate() throws {
        guard seeds > 0, virtualSeconds > 0 else {
            throw ValidationError("--seeds and --virtual-seconds are at least 1")
        }
        guard (1...9).contains(members) else { throw ValidationError("--members is 1 to 9") }
    }

    func run() throws {
        reportTraps()
        var census = Census()
        var failed = 0
        var virtualSeconds = 0.0
        let start = ContinuousClock.now
        for offset in 0..<UInt64(seeds) {
            let seed = seed &+ offset
            runningSeed.store(seed, ordering: .relaxed)
            let report = simulate(SimulationOptions(seed: seed, virtualSeconds: self.virtualSeconds, members: members))
            census.add(report.census)
            virtualSeconds += Double(report.virtualMicroseconds) / 1e6
            show(report)
            if report.failure != nil { failed += 1 }
        }
        let elapsed = ContinuousClock.now - start
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        let missing =
            seeds < 50 ? [] : Census.Kind.allCases.filter { census[$0] == 0 && $0.isPossible(members: members) }
        summarise(census, missing, virtualSeconds: virtualSeconds, seconds: seconds)
        print("\(seeds - failed) passed, \(failed) failed")
        if failed > 0 || !missing.isEmpty { throw ExitCode.failure }
    }

    private func show(_ report: SimulationReport) {
        let digest = String(report.traceDigest, radix: 16)
        if json {
            var failure = "null"
            if let text = report.failure { failure = quoted(text) }
            print(
                #"{"seed":\#(report.seed),"digest":"\#(digest)","failure":\#(failure),"events":\#(object(report.census))}"#
            )
            return
        }
        if digests { print("seed \(report.seed): \(digest)") }
        if let failure = report.failure {
            print("seed \(report.seed) failed \(failure)")
            print(
                "  replay: swift run -c release simulate --seed \(report.seed) --virtual-seconds \(virtualSeconds) --members \(members)"
            )
        }
    }

    private func summarise(_ census: Census, _ missing: [Census.Kind], virtualSeconds: Double, seconds: Double) {
        let rate = Int(virtualSeconds / max(seconds, 1e-9))
        if json {
            print(#"{"virtualSecondsPerSecond":\#(rate),"events":\#(object(census))}"#)
        } else {
            for kind in Census.Kind.allCases {
                print(kind.title.padding(toLength: 34, withPad: " ", startingAt: 0) + String(census[kind]))
            }
            print("\(Int(virtualSeconds)) virtual seconds, \(rate) in a second")
        }
        for kind in missing { print("no \(kind.title) in \(seeds) seeds: the simulator no longer looks there") }
    }

    private func object(_ census: Census) -> String {
        "{" + Census.Kind.allCases.map { "\"\($0)\":\(census[$0])" }.joined(separator: ",") + "}"
    }

    private func quoted(_ text: String) -> String {
        "\"" + text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"") + "\""
    }
}

/// For the signal handler, which may touch nothing else.
private let runningSeed = Atomic<UInt64>(0)

/// A violated precondition of the core ends the process; its seed should not be lost with it.
private func reportTraps() {
    for number in [SIGILL, SIGTRAP, SIGSEGV] {
        signal(number) { number in
            // Nothing here may allocate or lock.
            var seed = runningSeed.load(ordering: .relaxed)
            var text: InlineArray<40, UInt8> = .init(repeating: UInt8(ascii: "\n"))
            var position = 38
            repeat {
                text[position] = UInt8(ascii: "0") + UInt8(seed % 10)
                seed /= 10
                position -= 1
            } while seed > 0
            for letter in "trap in seed ".utf8.reversed() {
                text[position] = letter
                position -= 1
            }
            text.span.withUnsafeBufferPointer { letters in
                if let base = letters.baseAddress { _ = write(2, base + position + 1, 39 - position) }
            }
            signal(number, SIG_DFL)
            raise(number)
        }
    }
}
