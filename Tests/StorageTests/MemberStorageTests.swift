import Foundation
import Raft
import Store
import Testing

@testable import Storage

@Suite struct MemberStorageTests {
    let directory: TemporaryDirectory
    let identity = MemberIdentity(clusterID: 0xcdf8_1819_4e3a_8c32, memberID: MemberID(0x8e9e_05c5_2164_694d))
    let configuration = ConfState(voters: [MemberID(1)])
    var data: String { directory.file("data") }

    init() throws { directory = try TemporaryDirectory() }

    func open(_ path: String? = nil, wal: String? = nil) throws -> (MemberStorage, MemberRecovery) {
        try MemberStorage.open(
            dataDirectory: path ?? data, walDirectory: wal, newIdentity: identity, initialConfiguration: configuration)
    }

    func commit(_ state: StateDatabase, index: UInt64, term: UInt64 = 1) throws {
        state.append(Revision(main: Int64(index)), tombstone: false, record: bytes("\(index)"))
        try state.commit(applied: LogIndex(index), term: Term(term), configuration: configuration)
    }

    /// The chunks of a state that is applied up to `index`.
    func snapshot(index: UInt64, term: UInt64) throws -> [[UInt8]] {
        let state = try StateDatabase(try StateFiles(path: directory.file("leader-\(index)")))
        try commit(state, index: index, term: term)
        let snapshot = state.makeSnapshot()
        var chunks: [[UInt8]] = []
        while let chunk = try snapshot.nextChunk() { chunks.append(chunk) }
        return chunks
    }

    func refusal(_ body: () throws -> Void) throws -> StorageError {
        do { try body() } catch let error as StorageError { return error }
        throw StorageError(.system, "", "nothing was refused")
    }

    @Test func aNewMembersDirectoryIsMadeAndFoundAgain() throws {
        #expect(try MemberStorage.storedIdentity(dataDirectory: data) == nil)
        do {
            let (storage, recovery) = try open()
            #expect(recovery.isNew && recovery.applied == AppliedMark(configuration: configuration))
            #expect(storage.identity == identity)
            try storage.log.append(
                hardState: HardState(term: Term(1), commit: LogIndex(3)), entries: entries(1...3, term: 1))
        }
        #expect(try MemberStorage.storedIdentity(dataDirectory: data) == identity)
        let (_, recovery) = try open()
        #expect(!recovery.isNew && recovery.notices.isEmpty)
        #expect(recovery.log.entries == entries(1...3, term: 1))
        #expect(recovery.log.hardState.commit == LogIndex(3))
        #expect(recovery.applied.configuration == configuration)
    }

    @Test func aDirectoryInUseIsRefusedWithTheHoldersNumber() throws {
        let (storage, _) = try open()
        let error = try refusal { _ = try open() }
        #expect(error.kind == .locked)
        #expect(error.description.contains("process \(getpid());"))
        _ = storage.identity
    }

    @Test func theLockGoesWithItsHolder() throws {
        do { _ = try open() }
        _ = try open()
    }

