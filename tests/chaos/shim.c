/* Kills the process at the n-th change of any file whose path contains a text.
 *
 * Preloaded (LD_PRELOAD) in front of the C library. Before each call that changes such a file, or
 * waits for it to be on disk, a counter goes up; when it reaches CHAOS_AT the process gets SIGKILL.
 * With CHAOS_TORN=k (1 to 7) a write that is hit does k eighths of its work first.
 *
 * CHAOS_MATCH  the text; nothing is counted while it is unset
 * CHAOS_AT     the change to die at, counted from 1; 0 only counts
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 100000

static long count = 0;
static char tearable[MOST];

/* Asked for through ctypes. */
long chaos_count(void) { return count; }
int chaos_tearable(long at) { return at < MOST && tearable[at]; }
void chaos_reset(void) { count = 0; memset(tearable, 0, sizeof tearable); }

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int path_matches(const char *path) {
    const char *text = getenv("CHAOS_MATCH");
    return text != NULL && *text != '\0' && path != NULL && strstr(path, text) != NULL;
}

static int descriptor_matches(int descriptor) {
    char link[64], path[PATH_MAX];
    if (getenv("CHAOS_MATCH") == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return path_matches(path);
}

/* A name in an open folder, as `unlinkat` takes it. */
static int entry_matches(int folder, const char *name) {
    if (name[0] == '/' || folder == AT_FDCWD) return path_matches(name);
    return descriptor_matches(folder) || path_matches(name);
}

/* Counts a change; true when it is the one to die at. */
static int is_hit(void) {
    count += 1;
    return count == number("CHAOS_AT");
}

/* The same for a change that can be made in part. */
static int is_torn(void) {
    int hit = is_hit();
    if (count < MOST) tearable[count] = 1;
    return hit;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* How much of `size` a torn call still does. */
static size_t torn(size_t size) {
    long eighths = number("CHAOS_TORN");
    return (size * (size_t)eighths) / 8;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    if (descriptor_matches(descriptor) && is_torn()) {
        size_t part = torn(size);
        if (part > 0) REAL(pwrite64)(descriptor, data, part, offset);
        die();
    }
    return REAL(pwrite64)(descriptor, data, size, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return pwrite64(descriptor, data, size, offset);
}

ssize_t write(int descriptor, const void *data, size_t size) {
    if (descriptor_matches(descriptor) && is_torn()) {
        size_t part = torn(size);
        if (part > 0) REAL(write)(descriptor, data, part);
        die();
    }
    return REAL(write)(descriptor, data, size);
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t size) {
    if (descriptor_matches(descriptor) && is_torn()) {
        off64_t part = (off64_t)torn((size_t)size);
        if (part > 0) REAL(posix_fallocate64)(descriptor, offset, part);
        die();
    }
    return REAL(posix_fallocate64)(descriptor, offset, size);
}

int posix_fallocate(int descriptor, off_t offset, off_t size) {
    return posix_fallocate64(descriptor, offset, size);
}

int ftruncate64(int descriptor, off64_t size) {
    if (descriptor_matches(descriptor) && is_hit()) die();
    return REAL(ftruncate64)(descriptor, size);
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

int fsync(int descriptor) {
    if (descriptor_matches(descriptor) && is_hit()) die();
    return REAL(fsync)(descriptor);
}

int fdatasync(int descriptor) {
    if (descriptor_matches(descriptor) && is_hit()) die();
    return REAL(fdatasync)(descriptor);
}

int rename(const char *from, const char *to) {
    if ((path_matches(from) || path_matches(to)) && is_hit()) die();
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (path_matches(path) && is_hit()) die();
    return REAL(unlink)(path);
}

int unlinkat(int folder, const char *name, int flags) {
    if (entry_matches(folder, name) && is_hit()) die();
    return REAL(unlinkat)(folder, name, flags);
}

int rmdir(const char *path) {
    if (path_matches(path) && is_hit()) die();
    return REAL(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
    if (path_matches(path) && is_hit()) die();
    return REAL(mkdir)(path, mode);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned int flags) {
    if ((path_matches(old) || path_matches(new)) && is_hit()) die();
    return REAL(renameat2)(from, old, to, new, flags);
}

/* Only what makes a file is a change. */
int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if ((flags & O_CREAT) && path_matches(path) && is_hit()) die();
    return REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    return open64(path, flags, mode);
}
