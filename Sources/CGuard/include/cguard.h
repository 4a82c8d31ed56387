// The system calls of a guard that Swift cannot make: fork and exec, and those that the Glibc module leaves out.
// Every function that returns int or pid_t answers -1 with errno set when it fails, unless it says otherwise.
#ifndef CGUARD_H
#define CGUARD_H

#include <stdint.h>
#include <sys/types.h>

/// The step of starting a child that failed, as `cguard_start_failure` reports it.
enum cguard_step {
    CGUARD_STEP_PREPARE = 1,  // session, signals, descriptors
    CGUARD_STEP_IDENTITY = 2, // setgroups, setgid, setuid
    CGUARD_STEP_DIRECTORY = 3,
    CGUARD_STEP_EXEC = 4,
};

/// What a child that could not become its command writes to the start pipe.
struct cguard_start_failure {
    int32_t step;
    int32_t error;
};

/// All that a child needs between fork and exec, prepared before, because nothing may be allocated there.
struct cguard_start {
    const char *path;
    char *const *argv;
    char *const *envp;
    const char *directory;
    int standard_output;
    int standard_error;
    int start_pipe; // close-on-exec: end of file means that exec succeeded
    int change_identity;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
};

/// Forks and executes: new session, signals as new, /dev/null as standard input, killed when the caller dies.
/// Only the fork's own failure is answered here; the rest comes through the start pipe.
pid_t cguard_start_child(const struct cguard_start *start);

/// Starts a guard in a session of its own with clean signals: /dev/null as input and output, `errors` (appended) as
/// standard error, `lock` as descriptor 3, and nothing else. Answers an errno, 0 for success.
int cguard_spawn(const char *path, char *const *argv, char *const *envp, int lock, const char *errors, pid_t *pid);

/// Makes orphaned descendants the caller's children.
int cguard_become_subreaper(void);

/// Sets every descriptor from `first` on to be closed by exec.
int cguard_close_on_exec_from(int first);

/// An exclusive lock of the whole file that belongs to the open file description: children and spawned processes
/// that were given the descriptor hold it too, until the last of them closes it or dies.
int cguard_lock(int descriptor);

/// Gives the lock up for all who hold it.
int cguard_unlock(int descriptor);

/// 1 when another open file description holds the lock, 0 when none does. Takes nothing, disturbs nobody.
int cguard_lock_is_held(int descriptor);

int cguard_pidfd_open(pid_t pid);
int cguard_pidfd_kill(int pidfd, int signal);

/// Reaps the process if it is a dead child of the caller; anything else is left alone.
void cguard_pidfd_reap(int pidfd);

/// How a child ended.
struct cguard_death {
    pid_t pid;
    int signalled; // 0: `status` is an exit code, else a signal
    int status;
};

/// Looks for a dead child and leaves it unreaped. 1: found, 0: none is dead yet (`wait` was 0), -1 with ECHILD: no children.
int cguard_find_dead(int wait, struct cguard_death *death);

/// Reaps one dead child.
int cguard_reap(pid_t pid);

/// Ignores SIGHUP, SIGINT, SIGQUIT, SIGPIPE and SIGXFSZ, blocks SIGCHLD, SIGTERM and SIGUSR1, and answers a signalfd for these.
int cguard_take_signals(void);

/// The next signal of a descriptor of `cguard_take_signals`, 0 when there is none.
int cguard_next_signal(int descriptor);

/// A pipe whose reading end `ends[0]` does not block; both are closed by exec.
int cguard_pipe(int ends[2]);

/// A timer on CLOCK_BOOTTIME, which goes on while the machine sleeps.
int cguard_timer(void);

/// Sets a timer to an absolute time in nanoseconds; 0 or less disarms it.
int cguard_timer_set(int descriptor, int64_t nanoseconds);

/// A non-blocking eventfd.
int cguard_event(void);

#endif
