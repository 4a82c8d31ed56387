import Glibc
import Testing

@testable import Guard

/// What a child writes, from its pipes to a reader.
@Suite(.serialized, .ownThread) struct LogTests {
    @Test func bothOutputsAreKeptLineByLineWithTheirTimes() async throws {
        let scene = try Scene()
        // Two pipes have no order between them: each line waits until the one before is kept.
        let run = try scene.launch(
            """
            kept() { until grep -sq "$1" $F/run0/log.0; do sleep 0.01; done; }
            echo one; kept one; echo two >&2; kept two; echo; printf 'un'; sleep 0.1; printf 'finished'
            """)
        _ = try await run.end()
        let lines = try run.lines()
        #expect(lines.map(\.text) == ["one", "two", "", "unfinished"])
        #expect(lines.map(\.stream) == [.stdout, .stderr, .stdout, .stdout])
        #expect(lines.allSatisfy { $0.endsLine && $0.time.utf8.count == 30 && $0.time.hasSuffix("Z") })
        #expect(lines.map(\.time) == lines.map(\.time).sorted())
        #expect(
            shell("grep -Eq '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{9}Z stdout F one$' \(run.path)/log.0") == 0
        )
    }

    @Test func bytesThatAreNoTextAreKept() async throws {
        let scene = try Scene()
        let run = try scene.launch("printf '\\377\\000 x\\r\\n'")
        _ = try await run.end()
        #expect(try run.lines().map(\.bytes) == [[0xff, 0, 0x20, 0x78, 0x0d]])
    }

    @Test func aLongLineComesInPieces() async throws {
        let scene = try Scene()
        let run = try scene.launch(
            "head -c 40000 /dev/zero | tr '\\0' x; echo; head -c 16384 /dev/zero | tr '\\0' y; echo; echo z")
        _ = try await run.end()
        let lines = try run.lines()
        #expect(lines.map(\.bytes.count) == [16384, 16384, 7232, 16384, 1])
        #expect(lines.map(\.endsLine) == [false, false, true, true, true])
    }

    @Test func theLogIsBoundedAndReadingGoesOnAfterWhatIsLost() async throws {
        let scene = try Scene()
        let run = try scene.launch("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done") {
            $0.logLimitBytes = 100_000
        }
        _ = try await run.end()
        let bases = try LogFiles(directory: run.path).bases()
        #expect(bases.count == 2)
        for base in bases { #expect(try #require(try LogFiles(directory: run.path).size(of: base)) < 200_000) }
        let chunk = try LogReader(run).read(from: .start)
        #expect(chunk.lostBytes == bases[0])
        let lines = try run.lines()
        let first = 20000 - lines.count
        #expect(first > 0)
        #expect(lines.map(\.text) == (first..<20000).map { "line \($0)" })
    }

    @Test func aFollowerSeesEveryLineOnce() async throws {
        let scene = try Scene()
        // The child waits for its reader every 500 lines, so that none is lost by rotation.
        let run = try scene.launch(
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); "
                + "if [ $((i % 500)) = 0 ]; then until [ -e $F/read$i ]; do sleep 0.01; done; fi; done"
        ) {
            $0.logLimitBytes = 30_000
        }
        let reader = LogReader(run)
        var position = LogPosition.start
        var texts: [String] = []
        var isOver = false
        try await eventually("all is read") {
            if case .ended = try run.status() { isOver = true }
            while true {
                let chunk = try reader.read(from: position, limitBytes: 1)
                texts += chunk.lines.map(\.text)
                #expect(chunk.lostBytes == 0)
                position = chunk.next
                if texts.count.isMultiple(of: 500) { try replaceFile("\(scene.folder)/read\(texts.count)", []) }
                if chunk.isAtEnd { return isOver }
            }
        }
        #expect(texts == (0..<3000).map { "line \($0)" })
        #expect(try LogFiles(directory: run.path).bases()[0] > 0)
    }

    @Test func theLastLinesAreFoundAcrossFiles() async throws {
        let scene = try Scene()
        let run = try scene.launch("i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done") {
            $0.logLimitBytes = 200_000
        }
        _ = try await run.end()
        let reader = LogReader(run)
        let all = try run.lines()
        for count in [0, 1, 2, 1000, 5000, all.count - 1, all.count] {
            let texts = try run.texts(from: reader.position(ofLast: count))
            #expect(texts == all.suffix(count).map(\.text), "the last \(count)")
        }
        #expect(try reader.position(ofLast: 1_000_000).byteOffset == LogFiles(directory: run.path).bases()[0])
    }

    @Test func aRunWithoutOutputHasAnEmptyLog() async throws {
        let scene = try Scene()
        let run = try scene.prepare("exit 0")
        #expect(try LogReader(run).read(from: .start) == LogChunk(next: .start, isAtEnd: true))
        #expect(try LogReader(run).position(ofLast: 10) == .start)
    }

    @Test func anyPlaceCanBeReadFrom() throws {
        let scene = try Scene()
        let run = try scene.prepare("exit 0")
        var log = LogWriter(directory: run.path, limitBytes: 100)
        for text in ["first\n", "second\n", "third\n", "fourth\n", "fifth\n"] {
            Array(text.utf8).withUnsafeBytes { log.append($0, to: .stderr) }
        }
        let bases = try LogFiles(directory: run.path).bases()
        #expect(bases.count == 2)
        for offset in -1...500 {
            let texts = try run.texts(from: LogPosition(byteOffset: Int64(offset)))
            #expect(["first", "second", "third", "fourth", "fifth"].suffix(texts.count) == texts[...])
        }
    }

    @Test func aLineCutOffByTheGuardsDeathIsGivenWhenTheRunIsOver() throws {
        let scene = try Scene()
        let run = try scene.prepare("exit 0")
        let whole = "2026-11-25T01:02:03.123456789Z stdout F whole\n"
        try replaceFile(run.file("log.0"), Array((whole + whole.dropLast(3)).utf8))
        #expect(try run.lines().map(\.text) == ["whole"])
        try run.killNow()
        #expect(try run.lines().map(\.text) == ["whole", "who"])
        // Too little of a record to be a line.
        try replaceFile(run.file("log.0"), Array((whole + "2026-11-25T").utf8))
        #expect(try run.lines().map(\.text) == ["whole"])
    }

    @Test(.enabled(if: geteuid() == 0, "mounting a small disk takes root"))
    func aFullDiskCostsLinesAndNotTheComponent() async throws {
        let scene = try Scene()
        let disk = "\(scene.folder)/disk"
        try #require(mkdir(disk, 0o700) == 0)
        guard shell("mount -t tmpfs -o size=400k tmpfs \(disk) 2>/dev/null") == 0 else { return }
        let run = try scene.launch(
            """
            echo before; until [ -e $F/full ]; do sleep 0.01; done
            i=0; while [ $i -lt 8000 ]; do echo lost line number $i; i=$((i+1)); done; echo said > $F/said
            # (More than a pipe holds: the guard has met the full disk by now.)
            until [ -e $F/free ]; do sleep 0.01; done; echo after; exit 5
            """, at: "\(disk)/run")
        try await eventually("the first line is there") { try run.texts() == ["before"] }
        shell("dd if=/dev/zero of=\(disk)/filler bs=4k 2>/dev/null; touch \(scene.folder)/full")
        _ = try await scene.content(of: "said")
        shell("rm \(disk)/filler; touch \(scene.folder)/free")
        #expect(try await run.end().ending == .exited(code: 5))
        let texts = try run.texts()
        #expect(texts.first == "before" && texts.last == "after")
        let note = try #require(texts.first { $0.hasPrefix("[gulp-guard] ") })
        #expect(note.hasSuffix(" lines were not kept: No space left on device"))
        let lost = try #require(Int(note.split(separator: " ")[1]))
        #expect(texts.count { $0.hasPrefix("lost line") } + lost == 8000)
    }

    @Test(.enabled(if: geteuid() == 0, "mounting a small disk takes root"))
    func aFullDiskDoesNotLoseTheOutcome() async throws {
        let scene = try Scene()
        let disk = "\(scene.folder)/disk"
        try #require(mkdir(disk, 0o700) == 0)
        guard shell("mount -t tmpfs -o size=400k tmpfs \(disk) 2>/dev/null") == 0 else { return }
        let run = try scene.launch("until [ -e $F/full ]; do sleep 0.01; done; exit 6", at: "\(disk)/run")
        _ = try await run.runningPid()
        shell("dd if=/dev/zero of=\(disk)/filler bs=4k 2>/dev/null; touch \(scene.folder)/full")
        #expect(try await run.end().ending == .exited(code: 6))
    }
}
