import EtcdAPI
import Foundation
import Testing

@testable import GulpctlCommands

typealias WatchResponse = Etcdserverpb_WatchResponse

private func created(_ id: Int64, revision: Int64 = 10) -> WatchResponse {
    .with {
        $0.header.revision = revision
        $0.watchID = id
        $0.created = true
    }
}

private func put(_ key: String, _ value: String, revision: Int64, watch: Int64 = 0) -> WatchResponse {
    .with {
        $0.header.revision = revision
        $0.watchID = watch
        $0.events = [
            .with {
                $0.kv.key = Data(key.utf8)
                $0.kv.value = Data(value.utf8)
                $0.kv.modRevision = revision
            }
        ]
    }
}

private func progress(_ revision: Int64, watch: Int64) -> WatchResponse {
    .with {
        $0.header.revision = revision
        $0.watchID = watch
    }
}

struct WatchTests {
    private func create(_ key: String, from revision: Int64 = 0) -> Etcdserverpb_WatchCreateRequest {
        .with {
            $0.key = Data(key.utf8)
            $0.startRevision = revision
        }
    }

    @Test func watchesAreCreatedOneAfterTheOther() {
        var ledger = WatchLedger<String>()
        ledger.add(create("a"), owner: "first")
        ledger.add(create("b"), owner: "second")
        #expect(ledger.takeRequest()?.key == Data("a".utf8))
        #expect(ledger.takeRequest() == nil)
        #expect(ledger.received(created(0)).isEmpty)
        #expect(ledger.takeRequest()?.key == Data("b".utf8))
        #expect(ledger.received(created(1)).isEmpty)
        #expect(ledger.received(put("b", "1", revision: 11, watch: 1)).map(\.owner) == ["second"])
    }

    @Test func aWatchGoesOnAfterItsLastEventWhenTheStreamIsLost() {
        var ledger = WatchLedger<String>()
        ledger.add(create("a", from: 5), owner: "behind")
        ledger.add(create("b"), owner: "new")
        for id in Int64(0)...1 {
            _ = ledger.takeRequest()
            _ = ledger.received(created(id, revision: 10))
        }
        _ = ledger.received(put("a", "1", revision: 8, watch: 0))
        ledger.streamLost()
        #expect(ledger.takeRequest()?.startRevision == 9)
        _ = ledger.received(created(0, revision: 12))
        // It saw nothing, so it goes on from what the store had come to when it was made.
        #expect(ledger.takeRequest()?.startRevision == 11)
    }

    @Test func progressIsHeardByItsWatchOrByAll() {
        var ledger = WatchLedger<String>()
        for (id, key) in ["a", "b"].enumerated() {
            ledger.add(create(key), owner: key)
            _ = ledger.takeRequest()
            _ = ledger.received(created(Int64(id)))
        }
        #expect(ledger.received(progress(20, watch: 1)).map(\.owner) == ["b"])
        let all = ledger.received(progress(30, watch: -1))
        #expect(all.map(\.owner) == ["a", "b"] && all.allSatisfy { $0.notice.isProgress })
    }

    @Test func aWatchThatIsRefusedEndsWithTheServersReason() {
        var ledger = WatchLedger<String>()
        ledger.add(create("a"), owner: "a")
        _ = ledger.takeRequest()
        var refusal = created(-1)
        refusal.canceled = true
        refusal.cancelReason = "mvcc: watcher range is empty"
        let heard = ledger.received(refusal)
        #expect(heard.map(\.notice.cancellation) == ["mvcc: watcher range is empty"])
        #expect(ledger.isEmpty && heard.allSatisfy { !$0.notice.response.hasHeader })
    }

    @Test func aWatchFromACompactedRevisionEnds() {
        var ledger = WatchLedger<String>()
        ledger.add(create("a", from: 1), owner: "a")
        _ = ledger.takeRequest()
        _ = ledger.received(created(0))
        let compacted = WatchResponse.with {
            $0.canceled = true
            $0.compactRevision = 3
        }
        let heard = ledger.received(compacted)
        #expect(heard.map(\.notice.cancellation) == ["etcdserver: mvcc: required revision has been compacted"])
        #expect(ledger.isEmpty)
    }

    @Test func confirmationsThatNobodyAwaitsChangeNothing() {
        var ledger = WatchLedger<String>()
        #expect(ledger.received(created(0)).isEmpty && ledger.isEmpty)
        #expect(ledger.received(put("a", "1", revision: 3)).isEmpty)
    }

