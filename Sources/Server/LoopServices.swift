import GRPC
import NIOConcurrencyHelpers
import NIOCore
import Replica

/// The services of all event loops, in the order in which the server made them: the way back for answers.
final class LoopServices: LoopOutlet {
    private let services = NIOLockedValueBox<[NIOLoopBound<ClientService>]>([])
    let loopCount: Int

    /// - Parameter count: how many loops there are; each gets its service by ``add(on:context:firstCount:)``
    ///   before the first batch is delivered.
    init(count: Int) {
        precondition(count < CallID.publisherLoop, "a call's id has room for \(CallID.publisherLoop) loops")
        loopCount = count
    }

    /// Makes the service of one loop. Called on that loop.
    func add(on eventLoop: any EventLoop, context: ServiceContext, firstCount: UInt64) -> ClientService {
        services.withLockedValue { services in
            let service = ClientService(
                loop: services.count, eventLoop: eventLoop, context: context, firstCount: firstCount)
            services.append(NIOLoopBound(service, eventLoop: eventLoop))
            return service
        }
    }

    func deliver(_ batch: LoopBatch, toLoop loop: Int) {
        let service = services.withLockedValue { $0[loop] }
        service.eventLoop.execute { service.value.deliver(batch) }
    }

    /// Lets each loop look for calls that have waited too long, a few times a second.
    func startSweeping() {
        for service in services.withLockedValue({ $0 }) {
            service.eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(250), delay: .milliseconds(250)) { _ in
                service.value.sweep(now: monotonicNanoseconds())
            }
        }
    }

    /// Ends all streams and waiting calls, so that the server can close its connections.
    func finishAll(_ status: GRPCStatus) async {
        for service in services.withLockedValue({ $0 }) {
            try? await service.eventLoop.submit { service.value.finishAll(status) }.get()
        }
    }
}
