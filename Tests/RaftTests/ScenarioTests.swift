import Foundation
import RaftScenario
import Testing

/// The scenario files of the etcd-io/raft project: found through `GULP_RAFT_VECTORS`, or in
/// `shared/raft-vectors` beside this checkout or any folder above it.
private enum Vectors {
    static let folder: String? = {
        let files = FileManager.default
        if let named = ProcessInfo.processInfo.environment["GULP_RAFT_VECTORS"] {
            return files.fileExists(atPath: named) ? named : nil
        }
        var folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        while folder.path != "/" {
            folder.deleteLastPathComponent()
            let candidate = folder.appendingPathComponent("shared/raft-vectors").path
            if files.fileExists(atPath: candidate) { return candidate }
        }
        return nil
    }()

    static func run(_ kind: String) throws {
        let folder = try #require(Self.folder, "no raft vectors found; set GULP_RAFT_VECTORS to their folder")
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(kind)").filter {
            $0.hasSuffix(".txt")
        }
        #expect(!names.isEmpty, "no scenario files in \(folder)/\(kind)")
        for name in names.sorted() {
            let mismatch = try runScenario(String(contentsOfFile: "\(folder)/\(kind)/\(name)", encoding: .utf8))
            #expect(mismatch == nil, "\(kind)/\(name): \(mismatch?.description ?? "")")
        }
    }
}

@Suite struct ScenarioTests {
    @Test func majoritiesAreCountedAsTheQuorumScenariosSay() throws { try Vectors.run("quorum") }

    @Test func configurationsChangeAsTheConfChangeScenariosSay() throws { try Vectors.run("confchange") }

    @Test func clustersBehaveAsTheInteractionScenariosSay() throws { try Vectors.run("interaction") }

    @Test func aScenarioWithAWrongExpectationFails() throws {
        let mismatch = try runScenario("simple\nv1\n----\nvoters=(2)\n")
        #expect(mismatch?.actual == ["voters=(1)", "1: StateProbe match=0 next=1"])
    }
}
