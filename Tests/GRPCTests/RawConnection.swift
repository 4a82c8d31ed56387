import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A TCP connection that sends bytes as given and keeps what comes back.
final class RawConnection: Sendable {
    private let channel: any Channel
    private let received: NIOLockedValueBox<[UInt8]>

    init(port: Int, group: any EventLoopGroup) async throws {
        let received = NIOLockedValueBox<[UInt8]>([])
        self.received = received
        channel = try await ClientBootstrap(group: group)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Collector(received))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
    }

    var bytes: [UInt8] { received.withLockedValue { $0 } }
    var text: String { String(decoding: bytes, as: UTF8.self) }
    var isClosed: Bool { !channel.isActive }

    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get() }
    func send(_ text: String) async throws { try await send(Array(text.utf8)) }
    func close() async { try? await channel.close() }

    /// The HTTP/2 frames received so far.
    var frames: [Frame] {
        var rest = bytes[...]
        var frames: [Frame] = []
        while rest.count >= 9 {
            let start = rest.startIndex
            let length = Int(rest[start]) << 16 | Int(rest[start + 1]) << 8 | Int(rest[start + 2])
            guard rest.count >= 9 + length else { break }
            let id = rest[(start + 5)..<(start + 9)].reduce(Int32(0)) { $0 << 8 | Int32($1) }
            frames.append(
                Frame(
                    type: rest[start + 3], flags: rest[start + 4], streamID: id,
                    payload: Array(rest[(start + 9)..<(start + 9 + length)])))
            rest = rest.dropFirst(9 + length)
        }
        return frames
    }
}

private final class Collector: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    private let received: NIOLockedValueBox<[UInt8]>
    init(_ received: NIOLockedValueBox<[UInt8]>) { self.received = received }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        received.withLockedValue { $0.append(contentsOf: bytes.readableBytesView) }
    }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// One HTTP/2 frame (RFC 9113, 4.1).
struct Frame {
    var type: UInt8
    var flags: UInt8 = 0
    var streamID: Int32 = 0
    var payload: [UInt8] = []

    static let data: UInt8 = 0, headers: UInt8 = 1, reset: UInt8 = 3, settings: UInt8 = 4, ping: UInt8 = 6
    static let goAway: UInt8 = 7
    static let endStream: UInt8 = 1, endHeaders: UInt8 = 4

    var bytes: [UInt8] {
        let length = payload.count
        let head = [UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255), type, flags]
        return head + (0..<4).map { UInt8(truncatingIfNeeded: streamID >> (24 - 8 * Int32($0))) } + payload
    }

    /// The client's preface and empty settings.
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Frame(type: settings).bytes

    /// The head of a request, its fields as literals without indexing (RFC 7541, 6.2.2).
    static func request(
        _ path: String, streamID: Int32, contentType: String = "application/grpc", more: [(String, String)] = [],
        flags: UInt8 = endHeaders
    ) -> Frame {
        let fields = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"),
            ("content-type", contentType),
        ]
        var block: [UInt8] = []
        for (name, value) in fields + more {
            block += [0] + string(name) + string(value)
        }
        return Frame(type: headers, flags: flags, streamID: streamID, payload: block)
    }

    private static func string(_ text: String) -> [UInt8] {
        // RFC 7541, 5.1: lengths below 127 fit the prefix.
        let count = text.utf8.count
        guard count >= 127 else { return [UInt8(count)] + Array(text.utf8) }
        var length: [UInt8] = [127]
        var rest = count - 127
        while rest >= 128 {
            length.append(UInt8(rest % 128 + 128))
            rest /= 128
        }
        return length + [UInt8(rest)] + Array(text.utf8)
    }

    static func body(_ bytes: [UInt8], streamID: Int32, ends: Bool = true) -> Frame {
        Frame(type: data, flags: ends ? endStream : 0, streamID: streamID, payload: bytes)
    }

    /// A gRPC message with its prefix.
    static func message(_ text: String, flags: UInt8 = 0, declared: UInt32? = nil) -> [UInt8] {
        let length = declared ?? UInt32(text.utf8.count)
        return [flags] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + Array(text.utf8)
    }
}
