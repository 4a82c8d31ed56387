import Foundation
import Raft
import Testing

@testable import Storage

@Suite struct OfflineMemberTests {
    let member: StoredMember
    init() throws { member = try StoredMember() }

    /// Name, size, time of the last change and content of everything below a directory.
    func listing(_ directory: String) throws -> [String: String] {
        var found: [String: String] = [:]
        for (path, isDirectory) in try walk(directory) {
            var status = stat()
            try #require(stat(directory + "/" + path, &status) == 0)
            let content = isDirectory ? 0 : try Files.read(directory + "/" + path).hashValue
            found[path] =
                "\(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec) \(status.st_nlink) \(content)"
        }
        return found
    }

    @Test func aSoundMemberIsReadAndNothingChanges() throws {
        let path = member.path(.rest)
        let before = try listing(path)
        do {
            let offline = try OfflineMember(dataDirectory: path)
            #expect(offline.identity == MemberIdentity(clusterID: 7, memberID: MemberID(9)))
            #expect(offline.notices.isEmpty)
            let counts = try offline.readState()
            #expect(counts.events == Int(offline.applied.index.rawValue) && counts.notes == 1)
            #expect(offline.witness?.lastIndex == offline.log.last.index)
            #expect(
                offline.files.contains { $0.path.hasSuffix(".sst") }
                    && offline.files.contains { $0.path.hasSuffix(".log") })
        }
        #expect(try listing(path) == before)
        // What it found is what an opening finds.
        let offline = try OfflineMember(dataDirectory: path).log
        let (_, recovery) = try MemberStorage.open(
            dataDirectory: path, newIdentity: MemberIdentity(clusterID: 0, memberID: MemberID(0)))
        #expect(recovery.log.entries == offline.entries && recovery.log.base == offline.base)
    }

    @Test func aTornRecordIsLeftInPlaceAndSaid() throws {
        let path = member.path(.unproven)
        let logs = try Files.list(path + "/member/log/records").filter { $0.hasSuffix(".log") }
        let newest = path + "/member/log/records/" + (try #require(logs.last))
        try Files.truncate(newest, to: Files.size(of: newest) - 20)
        let before = try listing(path)
        do {
            let offline = try OfflineMember(dataDirectory: path)
            #expect(offline.notices.count == 1 && offline.notices[0].contains(newest))
            _ = try offline.readState()
        }
        #expect(try listing(path) == before)
    }

    @Test func damageIsRefusedByTheFilesName() throws {
        let path = member.path(.rest)
        let logs = try Files.list(path + "/member/log/records").filter { $0.hasSuffix(".log") }
        let oldest = path + "/member/log/records/" + (try #require(logs.first))
        var bytes = try Files.read(oldest)
        bytes[100] ^= 1
        try Files.write(bytes, to: oldest)
        let before = try listing(path)
        do {
            _ = try OfflineMember(dataDirectory: path)
            Issue.record("the damaged log was read")
        } catch let error as StorageError {
            #expect(error.kind == .corruption && error.description.contains(oldest))
        }
        #expect(try listing(path) == before)
    }

    @Test func damageInATableIsFoundByReadingAll() throws {
        let path = member.path(.rest)
        let table = try #require(
            try walk(path).map(\.path).last { $0.hasPrefix("member/state/") && $0.hasSuffix(".sst") })
        var bytes = try Files.read(path + "/" + table)
        bytes[1000] ^= 1
        try Files.write(bytes, to: path + "/" + table)
        do {
            _ = try OfflineMember(dataDirectory: path).readState()
            Issue.record("the damaged table was read")
        } catch let error as StorageError {
            #expect(error.kind == .corruption && error.description.contains(path + "/" + table), "\(error)")
        }
    }

    @Test func aMemberThatRunsIsRefused() throws {
        let path = member.path(.rest)
        let (storage, _) = try MemberStorage.open(
            dataDirectory: path, newIdentity: MemberIdentity(clusterID: 0, memberID: MemberID(0)))
        do {
            _ = try OfflineMember(dataDirectory: path)
            Issue.record("a member in use was read")
        } catch let error as StorageError {
            #expect(error.kind == .locked && error.description.contains("process \(getpid());"))
        }
        _ = storage.identity
    }

    @Test func whatIsNoMembersDirectoryIsSaid() throws {
        let path = member.root.file("nothing")
        #expect(throws: StorageError.self) { try OfflineMember(dataDirectory: path) }
        #expect(!Files.exists(path))
    }
}
