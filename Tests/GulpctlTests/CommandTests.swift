import EtcdAPI
import EtcdClient
import Foundation
import GRPC
import Testing

@testable import GulpctlCommands

/// A console that remembers what was written and has its input ready.
final class RecordingConsole: Console {
    private struct Written { var output: [UInt8] = [], errors = "" }

    private let written = Locked(Written())
    private let input: [UInt8]

    init(input: String = "") { self.input = Array(input.utf8) }

    var output: String { String(decoding: written.read { $0.output }, as: UTF8.self) }
    var errors: String { written.read { $0.errors } }

    func write(_ bytes: [UInt8]) { written.change { $0.output += bytes } }
    func writeError(_ text: String) { written.change { $0.errors += text } }
    func readToEnd() -> [UInt8] { input }
    func lines() -> AsyncStream<[UInt8]> {
        AsyncStream { lines in
            for line in input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
                lines.yield(Array(line))
            }
            lines.finish()
        }
    }
}

/// A value behind a lock. Only touched inside `read` and `change`, which hold the lock: hence unchecked.
final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value
    init(_ value: Value) { self.value = value }
    func read<Result>(_ body: (Value) -> Result) -> Result { lock.withLock { body(value) } }
    func change(_ body: (inout Value) -> Void) { lock.withLock { body(&value) } }
}

/// A cluster that gives prepared answers.
struct PreparedConnection: EtcdConnection {
    var error: RPCError?
    /// The answer to a call is the first of its type, or an empty one.
    var answers: [any SwiftProtobuf.Message] = []
    /// What the commands have asked.
    let requests = Locked<[any SwiftProtobuf.Message]>([])
    /// One list of answers for every watch stream that is opened; then no more streams.
    var streams: [[Etcdserverpb_WatchResponse]] = []
    /// How each of these ends: UNAVAILABLE with this text; "gone" where there is none.
    var endings: [String] = []
    /// Streams without prepared answers stay open and say nothing.
    var keepsStreamsOpen = false
    /// What the commands have sent on watch streams.
    let sent = Locked<[Etcdserverpb_WatchRequest]>([])
    private let opened = Locked(0)

    init(error: RPCError? = nil) { self.error = error }

    func call<Request, Response>(
        _ method: EtcdMethod<Request, Response>, _ request: Request, mayRepeat: Bool, at endpoint: EtcdEndpoint?
    ) async throws -> Response {
        requests.change { $0.append(request) }
        if let error { throw error }
        return answers.lazy.compactMap { $0 as? Response }.first ?? Response()
    }
    func makeClient() async throws -> EtcdClient { throw CommandFailure("no client is prepared", .error) }
    func openWatchStream() async throws -> any WatchStream {
        let index = opened.read { $0 }
        opened.change { $0 += 1 }
        if keepsStreamsOpen { return SilentStream() }
        guard index < streams.count else { throw CommandFailure("no more streams", .error) }
        return PreparedStream(
            answers: Locked(streams[index]), ending: endings.indices.contains(index) ? endings[index] : "gone",
            sent: sent)
    }
}

private struct SilentStream: WatchStream {
    func send(_ request: Etcdserverpb_WatchRequest) {}
    func next() async throws -> Etcdserverpb_WatchResponse? {
        try await Task.sleep(for: .seconds(3600))  // until the reading task is cancelled
        return nil
    }
}

/// Ends with UNAVAILABLE after its last answer, as a stream does whose server goes away.
private struct PreparedStream: WatchStream {
    let answers: Locked<[Etcdserverpb_WatchResponse]>
    let ending: String
    let sent: Locked<[Etcdserverpb_WatchRequest]>

    func send(_ request: Etcdserverpb_WatchRequest) { sent.change { $0.append(request) } }
    func next() async throws -> Etcdserverpb_WatchResponse? {
        guard let first = answers.read({ $0.first }) else { throw RPCError(.unavailable, ending) }
        answers.change { $0.removeFirst() }
        return first
    }
}

