/* lossy.so: notes how much of each file has been synced, so that a test can take away what was not.
 *
 *   LD_PRELOAD=lossy.so LOSSY_TABLE=/some/where/table gulpd ...
 *
 * kill -9 alone loses nothing that was written, since the kernel still has it. A power cut loses what was not
 * synced. For every regular file the process opens, this library keeps in a shared table (device, inode, length at
 * the last completed fsync or fdatasync). After kill -9 the test cuts each file anywhere between that length and its
 * size. The table is a mapped file: what is in it when the process dies stays, and a record is one aligned store.
 *
 * What counts:
 *   - fsync and fdatasync make durable what the file's size was when they were called.
 *   - sync_file_range, sync and syncfs make nothing durable here: the first does not by its manual, the others would
 *     only make the loss smaller.
 *   - A file opened with O_SYNC or O_DSYNC is durable as written.
 *   - A file that was there before, not empty, is durable as it was found.
 *   - Truncation is durable at once, and so are names: created, renamed and removed directory entries stay, since
 *     records go by inode. (A real power cut may lose those too, when the directory was not synced.)
 *   - Overwriting below the synced length counts as durable. (A real one may leave the old bytes, the new, or a mix.)
 *   - Writes through a shared mapping are not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 65536u
#define ALWAYS UINT64_MAX

/* The test reads this as 24 bytes, little-endian; inode 0 is an empty slot. */
struct record {
    uint64_t device, inode, synced;
};

static struct record *table;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static FILE *(*real_fopen)(const char *, const char *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_truncate)(const char *, off_t);

static void give_up(const char *why) {
    fprintf(stderr, "lossy: %s: %s\n", why, strerror(errno));
    abort();
}

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) give_up(name);
    return found;
}

static void set_up(void) {
    *(void **)&real_open = next("open64");
    *(void **)&real_openat = next("openat64");
    *(void **)&real_fopen = next("fopen64");
    *(void **)&real_fsync = next("fsync");
    *(void **)&real_fdatasync = next("fdatasync");
    *(void **)&real_ftruncate = next("ftruncate64");
    *(void **)&real_truncate = next("truncate64");
    const char *path = getenv("LOSSY_TABLE");
    if (!path) return;
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || real_ftruncate(fd, SLOTS * sizeof *table) != 0) give_up(path);
    void *map = mmap(NULL, SLOTS * sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) give_up(path);
    close(fd);
    table = map;
}

static void ready(void) { pthread_once(&once, set_up); }

/* At load, so that the table is there even if the program opens nothing; libraries loaded before us may come first. */
__attribute__((constructor)) static void loaded(void) { ready(); }

/* The file's slot, made when new. Called with the lock held. */
static struct record *slot_of(const struct stat *file, int *is_new) {
    uint64_t hash = ((uint64_t)file->st_ino * 0x9E3779B97F4A7C15u) ^ (uint64_t)file->st_dev;
    for (uint32_t probe = 0; probe < SLOTS; probe++) {
        struct record *slot = &table[(hash + probe) % SLOTS];
        if (slot->inode == 0) {
            slot->device = file->st_dev;
            *is_new = 1;
            return slot; /* the caller sets synced, then inode, which makes the slot count */
        }
        if (slot->inode == file->st_ino && slot->device == file->st_dev) {
            *is_new = 0;
            return slot;
        }
    }
    errno = ENOSPC;
    give_up("the table of files is full");
    return NULL;
}

static int stat_regular(int fd, struct stat *file) {
    int saved = errno;
    int regular = table && fstat(fd, file) == 0 && S_ISREG(file->st_mode);
    errno = saved;
    return regular;
}

/* An empty file is a new one, or its inode was another's before: nothing of it is synced. */
static void opened(int fd, int flags) {
    struct stat file;
    if (fd < 0 || !stat_regular(fd, &file)) return;
    int is_new;
    pthread_mutex_lock(&lock);
    struct record *slot = slot_of(&file, &is_new);
    if (flags & O_DSYNC) /* O_SYNC contains it */
        __atomic_store_n(&slot->synced, ALWAYS, __ATOMIC_RELEASE);
    else if (file.st_size == 0 || is_new)
        __atomic_store_n(&slot->synced, (uint64_t)file.st_size, __ATOMIC_RELEASE);
    if (is_new) __atomic_store_n(&slot->inode, (uint64_t)file.st_ino, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}

static void synced(const struct stat *file) {
    int is_new;
    pthread_mutex_lock(&lock);
    struct record *slot = slot_of(file, &is_new);
    if (is_new || (slot->synced != ALWAYS && slot->synced < (uint64_t)file->st_size))
        __atomic_store_n(&slot->synced, (uint64_t)file->st_size, __ATOMIC_RELEASE);
    if (is_new) __atomic_store_n(&slot->inode, (uint64_t)file->st_ino, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}

static void truncated(const struct stat *file, off_t length) {
    int is_new;
    pthread_mutex_lock(&lock);
    struct record *slot = slot_of(file, &is_new);
    if (!is_new && slot->synced != ALWAYS && slot->synced > (uint64_t)length)
        __atomic_store_n(&slot->synced, (uint64_t)length, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}

static int open_noted(const char *path, int flags, mode_t mode) {
    ready();
    int fd = real_open(path, flags, mode);
    opened(fd, flags);
    return fd;
}

static int openat_noted(int directory, const char *path, int flags, mode_t mode) {
    ready();
    int fd = real_openat(directory, path, flags, mode);
    opened(fd, flags);
    return fd;
}

#define MODE_OF(flags)                                         \
    mode_t mode = 0;                                           \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_noted(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_noted(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return openat_noted(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return openat_noted(at, path, flags, mode); }

/* What fortified callers call instead. */
int __open_2(const char *path, int flags) { return open_noted(path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_noted(path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return openat_noted(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return openat_noted(at, path, flags, 0); }

int creat(const char *path, mode_t mode) { return open_noted(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_noted(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static FILE *fopen_noted(const char *path, const char *mode) {
    ready();
    FILE *file = real_fopen(path, mode);
    if (file) opened(fileno(file), 0);
    return file;
}

FILE *fopen(const char *path, const char *mode) { return fopen_noted(path, mode); }
FILE *fopen64(const char *path, const char *mode) { return fopen_noted(path, mode); }

/* The size before the call: what is written while it runs may or may not be on disk after it. */
#define SYNC_NOTED(call)                        \
    ready();                                    \
    struct stat before;                         \
    int regular = stat_regular(fd, &before);    \
    int result = call(fd);                      \
    if (result == 0 && regular) synced(&before); \
    return result;

int fsync(int fd) { SYNC_NOTED(real_fsync) }
int fdatasync(int fd) { SYNC_NOTED(real_fdatasync) }

static int ftruncate_noted(int fd, off_t length) {
    ready();
    struct stat file;
    int result = real_ftruncate(fd, length);
    if (result == 0 && stat_regular(fd, &file)) truncated(&file, length);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate_noted(fd, length); }
int ftruncate64(int fd, off_t length) { return ftruncate_noted(fd, length); }

static int truncate_noted(const char *path, off_t length) {
    ready();
    struct stat file;
    int result = real_truncate(path, length);
    if (result == 0 && table && stat(path, &file) == 0 && S_ISREG(file.st_mode)) truncated(&file, length);
    return result;
}

int truncate(const char *path, off_t length) { return truncate_noted(path, length); }
int truncate64(const char *path, off_t length) { return truncate_noted(path, length); }
