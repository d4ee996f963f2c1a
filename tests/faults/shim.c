/*
 * A preloaded library that stands between a program and the kernel, for the files beneath one
 * directory: it writes down what is done to them, and fails, delays or fakes what it is told to.
 *
 *   SHIM_DIR      the directory that is watched, absolute and without links
 *   SHIM_TRACE    where to append a record for each call (see trace.rs for its form); may be unset
 *   SHIM_SAY      a file outside: what the program writes to it is noted in the trace too, so that
 *                 the order of deeds and of words about them is known
 *   SHIM_CONTROL  a file of words (u32) by which the test steers a running program; may be unset
 *
 * While a trace is kept one lock is held from before a call to after its note, so the order of the
 * notes is the order of the deeds. Children of the program are left alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The words of the control file; control.rs has the same. */
enum { SYNC_MODE, NO_ROOM, NO_INODES, SYNCS_HELD, FAULTS_GIVEN, WORDS };
/* What a sync does. */
enum { SYNC_WORKS, SYNC_FAILS_ONCE, SYNC_FAILS, SYNC_LIES, SYNC_WAITS };
/* Parts of the directory, as bits of NO_ROOM and NO_INODES. */
enum { IN_STORE = 1, IN_ARTIFACTS = 2, IN_WORK = 4 };

static char dir[PATH_MAX], say[PATH_MAX];
static size_t dir_length;
static int trace = -1;
static volatile uint32_t *control;
static uint32_t no_control[WORDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("SHIM_DIR"), *words = getenv("SHIM_SAY");
    const char *notes = getenv("SHIM_TRACE"), *steering = getenv("SHIM_CONTROL");
    control = no_control;
    if (where) dir_length = (size_t)snprintf(dir, sizeof dir, "%s", where);
    if (words) snprintf(say, sizeof say, "%s", words);
    if (notes) {
        int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
        trace = (int)syscall(SYS_openat, AT_FDCWD, notes, flags, 0600);
    }
    if (steering) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, steering, O_RDWR | O_CLOEXEC, 0);
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd < 0 || page == MAP_FAILED) abort();
        control = page;
    }
    unsetenv("LD_PRELOAD");
}

static int is_watched(const char *path) {
    if (dir_length == 0 || strncmp(path, dir, dir_length) != 0) return 0;
    return path[dir_length] == '/' || path[dir_length] == 0;
}

static uint32_t part_of(const char *path) {
    const char *inside = path + dir_length;
    if (strstr(inside, "/artifacts")) return IN_ARTIFACTS;
    if (strstr(inside, "/work")) return IN_WORK;
    return IN_STORE;
}

/* The path of an open file, if it is one of those that are watched. */
static int watched_fd(int fd, char *path) {
    char link[64];
    if (fd < 0 || fd == trace) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_watched(path) || (say[0] && strcmp(path, say) == 0);
}

/* The path that a directory handle and a name in it make; 0 when it is none of ours. */
static int watched_at(int at, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else if (at == AT_FDCWD) {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        if (snprintf(path, PATH_MAX, "%s/%s", here, name) >= PATH_MAX) return 0;
    } else {
        char above[PATH_MAX];
        if (!watched_fd(at, above)) return 0;
        if (snprintf(path, PATH_MAX, "%s/%s", above, name) >= PATH_MAX) return 0;
    }
    return is_watched(path);
}

static uint64_t inode_of(int fd) {
    struct stat known;
    return fstat(fd, &known) == 0 ? known.st_ino : 0;
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t count = syscall(SYS_write, trace, at, length);
        if (count <= 0) abort();
        at += count;
        length -= (size_t)count;
    }
}

/* One record: what was done, to which inode, where, and with which bytes. */
static void note(char what, uint64_t inode, uint64_t offset, const char *path, const char *other,
                 const void *bytes, size_t length) {
    if (trace < 0) return;
    int kept = errno;
    struct {
        uint64_t what, inode, offset, path, other, length;
    } head = {(uint64_t)what, inode, offset, strlen(path), strlen(other), length};
    put(&head, sizeof head);
    put(path, head.path);
    put(other, head.other);
    if (length > 0) put(bytes, length);
    errno = kept;
}

static void enter(void) {
    if (trace >= 0) pthread_mutex_lock(&lock);
}

