/* A library to be preloaded: calls on files whose path holds $FAULT_PATH fail with the errno $FAULT_ERRNO while the file
   $FAULT_WHILE is there (always, where that is not set). $FAULT_CALL says which: open, read, write, fsync, lock, stat, list or
   chmod. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int bad(const char *call, const char *path) {
    const char *wanted = getenv("FAULT_CALL"), *part = getenv("FAULT_PATH"), *flag = getenv("FAULT_WHILE");
    if (!wanted || !part || strcmp(wanted, call) || !strstr(path, part)) return 0;
    if (flag && access(flag, F_OK)) return 0;
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

static int bad_file(const char *call, int file) {
    const char *wanted = getenv("FAULT_CALL");
    char link[64], path[4096];
    if (!wanted || strcmp(wanted, call)) return 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (n < 0) return 0;
    path[n] = 0;
    return bad(call, path);
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)
#define MODE() va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest)

int open(const char *path, int flags, ...) {
    REAL(int, "open", const char *, int, ...); MODE();
    return bad("open", path) ? -1 : real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...); MODE();
    return bad("open", path) ? -1 : real(path, flags, mode);
}
int stat(const char *path, struct stat *told) {
    REAL(int, "stat", const char *, struct stat *);
    return bad("stat", path) ? -1 : real(path, told);
}
int stat64(const char *path, struct stat64 *told) {
    REAL(int, "stat64", const char *, struct stat64 *);
    return bad("stat", path) ? -1 : real(path, told);
}
DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    return bad("list", path) ? NULL : real(path);
}
int chmod(const char *path, mode_t mode) {
    REAL(int, "chmod", const char *, mode_t);
    return bad("chmod", path) ? -1 : real(path, mode);
}
ssize_t read(int file, void *data, size_t n) {
    REAL(ssize_t, "read", int, void *, size_t);
    return bad_file("read", file) ? -1 : real(file, data, n);
}
ssize_t write(int file, const void *data, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return bad_file("write", file) ? -1 : real(file, data, n);
}
int fsync(int file) {
    REAL(int, "fsync", int);
    return bad_file("fsync", file) ? -1 : real(file);
}
int fdatasync(int file) {
    REAL(int, "fdatasync", int);
    return bad_file("fsync", file) ? -1 : real(file);
}
int flock(int file, int what) {
    REAL(int, "flock", int, int);
    return bad_file("lock", file) ? -1 : real(file, what);
}
static int is_lock(int what) { return what == F_SETLK || what == F_SETLKW || what == 37 || what == 38; }
int fcntl(int file, int what, ...) {
    REAL(int, "fcntl", int, int, ...);
    va_list rest; va_start(rest, what); void *with = va_arg(rest, void *); va_end(rest);
    return is_lock(what) && bad_file("lock", file) ? -1 : real(file, what, with);
}
int fcntl64(int file, int what, ...) {
    REAL(int, "fcntl64", int, int, ...);
    va_list rest; va_start(rest, what); void *with = va_arg(rest, void *); va_end(rest);
    return is_lock(what) && bad_file("lock", file) ? -1 : real(file, what, with);
}
