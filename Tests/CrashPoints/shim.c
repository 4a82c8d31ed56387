// Stands between a process and its disk (LD_PRELOAD): numbers the calls that change files under CRASH_ROOT, writes them
// to a journal, and ends the process at the one that CRASH_AT names.
//
//     CRASH_ROOT     the directory that is watched
//     CRASH_JOURNAL  takes one record for each call that is made, its data included
//     CRASH_AT       the number of the call, from 1, that is not made any more; 0 or none: never
//     CRASH_HALF     with CRASH_AT: if the call is a write, its first sectors are made, up to about the half
//
// The journal alone tells what a disk would hold after any of the calls, whatever it keeps of what was not synced; see
// model.py. A record: the call's letter, number, two numbers and the lengths of two names and of the data (little endian, 8 bytes each),
// then these. RocksDB's own log (LOG) is in the journal but gets no number: nobody ever reads it.
//
// Writes to standard output are in the journal too ('a'), as they say what the process has promised by then.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { sector = 512 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int journal = -1;
static long crash_at, calls;
static int crash_half;

// The system calls themselves: nothing of the C library is called that is interposed here.
static long raw_write(int fd, const void *data, size_t count) { return syscall(SYS_write, fd, data, count); }

static void put(const void *data, size_t count) {
    const char *bytes = data;
    while (count > 0) {
        long done = raw_write(journal, bytes, count);
        if (done < 0) _exit(97);
        bytes += done;
        count -= done;
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *directory = getenv("CRASH_ROOT"), *path = getenv("CRASH_JOURNAL");
    if (directory == NULL || path == NULL) return;
    if (realpath(directory, root) == NULL) _exit(98);
    root_length = strlen(root);
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
    if (journal < 0) _exit(98);
    const char *number = getenv("CRASH_AT");
    crash_at = number == NULL ? 0 : atol(number);
    crash_half = getenv("CRASH_HALF") != NULL;
}

static int is_watched(const char *path) {
    return journal >= 0 && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

// The absolute path of what a call names: its parent is resolved, itself it is not.
static int absolute(int at, const char *path, char *out) {
    char directory[PATH_MAX], parent[PATH_MAX];
    if (path[0] == '/' || at == AT_FDCWD) {
        snprintf(directory, sizeof directory, "%s", path);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        long count = readlink(link, parent, sizeof parent - 1);
        if (count < 0) return 0;
        parent[count] = 0;
        if (snprintf(directory, sizeof directory, "%s/%s", parent, path) >= (int)sizeof directory) return 0;
    }
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/') directory[--length] = 0;
    char *name = strrchr(directory, '/');
    if (name == NULL) return 0;
    *name++ = 0;
    if (realpath(directory[0] == 0 ? "/" : directory, parent) == NULL) return 0;
    return snprintf(out, PATH_MAX, "%s/%s", parent, name) < PATH_MAX;
}

static int path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long count = readlink(link, out, PATH_MAX - 1);
    if (count < 0) return 0;
    out[count] = 0;
    return 1;
}

// LOG and LOG.old.123, but no 000012.log.
static int is_chatter(const char *path) {
    const char *name = strrchr(path, '/');
    return name != NULL && (strcmp(name, "/LOG") == 0 || strncmp(name, "/LOG.old.", 9) == 0);
}

static void record(
    char call, uint64_t first, uint64_t second, const char *from, const char *to, const void *data, size_t count
) {
    uint64_t number = calls, from_length = from == NULL ? 0 : strlen(from), to_length = to == NULL ? 0 : strlen(to);
    uint64_t length = count;
    put(&call, 1);
    put(&number, 8);
    put(&first, 8);
    put(&second, 8);
    put(&from_length, 8);
    put(&to_length, 8);
    put(&length, 8);
    if (from_length > 0) put(from, from_length);
    if (to_length > 0) put(to, to_length);
    if (length > 0) put(data, count);
}

// Numbers the call that is about to be made; true if it is the last, which is not to be made.
static int is_last(const char *path) {
    if (is_chatter(path)) return 0;
    calls += 1;
    return calls == crash_at;
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

// Files that are opened.

static int opened(int at, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    if (journal < 0 || (flags & (O_CREAT | O_TRUNC)) == 0 || !absolute(at, path, name) || !is_watched(name))
        return syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&mutex);
    struct stat status;
    int is_there = syscall(SYS_newfstatat, at, path, &status, 0) == 0;
    int changes = !is_there || ((flags & O_TRUNC) != 0 && status.st_size > 0);
    if (changes && is_last(name)) end();
    int fd = syscall(SYS_openat, at, path, flags, mode), error = errno;
    if (fd >= 0 && changes) record(is_there ? 't' : 'c', inode_of(fd), 0, name, NULL, NULL, 0);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

#define OPEN(name, at_parameter, at)                                   \
    int name(at_parameter const char *path, int flags, ...) {          \
        mode_t mode = 0;                                               \
        if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                    \
            va_list arguments;                                         \
            va_start(arguments, flags);                                \
            mode = va_arg(arguments, mode_t);                          \
            va_end(arguments);                                         \
        }                                                              \
        return opened(at, path, flags, mode);                          \
    }
#define AT int at,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, AT, at)
OPEN(openat64, AT, at)
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

// The C library's own streams do not come by the calls above.
static FILE *stream(const char *function, const char *path, const char *mode) {
    FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, function);
    char name[PATH_MAX];
    if (mode[0] != 'r' && journal >= 0 && absolute(AT_FDCWD, path, name) && is_watched(name)) {
        dprintf(2, "shim: %s is written by a stream, which the shim does not see\n", name);
        _exit(96);
    }
    return real(path, mode);
}
FILE *fopen(const char *path, const char *mode) { return stream("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return stream("fopen64", path, mode); }

// Writing.

static long written(int fd, const char *data, size_t count, int64_t offset) {
    char name[PATH_MAX];
    if (journal < 0) goto plain;
    if (fd == 1) {
        pthread_mutex_lock(&mutex);
        record('a', 0, 0, NULL, NULL, data, count);
        pthread_mutex_unlock(&mutex);
        goto plain;
    }
    if (!path_of(fd, name) || !is_watched(name)) goto plain;
    pthread_mutex_lock(&mutex);
    int64_t place = offset;
    if (offset < 0) {
        struct stat status;
        int is_append = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
        place = is_append && fstat(fd, &status) == 0 ? status.st_size : lseek(fd, 0, SEEK_CUR);
    }
    int last = is_last(name);
    if (last) {
        // A write breaks off between sectors, if at all.
        int64_t until = (place + (int64_t)count / 2) / sector * sector;
        if (!crash_half || until <= place) end();
        count = until - place;
    }
    record('w', inode_of(fd), place, name, NULL, data, count);
    long result = syscall(SYS_pwrite64, fd, data, count, place);
    int error = errno;
    if (last) end();
    if (offset < 0 && result > 0) lseek(fd, place + result, SEEK_SET);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
plain:
    return offset < 0 ? raw_write(fd, data, count) : syscall(SYS_pwrite64, fd, data, count, offset);
}

ssize_t write(int fd, const void *data, size_t count) { return written(fd, data, count, -1); }
ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) { return written(fd, data, count, offset); }
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) { return written(fd, data, count, offset); }

