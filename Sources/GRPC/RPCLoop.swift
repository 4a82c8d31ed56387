import NIOCore

/// A connection of either protocol, as the loop sees it at shutdown.
protocol ServedConnection: AnyObject {
    /// Lets what is under way end and takes nothing new.
    func beginShutdown()
    /// Ends at once.
    func abort()
}

/// What one event loop serves: its service, its connections, and the batch of the current tick.
final class RPCLoop {
    let eventLoop: EventLoop
    let options: RPCServerOptions
    let methods: MethodTable
    let service: any RPCLoopService
    let output = OutputBuffer()

    @exclusivity(unchecked) private var events: [RPCEvent] = []
    private var spareEvents: [RPCEvent] = []
    private var dirty: [ServerConnection] = []
    private var spareDirty: [ServerConnection] = []
    private var tickIsScheduled = false

    private var deadlines = DeadlineSet()
    private var timer: (at: NIODeadline, task: Scheduled<Void>)?

    private var connections: [ObjectIdentifier: any ServedConnection] = [:]
    private var isShuttingDown = false
    private var emptied: EventLoopPromise<Void>?

    init(eventLoop: EventLoop, options: RPCServerOptions, methods: MethodTable, service: any RPCLoopService) {
        self.eventLoop = eventLoop
        self.options = options
        self.methods = methods
        self.service = service
    }

    // MARK: The tick

    func enqueue(_ event: RPCEvent) {
        events.append(event)
        scheduleTick()
    }

    /// The connection is drained once when the tick ends, however many answers it got.
    func markDirty(_ connection: ServerConnection) {
        guard !connection.isDirty else { return }
        connection.isDirty = true
        dirty.append(connection)
        scheduleTick()
    }

    private func scheduleTick() {
        guard !tickIsScheduled else { return }
        tickIsScheduled = true
        // Runs after all that the loop has to do now: further reads, further answers.
        eventLoop.assumeIsolated().execute { self.tick() }
    }

    private func tick() {
        if !events.isEmpty {
            swap(&events, &spareEvents)
            service.handle(spareEvents)
            spareEvents.removeAll(keepingCapacity: spareEvents.count <= 4096)
        }
        // What `handle` answered is drained with the rest; what comes up from here on, in the next tick.
        tickIsScheduled = false
        swap(&dirty, &spareDirty)
        for connection in spareDirty { connection.drainAtEndOfTick() }
        spareDirty.removeAll(keepingCapacity: true)
    }

    // MARK: Deadlines

    func setDeadline(of stream: ServerStream, in timeout: TimeAmount) {
        let deadline = NIODeadline.now() + timeout
        deadlines.insert(stream, deadline)
        armTimer(for: deadline)
    }

    func clearDeadline(of stream: ServerStream) { deadlines.remove(stream) }

    private func armTimer(for deadline: NIODeadline) {
        if let timer {
            if timer.at <= deadline { return }
            timer.task.cancel()
        }
        let task = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.expire() }
        timer = (deadline, task)
    }

    private func expire() {
        timer = nil
        let now = NIODeadline.now()
        let (expired, earliest) = deadlines.takeExpired(at: now)
        for stream in expired {
            stream.connection.fail(stream, GRPCStatus(.deadlineExceeded, "context deadline exceeded"))
        }
        // Not more often than each millisecond: one scan serves all that end within it.
        if let earliest { armTimer(for: max(earliest, now + .milliseconds(1))) }
    }

    // MARK: Connections

    func add(_ connection: any ServedConnection) {
        connections[ObjectIdentifier(connection)] = connection
        if isShuttingDown { connection.beginShutdown() }
    }

    func remove(_ connection: any ServedConnection) {
        connections[ObjectIdentifier(connection)] = nil
        if connections.isEmpty { emptied.take()?.succeed() }
    }

    /// Lets the calls under way end; `emptied` succeeds when no connection is left.
    func beginShutdown(emptied promise: EventLoopPromise<Void>) {
        isShuttingDown = true
        guard !connections.isEmpty else { return promise.succeed() }
        emptied?.futureResult.cascade(to: promise)
        guard emptied == nil else { return }
        emptied = promise
        for connection in Array(connections.values) { connection.beginShutdown() }
    }

    func abortConnections() {
        for connection in Array(connections.values) { connection.abort() }
    }
}

/// Calls with a deadline, in no order. They are scanned when the earliest may be due, which costs less
/// than to keep hundreds of thousands of short calls a second in a heap, most of which end long before.
struct DeadlineSet {
    private var streams: [ServerStream] = []

    mutating func insert(_ stream: ServerStream, _ deadline: NIODeadline) {
        precondition(stream.deadlineIndex < 0, "a call has one deadline")
        stream.deadline = deadline
        stream.deadlineIndex = streams.count
        streams.append(stream)
    }

    mutating func remove(_ stream: ServerStream) {
        let index = stream.deadlineIndex
        guard index >= 0 else { return }
        let last = streams.removeLast()
        if last !== stream {
            streams[index] = last
            last.deadlineIndex = index
        }
        stream.deadlineIndex = -1
    }

    /// Takes those whose deadline has passed, and tells the earliest of those that stay.
    mutating func takeExpired(at now: NIODeadline) -> (expired: [ServerStream], earliest: NIODeadline?) {
        var expired: [ServerStream] = []
        var earliest: NIODeadline?
        for stream in streams {
            guard let deadline = stream.deadline else { continue }
            if deadline <= now {
                expired.append(stream)
            } else if earliest.map({ deadline < $0 }) ?? true {
                earliest = deadline
            }
        }
        for stream in expired { remove(stream) }
        return (expired, earliest)
    }
}
