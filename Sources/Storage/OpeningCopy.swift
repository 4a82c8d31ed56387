/// A database's files as they were before RocksDB opens it: opening replaces and deletes files, and an open that
/// turns out to be refused must leave them all. Made of hard links, so that it costs little; what is written to in
/// place is copied.
struct OpeningCopy {
    private let database: String
    private let copy: String

    /// Puts back the files of an open that was interrupted: nothing had been written since they were taken.
    static func restoreInterrupted(_ database: String, at copy: String) throws {
        try Files.remove(copy + ".partial")
        guard Files.exists(copy) else { return }
        try OpeningCopy(database: database, copy: copy).restore()
    }

    private init(database: String, copy: String) {
        self.database = database
        self.copy = copy
    }

    /// Takes the files of `database`. Those named `written` are about to be changed in place.
    init(of database: String, at copy: String, written: [String]) throws {
        self.init(database: database, copy: copy)
        let partial = copy + ".partial"
        try Files.makeDirectory(partial)
        for name in try Files.list(database) {
            if written.contains(name) {
                try Files.write(Files.read(database + "/" + name), to: partial + "/" + name)
            } else {
                try Files.link(database + "/" + name, to: partial + "/" + name)
            }
        }
        try Files.sync(partial)
        try Files.move(partial, to: copy)
    }

    /// Gives a file of the copy a second name in another directory.
    func link(_ name: String, into directory: String) throws {
        try Files.link(copy + "/" + name, to: directory + "/" + name)
    }

    /// Makes everything as it was. The database is closed.
    func restore() throws {
        try Files.remove(database)
        try Files.move(copy, to: database)
    }

    /// Lets the copy go, once the open has succeeded. Renamed first, because half a copy must not be taken for one.
    func discard() throws {
        try Files.move(copy, to: copy + ".partial")
        try Files.remove(copy + ".partial")
    }
}