static void leave(void) {
    int kept = errno;
    if (trace >= 0) pthread_mutex_unlock(&lock);
    errno = kept;
}

static void count(int word) { __atomic_add_fetch(&control[word], 1, __ATOMIC_SEQ_CST); }

static int has_no_room(const char *path, int word) {
    if (!is_watched(path) || !(control[word] & part_of(path))) return 0;
    count(FAULTS_GIVEN);
    errno = ENOSPC;
    return 1;
}

/* --- names --------------------------------------------------------------------------------- */

static int opened(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int ours = (flags & (O_CREAT | O_TRUNC)) && watched_at(at, name, path);
    if (!ours) return (int)syscall(SYS_openat, at, name, flags, mode);
    enter();
    int is_new = (flags & O_CREAT) && faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    int fd = -1;
    if (!(is_new && has_no_room(path, NO_INODES))) {
        fd = (int)syscall(SYS_openat, at, name, flags, mode);
        if (fd >= 0 && is_new) note('c', inode_of(fd), 0, path, "", NULL, 0);
        else if (fd >= 0 && (flags & O_TRUNC)) note('t', inode_of(fd), 0, path, "", NULL, 0);
    }
    leave();
    return fd;
}

#define WITH_MODE(flags, mode)                      \
    mode_t mode = 0;                                \
    if ((flags) & (O_CREAT | O_TMPFILE)) {          \
        va_list rest;                               \
        va_start(rest, flags);                      \
        mode = va_arg(rest, mode_t);                \
        va_end(rest);                               \
    }

int open(const char *name, int flags, ...) {
    WITH_MODE(flags, mode)
    return opened(AT_FDCWD, name, flags, mode);
}
int open64(const char *name, int flags, ...) {
    WITH_MODE(flags, mode)
    return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode);
}
int openat(int at, const char *name, int flags, ...) {
    WITH_MODE(flags, mode)
    return opened(at, name, flags, mode);
}
int openat64(int at, const char *name, int flags, ...) {
    WITH_MODE(flags, mode)
    return opened(at, name, flags | O_LARGEFILE, mode);
}

static int named(char what, int at, const char *name, int to, const char *other, long (*deed)(void *),
                 void *with) {
    char path[PATH_MAX], target[PATH_MAX] = "";
    int ours = watched_at(at, name, path);
    if (other) ours = watched_at(to, other, target) || ours;
    if (!ours) return (int)deed(with);
    enter();
    int done = -1;
    if (!(what == 'd' && has_no_room(path, NO_INODES))) {
        done = (int)deed(with);
        uint64_t inode = 0;
        struct stat known;
        if (done == 0 && what == 'd' && fstatat(at, name, &known, 0) == 0) inode = known.st_ino;
        if (done == 0) note(what, inode, 0, path, target, NULL, 0);
    }
    leave();
    return done;
}

struct names {
    int at, to, flags;
    const char *name, *other;
};

static long do_rename(void *it) {
    struct names *n = it;
    return syscall(SYS_renameat2, n->at, n->name, n->to, n->other, n->flags);
}
static long do_link(void *it) {
    struct names *n = it;
    return syscall(SYS_linkat, n->at, n->name, n->to, n->other, n->flags);
}
static long do_unlink(void *it) {
    struct names *n = it;
    return syscall(SYS_unlinkat, n->at, n->name, n->flags);
}
static long do_mkdir(void *it) {
    struct names *n = it;
    return syscall(SYS_mkdirat, n->at, n->name, n->flags);
}

