/// # Guard
///
/// One guard, a small process, holds one run of a component: the child and its pipes. It has no connection to anybody.
/// Whoever starts it, looks after it or ends it does so through files in the run's directory, so a run outlives the
/// gulpd that began it and is adopted by any later one, of another build too: each file carries a format's version
/// and a sum.
///
/// ```
///  gulpd ── create, launch, renew, requestStop, killNow, status ──► RunDirectory ◄── gulp-guard ──► child
///    │                                                                  files            │  ▲         │
///    └── GuardWatch: one thread on the pidfds of all guards ◄──────────── its end ───────┘  └─ pipes ─┘
/// ```
///
/// | file | by | holds |
/// | --- | --- | --- |
/// | `specification` | create | what to run; last written, so a directory without it was never finished |
/// | `deadline` | create, renew | the moment on CLOCK_BOOTTIME at which the run is killed, or none; in two slots |
/// | `lock` | launch | locked by the guard for as long as it lives; the kernel unlocks it whatever kills the guard |
/// | `guard` | launch and guard | the guard's pid, start time and boot |
/// | `child` | guard | the child's pid, start time and boot, once its command was executed (`child.room` is the room for it) |
/// | `stop` | requestStop | nothing: its being there is the request |
/// | `exit` | guard | the outcome; appears when nothing of the run is alive (`exit.room` is the room for it) |
/// | `log.N` | guard | what the child wrote; N is the number of log bytes written before this file |
/// | `guard-errors` | guard | its standard error, for the rare case |
///
/// What the guard promises:
///
/// - The child dies with the guard (PR_SET_PDEATHSIG), and nothing it started outlives it: the guard is the subreaper
///   of its descendants and kills them all before it writes `exit`.
/// - A run with a deadline is killed at it, with no grace, unless it was moved on. A guard that was stopped (SIGSTOP,
///   a frozen machine) looks at the file before it judges. One that stays stopped is killed by `GuardWatch`.
/// - When the guard itself is killed, its run is `lost`: the processes that escaped are found by the variable GULP_RUN
///   in their environment or as members of the child's session, and killed (`RunDirectory.sweep`).
/// - A run that is ended by force (`killNow`, or `GuardWatch` at its deadline) ends even if its guard hangs in a system
///   call: while the guard is there, all that descends from it is found.
///
/// A process is never judged by its pid alone, but by pid, start time and boot (`ProcessIdentity`), and signals go
/// through pidfds. The library imports Glibc alone: some hundred guards share a machine.
///
/// What it does not see: a process that has left the child's session and also overwritten its environment (some
/// servers do, for their title in `ps`) can survive a guard that somebody else kills by SIGKILL.
public enum GuardFormat {
    /// The version of all files of a run's directory. A reader refuses newer ones.
    public static let version = 1
}
