import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Raft

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Which end of a connection a member is.
public enum ConnectionSide: Sendable { case dialler, listener }

/// Who the other end of a connection has proven to be.
public struct PeerIdentity: Sendable, Hashable {
    /// The names its certificate carries; none when the connection has no proof of identity.
    public var names: [String]
    public init(names: [String]) { self.names = names }
    public static let unproven = PeerIdentity(names: [])
}

/// The open connections of a transport, so that they can be closed, and what was received on them.
final class ConnectionRegistry: Sendable {
    private struct State {
        var isClosed = false
        var channels: [ObjectIdentifier: Channel] = [:]
        var streams: [MemberID: Channel] = [:]
        var receivedBytes: [MemberID: UInt64] = [:]
    }
    private let state = NIOLockedValueBox(State())

    var isClosed: Bool { state.withLockedValue { $0.isClosed } }

    /// Keeps `channel` until it closes.
    ///
    /// - Returns: false, and keeps nothing, when the transport has been shut down.
    func insert(_ channel: Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let inserted = state.withLockedValue { state in
            guard !state.isClosed else { return false }
            state.channels[key] = channel
            return true
        }
        if inserted {
            channel.closeFuture.whenComplete { _ in
                self.state.withLockedValue { state in
                    state.channels[key] = nil
                    if let member = state.streams.first(where: { $0.value === channel })?.key {
                        state.streams[member] = nil
                    }
                }
            }
        }
        return inserted
    }

    /// Makes `channel` the stream of `member`.
    ///
    /// - Returns: the stream it replaces. The member has dialled anew, so that one is dead even if it does not know.
    func replaceStream(of member: MemberID, with channel: Channel) -> Channel? {
        state.withLockedValue { $0.streams.updateValue(channel, forKey: member) }
    }

    func count(_ bytes: Int, from member: MemberID) {
        state.withLockedValue { $0.receivedBytes[member, default: 0] += UInt64(bytes) }
    }

    func receivedBytes(from member: MemberID) -> UInt64 {
        state.withLockedValue { $0.receivedBytes[member] ?? 0 }
    }

    /// Takes no more connections, and returns those that are open.
    func close() -> [Channel] {
        state.withLockedValue { state in
            state.isClosed = true
            return Array(state.channels.values)
        }
    }
}

/// How peer sockets are set, and dialled.
enum PeerSocket {
    struct Option: Sendable {
        var option: ChannelOptions.Types.SocketOption
        var value: SocketOptionValue
    }

    /// No delay for small messages, and an end to a connection whose other side is gone without a word: after
    /// `unacknowledged` when something was sent, after some 20 s otherwise.
    static func options(unacknowledged: TimeAmount) -> [Option] {
        var options = [
            Option(option: .init(level: .tcp, name: .tcp_nodelay), value: 1),
            Option(option: .init(level: .socket, name: .so_keepalive), value: 1),
        ]
        #if os(Linux)
            let milliseconds = SocketOptionValue(unacknowledged.nanoseconds / 1_000_000)
            for (name, value) in [
                (TCP_KEEPIDLE, 5), (TCP_KEEPINTVL, 5), (TCP_KEEPCNT, 3), (TCP_USER_TIMEOUT, milliseconds),
            ] {
                options.append(Option(option: .init(level: .tcp, name: .init(rawValue: name)), value: value))
            }
        #endif
        return options
    }

    /// Dials `address`. The channel has only the handlers of a secure channel, if any.
    static func connect(
        _ address: PeerAddress, on loop: any EventLoop, options: PeerTransport.Options
    ) -> EventLoopFuture<Channel> {
        var bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(options.connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try options.secure?(channel, .dialler) }
            }
        switch address {
        case .network(let host, let port):
            for option in Self.options(unacknowledged: options.unacknowledgedTimeout) {
                bootstrap = bootstrap.channelOption(option.option, value: option.value)
            }
            return bootstrap.connect(host: host, port: port)
        case .socket(let path):
            return bootstrap.connect(unixDomainSocketPath: path)
        }
    }
}

extension ServerBootstrap {
    func childChannelOptions(of options: [PeerSocket.Option]) -> ServerBootstrap {
        options.reduce(self) { $0.childChannelOption($1.option, value: $1.value) }
    }
}

/// An error in few words: NIO's own wrap the system's in several layers.
public func describeNetworkError(_ error: any Error) -> String {
    switch error {
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError:
        error.connectionErrors.first.map { describeNetworkError($0.error) }
            ?? (error.dnsAError ?? error.dnsAAAAError).map { "\($0)" } ?? "the name does not resolve"
    case ChannelError.connectTimeout(let after): "no answer within \(after.nanoseconds / 1_000_000) ms"
    default: "\(error)"
    }
}
