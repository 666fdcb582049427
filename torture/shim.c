/* Preloaded into a gateway: the disk and the clock fail as the files in TORTURE_FLAGS say.
 *
 *   fsync  (there)   fsync and fdatasync answer EIO
 *   full   (there)   what would write to a file answers ENOSPC: sockets and pipes go on
 *   clock  seconds   the wall clock is so far ahead (behind, if negative)
 *
 * The flags are looked at anew 20 times a second at most. Python reads the clock through clock_gettime, OpenSSL through time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long looked, no_sync, full, ahead;

static long read_flag(const char *name) {
    char path[4096], text[32] = "";
    const char *folder = getenv("TORTURE_FLAGS");
    if (!folder || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long got = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    return got > 0 ? atol(text) : 0;
}

static void look(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    long tick = now.tv_sec * 20 + now.tv_nsec / 50000000;
    if (atomic_exchange(&looked, tick) == tick) return;
    int kept = errno;
    no_sync = read_flag("fsync");
    full = read_flag("full");
    ahead = read_flag("clock");
    errno = kept;
}

static int no_room(int file) {
    struct stat facts;
    look();
    if (!full || fstat(file, &facts) || !S_ISREG(facts.st_mode)) return 0;
    errno = ENOSPC;
    return 1;
}

static int no_disk(void) {
    look();
    if (!no_sync) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int file) { return no_disk() ? -1 : NEXT(fsync)(file); }
int fdatasync(int file) { return no_disk() ? -1 : NEXT(fdatasync)(file); }
ssize_t write(int file, const void *data, size_t size) { return no_room(file) ? -1 : NEXT(write)(file, data, size); }
ssize_t writev(int file, const struct iovec *data, int count) { return no_room(file) ? -1 : NEXT(writev)(file, data, count); }
ssize_t pwrite(int file, const void *data, size_t size, off_t at) { return no_room(file) ? -1 : NEXT(pwrite)(file, data, size, at); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    return no_room(file) ? -1 : NEXT(pwrite64)(file, data, size, at);
}
/* A file that is cut needs no room. */
static int grows(int file, off64_t size) {
    struct stat facts;
    return !fstat(file, &facts) && size > facts.st_size;
}
int ftruncate(int file, off_t size) { return grows(file, size) && no_room(file) ? -1 : NEXT(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return grows(file, size) && no_room(file) ? -1 : NEXT(ftruncate64)(file, size); }
int fallocate(int file, int mode, off_t at, off_t size) { return no_room(file) ? -1 : NEXT(fallocate)(file, mode, at, size); }
int posix_fallocate(int file, off_t at, off_t size) { return no_room(file) ? ENOSPC : NEXT(posix_fallocate)(file, at, size); }

int clock_gettime(clockid_t clock, struct timespec *told) {
    int done = syscall(SYS_clock_gettime, clock, told);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        look();
        told->tv_sec += ahead;
    }
    return done;
}
time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    told->tv_sec = now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}