@discardableResult
func gulpctl(
    _ arguments: String..., environment: [String: String] = [:], console: RecordingConsole = RecordingConsole(),
    connection: PreparedConnection = PreparedConnection()
) async -> (status: Int32, output: String, errors: String) {
    let bytes = arguments.map { Array($0.utf8) }
    let status = await Gulpctl.run(bytes, environment, console) { _, _ in connection }
    return (status, console.output, console.errors)
}

struct CommandTests {
    @Test(
        arguments: [
            (["get"], "get command needs one argument as key and an optional argument as range_end", 128),
            (
                ["get", "a", "b", "--prefix"],
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is set", 128
            ),
            (
                ["get", "--prefix", "--from-key", "a"],
                "`--prefix` and `--from-key` cannot be set at the same time, choose one", 128
            ),
            (
                ["get", "a", "--keys-only", "--count-only", "--consistency", "z"],
                "`--keys-only` and `--count-only` cannot be set at the same time, choose one", 128
            ),
            (["get", "a", "--consistency="], "unknown consistency flag \"\"", 4),
            (["get", "a", "--order", "bogus", "--sort-by", "bogus"], "bad sort order bogus", 4),
            (["get", "a", "--sort-by", "bogus"], "bad sort target bogus", 4),
            (["get", "a", "-w", "bogus"], "unsupported output format", 4),
            (["get", "a", "-w", "table"], "table not supported as output format", 4),
            (["get", "a", "--count-only"], "--count-only is only for `--write-out=fields`", 128),
            (
                ["get", "a", "--print-value-only", "-w", "json"], "print-value-only is only for `--write-out=simple`",
                128
            ),
            (["put"], "put command needs 1 argument and input from stdin or 2 arguments", 128),
            (["put", "a"], "put command needs 1 argument and input from stdin or 2 arguments", 128),
            (["put", "a", "b", "--ignore-value"], "put command needs only 1 argument when 'ignore-value' is set", 128),
            (
                ["put", "a", "b", "--lease", "0x1"],
                #"bad lease ID (strconv.ParseInt: parsing "0x1": invalid syntax), expecting ID in Hex"#, 128
            ),
            (
                ["put", "a", "b", "--lease=ffffffffffffffff"],
                #"bad lease ID (strconv.ParseInt: parsing "ffffffffffffffff": value out of range), expecting ID in Hex"#,
                128
            ),
            (["del"], "del command needs one argument as key and an optional argument as range_end", 128),
            (["watch"], "bad number of arguments", 128),
            (["watch", "a", "--"], "bad number of arguments (found separator --, but no commands)", 128),
            (["watch", "a", "b", "--prefix"], "`range_end` and `--prefix` are mutually exclusive", 128),
        ] as [([String], String, Int32)])
    func aMistakeIsNamedAsEtcdctlNamesIt(arguments: [String], text: String, status: Int32) async {
        let console = RecordingConsole()
        let bytes = arguments.map { Array($0.utf8) }
        #expect(await Gulpctl.run(bytes, [:], console) { _, _ in PreparedConnection() } == status)
        #expect(console.errors == "Error: \(text)\n" && console.output == "")
    }