    @Test func aWatchSurvivesItsStreamAndEndsWithStatusFive() async {
        var connection = PreparedConnection()
        let compacted = WatchResponse.with {
            $0.canceled = true
            $0.compactRevision = 30
        }
        connection.streams = [
            [created(0), put("w", "1", revision: 11)],
            [created(0, revision: 20), put("w", "2", revision: 12), compacted],
        ]
        let result = await gulpctl("watch", "w", connection: connection)
        #expect(result.output == "PUT\nw\n1\nPUT\nw\n2\n" && result.status == 5)
        #expect(
            result.errors == """
                watch was canceled (etcdserver: mvcc: required revision has been compacted)
                Error: watch is canceled by the server

                """)
        #expect(connection.sent.read { $0 }.map(\.createRequest.startRevision) == [0, 12])
    }

    @Test func theCommandRunsForEveryEventAndItsFailureEndsTheWatch() async {
        var connection = PreparedConnection()
        connection.streams = [[created(0), put("w", "1", revision: 11)]]
        let result = await gulpctl(
            "watch", "w", "--", "sh", "-c", "test $ETCD_WATCH_KEY = '\"w\"' && exit 3", connection: connection)
        #expect(result.status == 1)
        #expect(
            result.errors == #"command ["sh" "-c" "test $ETCD_WATCH_KEY = '\"w\"' && exit 3"] error (exit status 3)"#
                + "\n")
    }

    @Test(
        arguments: [
            (["/nope", "x"], "fork/exec /nope: no such file or directory"),
            (["no-such-program"], #"exec: "no-such-program": executable file not found in $PATH"#),
            (["/tmp"], "fork/exec /tmp: permission denied"), (["sh", "-c", "kill -9 $$"], "signal: killed"),
            (["true"], nil),
        ] as [([String], String?)])
    func aCommandsTroubleIsToldInGoWords(arguments: [String], trouble: String?) async {
        #expect(await ChildProcess.run(arguments.map { Array($0.utf8) }, adding: [])?.text == trouble)
    }

    @Test func theEventIsInTheCommandsEnvironment() {
        let event = Mvccpb_Event.with {
            $0.type = .delete
            $0.kv.key = Data("a b".utf8)
        }
        let variables = WatchPrinter.variables(of: event, revision: 7).map { "\($0.name)=\($0.value)" }
        #expect(
            variables == [
                "ETCD_WATCH_REVISION=7", "ETCD_WATCH_EVENT_TYPE=\"DELETE\"", "ETCD_WATCH_KEY=\"a b\"",
                "ETCD_WATCH_VALUE=\"\"",
            ])
    }

    @Test func aWatchOutlastsTheElectionAfterAServersLoss() async {
        var connection = PreparedConnection()
        connection.streams = [
            [created(0), put("w", "1", revision: 11)], [], [created(0, revision: 11), put("w", "2", revision: 12)],
        ]
        connection.endings = ["gone", "etcdserver: no leader"]
        let result = await gulpctl("watch", "w", connection: connection)
        #expect(result.output == "PUT\nw\n1\nPUT\nw\n2\n")
    }

    @Test func aWatchEndsWhenItsServerLosesTheLeaderOrNeverHadOne() async {
        for answers in [[created(0), put("w", "1", revision: 11)], []] {
            var connection = PreparedConnection()
            connection.streams = [answers]
            connection.endings = ["etcdserver: no leader"]
            let result = await gulpctl("watch", "w", connection: connection)
            #expect(result.status == 5)
            #expect(
                result.errors
                    == "watch was canceled (etcdserver: no leader)\nError: watch is canceled by the server\n")
        }
    }

    @Test func theKeyMayComeFromTheEnvironment() async {
        var connection = PreparedConnection()
        connection.streams = [[]]
        _ = await gulpctl(
            "watch", environment: ["ETCDCTL_WATCH_KEY": "w", "ETCDCTL_WATCH_RANGE_END": "z"], connection: connection)
        let sent = connection.sent.read { $0 }.first?.createRequest
        #expect(sent?.key == Data("w".utf8) && sent?.rangeEnd == Data("z".utf8))
        let twice = await gulpctl("watch", "w", environment: ["ETCDCTL_WATCH_KEY": "w"])
        #expect(
            twice.errors == "Error: bad number of arguments (found conflicting environment key)\n"
                && twice.status == 128)
        let end = await gulpctl("watch", environment: ["ETCDCTL_WATCH_RANGE_END": "z"])
        #expect(end.errors == "Error: ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"z\"\n")
    }

    @Test(
        arguments: [
            ("foo\n", "Invalid command foo (only support watch)\n", 3),
            ("\n", "Invalid command:  (watch and progress supported)\n", 3),
            ("watch\n", "Invalid command watch (command type or key is not provided)\n", 3),
            (
                "watch a b --prefix\n",
                "Invalid command watch a b --prefix (`range_end` and `--prefix` are mutually exclusive)\n", 3
            ),
            ("progress\nunfinished", "", 3), ("watch w\nwatch v\n", "", 3),
            ("watch --bogus\n", "Error: unknown flag: --bogus\n", 128),
            ("watch -w json w\n", "Error: unknown shorthand flag: 'w' in -w\n", 128),
            ("watch -h w\n", "Error: pflag: help requested\n", 128),
            ("watch w --\n", "Error: bad number of arguments (found separator --, but no commands)\n", 128),
        ] as [(String, String, Int32)])
    func interactiveLinesAreAnsweredAsEtcdctlAnswersThem(input: String, errors: String, status: Int32) async {
        var connection = PreparedConnection()
        connection.keepsStreamsOpen = true
        let result = await gulpctl("watch", "-i", console: RecordingConsole(input: input), connection: connection)
        #expect(result.status == status)
        #expect(result.errors == errors + (status == 3 ? "Error: error reading watch request line: EOF\n" : ""))
    }

    @Test(arguments: [
        ("watch w", ["watch", "w"]), ("  watch \t w ", ["watch", "w"]), ("", []),
        (#"watch "hi there" 'a b' $HOME a\ b"#, ["watch", "hi there", "a b", "$HOME", #"a\"#, "b"]),
        (#"watch "w2 --rev"#, ["watch", "w2", "--rev"]),
        (#"a "x\"y\n" 'c\d' y"z""#, ["a", "x\"y\n", #"c\d"#, #"y"z""#]),
        (#""" ''"#, ["", ""]),
    ])
    func aTypedLineIsSplitIntoWords(line: String, expected: [String]) {
        #expect(LineWords.split(Array(line.utf8)).map { String(decoding: $0, as: UTF8.self) } == expected)
    }
}
