/* Counts the calls of libc that change files or send bytes, and kills the process at the nth. Loaded by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls, kill_at;
static atomic_int armed;

void adwarm_arm(long at) { atomic_store(&calls, 0); atomic_store(&kill_at, at); atomic_store(&armed, 1); }
long adwarm_disarm(void) { atomic_store(&armed, 0); return atomic_load(&calls); }

/* The call that is counted is not made any more; a limit of 0 only counts. */
static void count(void) {
    if (atomic_load(&armed) && atomic_fetch_add(&calls, 1) + 1 == atomic_load(&kill_at))
        for (;;) kill(getpid(), SIGKILL);
}

#define COUNTED(type, name, parameters, arguments)           \
    type name parameters {                                   \
        static type (*next) parameters;                      \
        if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name); \
        count();                                             \
        return next arguments;                               \
    }

COUNTED(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
COUNTED(ssize_t, writev, (int file, const struct iovec *parts, int n), (file, parts, n))
COUNTED(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
COUNTED(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
COUNTED(int, fsync, (int file), (file))
COUNTED(int, fdatasync, (int file), (file))
COUNTED(int, rename, (const char *from, const char *to), (from, to))
COUNTED(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
COUNTED(int, unlink, (const char *path), (path))
COUNTED(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
COUNTED(ssize_t, send, (int socket, const void *data, size_t size, int flags), (socket, data, size, flags))
COUNTED(ssize_t, sendmsg, (int socket, const struct msghdr *message, int flags), (socket, message, flags))
COUNTED(ssize_t, sendto,
        (int socket, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length),
        (socket, data, size, flags, to, length))
