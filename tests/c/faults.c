/* Preloaded into a program (LD_PRELOAD): counts the calls of read, pread, write, rename, open and mmap of files, and fails the one whose number
   FAULT_AT says. At the end, a letter for each call goes to the file that FAULT_COUNT names: r for read, w for write, n for rename, m for mmap, o
   for open. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static long fails_at = -1;
static char kinds[1 << 20];

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("FAULT_AT");
    if (at) fails_at = atol(at);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("FAULT_COUNT");
    if (!path) return;
    FILE *file = fopen(path, "w");
    if (!file) return;
    size_t count = (size_t)atomic_load(&calls);
    fwrite(kinds, 1, count < sizeof kinds ? count : sizeof kinds, file);
    fclose(file);
}

/* Whether this call is the one. */
static int fails(char kind, int error) {
    long call = atomic_fetch_add(&calls, 1);
    if ((size_t)call < sizeof kinds) kinds[call] = kind;
    if (call != fails_at) return 0;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *to, size_t size) { return fails('r', EIO) ? -1 : REAL(read)(fd, to, size); }

ssize_t write(int fd, const void *from, size_t size) { return fails('w', ENOSPC) ? -1 : REAL(write)(fd, from, size); }

ssize_t pread64(int fd, void *to, size_t size, off64_t at) { return fails('r', EIO) ? -1 : REAL(pread64)(fd, to, size, at); }

int rename(const char *from, const char *to) { return fails('n', EIO) ? -1 : REAL(rename)(from, to); }

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    /* Of files; memory for stacks of signals is the language's own affair, which ends the process without it. */
    return fd >= 0 && fails('m', ENOMEM) ? MAP_FAILED : REAL(mmap64)(at, size, protection, flags, fd, offset);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return fails('o', EMFILE) ? -1 : REAL(open64)(path, flags, mode);
}
