import Glibc
import Testing

@testable import Guard

/// The files of a run: what is refused, and how damage is told.
@Suite(.serialized, .ownThread) struct DirectoryTests {
    @Test func aSpecificationIsReadAsItWasWritten() throws {
        let scene = try Scene()
        let run = try scene.prepare("") {
            $0.arguments = ["", "a b", "line\nfeed", "sum 16 0"]
            $0.environment = ["A": "", "B": "x=y\n"]
            $0.workingDirectory = "/tmp"
            $0.user = "nobody"
            $0.stopGrace = .milliseconds(1500)
            $0.logLimitBytes = 12345
        }
        #expect(try RunDirectory(adopting: run.path).specification == run.specification)
        #expect(try RunDirectory(adopting: run.path + "/") == run)
    }

    @Test(arguments: ["specification", "guard", "child", "exit"])
    func everyDamageOfAFileIsAnError(_ name: String) async throws {
        let scene = try Scene()
        let run = try scene.launch("exit 1", deadline: .now + .seconds(1000))
        _ = try await run.end()
        try await eventually("the guard is gone") { try !run.isLocked() }
        let whole = try #require(try readFile(run.file(name)))
        let read: ([UInt8]) throws -> Void = { bytes in
            try replaceFile(run.file(name), bytes)
            _ = try RunDirectory(adopting: run.path)
            if name == "child" { _ = try run.record("child") }
            _ = try run.status()
        }
        try read(whole)
        for index in whole.indices {
            #expect(throws: GuardError.self, "cut off at byte \(index)") { try read(Array(whole[..<index])) }
            var flipped = whole
            flipped[index] ^= 0x01
            #expect(throws: GuardError.self, "byte \(index) flipped") { try read(flipped) }
        }
        let error = #expect(throws: GuardError.self) { try read(Array("gulp-run \(name) 99\n".utf8)) }
        #expect(error?.description.contains("format version 99, this program knows 1") == true)
    }

    @Test func aDirectoryOfNoRunIsRefused() throws {
        let scene = try Scene()
        #expect(throws: GuardError.self) { try RunDirectory(adopting: scene.folder) }
        #expect(throws: GuardError.self) { try RunDirectory(adopting: scene.folder + "/none") }
        #expect(throws: GuardError.self) { try RunDirectory.list(in: scene.folder + "/none") }
        #expect(shell("\(scene.guardProgram) \(scene.folder) 2>/dev/null") == 1)
        #expect(shell("\(scene.guardProgram) 2>/dev/null") == 2)
    }

    @Test func aDirectoryThatIsThereIsNotTaken() throws {
        let scene = try Scene()
        let run = try scene.prepare("exit 1")
        #expect(throws: GuardError.self) {
            try RunDirectory.create(at: run.path, run.specification, deadline: nil)
        }
    }

    @Test func whatNoProcessCanBeStartedWithIsRefused() throws {
        let scene = try Scene()
        let good = RunSpecification(runID: "r", command: "c")
        let changes: [(inout RunSpecification) -> Void] = [
            { $0.runID = "" }, { $0.command = "" }, { $0.arguments = ["a\0b"] }, { $0.environment = ["A=B": ""] },
            { $0.environment = ["": ""] }, { $0.environment = ["A": "\0"] }, { $0.workingDirectory = "\0" },
            { $0.stopGrace = .seconds(-1) }, { $0.logLimitBytes = 0 },
        ]
        for change in changes {
            var bad = good
            change(&bad)
            #expect(throws: GuardError.self) {
                try RunDirectory.create(at: "\(scene.folder)/bad", bad, deadline: nil)
            }
            #expect(!fileExists("\(scene.folder)/bad"))
        }
    }

    @Test func aListTellsRunsAndDamagedOnes() async throws {
        let scene = try Scene()
        let folder = "\(scene.folder)/runs"
        try #require(mkdir(folder, 0o700) == 0)
        let good = try scene.prepare("exit 1", at: "\(folder)/good")
        let bad = try scene.launch("sleep 1000", at: "\(folder)/bad")
        let child = try await bad.runningPid()
        try replaceFile(bad.file("specification"), [])
        try #require(mkdir("\(folder)/empty", 0o700) == 0)
        let listing = try RunDirectory.list(in: folder)
        #expect(listing.runs == [good])
        #expect(listing.damaged.map(\.path) == ["\(folder)/bad", "\(folder)/empty"])
        for damaged in listing.damaged { try damaged.remove() }
        #expect(!isAlive(child))
        #expect(try names(in: folder) == ["good"])
    }

    @Test func aRunIsRemovedAsSoonAsItHasEnded() async throws {
        let scene = try Scene()
        for _ in 0..<10 {
            let run = try scene.launch("exit 1")
            _ = try await run.end()
            try run.remove()
            #expect(!fileExists(run.path))
        }
    }

    @Test func aLivingRunIsNotRemoved() async throws {
        let scene = try Scene()
        let run = try scene.launch("sleep 1000")
        let child = try await run.runningPid()
        let error = #expect(throws: GuardError.self) { try run.remove() }
        #expect(error?.description.contains("stop it first") == true)
        #expect(isAlive(child))
        try run.killNow()
        try run.remove()
        #expect(!fileExists(run.path))
    }
}
