import Raft
import RocksDB
import Synchronization

/// Receives a snapshot's chunks into a state of its own beside the live one, checks them, and puts it in the live
/// one's place. One that is let go before `install` leaves nothing behind. Callable from any thread; waits for the
/// disk.
public final class SnapshotReceiver: Sendable {
    private let directory: StateDirectory
    private let path: String
    private let progress: Mutex<Progress>

    init(into path: String, of directory: StateDirectory) throws {
        try Files.remove(path)
        self.directory = directory
        self.path = path
        progress = Mutex(Progress(path: path))
    }

    deinit {
        progress.withLock { $0.close() }
        try? Files.remove(path)
    }

    /// What the snapshot stands for, once the first chunk has come.
    public var mark: AppliedMark? { progress.withLock { $0.mark } }

    /// Takes the next chunk, whole. True when it was the last and everything checks.
    public func receive(_ chunk: [UInt8]) throws -> Bool {
        try progress.withLock { try $0.receive(chunk) }
    }

    /// Makes the received state the live one, by a rename, durably, and answers its files. The former state's files
    /// stay for whoever still reads them and go with the last reader. The log is then to be reset unless it holds the
    /// mark's (index, term); a crash before that is made good at the next start.
    public func install() throws -> StateFiles {
        try progress.withLock { progress in
            try progress.seal()
            return try directory.install(path)
        }
    }

    private struct Progress {
        let path: String
        var mark: AppliedMark?
        private var files: StateFiles?
        private var framing = SnapshotFraming()
        private var pairs: UInt64 = 0
        private var lastKey: [UInt8] = []
        private var isComplete = false

        init(path: String) { self.path = path }

        mutating func receive(_ chunk: [UInt8]) throws -> Bool {
            guard !isComplete else { throw damaged("more came after its end") }
            let chainBefore = framing.chain
            return try chunk.withUnsafeBytes { bytes in
                switch framing.open(bytes) {
                case .failure(let flaw): throw damaged(flaw.description)
                case .success((.mark, let content)): try begin(content)
                case .success((.data, let content)): try store(content)
                case .success((.end, let content)): try finish(content, chain: chainBefore)
                }
                return isComplete
            }
        }

        private mutating func begin(_ content: UnsafeRawBufferPointer) throws {
            guard mark == nil, content.first == StateFormat.version,
                let mark = AppliedMark(decoding: UnsafeRawBufferPointer(rebasing: content.dropFirst()))
            else { throw damaged("its first chunk is malformed") }
            files = try StateFiles(path: path, flushesWhenClosed: false)
            self.mark = mark
        }

        private mutating func store(_ content: UnsafeRawBufferPointer) throws {
            guard let files else { throw damaged("it does not begin with its mark") }
            let batch = WriteBatch()
            var reader = ByteReader(content)
            while reader.remaining > 0 {
                guard let keySize: UInt32 = reader.littleEndian(), let valueSize: UInt32 = reader.littleEndian(),
                    let key = reader.take(Int(keySize)), let value = reader.take(Int(valueSize)),
                    isOurs(key), value.first == StateFormat.version, lastKey.lexicographicallyPrecedes(key)
                else { throw damaged("a record of it is malformed") }
                batch.put(key, value)
                lastKey = [UInt8](key)
                pairs += 1
            }
            try files.database.write(batch, .unlogged)
        }

        private func isOurs(_ key: UnsafeRawBufferPointer) -> Bool {
            switch key.first {
            case StateFormat.historyPrefix: HistoryKey(key) != nil
            case StateFormat.notePrefix: true
            default: key.elementsEqual(StateFormat.markKey)
            }
        }

        private mutating func finish(_ content: UnsafeRawBufferPointer, chain: UInt32) throws {
            var reader = ByteReader(content)
            guard let files, let mark, let pairs: UInt64 = reader.littleEndian(),
                let total: UInt32 = reader.littleEndian(),
                reader.remaining == 0, pairs == self.pairs, total == chain, try files.applied() == mark
            else { throw damaged("its end does not match what came before") }
            let batch = WriteBatch()
            batch.put(StateFormat.installedKey, mark.encoded(configuration: mark.configuration.encoded))
            try files.database.write(batch, .unlogged)
            try files.database.flush()
            isComplete = true
        }

        mutating func close() { files = nil }

        /// Closes the database and makes all its files durable.
        mutating func seal() throws {
            guard isComplete else { throw damaged("its end has not come") }
            close()
            for name in try Files.list(path) { try Files.sync(path + "/" + name) }
            try Files.sync(path)
        }

        private func damaged(_ what: String) -> StorageError {
            StorageError(
                .damagedSnapshot, path,
                "the snapshot being received into \(path) was refused: \(what); ask for it again")
        }
    }
}
