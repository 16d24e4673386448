/* Preloaded into commands: a directory behaves as a bad mount of a network file system does.
 *
 * REMOTE_ROOT   the directory
 * REMOTE_FLOCK  an errno that every flock fails with; 0: locks work
 * REMOTE_DELAY  milliseconds for which a process cannot open or stat a file that another has made; but in tmp/, where
 *               the processes of one build, which are on one machine, hand files to each other */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MANY 65536
static char root[PATH_MAX];
static int refuse;
static long delay;
static unsigned long made[MANY]; /* hashes of the paths that this process made */

__attribute__((constructor)) static void begin(void) {
  const char *dir = getenv("REMOTE_ROOT"), *number = getenv("REMOTE_FLOCK"), *time = getenv("REMOTE_DELAY");
  if (dir) snprintf(root, sizeof root, "%s", dir);
  refuse = number ? atoi(number) : 0;
  delay = time ? atol(time) : 0;
}

static int below(const char *path) {
  size_t n = strlen(root);
  return n && path && !strncmp(path, root, n) && path[n] == '/';
}

static unsigned long hash(const char *text) {
  unsigned long h = 5381;
  while (*text) h = h * 33 + (unsigned char)*text++;
  return h | 1;
}

static void mine(const char *path) {
  if (below(path)) made[hash(path) % MANY] = hash(path);
}

/* Whether a path is a file that another process made a moment ago; errno is set then. */
static int unseen(const char *path) {
  struct statx found;
  struct timespec now;
  int before = errno;
  if (!delay || !below(path) || !strncmp(path + strlen(root), "/tmp/", 5) || made[hash(path) % MANY] == hash(path)) return 0;
  long failed = syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_TYPE, &found);
  errno = before;
  if (failed || !(found.stx_mask & STATX_BTIME) || !S_ISREG(found.stx_mode)) return 0;
  clock_gettime(CLOCK_REALTIME, &now);
  long age = (now.tv_sec - found.stx_btime.tv_sec) * 1000 + (now.tv_nsec - (long)found.stx_btime.tv_nsec) / 1000000;
  if (age >= delay) return 0;
  errno = ENOENT;
  return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define OPENS(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); va_list rest; va_start(rest, flags); mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest); \
    if (!(flags & O_CREAT) && unseen(path)) return -1; \
    int fd = real(path, flags, mode); if (fd >= 0 && flags & O_CREAT) mine(path); return fd; }
OPENS(open)
OPENS(open64)

int stat64(const char *path, struct stat64 *found) { REAL(stat64); return unseen(path) ? -1 : real(path, found); }
int lstat64(const char *path, struct stat64 *found) { REAL(lstat64); return unseen(path) ? -1 : real(path, found); }
int fstatat64(int dir, const char *path, struct stat64 *found, int flags) { REAL(fstatat64); return unseen(path) ? -1 : real(dir, path, found, flags); }
int rename(const char *from, const char *to) { REAL(rename); int failed = real(from, to); if (!failed) mine(to); return failed; }
int link(const char *from, const char *to) { REAL(link); int failed = real(from, to); if (!failed) mine(to); return failed; }

int flock(int fd, int how) {
  REAL(flock);
  char name[64], path[PATH_MAX];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  long n = refuse ? syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1) : -1;
  if (n > 0) {
    path[n] = 0;
    if (below(path)) { errno = refuse; return -1; }
  }
  return real(fd, how);
}
