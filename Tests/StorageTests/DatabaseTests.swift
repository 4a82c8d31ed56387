import RocksDB
import Testing

@testable import Storage

@Suite struct DatabaseTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    func open(_ name: String = "db", settings: String = "") throws -> Database {
        try Database(path: directory.file(name), options: .init(settings: settings))
    }

    func keys(_ database: Database, from first: String = "", to end: String = "~", of snapshot: Snapshot? = nil) throws
        -> [String]
    {
        var keys: [String] = []
        var cursor = database.cursor(from: bytes(first), to: bytes(end), of: snapshot)
        while try cursor.advance() { keys.append(cursor.withEntry { key, _ in String(decoding: key, as: UTF8.self) }) }
        return keys
    }

    @Test func aBatchTakesEffectInItsOrder() throws {
        let database = try open()
        let batch = WriteBatch()
        for key in ["a", "b", "c", "d"] { batch.put(bytes(key), bytes("1")) }
        batch.deleteRange(from: bytes("b"), to: bytes("d"))
        batch.put(bytes("c"), bytes("2"))
        #expect(batch.count == 6)
        try database.write(batch, .synced)
        #expect(try keys(database) == ["a", "c", "d"])
        #expect(try database.get(bytes("c")) == bytes("2"))
        #expect(try database.get(bytes("b")) == nil)
        batch.clear()
        #expect(batch.isEmpty)
    }

    @Test func aCursorKeepsToItsBoundsAndItsSnapshot() throws {
        let database = try open()
        let batch = WriteBatch()
        for key in ["a", "b", "c", "d"] { batch.put(bytes(key), bytes("1")) }
        try database.write(batch, .unlogged)
        let snapshot = database.snapshot()
        batch.clear()
        batch.delete(bytes("b"))
        try database.write(batch, .unlogged)
        #expect(try keys(database, from: "b", to: "d") == ["c"])
        #expect(try keys(database, from: "b", to: "d", of: snapshot) == ["b", "c"])
        #expect(try keys(database, from: "x").isEmpty)
    }

    @Test func onlyFlushedDataIsInThePersistedTier() throws {
        let database = try open()
        let batch = WriteBatch()
        batch.put(bytes("key"), bytes("value"))
        try database.write(batch, .unlogged)
        #expect(try database.get(bytes("key"), tier: .persisted) == nil)
        try database.flush()
        #expect(try database.get(bytes("key"), tier: .persisted) == bytes("value"))
        #expect(database.integerProperty("rocksdb.estimate-num-keys") == 1)
        #expect(database.property("rocksdb.no-such-property") == nil)
    }

    @Test func aCheckpointIsADatabaseOfItsOwn() throws {
        let database = try open()
        let batch = WriteBatch()
        batch.put(bytes("key"), bytes("value"))
        try database.write(batch, .synced)
        try database.checkpoint(to: directory.file("copy"))
        #expect(try open("copy").get(bytes("key")) == bytes("value"))
    }

    @Test func anErrorNamesTheDatabase() throws {
        do {
            _ = try open(settings: "no_such_option=1")
            Issue.record("an unknown option was taken")
        } catch let error as RocksDBError {
            #expect(error.description.contains(directory.file("db")) && error.description.contains("no_such_option"))
        }
        let database = try open()
        #expect(throws: RocksDBError.self) { try open() }
        _ = database.path
    }

    @Test func checksumsAreThoseOfTheStandard() {
        let digits = bytes("123456789").withUnsafeBytes { CRC32C.checksum($0) }
        #expect(digits == 0xe306_9283)
        #expect(bytes("123456789").withUnsafeBytes { CRC32C.tabledChecksum($0) } == digits)
        let inTwo = bytes("56789").withUnsafeBytes { tail in
            CRC32C.checksum(tail, continuing: bytes("1234").withUnsafeBytes { CRC32C.checksum($0) })
        }
        #expect(inTwo == digits)
    }
}