static ssize_t gathered(int fd, const struct iovec *parts, int number, int64_t offset) {
    size_t total = 0, filled = 0;
    for (int part = 0; part < number; part++) total += parts[part].iov_len;
    char *data = malloc(total + 1);
    for (int part = 0; part < number; part++) {
        memcpy(data + filled, parts[part].iov_base, parts[part].iov_len);
        filled += parts[part].iov_len;
    }
    ssize_t result = written(fd, data, total, offset);
    free(data);
    return result;
}
ssize_t writev(int fd, const struct iovec *parts, int number) { return gathered(fd, parts, number, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int number, off_t offset) { return gathered(fd, parts, number, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int number, off64_t offset) {
    return gathered(fd, parts, number, offset);
}

static int resized(int fd, int64_t size) {
    char name[PATH_MAX];
    if (journal < 0 || !path_of(fd, name) || !is_watched(name)) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&mutex);
    if (is_last(name)) end();
    record('s', inode_of(fd), size, name, NULL, NULL, 0);
    int result = syscall(SYS_ftruncate, fd, size), error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int ftruncate(int fd, off_t size) { return resized(fd, size); }
int ftruncate64(int fd, off64_t size) { return resized(fd, size); }
int truncate(const char *path, off_t size) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = resized(fd, size), error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return result;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

static int allocated(int fd, int mode, int64_t offset, int64_t count) {
    char name[PATH_MAX];
    struct stat status;
    int is_plain = journal < 0 || !path_of(fd, name) || !is_watched(name) || fstat(fd, &status) != 0;
    // FALLOC_FL_KEEP_SIZE alone takes room and changes nothing.
    if (is_plain || mode == 1 || (mode == 0 && offset + count <= status.st_size))
        return syscall(SYS_fallocate, fd, mode, offset, count);
    if (mode != 0) {
        // RocksDB frees what it took beyond the end by punching a hole there.
        if (mode == 3 && offset >= status.st_size) return syscall(SYS_fallocate, fd, mode, offset, count);
        dprintf(2, "shim: fallocate of mode %d in %s\n", mode, name);
        _exit(96);
    }
    pthread_mutex_lock(&mutex);
    if (is_last(name)) end();
    record('s', inode_of(fd), offset + count, name, NULL, NULL, 0);
    int result = syscall(SYS_fallocate, fd, mode, offset, count), error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t count) { return allocated(fd, mode, offset, count); }
int fallocate64(int fd, int mode, off64_t offset, off64_t count) { return allocated(fd, mode, offset, count); }
int posix_fallocate(int fd, off_t offset, off_t count) { return allocated(fd, 0, offset, count) == 0 ? 0 : errno; }
int posix_fallocate64(int fd, off64_t offset, off64_t count) { return allocated(fd, 0, offset, count) == 0 ? 0 : errno; }

// Syncing. (sync_file_range promises nothing, and is let through as it is.)

static int synced(int fd, long call) {
    char name[PATH_MAX];
    if (journal < 0 || !path_of(fd, name) || !is_watched(name)) return syscall(call, fd);
    pthread_mutex_lock(&mutex);
    if (is_last(name)) end();
    struct stat status;
    int is_directory = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    record(call == SYS_syncfs ? 'y' : is_directory ? 'd' : 'f', status.st_ino, 0, name, NULL, NULL, 0);
    int result = syscall(call, fd), error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
int syncfs(int fd) { return synced(fd, SYS_syncfs); }

// Names.

static int named(char call, int at, const char *from, int to_at, const char *to, int flags, mode_t mode) {
    char first[PATH_MAX], second[PATH_MAX] = "";
    int is_ours = journal >= 0 && absolute(at, from, first) && is_watched(first);
    if (is_ours && to != NULL && (!absolute(to_at, to, second) || !is_watched(second))) _exit(95);
    if (is_ours) {
        pthread_mutex_lock(&mutex);
        if (is_last(first)) end();
    }
    int result;
    switch (call) {
    case 'r': result = syscall(SYS_renameat2, at, from, to_at, to, flags); break;
    case 'l': result = syscall(SYS_linkat, at, from, to_at, to, flags); break;
    case 'm': result = syscall(SYS_mkdirat, at, from, mode); break;
    default: result = syscall(SYS_unlinkat, at, from, flags);
    }
    int error = errno;
    if (is_ours) {
        struct stat status = {0};
        if (call == 'm') syscall(SYS_newfstatat, at, from, &status, 0);
        if (result == 0) record(call, status.st_ino, 0, first, second, NULL, 0);
        pthread_mutex_unlock(&mutex);
    }
    errno = error;
    return result;
}
int rename(const char *from, const char *to) { return named('r', AT_FDCWD, from, AT_FDCWD, to, 0, 0); }
int renameat(int at, const char *from, int to_at, const char *to) { return named('r', at, from, to_at, to, 0, 0); }
int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags) {
    return named('r', at, from, to_at, to, flags, 0);
}
int link(const char *from, const char *to) { return named('l', AT_FDCWD, from, AT_FDCWD, to, 0, 0); }
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    return named('l', at, from, to_at, to, flags, 0);
}
int unlink(const char *path) { return named('u', AT_FDCWD, path, 0, NULL, 0, 0); }
int unlinkat(int at, const char *path, int flags) { return named(flags & AT_REMOVEDIR ? 'x' : 'u', at, path, 0, NULL, flags, 0); }
int rmdir(const char *path) { return named('x', AT_FDCWD, path, 0, NULL, AT_REMOVEDIR, 0); }
int mkdir(const char *path, mode_t mode) { return named('m', AT_FDCWD, path, 0, NULL, 0, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return named('m', at, path, 0, NULL, 0, mode); }
