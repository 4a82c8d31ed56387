import Logging
import NIOConcurrencyHelpers
import NIOCore
import Raft

/// One peer as it is sent to: a queue that any thread fills, and a connection that is kept up on one event loop.
///
///     dial ──failed──▶ wait (backoff) ──▶ dial …
///      │                  ▲
///      └─ handshake ──────┤ refused, broken
///             └─ accepted: the queue is drained ─┘
final class OutboundPeer: Sendable {
    /// What waits to be sent. Before the first attempt to connect has failed messages wait for its outcome, so that
    /// the first votes of a new cluster are not lost; later ones are dropped while there is no connection, since Raft
    /// would not want them late.
    private struct Mailbox {
        var isOpen = true
        var isStopped = false
        var urgent = CircularBuffer<PeerMessage>()
        var bulk = CircularBuffer<PeerMessage>()
        var bytes = 0
        var wakeIsScheduled = false
        /// Whether messages are being lost to a full queue, and whether that was told.
        var isOverflowing = false
        var overflowWasReported = false
        var statistics = PeerStatistics()

        mutating func clear() {
            statistics.droppedMessages += UInt64(urgent.count + bulk.count)
            urgent.removeAll()
            bulk.removeAll()
            bytes = 0
            isOverflowing = false
            overflowWasReported = false
        }
    }

    /// The state of the connection, touched only on the event loop.
    private struct Link {
        var addresses: [PeerAddress]
        var attempts = 0
        var isDialling = false
        var isStopped = false
        var handler: OutboundHandler?
        var establishedAt: NIODeadline?
        var retry: Scheduled<Void>?
        /// What was logged as reasons for there being no connection, since there was one.
        var loggedReasons: Set<String> = []
    }

    let member: MemberID
    private let loop: any EventLoop
    private let transport: PeerTransport
    private let mailbox = NIOLockedValueBox(Mailbox())
    private let link: NIOLoopBoundBox<Link>
    private var logger: Logger { transport.logger }

    init(_ member: MemberID, addresses: [PeerAddress], loop: any EventLoop, transport: PeerTransport) {
        self.member = member
        self.loop = loop
        self.transport = transport
        link = .makeBoxSendingValue(Link(addresses: addresses), eventLoop: loop)
    }

    var statistics: PeerStatistics { mailbox.withLockedValue { $0.statistics } }

    // MARK: The queue, from any thread

    func enqueue(_ message: PeerMessage) {
        let bytes = message.estimatedBytes
        let limit = transport.options.maxQueuedBytes
        let wakes = mailbox.withLockedValue { mailbox in
            guard mailbox.isOpen else {
                mailbox.statistics.droppedMessages += 1
                return false
            }
            if mailbox.bytes + bytes > limit && mailbox.bytes > 0 {
                mailbox.statistics.droppedMessages += 1
                mailbox.isOverflowing = true
            } else {
                mailbox.bytes += bytes
                if message.isUrgent { mailbox.urgent.append(message) } else { mailbox.bulk.append(message) }
            }
            defer { mailbox.wakeIsScheduled = true }
            return !mailbox.wakeIsScheduled
        }
        // One wake for all that is sent until the loop gets to it.
        if wakes { loop.execute { self.wake() } }
    }

    /// Takes what may be written next: all that is urgent, and of the rest until `bytes` are reached, at least one.
    func take(upTo bytes: Int) -> [PeerMessage] {
        mailbox.withLockedValue { mailbox in
            var taken: [PeerMessage] = []
            taken.reserveCapacity(mailbox.urgent.count + 1)
            var takenBytes = 0
            while let message = mailbox.urgent.popFirst() {
                takenBytes += message.estimatedBytes
                taken.append(message)
            }
            while takenBytes < bytes, let message = mailbox.bulk.popFirst() {
                takenBytes += message.estimatedBytes
                taken.append(message)
            }
            mailbox.bytes -= takenBytes
            if mailbox.bytes < transport.options.maxQueuedBytes / 2 { mailbox.overflowWasReported = false }
            return taken
        }
    }

    func countSent(messages: Int, bytes: Int, dropped: Int) {
        mailbox.withLockedValue { mailbox in
            mailbox.statistics.sentMessages += UInt64(messages)
            mailbox.statistics.sentBytes += UInt64(bytes)
            mailbox.statistics.droppedMessages += UInt64(dropped)
        }
    }

    private func wake() {
        let tellsOverflow = mailbox.withLockedValue { mailbox in
            mailbox.wakeIsScheduled = false
            guard mailbox.isOverflowing else { return false }
            mailbox.isOverflowing = false
            defer { mailbox.overflowWasReported = true }
            return !mailbox.overflowWasReported
        }
        if tellsOverflow {
            logger.warning("dropping messages to a peer that does not keep up", metadata: metadata)
            transport.delegate.peerUnreachable(member)
        }
        link.value.handler?.pump()
    }

