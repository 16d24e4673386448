/* Preloaded into a command: counts its file-system calls below a directory, and lets one of them fail or be its last.
 *
 * SHIM_ROOT   the directory
 * SHIM_AT     the call, from 0; -1: none
 * SHIM_FAULT  an errno as a number, or 0 for SIGKILL
 * SHIM_STAYS  if set, each call from there on that changes something fails, and no other: the disk is full, or read-only
 * SHIM_LOG    where the process appends one line a call: "number name", and "changes" if it changes something
 *
 * Only the process that was started counts, or that calls shim_begin: a child neither inherits the variables nor, after
 * a fork, the pid. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char root[PATH_MAX];
static long at = -1;
static int fault, stays, log_to = -1;
static pid_t owner;
static volatile long calls;

__attribute__((constructor)) void shim_begin(void) {
  const char *dir = getenv("SHIM_ROOT"), *number = getenv("SHIM_AT"), *what = getenv("SHIM_FAULT"), *log = getenv("SHIM_LOG");
  if (!dir || !number || !what || !log) return;
  snprintf(root, sizeof root, "%s", dir);
  at = atol(number);
  fault = atoi(what);
  stays = getenv("SHIM_STAYS") != NULL;
  log_to = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_to >= 0) { /* out of the way of descriptors that the program counts on */
    int high = fcntl(log_to, F_DUPFD_CLOEXEC, 500);
    if (high >= 0) { syscall(SYS_close, log_to); log_to = high; }
  }
  owner = getpid();
  unsetenv("SHIM_ROOT"); unsetenv("SHIM_AT"); unsetenv("SHIM_FAULT"); unsetenv("SHIM_LOG"); unsetenv("SHIM_STAYS");
}

static int below(const char *path) {
  size_t n = strlen(root);
  return !strncmp(path, root, n) && (path[n] == '/' || !path[n]);
}

static int fd_below(int fd) {
  char name[64], path[PATH_MAX];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  long n = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return below(path);
}

static int path_below(int dir, const char *path) {
  char here[PATH_MAX];
  if (!path) return 0;
  if (path[0] == '/') return below(path);
  if (dir != AT_FDCWD) return fd_below(dir);
  return syscall(SYS_getcwd, here, sizeof here) > 0 && below(here);
}

