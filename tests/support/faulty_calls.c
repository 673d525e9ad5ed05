/* Calls to the system that fail as a disk does: put in front of the C library with LD_PRELOAD, so
 * that HDF5, ReadStat, SQLite and torch meet them as Python does.
 *
 * Only what touches files below one folder is counted and may fail. faulty_calls() arms it:
 *   full    from the n-th write on, no byte more is written: ENOSPC
 *   once    the n-th write fails with ENOSPC, the next ones do not
 *   short   every n-th write writes a third of what it was given, as POSIX allows
 *   eintr   every n-th write, fsync or open is interrupted before it does anything
 *   fsync   from the n-th fsync on: EIO
 *   rename  the n-th rename fails: EIO
 *   create  from the n-th file that is made on: ENOSPC
 *   count   nothing fails
 *   kill    the process is killed at the n-th write, fsync, rename or file that is made
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { WRITE, SYNC, RENAME, CREATE };

static char kind[16], below[4096];
static long place, counted;
long of_each[4]; /* how many calls of each kind there were, failed or not */

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

void faulty_calls(const char *what, long n, const char *folder) {
    strncpy(kind, what, sizeof kind - 1);
    strncpy(below, folder, sizeof below - 1);
    place = n;
    counted = 0;
    memset(of_each, 0, sizeof of_each);
}

static int is_below(const char *path) {
    return path && below[0] && !strncmp(path, below, strlen(below));
}

static int fd_is_below(int fd) {
    char link[64], path[4096];
    struct stat info;
    if (!kind[0] || fstat(fd, &info) || !S_ISREG(info.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

/* Returns what befalls this call: 0 nothing, an error number, or -1 for a short write. */
static int befalls(enum call call) {
    if (kind[0]) __atomic_add_fetch(&of_each[call], 1, __ATOMIC_SEQ_CST);
    int kills = !strcmp(kind, "kill");
    int counts = kills || (call == WRITE && strcmp(kind, "fsync") && strcmp(kind, "rename") &&
                          strcmp(kind, "create") && strcmp(kind, "count")) ||
                 (call == SYNC && (!strcmp(kind, "fsync") || !strcmp(kind, "eintr"))) ||
                 (call == RENAME && !strcmp(kind, "rename")) ||
                 (call == CREATE && (!strcmp(kind, "create") || !strcmp(kind, "eintr")));
    if (!counts) return 0;
    long n = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    int now = 0;
    if (!strcmp(kind, "full") || !strcmp(kind, "create")) now = n >= place ? ENOSPC : 0;
    else if (!strcmp(kind, "once")) now = n == place ? ENOSPC : 0;
    else if (!strcmp(kind, "short")) now = n % place ? 0 : -1;
    else if (!strcmp(kind, "eintr")) now = n % place ? 0 : EINTR;
    else if (!strcmp(kind, "fsync")) now = n >= place ? EIO : 0;
    else if (!strcmp(kind, "rename")) now = n == place ? EIO : 0;
    else if (kills && n == place) kill(getpid(), SIGKILL);
    return now;
}

#define WRITES(result, name, call_as_is, call_short, ...) \
    result name(__VA_ARGS__) { \
        REAL(name); \
        int now = fd_is_below(fd) ? befalls(WRITE) : 0; \
        if (now > 0) { errno = now; return -1; } \
        if (now < 0) return call_short; \
        return call_as_is; \
    }

static size_t third(size_t count) { return count > 3 ? count / 3 : count; }

WRITES(ssize_t, write, real(fd, data, count), real(fd, data, third(count)),
       int fd, const void *data, size_t count)
WRITES(ssize_t, pwrite, real(fd, data, count, at), real(fd, data, third(count), at),
       int fd, const void *data, size_t count, off_t at)
WRITES(ssize_t, pwrite64, real(fd, data, count, at), real(fd, data, third(count), at),
       int fd, const void *data, size_t count, off64_t at)
WRITES(ssize_t, writev, real(fd, parts, count), real(fd, parts, 1),
       int fd, const struct iovec *parts, int count)
WRITES(int, ftruncate, real(fd, size), real(fd, size), int fd, off_t size)
WRITES(int, ftruncate64, real(fd, size), real(fd, size), int fd, off64_t size)
WRITES(int, posix_fallocate, real(fd, at, size), real(fd, at, size), int fd, off_t at, off_t size)

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    REAL(fwrite);
    int fd = kind[0] ? fileno(stream) : -1;
    int now = fd >= 0 && fd_is_below(fd) ? befalls(WRITE) : 0;
    if (now > 0 && now != EINTR) { errno = now; return 0; } /* stdio goes on after an interruption */
    return real(data, size, count, stream);
}

#define SYNCS(name) \
    int name(int fd) { \
        REAL(name); \
        char link[64], path[4096]; \
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd); \
        ssize_t n = kind[0] ? readlink(link, path, sizeof path - 1) : -1; \
        int now = 0; \
        if (n > 0) { path[n] = 0; now = is_below(path) ? befalls(SYNC) : 0; } \
        if (now > 0) { errno = now; return -1; } \
        return real(fd); \
    }
SYNCS(fsync)
SYNCS(fdatasync)

int rename(const char *from, const char *to) {
    REAL(rename);
    int now = is_below(to) ? befalls(RENAME) : 0;
    if (now > 0) { errno = now; return -1; }
    return real(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    int now = is_below(to) ? befalls(RENAME) : 0;
    if (now > 0) { errno = now; return -1; }
    return real(a, from, b, to);
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, int); \
        va_end(more); \
        int now = (flags & O_CREAT) && is_below(path) ? befalls(CREATE) : 0; \
        if (now > 0) { errno = now; return -1; } \
        return real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, int); \
        va_end(more); \
        int now = (flags & O_CREAT) && is_below(path) ? befalls(CREATE) : 0; \
        if (now > 0) { errno = now; return -1; } \
        return real(at, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)
