#define _GNU_SOURCE
#include "cguard.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Only async-signal-safe calls from here to exec. setgroups and its kin are raw system calls: glibc's wrappers
// would signal every thread of the process, and there is only this one.
static enum cguard_step become(const struct cguard_start *start, pid_t parent) {
    if (setsid() < 0) return CGUARD_STEP_PREPARE;
    struct sigaction by_default;
    memset(&by_default, 0, sizeof by_default);
    by_default.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &by_default, NULL);
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) return CGUARD_STEP_PREPARE;
    umask(022);

    int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(start->standard_output, 1) < 0 || dup2(start->standard_error, 2) < 0)
        return CGUARD_STEP_PREPARE;
    if (nothing > 2) close(nothing);

    if (start->change_identity) {
        if (syscall(SYS_setgroups, start->group_count, start->groups) < 0) return CGUARD_STEP_IDENTITY;
        if (syscall(SYS_setresgid, start->gid, start->gid, start->gid) < 0) return CGUARD_STEP_IDENTITY;
        if (syscall(SYS_setresuid, start->uid, start->uid, start->uid) < 0) return CGUARD_STEP_IDENTITY;
    }
    // After the change of identity, which clears it. The parent may have died before it was set: then nothing will
    // come any more, and the child ends itself.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return CGUARD_STEP_PREPARE;
    if (getppid() != parent) _exit(127);

    if (chdir(start->directory) < 0) return CGUARD_STEP_DIRECTORY;
    execve(start->path, start->argv, start->envp);
    return CGUARD_STEP_EXEC;
}

pid_t cguard_start_child(const struct cguard_start *start) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child != 0) return child;
    struct cguard_start_failure failure;
    failure.step = become(start, parent);
    failure.error = errno;
    ssize_t ignored = write(start->start_pipe, &failure, sizeof failure);
    (void)ignored;
    _exit(127);
}

int cguard_spawn(const char *path, char *const *argv, char *const *envp, int lock, const char *errors, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&actions);
        return error;
    }
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    // The lock first: its number may be one of those that the next actions replace only if it is below 3, and a
    // descriptor opened while the three standard ones are open is not.
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, lock, 3);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    if (!error) error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
    if (!error)
        error = posix_spawnattr_setflags(
            &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!error) error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

int cguard_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

int cguard_close_on_exec_from(int first) { return syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC); }

static struct flock whole_file(void) {
    struct flock range;
    memset(&range, 0, sizeof range);
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    return range;
}

int cguard_lock(int descriptor) {
    struct flock range = whole_file();
    return fcntl(descriptor, F_OFD_SETLK, &range);
}

int cguard_unlock(int descriptor) {
    struct flock range = whole_file();
    range.l_type = F_UNLCK;
    return fcntl(descriptor, F_OFD_SETLK, &range);
}

int cguard_lock_is_held(int descriptor) {
    struct flock range = whole_file();
    if (fcntl(descriptor, F_OFD_GETLK, &range) < 0) return -1;
    return range.l_type != F_UNLCK;
}

int cguard_pidfd_open(pid_t pid) { return syscall(SYS_pidfd_open, pid, 0); }

int cguard_pidfd_kill(int pidfd, int signal) { return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

void cguard_pidfd_reap(int pidfd) {
    siginfo_t info;
    while (waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG) < 0 && errno == EINTR) {}
}

int cguard_find_dead(int wait, struct cguard_death *death) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int result;
    do result = waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | (wait ? 0 : WNOHANG));
    while (result < 0 && errno == EINTR);
    if (result < 0) return -1;
    if (info.si_pid == 0) return 0;
    death->pid = info.si_pid;
    death->signalled = info.si_code != CLD_EXITED;
    death->status = info.si_status;
    return 1;
}

int cguard_reap(pid_t pid) {
    int result;
    do result = waitpid(pid, NULL, 0);
    while (result < 0 && errno == EINTR);
    return result;
}

int cguard_take_signals(void) {
    int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
    sigset_t taken;
    sigemptyset(&taken);
    sigaddset(&taken, SIGCHLD);
    sigaddset(&taken, SIGTERM);
    sigaddset(&taken, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &taken, NULL) < 0) return -1;
    return signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cguard_next_signal(int descriptor) {
    struct signalfd_siginfo info;
    if (read(descriptor, &info, sizeof info) != sizeof info) return 0;
    return (int)info.ssi_signo;
}

int cguard_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

int cguard_timer(void) { return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK); }

int cguard_timer_set(int descriptor, int64_t nanoseconds) {
    struct itimerspec setting;
    memset(&setting, 0, sizeof setting);
    if (nanoseconds > 0) {
        setting.it_value.tv_sec = nanoseconds / 1000000000;
        setting.it_value.tv_nsec = nanoseconds % 1000000000;
    }
    return timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &setting, NULL);
}

int cguard_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
