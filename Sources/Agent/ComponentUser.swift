import Glibc

/// A user of this machine, under whom a component runs.
struct ComponentUser: Hashable, Sendable {
    var name: String
    var uid: uid_t
    var gid: gid_t
    var home: String

    /// By name or number; nil if there is no such user, which the guard will say.
    init?(_ text: String) {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        let error =
            uid_t(text).map { getpwuid_r($0, &entry, &buffer, buffer.count, &found) }
            ?? getpwnam_r(text, &entry, &buffer, buffer.count, &found)
        guard error == 0, found != nil, let name = entry.pw_name, let home = entry.pw_dir else { return nil }
        self.name = String(cString: name)
        self.home = String(cString: home)
        uid = entry.pw_uid
        gid = entry.pw_gid
    }
}
