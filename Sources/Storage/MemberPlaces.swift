/// Where a member's parts lie, and the refusals of a directory that lacks one of them or holds somebody else's.
struct MemberPlaces {
    let dataDirectory: String
    let log: LogFiles

    init(dataDirectory: String, walDirectory: String?) {
        self.dataDirectory = dataDirectory
        log = LogFiles(walDirectory ?? dataDirectory + "/member/log", witness: dataDirectory + "/member/witness")
    }

    var member: String { dataDirectory + "/member" }
    var identity: String { member + "/identity" }
    var lock: String { member + "/lock" }
    var states: String { member + "/state" }

    func refuseForeignData() throws {
        // etcd's own layout begins with the same name.
        guard Files.exists(member + "/snap") || Files.exists(member + "/wal") else { return }
        throw StorageError(
            .unknownFormat, dataDirectory,
            "the data directory \(dataDirectory) holds the data of an etcd member, which this program does not read; "
                + "use an empty --data-dir")
    }

    /// Refuses a member that has an identity but whose log or state is not there at all.
    func refuseIfMissing(
        log logInspection: DatabaseInspection, _ witness: LogFiles.Witness, state: DatabaseInspection,
        _ statePath: String
    ) throws {
        if logInspection.isNew {
            // A log elsewhere has a name of its own; one that was emptied is known by its witness.
            if Files.exists(log.records) { try log.refuseIfMissed(witness) }
            throw StorageError(
                .missingEntries, log.directory,
                "the log of the member in \(dataDirectory) is missing, there is no database in \(log.records); give the --wal-dir that it was made with. "
                    + "If it is lost, remove this member from the cluster, and add it again with an empty data directory"
            )
        }
        if state.isNew { throw missingState(statePath) }
    }

    func refuseForeignLog(_ recovered: RecoveredLog, of stored: MemberIdentity) throws {
        guard recovered.metadata != stored.encoded else { return }
        throw StorageError(
            .missingEntries, log.directory,
            "the log in \(log.directory) is not that of the member in \(dataDirectory); give the --wal-dir that it was made with"
        )
    }

    func missingState(_ path: String) -> StorageError {
        StorageError(
            .missingEntries, path,
            "the state of the member in \(dataDirectory) is not in \(path), where it was; \(StorageError.rejoin)")
    }

    func missingIdentity() -> StorageError {
        StorageError(
            .unknownFormat, dataDirectory,
            "the data directory \(dataDirectory) has no identity file, but its log (\(log.directory)) or its state holds data; "
                + "restore \(identity), or use an empty --data-dir (and --wal-dir)")
    }
}
