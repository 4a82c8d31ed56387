import Glibc

/// The runs whose directories lie in one folder.
public struct RunListing: Sendable {
    /// Those that can be adopted, by path.
    public var runs: [RunDirectory] = []
    /// Those that cannot, by path: to be reported, and removed.
    public var damaged: [DamagedRun] = []
}

/// A directory that is no run's, or that of a run which cannot be judged.
public struct DamagedRun: Sendable {
    /// The absolute path.
    public let path: String
    /// Why it cannot be adopted.
    public let reason: GuardError

    /// Kills the guard that still runs there, if `guard` can be read, with what carries its marker, and removes the
    /// directory. Who knows the run's id should call `RunDirectory.sweep(runID:)` before.
    public func remove() throws(GuardError) {
        if let record = try? RunDirectory.record("guard", in: path), let identity = try? ProcessIdentity(record),
            let descriptor = identity.open()
        {
            close(descriptor)
            let marker = Array("\(RunSpecification.marker)=".utf8)
            let environment = try readFile("/proc/\(identity.pid)/environ") ?? []
            identity.signal(SIGKILL)
            if let variable = environment.split(separator: 0).first(where: { $0.starts(with: marker) }) {
                try RunDirectory.sweep(runID: String(decoding: variable.dropFirst(marker.count), as: UTF8.self))
            }
        }
        try RunDirectory.removeFiles(path)
    }
}

extension RunDirectory {
    /// The runs in `folder`, each of whose directories is to be a run's. Throws only if the folder cannot be listed.
    public static func list(in folder: String) throws(GuardError) -> RunListing {
        let folder = absolute(folder)
        var listing = RunListing()
        for name in try names(in: folder).sorted() {
            let path = "\(folder)/\(name)"
            do throws(GuardError) {
                listing.runs.append(try RunDirectory(adopting: path))
            } catch {
                listing.damaged.append(DamagedRun(path: path, reason: error))
            }
        }
        return listing
    }
}