    @Test func theLogMayBeElsewhereAndMustBeTheMembersOwn() throws {
        let wal = directory.file("wal")
        do {
            let (storage, _) = try open(wal: wal)
            try storage.log.append(hardState: nil, entries: entries(1...1, term: 1))
        }
        #expect(!Files.exists(data + "/member/log"))
        #expect(try refusal { _ = try open() }.description.contains("--wal-dir"))
        _ = try MemberStorage.open(
            dataDirectory: directory.file("other"), newIdentity: MemberIdentity(clusterID: 1, memberID: MemberID(1)))
        #expect(
            try refusal { _ = try open(wal: directory.file("other/member/log")) }.description.contains(
                "is not that of the member"))
        #expect(try open(wal: wal).1.log.entries.count == 1)
    }

    @Test func anInterruptedCreationIsBegunAgain() throws {
        do { _ = try open() }
        for _ in 0..<3 {
            try Files.remove(data + "/member/identity")
            let (_, recovery) = try open()
            #expect(recovery.isNew)
        }
    }

    @Test func aDirectoryThatLostItsIdentityIsNotTakenForANewOne() throws {
        do {
            let (storage, _) = try open()
            try storage.log.append(hardState: nil, entries: entries(1...1, term: 1))
        }
        try Files.remove(data + "/member/identity")
        #expect(try refusal { _ = try open() }.kind == .unknownFormat)
    }

    @Test func anEtcdMembersDirectoryIsLeftAlone() throws {
        try Files.makeDirectory(data + "/member/wal")
        #expect(try refusal { _ = try open() }.kind == .unknownFormat)
        #expect(try Files.list(data + "/member") == ["wal"])
    }

    @Test func aDamagedIdentityIsNamed() throws {
        do { _ = try open() }
        var bytes = try Files.read(data + "/member/identity")
        bytes[9] ^= 1
        try Files.write(bytes, to: data + "/member/identity")
        #expect(try refusal { _ = try open() }.description.contains("member/identity is damaged"))
    }

    @Test func whatTheStateLacksIsInTheLog() throws {
        let (storage, _) = try open()
        let state = try StateDatabase(storage.states.files)
        try storage.log.append(
            hardState: HardState(term: Term(1), commit: LogIndex(9)), entries: entries(1...10, term: 1))
        for index in 1...6 as ClosedRange<UInt64> { try commit(state, index: index) }
        let durable = try state.flush()
        try storage.log.truncatePrefix(upTo: LogIndex(durable.index.rawValue - 2))
        for index in 7...9 as ClosedRange<UInt64> { try commit(state, index: index) }
        try directory.copy("data", to: "crashed")
        let (_, recovery) = try open(directory.file("crashed"))
        #expect(recovery.applied.index == LogIndex(6))
        #expect(recovery.log.base == (LogIndex(4), Term(1)))
        #expect(recovery.log.entries == entries(5...10, term: 1))
        #expect(recovery.log.hardState.commit == LogIndex(9))
    }

    @Test func aStateOlderThanTheTrimmedLogIsRefused() throws {
        let (storage, _) = try open()
        let state = try StateDatabase(storage.states.files)
        try storage.log.append(hardState: nil, entries: entries(1...10, term: 1))
        for index in 1...6 as ClosedRange<UInt64> { try commit(state, index: index) }
        // Trimmed without the flush that must come first.
        try storage.log.truncatePrefix(upTo: LogIndex(6))
        try directory.copy("data", to: "crashed")
        let error = try refusal { _ = try open(directory.file("crashed")) }
        #expect(error.kind == .missingEntries && error.description.contains("too old"))
    }

    @Test func aStateAheadOfTheLogProvesThatEntriesAreMissing() throws {
        do {
            let (storage, _) = try open()
            try storage.log.append(hardState: nil, entries: entries(1...5, term: 1))
            try directory.copy("data/member/log", to: "old-log")
            try storage.log.append(hardState: nil, entries: entries(6...10, term: 1))
            let state = try StateDatabase(storage.states.files)
            for index in 1...8 as ClosedRange<UInt64> { try commit(state, index: index) }
        }
        try Files.remove(data + "/member/log")
        try directory.copy("old-log", to: "data/member/log")
        let error = try refusal { _ = try open() }
        #expect(error.kind == .missingEntries && error.description.contains("acknowledged entries are missing"))
    }

    @Test func aCrashBetweenInstallingASnapshotAndResettingTheLogIsMadeGood() throws {
        do {
            let (storage, _) = try open()
            try storage.log.append(
                hardState: HardState(term: Term(3), commit: LogIndex(50)), entries: entries(1...5, term: 1))
            let receiver = try storage.states.makeReceiver()
            for chunk in try snapshot(index: 50, term: 2) { _ = try receiver.receive(chunk) }
            _ = try receiver.install()
        }
        for _ in 0..<2 {
            let (_, recovery) = try open()
            #expect(recovery.applied.index == LogIndex(50))
            #expect(recovery.log.base == (LogIndex(50), Term(2)))
            #expect(recovery.log.entries.isEmpty)
            #expect(recovery.log.hardState == HardState(term: Term(3), commit: LogIndex(50)))
        }
        let (storage, _) = try open()
        try storage.log.append(hardState: nil, entries: entries(51...52, term: 3))
    }

    /// It is a snapshot's that never came, and in the place of whose entries there may be others.
    @Test func aCommitIndexPastTheLogsEndIsNotTakenForOneOfTheEntriesThere() throws {
        do {
            let (storage, _) = try open()
            try storage.log.append(
                hardState: HardState(term: Term(3), commit: LogIndex(50)), entries: entries(1...5, term: 1))
        }
        let (_, recovery) = try open()
        #expect(recovery.log.entries.count == 5)
        #expect(recovery.log.hardState == HardState(term: Term(3), commit: LogIndex(0)))
    }

    @Test func aLogThatHoldsTheInstalledSnapshotsEntryIsKept() throws {
        do {
            let (storage, _) = try open()
            try storage.log.append(hardState: nil, entries: entries(1...60, term: 2))
            let receiver = try storage.states.makeReceiver()
            for chunk in try snapshot(index: 50, term: 2) { _ = try receiver.receive(chunk) }
            _ = try receiver.install()
        }
        let (_, recovery) = try open()
        #expect(recovery.applied.index == LogIndex(50))
        #expect(recovery.log.entries == entries(1...60, term: 2))
    }

    @Test func aConflictingLogIsClearedAfterASnapshot() throws {
        do {
            let (storage, _) = try open()
            try storage.log.append(hardState: nil, entries: entries(1...60, term: 1))
            let receiver = try storage.states.makeReceiver()
            for chunk in try snapshot(index: 50, term: 2) { _ = try receiver.receive(chunk) }
            _ = try receiver.install()
        }
        let (_, recovery) = try open()
        #expect(recovery.log.base == (LogIndex(50), Term(2)) && recovery.log.entries.isEmpty)
    }
}
