import EtcdClient
import Foundation
import Glibc
import Synchronization
import TestSupport

/// Stands between an engine and the store, and can hold back what they tell each other, or cut it off.
final class Relay: Sendable {
    private struct State {
        var isHolding = false
        var connections: [Int32] = []
    }

    let endpoint: EtcdEndpoint
    private let listener: Int32
    private let state = Mutex(State())

    init(to store: EtcdEndpoint) throws {
        let listener = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 16) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isListening else { throw Complaint("cannot listen: \(errno)") }
        self.listener = listener
        endpoint = EtcdEndpoint(host: "127.0.0.1", port: Int(UInt16(bigEndian: address.sin_port)))
        Thread.detachNewThread { [weak self] in
            while true {
                let accepted = accept(listener, nil, nil)
                guard accepted >= 0, let self else { return }
                self.join(accepted, store)
            }
        }
    }

    deinit {
        // Closing alone would not wake the thread that accepts.
        shutdown(listener, Int32(SHUT_RDWR))
        cut()
    }

    /// Nothing passes until ``cut()``.
    func hold() { state.withLock { $0.isHolding = true } }

    /// Ends all connections; new ones pass.
    func cut() {
        let connections = state.withLock { state in
            state.isHolding = false
            defer { state.connections.removeAll() }
            return state.connections
        }
        for connection in connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }

    private func join(_ accepted: Int32, _ store: EtcdEndpoint) {
        let onward = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(port: UInt16(store.port))
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(onward, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        state.withLock { $0.connections += [accepted, onward] }
        for (from, to) in [(accepted, onward), (onward, accepted)] {
            Thread.detachNewThread { [weak self] in
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = read(from, &buffer, buffer.count)
                    while self?.state.withLock({ $0.isHolding }) == true { usleep(2_000) }
                    guard count > 0, send(to, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break }
                }
                shutdown(to, Int32(SHUT_RDWR))
            }
        }
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        address.sin_port = port.bigEndian
        return address
    }
}