int renameat2(int at, const char *name, int to, const char *other, unsigned flags) {
    struct names n = {at, to, (int)flags, name, other};
    return named('r', at, name, to, other, do_rename, &n);
}
int renameat(int at, const char *name, int to, const char *other) {
    return renameat2(at, name, to, other, 0);
}
int rename(const char *name, const char *other) {
    return renameat2(AT_FDCWD, name, AT_FDCWD, other, 0);
}
int linkat(int at, const char *name, int to, const char *other, int flags) {
    struct names n = {at, to, flags, name, other};
    return named('l', at, name, to, other, do_link, &n);
}
int link(const char *name, const char *other) {
    return linkat(AT_FDCWD, name, AT_FDCWD, other, 0);
}
int unlinkat(int at, const char *name, int flags) {
    struct names n = {at, 0, flags, name, NULL};
    return named('u', at, name, 0, NULL, do_unlink, &n);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int mkdirat(int at, const char *name, mode_t mode) {
    struct names n = {at, 0, (int)mode, name, NULL};
    return named('d', at, name, 0, NULL, do_mkdir, &n);
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

/* --- content ------------------------------------------------------------------------------- */

/* On a full disk half of a write still finds room, as on a real one; the next finds none. */
static ssize_t written(int fd, const void *bytes, size_t length, off_t offset, int placed) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) {
        return placed ? syscall(SYS_pwrite64, fd, bytes, length, offset)
                      : syscall(SYS_write, fd, bytes, length);
    }
    int words = say[0] && strcmp(path, say) == 0;
    enter();
    ssize_t done = -1;
    size_t part = length;
    if (has_no_room(path, NO_ROOM)) {
        part = control[FAULTS_GIVEN] % 2 == 1 && length >= 1024 ? length / 2 : 0;
    }
    if (part > 0 || length == 0) {
        done = placed ? syscall(SYS_pwrite64, fd, bytes, part, offset)
                      : syscall(SYS_write, fd, bytes, part);
        if (done > 0) {
            off_t end = placed ? offset + done : lseek(fd, 0, SEEK_CUR);
            note(words ? 's' : 'w', inode_of(fd), (uint64_t)(end - done), path, "", bytes,
                 (size_t)done);
        }
    }
    leave();
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return written(fd, bytes, length, 0, 0);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return written(fd, bytes, length, offset, 1);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return written(fd, bytes, length, offset, 1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return syscall(SYS_writev, fd, parts, count);
    for (int n = 0; n < count; n++) {
        /* A short answer is a right one: the caller comes again for the rest. */
        if (parts[n].iov_len > 0) return written(fd, parts[n].iov_base, parts[n].iov_len, 0, 0);
    }
    return 0;
}

int ftruncate(int fd, off_t length) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return (int)syscall(SYS_ftruncate, fd, length);
    enter();
    int done = -1;
    if (!has_no_room(path, NO_ROOM)) {
        done = (int)syscall(SYS_ftruncate, fd, length);
        if (done == 0) note('t', inode_of(fd), (uint64_t)length, path, "", NULL, 0);
    }
    leave();
    return done;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

/* Ways to copy that pass by: refused, so that the program reads and writes instead. */
ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
    char path[PATH_MAX];
    if (!watched_fd(to, path)) return syscall(SYS_sendfile, to, from, offset, length);
    errno = EINVAL;
    return -1;
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) {
    return sendfile(to, from, offset, length);
}

/* --- syncs --------------------------------------------------------------------------------- */

static void wait_while_held(void) {
    count(SYNCS_HELD);
    while (control[SYNC_MODE] == SYNC_WAITS) usleep(1000);
    __atomic_sub_fetch(&control[SYNCS_HELD], 1, __ATOMIC_SEQ_CST);
}

static int synced(int fd, long call) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return (int)syscall(call, fd);
    /* Many a file system looks for room only when it has to write. */
    if (has_no_room(path, NO_ROOM)) return -1;
    if (control[SYNC_MODE] == SYNC_WAITS) wait_while_held();
    uint32_t mode = control[SYNC_MODE];
    /* Once: to the call that a commit waits for. */
    if (mode == SYNC_FAILS || (mode == SYNC_FAILS_ONCE && call == SYS_fdatasync)) {
        if (mode == SYNC_FAILS_ONCE) control[SYNC_MODE] = SYNC_WORKS;
        count(FAULTS_GIVEN);
        errno = EIO;
        return -1;
    }
    enter();
    int done = mode == SYNC_LIES ? 0 : (int)syscall(call, fd);
    /* A lie is noted as a sync that covers nothing. */
    if (done == 0) note(mode == SYNC_LIES ? 'n' : 'f', inode_of(fd), 0, path, "", NULL, 0);
    leave();
    return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* No promise about anything: a crash point, and that is all. */
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
    enter();
    int done = (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
    if (done == 0) note('n', inode_of(fd), (uint64_t)offset, path, "", NULL, 0);
    leave();
    return done;
}