    @Test func theStoresOwnErrorsAreShownByTheirTextAlone() async {
        let compacted = RPCError(.outOfRange, "etcdserver: mvcc: required revision has been compacted")
        let result = await gulpctl("get", "a", connection: PreparedConnection(error: compacted))
        #expect(
            result.status == 1 && result.errors == "Error: etcdserver: mvcc: required revision has been compacted\n")
        let unknown = RPCError(.unimplemented, "unknown service x")
        #expect(unknown.commandText == "rpc error: code = Unimplemented desc = unknown service x")
        #expect(RPCError(.deadlineExceeded, "").commandText == "context deadline exceeded")
    }

    @Test func flagsMayStandBeforeTheCommand() async {
        var connection = PreparedConnection()
        connection.answers = [Etcdserverpb_RangeResponse.with { $0.kvs = [FormatTests.kv("a", "1")] }]
        #expect(
            await gulpctl("--hex", "--endpoints", "h:1", "get", "a", connection: connection).output == "\\x61\n\\x31\n")
        #expect(await gulpctl("-wsimple", "--prefix=true", "get", "a", connection: connection).output == "a\n1\n")
        #expect(await gulpctl("-w", "simple", "ge", "a", connection: connection).output == "a\n1\n")
    }

    @Test func anUnknownCommandOrFlagPointsToTheHelp() async {
        let command = await gulpctl("bogus")
        #expect(command.status == 1)
        #expect(command.errors == "Error: unknown command \"bogus\" for \"gulpctl\"\nRun 'gulpctl --help' for usage.\n")
        let flag = await gulpctl("get", "a", "--bogus")
        #expect(flag.status == 1)
        #expect(flag.errors == "Error: unknown flag: --bogus\nRun 'gulpctl get --help' for usage.\n")
    }

    @Test(arguments: [["-h"], [], ["help"], ["get", "-h"], ["help", "watch"], ["put", "a", "--help"]])
    func helpIsOnStandardOutput(arguments: [String]) async {
        let console = RecordingConsole()
        let bytes = arguments.map { Array($0.utf8) }
        #expect(await Gulpctl.run(bytes, [:], console) { _, _ in PreparedConnection() } == 0)
        #expect(console.output.contains("Usage: gulpctl") && console.errors == "")
    }

    @Test func versionNamesTheAPIsVersion() async {
        #expect(await gulpctl("version").output == "gulpctl version: \(Gulpctl.version)\nAPI version: 3.5\n")
    }

    private func get(_ arguments: String...) throws -> Etcdserverpb_RangeRequest {
        try GetCommand.request(
            FlagTable(GetCommand.command.flags).parse(arguments.map { Array($0.utf8) }))
    }

    @Test func getTurnsItsFlagsIntoARequest() throws {
        let request = try get(
            "a", "c", "--limit=7", "--rev=9", "--order=descend", "--sort-by=modify", "--consistency=s", "--keys-only")
        #expect(
            request
                == .with {
                    $0.key = Data("a".utf8)
                    $0.rangeEnd = Data("c".utf8)
                    $0.limit = 7
                    $0.revision = 9
                    $0.sortOrder = .descend
                    $0.sortTarget = .mod
                    $0.serializable = true
                    $0.keysOnly = true
                })
        #expect(try get("a", "--order=ascend", "--rev=-4").sortOrder == .none)
    }

    @Test func putTakesItsValueFromStandardInputWhenThereIsNone() throws {
        let flags = try FlagTable(PutCommand.command.flags).parse(words("k", "--lease", "7f", "--prev-kv"))
        let request = try PutCommand.request(flags) { Array("v1\nv2".utf8) }
        #expect(request.value == Data("v1\nv2".utf8) && request.lease == 0x7f && request.prevKv)
    }

    @Test(
        arguments: [
            (["a"], false, false, [0x61], []), (["a", "c"], false, false, [0x61], [0x63]),
            (["a"], true, false, [0x61], [0x62]), ([""], true, false, [0], [0]),
            (["a"], false, true, [0x61], [0]), ([""], false, true, [0], [0]), (["a", ""], false, false, [0x61], []),
        ] as [([String], Bool, Bool, [UInt8], [UInt8])])
    func keysAndFlagsMakeARange(keys: [String], isPrefix: Bool, isFromKey: Bool, key: [UInt8], end: [UInt8]) throws {
        let range = try KeyRange(keys.map { Array($0.utf8) }, isPrefix: isPrefix, isFromKey: isFromKey)
        #expect(range.key == Data(key) && range.end == Data(end))
    }

    @Test func aPrefixEndsBeforeTheNextKeyThatDoesNotBeginWithIt() {
        #expect(KeyRange.end(ofPrefix: Data([0x61, 0xff, 0xff])) == Data([0x62]))
        #expect(KeyRange.end(ofPrefix: Data([0xff, 0xff])) == Data([0]))
    }
}