    // MARK: The connection, on the event loop

    func start() { loop.execute { self.dial() } }

    /// Where the peer is from now on. A connection to where it was is given up.
    func setAddresses(_ addresses: [PeerAddress]) {
        loop.execute {
            guard self.link.value.addresses != addresses else { return }
            self.link.value.addresses = addresses
            self.link.value.attempts = 0
            if let handler = self.link.value.handler {
                handler.close()
            } else {
                self.dialNow()
            }
        }
    }

    /// The peer has just dialled this member, so it lives: a wait for the next attempt is over.
    func dialNow() {
        loop.execute {
            guard let retry = self.link.value.retry else { return }
            retry.cancel()
            self.link.value.attempts = 0
            self.dial()
        }
    }

    var addresses: EventLoopFuture<[PeerAddress]> { loop.submit { self.link.value.addresses } }

    func stop() {
        mailbox.withLockedValue { mailbox in
            mailbox.isOpen = false
            mailbox.isStopped = true
            mailbox.clear()
        }
        loop.execute {
            self.link.value.isStopped = true
            self.link.value.retry?.cancel()
            self.link.value.retry = nil
            self.link.value.handler?.close()
        }
    }

    /// Returns when what was scheduled before has run.
    func settled() async { try? await loop.submit {}.get() }

    private func dial() {
        link.value.retry = nil
        guard !link.value.isStopped, !link.value.isDialling, link.value.handler == nil else { return }
        link.value.isDialling = true
        let addresses = link.value.addresses
        let address = addresses[link.value.attempts % addresses.count]
        let hello = Hello(
            clusterID: transport.identity.clusterID, from: transport.identity.memberID, to: member, kind: .stream)
        PeerSocket.connect(address, on: loop, options: transport.options).whenComplete { result in
            self.link.value.isDialling = false
            switch result {
            case .failure(let error):
                self.ended("\(address): \(describeNetworkError(error))")
            case .success(let channel):
                guard !self.link.value.isStopped, self.transport.registry.insert(channel) else {
                    channel.close(promise: nil)
                    return
                }
                let handler = OutboundHandler(self, hello: hello, address: address, options: self.transport.options)
                self.link.value.handler = handler
                do {
                    try channel.pipeline.syncOperations.addHandler(handler)
                } catch {
                    channel.close(promise: nil)
                    self.ended(describeNetworkError(error))
                }
            }
        }
    }

    /// The handshake has succeeded.
    func established() {
        link.value.establishedAt = .now()
        link.value.loggedReasons = []
        mailbox.withLockedValue { mailbox in
            if !mailbox.isStopped { mailbox.isOpen = true }
            mailbox.statistics.isConnected = true
        }
        logger.info("connected to peer", metadata: metadata)
        transport.delegate.peerConnected(member)
    }

    /// There is no connection, or no longer one. `refusal` when the peer did not want it: that does not change by the
    /// hour, so it is tried again at the longest interval only.
    func ended(_ reason: String, refusal: Bool = false) {
        link.value.handler = nil
        mailbox.withLockedValue { mailbox in
            mailbox.isOpen = false
            mailbox.statistics.isConnected = false
            mailbox.clear()
        }
        guard !link.value.isStopped else { return }
        transport.delegate.peerUnreachable(member)

        let wasEstablished = link.value.establishedAt
        link.value.establishedAt = nil
        // A peer that refuses is named for each reason once, one that cannot be reached once per outage.
        let isFirst = link.value.loggedReasons.isEmpty
        let isNew = link.value.loggedReasons.insert(reason).inserted
        if isFirst || (refusal && isNew) {
            var metadata = metadata
            metadata["reason"] = "\(reason)"
            logger.warning(refusal ? "peer refuses the connection" : "cannot reach peer", metadata: metadata)
        }
        if let wasEstablished, wasEstablished + .seconds(1) < .now() { link.value.attempts = 0 }
        let delay = backoff(refusal: refusal)
        link.value.attempts += 1
        link.value.retry = loop.scheduleTask(in: delay) { self.dial() }
    }

    private func backoff(refusal: Bool) -> TimeAmount {
        let range = transport.options.backoff
        let doubled = range.lowerBound.nanoseconds << Int64(min(link.value.attempts, 20))
        let longest = refusal ? range.upperBound.nanoseconds : min(doubled, range.upperBound.nanoseconds)
        // Jitter keeps the members of a cluster that lost its network from knocking in step.
        return .nanoseconds(Int64.random(in: longest / 2...max(longest, 1)))
    }

    private var metadata: Logger.Metadata { ["peer": "\(hex(member))"] }
}
