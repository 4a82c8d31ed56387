import Raft
import Testing

@testable import Discovery

@Suite struct IdentityTests {
    @Test func theDefaultMemberHasTheIdentityEtcdGivesIt() throws {
        let cluster = try InitialCluster.parse("default=http://localhost:2380")
        #expect(cluster.founders(token: Discovery.defaultToken).map(\.id.hexText) == ["8e9e05c52164694d"])
        #expect(cluster.clusterID(token: Discovery.defaultToken).description == "cdf818194e3a8c32")
    }

    /// The ids are those that etcd 3.5.1 printed for the same flags.
    @Test func threeMembersHaveTheIdentitiesEtcdGivesThem() throws {
        let cluster = try InitialCluster.parse(
            "b=http://127.0.0.1:24382,a=http://127.0.0.1:24380,c=http://127.0.0.1:24384,a=http://127.0.0.1:24379")
        let founders = cluster.founders(token: "probe-1")
        #expect(
            founders.map { "\($0.name) \($0.id.hexText)" } == [
                "c 7627c0b11a6c2b96", "b 837e18b66eb92f14", "a c01c3942820a5f46",
            ])
        #expect(cluster.clusterID(token: "probe-1").description == "7f798fc7e3a72eae")
    }

    @Test func theOrderOfTheListDoesNotMatter() throws {
        let forth = try InitialCluster.parse("a=http://h:1,b=http://h:2,a=http://h:3")
        let back = try InitialCluster.parse("a=http://h:3,b=http://h:2,a=http://h:1")
        #expect(forth == back)
        #expect(forth.text == "a=http://h:1,a=http://h:3,b=http://h:2")
        #expect(forth["a"]?.peerURLs.map(\.text) == ["http://h:1", "http://h:3"])
        #expect(forth["c"] == nil)
    }

    @Test func theTokenSeparatesClustersOfTheSameAddresses() throws {
        let cluster = try InitialCluster.parse("a=http://h:1")
        #expect(cluster.clusterID(token: "one") != cluster.clusterID(token: "two"))
    }
}

@Suite struct InitialClusterErrorTests {
    @Test(arguments: [
        ("", "the initial cluster is empty"),
        (",", "the initial cluster is empty"),
        ("foo", "\"foo\" in the initial cluster has no URL"),
        ("foo=", "URL scheme must be"),
        ("a=http://h:1,b=http://h:1", "initial cluster a=http://h:1,b=http://h:1 has duplicate url http://h:1"),
        ("a=http://h:1,a=http://h:1", "has duplicate url"),
        ("a=http://h", "member \"a\" of the initial cluster: URL address does not have the form"),
    ])
    func aListThatCannotWorkIsRefused(text: String, expected: String) {
        let error = #expect(throws: InitialClusterError.self) { try InitialCluster.parse(text) }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
    }
}

@Suite struct MemberURLTests {
    @Test(arguments: [
        ("http://localhost:2380", "localhost", 2380), ("https://10.0.0.1:1", "10.0.0.1", 1),
        ("http://[::1]:65535", "::1", 65535), ("HTTP://Host:80", "Host", 80), ("http://:0", "", 0),
        ("unix:///run/x.sock", "/run/x.sock", 0), ("unix://localhost:m0", "localhost:m0", 0), (" http://h:1 ", "h", 1),
    ])
    func aWellFormedURLIsTakenApart(text: String, host: String, port: Int) throws {
        let url = try MemberURL(text)
        #expect(url.host == host)
        #expect(url.port == port)
    }

    @Test(arguments: [
        ("foo", MemberURLError.Reason.scheme), ("", .scheme), ("ftp://h:1", .scheme), ("://h:1", .scheme),
        ("http://h", .hostAndPort), ("http://", .hostAndPort), ("http://::1:5", .hostAndPort),
        ("http://[::1:5", .hostAndPort), ("http://[h]:5", .hostAndPort), ("http://u@h:1", .hostAndPort),
        ("http://h:", .port), ("http://h:x", .port), ("http://h:65536", .port), ("http://h:-1", .port),
        ("http://h:99999999999999999999", .port), ("http://h:1/", .path), ("http://h:1/a", .path),
        ("http://h:1\u{7}", .characters), ("unix://", .emptySocketPath),
    ])
    func aMalformedURLIsRefusedWithItsReason(text: String, reason: MemberURLError.Reason) {
        let error = #expect(throws: MemberURLError.self) { try MemberURL(text) }
        #expect(error?.reason == reason)
        #expect(error?.description.contains(text) == true)
    }

    @Test func aNameIsRefusedForListeningExceptLocalhost() throws {
        try MemberURL("http://localhost:1").checkBindable()
        try MemberURL("http://0.0.0.0:1").checkBindable()
        try MemberURL("http://[::]:1").checkBindable()
        try MemberURL("unix://x").checkBindable()
        #expect(throws: MemberURLError.self) { try MemberURL("http://example.com:1").checkBindable() }
        #expect(throws: MemberURLError.self) { try MemberURL("http://:1").checkReachable() }
    }

    @Test func aListIsSortedByItsText() throws {
        #expect(try MemberURL.list("http://h:2,http://h:1").map(\.port) == [1, 2])
        #expect(throws: MemberURLError.self) { try MemberURL.list("http://h:2,") }
    }
}