/* Whether this call is to fail; errno is set then. */
static int strikes(const char *name, int changes) {
  if (!owner || owner != getpid()) return 0;
  long number = __sync_fetch_and_add(&calls, 1);
  char line[96];
  int n = snprintf(line, sizeof line, "%ld %s%s\n", number, name, changes ? " changes" : "");
  if (log_to >= 0 && syscall(SYS_write, log_to, line, n) < 0) abort();
  if (at < 0 || number < at || (stays ? !changes : number > at)) return 0;
  if (!fault) { kill(owner, SIGKILL); for (;;) pause(); }
  errno = fault;
  return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ON_PATH(changes, type, bad, name, args, dir, path, ...) \
  type name args { REAL(name); if (owner && path_below(dir, path) && strikes(#name, changes)) return bad; return real(__VA_ARGS__); }
#define ON_FD(changes, type, bad, name, args, fd, ...) \
  type name args { REAL(name); if (owner && fd > 2 && fd_below(fd) && strikes(#name, changes)) return bad; return real(__VA_ARGS__); }
#define LOOKS 0
#define CHANGES 1

ON_FD(LOOKS, ssize_t, -1, read, (int fd, void *b, size_t n), fd, fd, b, n)
ON_FD(LOOKS, ssize_t, -1, pread64, (int fd, void *b, size_t n, off64_t o), fd, fd, b, n, o)
ON_FD(CHANGES, ssize_t, -1, pwrite64, (int fd, const void *b, size_t n, off64_t o), fd, fd, b, n, o)
ON_FD(CHANGES, ssize_t, -1, copy_file_range, (int i, off64_t *io, int fd, off64_t *oo, size_t n, unsigned f), fd, i, io, fd, oo, n, f)
ON_FD(CHANGES, int, -1, fsync, (int fd), fd, fd)
ON_FD(CHANGES, int, -1, fdatasync, (int fd), fd, fd)
ON_FD(CHANGES, int, -1, ftruncate64, (int fd, off64_t n), fd, fd, n)
ON_FD(CHANGES, int, -1, fchmod, (int fd, mode_t m), fd, fd, m)
ON_FD(LOOKS, int, -1, fstat64, (int fd, struct stat64 *s), fd, fd, s)
ON_FD(LOOKS, int, -1, flock, (int fd, int how), fd, fd, how)
ON_FD(CHANGES, ssize_t, -1, sendfile64, (int fd, int i, off64_t *o, size_t n), fd, fd, i, o, n)
ON_FD(LOOKS, DIR *, NULL, fdopendir, (int fd), fd, fd)
ON_PATH(LOOKS, int, -1, stat64, (const char *p, struct stat64 *s), AT_FDCWD, p, p, s)
ON_PATH(LOOKS, int, -1, lstat64, (const char *p, struct stat64 *s), AT_FDCWD, p, p, s)
ON_PATH(LOOKS, int, -1, fstatat64, (int d, const char *p, struct stat64 *s, int f), d, p, d, p, s, f)
ON_PATH(LOOKS, int, -1, access, (const char *p, int m), AT_FDCWD, p, p, m)
ON_PATH(LOOKS, int, -1, faccessat, (int d, const char *p, int m, int f), d, p, d, p, m, f)
ON_PATH(LOOKS, ssize_t, -1, readlink, (const char *p, char *b, size_t n), AT_FDCWD, p, p, b, n)
ON_PATH(LOOKS, ssize_t, -1, readlinkat, (int d, const char *p, char *b, size_t n), d, p, d, p, b, n)
ON_PATH(LOOKS, DIR *, NULL, opendir, (const char *p), AT_FDCWD, p, p)
ON_PATH(CHANGES, int, -1, rename, (const char *a, const char *b), AT_FDCWD, b, a, b)
ON_PATH(CHANGES, int, -1, renameat, (int d, const char *a, int e, const char *b), e, b, d, a, e, b)
ON_PATH(CHANGES, int, -1, mkdir, (const char *p, mode_t m), AT_FDCWD, p, p, m)
ON_PATH(CHANGES, int, -1, mkdirat, (int d, const char *p, mode_t m), d, p, d, p, m)
ON_PATH(CHANGES, int, -1, unlink, (const char *p), AT_FDCWD, p, p)
ON_PATH(CHANGES, int, -1, unlinkat, (int d, const char *p, int f), d, p, d, p, f)
ON_PATH(CHANGES, int, -1, rmdir, (const char *p), AT_FDCWD, p, p)
ON_PATH(CHANGES, int, -1, link, (const char *a, const char *b), AT_FDCWD, b, a, b)
ON_PATH(CHANGES, int, -1, symlink, (const char *a, const char *b), AT_FDCWD, b, a, b)
ON_PATH(CHANGES, int, -1, chmod, (const char *p, mode_t m), AT_FDCWD, p, p, m)
ON_PATH(CHANGES, int, -1, fchmodat, (int d, const char *p, mode_t m, int f), d, p, d, p, m, f)
ON_PATH(CHANGES, int, -1, utimensat, (int d, const char *p, const struct timespec t[2], int f), d, p, d, p, t, f)

/* The descriptor is closed all the same, as the system does it. */
int close(int fd) {
  REAL(close);
  if (owner && fd > 2 && fd != log_to && fd_below(fd) && strikes("close", LOOKS)) { real(fd); errno = fault; return -1; }
  return real(fd);
}

/* A directory that ends in an error. */
struct dirent64 *readdir64(DIR *directory) {
  REAL(readdir64);
  return owner && fd_below(dirfd(directory)) && strikes("readdir64", LOOKS) ? NULL : real(directory);
}

/* A full disk takes a part of what is written. */
ssize_t write(int fd, const void *b, size_t n) {
  REAL(write);
  if (owner && fd > 2 && fd != log_to && fd_below(fd) && strikes("write", CHANGES)) {
    if (fault == ENOSPC && n > 1 && real(fd, b, n / 2) < 0) return -1;
    errno = fault;
    return -1;
  }
  return real(fd, b, n);
}

#define OPENING(name, head, dir, ...) \
  int name head { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    if (owner && path_below(dir, path) && strikes(#name, (flags & (O_CREAT | O_TMPFILE | O_WRONLY | O_RDWR)) != 0)) return -1; \
    return real(__VA_ARGS__, mode); \
  }
OPENING(open, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPENING(openat, (int dir, const char *path, int flags, ...), dir, dir, path, flags)
OPENING(openat64, (int dir, const char *path, int flags, ...), dir, dir, path, flags)
