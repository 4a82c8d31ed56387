import GRPC
import Testing

@testable import EtcdClient

@Suite struct RetryRulesTests {
    @Test func aRequestThatWasNeverSentIsNotExecuted() {
        for text in ["the connection to 127.0.0.1:1 is closed", "the connection to 127.0.0.1:1 takes no more calls"] {
            #expect(RetryRules.isNotExecuted(RPCError(.unavailable, text)))
            #expect(RetryRules.isTransient(RPCError(.unavailable, text)))
        }
        let refused = RPCError(.unavailable, "stream terminated by RST_STREAM with error code: REFUSED_STREAM")
        #expect(RetryRules.isNotExecuted(refused))
    }

    @Test func aLostAnswerLeavesItOpen() {
        let errors = [
            RPCError(.unavailable, "the connection to 127.0.0.1:1 was lost"),
            RPCError(.unavailable, "etcdserver: request timed out"),
            RPCError(.unavailable, "etcdserver: no leader"),
            RPCError(.unavailable, "etcdserver: leader changed"),
            RPCError(.unavailable, "etcdserver: server stopped"),
            RPCError(.deadlineExceeded, "context deadline exceeded"),
            RPCError(.cancelled, "stream terminated by RST_STREAM with error code: CANCEL"),
            RPCError(.resourceExhausted, "received message larger than max"),
        ]
        for error in errors { #expect(!RetryRules.isNotExecuted(error), "\(error)") }
    }

    @Test func whatIsRefusedBeforeTheLogMayBeAskedOfAnother() {
        for error in [
            RPCError(.resourceExhausted, "etcdserver: too many requests"),
            RPCError(.failedPrecondition, "etcdserver: rpc not supported for learner"),
            RPCError(.unavailable, "etcdserver: not capable"),
        ] {
            #expect(RetryRules.isNotExecuted(error))
            #expect(RetryRules.isTransient(error))
        }
    }

    @Test func aRefusalIsFinal() {
        for error in [
            RPCError(.invalidArgument, "etcdserver: key is not provided"),
            RPCError(.resourceExhausted, "etcdserver: mvcc: database space exceeded"),
            RPCError(.outOfRange, "etcdserver: mvcc: required revision has been compacted"),
        ] {
            #expect(RetryRules.isNotExecuted(error))
            #expect(!RetryRules.isTransient(error))
        }
    }

    @Test func anEndpointIsLeftAloneForLongerWithEachFailureUpToABound() {
        var backOff = BackOff()
        var now = ContinuousClock.now
        #expect(backOff.isDue(now))
        for pause in [100, 200, 400, 800, 1600, 2000, 2000] {
            // Calls that fail together count once.
            for _ in 1...3 { backOff.failed(now, limits: .milliseconds(100) ... .seconds(2)) }
            #expect(!backOff.isDue(now + .milliseconds(pause * 3 / 4 - 1)))
            now += .milliseconds(pause * 5 / 4 + 1)
            #expect(backOff.isDue(now))
        }
        backOff.succeeded()
        #expect(backOff.isDue(now))
    }
}

@Suite struct RangeAndEndpointTests {
    @Test func aPrefixEndsBeforeTheNextKeyThatLacksIt() {
        #expect(KeyRange.prefix("ab") == KeyRange(key: [97, 98], end: [97, 99]))
        #expect(KeyRange.prefix([97, 0xff] as [UInt8]) == KeyRange(key: [97, 0xff], end: [98]))
        #expect(KeyRange.prefix([0xff] as [UInt8]) == KeyRange(key: [0xff], end: [0]))
        #expect(KeyRange.prefix("") == .all)
        #expect(KeyRange.from("") == .all)
    }

    @Test func endpointsAreReadAsEtcdsClientsWriteThem() throws {
        #expect(try EtcdEndpoint("h:1") == EtcdEndpoint(host: "h", port: 1))
        #expect(try EtcdEndpoint("http://h:1/path") == EtcdEndpoint(host: "h", port: 1))
        #expect(try EtcdEndpoint("[::1]:2379") == EtcdEndpoint(host: "::1", port: 2379))
        #expect(EtcdEndpoint(host: "::1", port: 2379).description == "[::1]:2379")
        for bad in ["", "h", "h:", "h:0", "h:65536", "::1:2379", "https://h:1", "unix:///x"] {
            #expect(throws: EtcdError.self, "\(bad)") { try EtcdEndpoint(bad) }
        }
    }

    @Test func aLeasesNumberIsPrintedAsEtcdDoes() {
        #expect("\(LeaseID(rawValue: 0x2a))" == "2a")
        #expect("\(LeaseID(rawValue: -1))" == "ffffffffffffffff")
    }
}
