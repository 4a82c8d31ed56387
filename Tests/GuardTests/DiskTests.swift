import Glibc
import Testing

@testable import Guard

/// What a disk that is full, or a file that is damaged or cannot be written, does to a run.
@Suite(.serialized, .ownThread) struct DiskTests {
    @Test(.enabled(if: geteuid() == 0, "mounting a small disk takes root"))
    func aRunIsRenewedOnAFullDisk() async throws {
        try await withDeadline { scene, first in
            let disk = "\(scene.folder)/disk"
            try #require(mkdir(disk, 0o700) == 0)
            guard shell("mount -t tmpfs -o size=400k tmpfs \(disk) 2>/dev/null") == 0 else { return }
            let run = try scene.launch("sleep 1000", deadline: first, at: "\(disk)/run")
            let child = try await run.runningPid()
            shell("dd if=/dev/zero of=\(disk)/filler bs=4k 2>/dev/null")
            #expect(throws: GuardError.self) { try replaceFile(run.file("more"), [1]) }
            for seconds in [1, 2, 1000] {
                try run.renew(until: first + .seconds(seconds))
                #expect(try run.deadline() == first + .seconds(seconds))
            }
            try first.mustBeAhead("it was renewed")
            try await eventually("the first deadline has passed well") { BootTime.now > first + .milliseconds(300) }
            #expect(isAlive(child))
        }
    }

    @Test func damageOfOneSlotLeavesTheOthersDeadlineAndOfBothIsAnError() throws {
        let scene = try Scene()
        let earlier = BootTime.now + .seconds(1000)
        let later = earlier + .seconds(1000)
        let run = try scene.prepare("exit 1", deadline: earlier)
        try run.renew(until: later)
        let path = run.file("deadline")
        let whole = try #require(try readFile(path))
        #expect(whole.count == 2 * DeadlineFile.slotBytes)
        // The renewal is in the first slot; the second is as it was made.
        for index in 0..<DeadlineFile.slotBytes {
            var torn = whole
            torn[index] ^= 0x01
            try replaceFile(path, torn)
            #expect(try run.deadline() == earlier, "byte \(index) flipped")
            torn[DeadlineFile.slotBytes + index] ^= 0x01
            try replaceFile(path, torn)
            #expect(throws: GuardError.self, "byte \(index) of both flipped") { try run.deadline() }
            #expect(throws: GuardError.self) { try RunDirectory(adopting: run.path) }
            torn = whole
            torn[DeadlineFile.slotBytes + index] ^= 0x01
            try replaceFile(path, torn)
            #expect(try run.deadline() == later)
        }
        // As a write that was cut short leaves the slot that it was to replace: old bytes after new ones.
        let next = DeadlineFile.slot(later + .seconds(1), boot: ProcessIdentity.currentBoot)
        for count in 0..<DeadlineFile.slotBytes {
            var torn = whole
            torn.replaceSubrange(DeadlineFile.slotBytes..<DeadlineFile.slotBytes + count, with: next[..<count])
            try replaceFile(path, torn)
            let deadline = try run.deadline()
            #expect(deadline == later || deadline == later + .seconds(1), "cut off at byte \(count)")
        }
        let lengthOfRecord = try #require(whole.firstIndex(of: 0))
        for count in 0..<lengthOfRecord {
            try replaceFile(path, Array(whole[..<count]))
            #expect(throws: GuardError.self, "cut off at byte \(count)") { try run.deadline() }
        }
        try replaceFile(path, Array("gulp-run deadline 99\n".utf8))
        let error = #expect(throws: GuardError.self) { try run.deadline() }
        #expect(error?.description.contains("format version 99, this program knows 1") == true)
    }

    @Test func aRenewalRepairsTheDamagedSlotAndKeepsTheOther() throws {
        let scene = try Scene()
        let first = BootTime.now + .seconds(1000)
        for damaged in 0..<2 {
            let run = try scene.prepare("exit 1", deadline: first)
            try run.renew(until: first + .seconds(1))
            var bytes = try #require(try readFile(run.file("deadline")))
            bytes[damaged * DeadlineFile.slotBytes] ^= 0x01
            try replaceFile(run.file("deadline"), bytes)
            let left = try #require(try run.deadline())
            try run.renew(until: first + .seconds(2))
            #expect(try run.deadline() == first + .seconds(2))
            bytes = try #require(try readFile(run.file("deadline")))
            bytes[damaged * DeadlineFile.slotBytes] ^= 0x01
            try replaceFile(run.file("deadline"), bytes)
            #expect(try run.deadline() == left)
        }
    }

    @Test func aRenewalLeavesThePresentDeadlineAsItIsOnDisk() throws {
        let scene = try Scene()
        var present = BootTime.now + .seconds(1000)
        let run = try scene.prepare("exit 1", deadline: present)
        for _ in 0..<5 {
            let before = try #require(try readFile(run.file("deadline")))
            try run.renew(until: present + .seconds(1))
            let after = try #require(try readFile(run.file("deadline")))
            // The slot that was not written is the one that said the present deadline.
            let kept = (0..<2).map { $0 * DeadlineFile.slotBytes..<($0 + 1) * DeadlineFile.slotBytes }
                .filter { before[$0] == after[$0] }
            #expect(kept.count == 1)
            #expect(
                kept.first.map { Array(after[$0]) } == DeadlineFile.slot(present, boot: ProcessIdentity.currentBoot))
            present = present + .seconds(1)
        }
    }

    @Test func aChildThatCannotBeRecordedIsRecordedLater() async throws {
        let scene = try Scene()
        let run = try scene.prepare("sleep 1000")
        // No file takes the place of a directory.
        try #require(mkdir(run.file("child"), 0o700) == 0)
        try run.launch(guard: scene.guardProgram)
        try await eventually("the guard complains") { try run.guardComplaint()?.contains("tried again") == true }
        try #require(rmdir(run.file("child")) == 0)
        let child = try await run.runningPid()
        #expect(isAlive(child))
    }

    @Test(.enabled(if: geteuid() == 0, "mounting a small disk takes root"))
    func aChildIsRecordedOnADiskThatFilledUpSinceTheGuardBegan() throws {
        let scene = try Scene()
        let disk = "\(scene.folder)/disk"
        try #require(mkdir(disk, 0o700) == 0)
        guard shell("mount -t tmpfs -o size=400k tmpfs \(disk) 2>/dev/null") == 0 else { return }
        let file = try ReservedFile("\(disk)/child")
        shell("dd if=/dev/zero of=\(disk)/filler bs=4k 2>/dev/null")
        let identity = try #require(ProcessIdentity(of: getpid()))
        try file.write(RunDirectory.record(child: identity, startedAt: 5), durable: false)
        let bytes = try #require(try readFile("\(disk)/child"))
        #expect(try ProcessIdentity(RunRecord(bytes, kind: "child", origin: "child")) == identity)
    }
}
