/// What `--help` prints.
enum Usage {
    static let text: String = {
        var lines = [
            "Usage:", "", "  gulpd [flags]",
            "    Start a member of the store, an agent that runs components (--agent), or both.", "",
            "Every flag may also be given as an environment variable: --data-dir as GULPD_DATA_DIR or ETCD_DATA_DIR.",
            "A flag wins over GULPD_…, and that over ETCD_…", "", "Flags:",
        ]
        for flag in Flag.served {
            lines.append(flag.kind == .boolean ? "  --\(flag.name)" : "  --\(flag.name) '\(flag.defaultText)'")
            if let help = flag.help { lines.append("    \(help)") }
        }
        lines += ["  --help", "    Print this text and exit.", ""]
        lines.append("Flags of etcd that are known but not served yet; set away from its default, each is an error:")
        for flag in Flag.unserved where flag.kind != .ignored {
            lines.append("  --\(flag.name) '\(flag.defaultText)'")
        }
        return lines.joined(separator: "\n") + "\n"
    }()
}
