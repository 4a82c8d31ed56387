import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Raft
import Testing

@testable import Transport

/// A deterministic source of chance: a failing test fails again.
struct Chance: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
    mutating func bytes(upTo count: Int) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &self)).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}

/// Waits until `condition` holds, and fails naming `what` when it does not come. The bound is on what hangs: a machine
/// that is merely slow must not reach it.
func eventually(
    _ what: String, _ location: SourceLocation = #_sourceLocation, _ condition: () async -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(120)
    while !(await condition()) {
        guard ContinuousClock.now < deadline else {
            Issue.record("waited two minutes in vain: \(what)", sourceLocation: location)
            throw CancellationError()
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Notes everything that a transport reports.
final class Recorder: PeerTransportDelegate {
    struct Notes {
        var messages: [PeerMessage] = []
        var connected: [MemberID] = []
        var unreachable = 0
        var report: ClusterReport?
        var sinks: [RecordingSink] = []
        var takesSnapshots = true
    }
    let notes = NIOLockedValueBox(Notes())
    let makeSink: @Sendable () -> RecordingSink

    init(makeSink: @escaping @Sendable () -> RecordingSink = { RecordingSink() }) { self.makeSink = makeSink }

    var messages: [PeerMessage] { notes.withLockedValue { $0.messages } }
    var raftMessages: [Message] {
        messages.compactMap { if case .raft(let message) = $0 { message } else { nil } }
    }
    var connected: [MemberID] { notes.withLockedValue { $0.connected } }
    var unreachable: Int { notes.withLockedValue { $0.unreachable } }
    var sinks: [RecordingSink] { notes.withLockedValue { $0.sinks } }

    func received(_ messages: [PeerMessage], from member: MemberID) {
        notes.withLockedValue { $0.messages += messages }
    }
    func peerConnected(_ member: MemberID) { notes.withLockedValue { $0.connected.append(member) } }
    func peerUnreachable(_ member: MemberID) { notes.withLockedValue { $0.unreachable += 1 } }
    func answer(query: ClusterQuery) -> ClusterReport? { notes.withLockedValue { $0.report } }
    func beginSnapshot(_ message: Message, from member: MemberID) -> (any SnapshotSink)? {
        guard notes.withLockedValue({ $0.takesSnapshots }) else { return nil }
        let sink = makeSink()
        notes.withLockedValue { $0.sinks.append(sink) }
        return sink
    }
}

/// Keeps a snapshot in memory.
final class RecordingSink: SnapshotSink, Sendable {
    struct Failure: Error, CustomStringConvertible { let description = "the disk is full" }
    struct Notes {
        var bytes: [UInt8] = []
        var isFinished = false
        var isAborted = false
    }
    let notes = NIOLockedValueBox(Notes())
    let failsAfter: Int
    let delay: UInt32

    /// - Parameters:
    ///   - failsAfter: how many bytes are taken before a write throws.
    ///   - delay: microseconds that a write takes.
    init(failsAfter: Int = .max, delay: UInt32 = 0) {
        self.failsAfter = failsAfter
        self.delay = delay
    }

    func write(_ chunk: [UInt8]) throws {
        if delay > 0 { usleep(delay) }
        let count = notes.withLockedValue { notes in
            notes.bytes += chunk
            return notes.bytes.count
        }
        if count > failsAfter { throw Failure() }
    }
    func finish() throws { notes.withLockedValue { $0.isFinished = true } }
    func abort() { notes.withLockedValue { $0.isAborted = true } }
}

/// Keeps what is logged, in place of printing it.
final class LogLines: Sendable {
    let lines = NIOLockedValueBox<[String]>([])
    var all: [String] { lines.withLockedValue { $0 } }

    var logger: Logger {
        struct Handler: LogHandler {
            let lines: NIOLockedValueBox<[String]>
            var metadata: Logger.Metadata = [:]
            var logLevel = Logger.Level.debug
            subscript(metadataKey key: String) -> Logger.Metadata.Value? {
                get { metadata[key] }
                set { metadata[key] = newValue }
            }
            func log(event: LogEvent) {
                let line = "\(event.level) \(event.message) \(event.metadata ?? [:])"
                lines.withLockedValue { $0.append(line) }
            }
        }
        return Logger(label: "test") { _ in Handler(lines: lines) }
    }
}

/// A transport on a free port of the loopback, with what it reported and logged.
final class TestMember: Sendable {
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    /// Options under which a slow machine is not taken for a dead peer.
    static func patient() -> PeerTransport.Options {
        var options = PeerTransport.Options()
        options.connectTimeout = .seconds(120)
        options.unacknowledgedTimeout = .seconds(120)
        return options
    }

    let id: MemberID
    let recorder: Recorder
    let log = LogLines()
    let transport: PeerTransport
    let address: PeerAddress

    init(
        _ id: UInt64, cluster: UInt64 = 7, port: Int = 0, recorder: Recorder = Recorder(),
        options: PeerTransport.Options = patient()
    ) async throws {
        self.id = MemberID(id)
        self.recorder = recorder
        transport = PeerTransport(
            identity: .init(clusterID: cluster, memberID: MemberID(id)), group: Self.group, logger: log.logger,
            delegate: recorder, options: options)
        let bound = try await transport.start(listen: [.network(host: "127.0.0.1", port: port)])
        address = .network(host: "127.0.0.1", port: bound[0].port ?? 0)
    }

    var port: Int { if case .network(_, let port) = address { port } else { 0 } }

    func send(_ message: PeerMessage, to member: TestMember) { transport.send([(member.id, message)]) }
}

/// Runs `body` with members that are shut down after it, however it ends.
func withMembers(_ members: TestMember..., body: () async throws -> Void) async throws {
    do { try await body() } catch {
        for member in members { await member.transport.shutdown() }
        throw error
    }
    for member in members { await member.transport.shutdown() }
}

func heartbeat(_ index: UInt64, to: UInt64 = 2, from: UInt64 = 1) -> PeerMessage {
    .raft(Message(kind: .heartbeat, to: MemberID(to), from: MemberID(from), commit: LogIndex(index)))
}

func append(_ index: UInt64, bytes: Int, to: UInt64 = 2, from: UInt64 = 1) -> PeerMessage {
    let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: bytes)
    return .raft(
        Message(
            kind: .append, to: MemberID(to), from: MemberID(from), index: LogIndex(index),
            entries: [Entry(term: Term(1), index: LogIndex(index + 1), payload: payload)]))
}
