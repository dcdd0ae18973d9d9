/* powercut.c - the calls that are watched; see powercut.h.
 *
 * Each wrapper: is the file below the root?  Then, under one lock: count, note in the model, cut if it is
 * time, else make the real call.  Calls on other files go through untouched. */
#include "powercut.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FDS_MAX 4096

/* The C library's headers know these only in one of their shapes. */
#define WATCHED __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *mode, *report;
static size_t root_len;
static uint64_t cut_at, seed, count;

/* Instead of a power cut: the n-th operation fails once, and the process goes on. */
static enum fault { NO_FAULT, WRITE_EIO, WRITE_ENOSPC, WRITE_SHORT, READ_EIO } fault;

enum fd_kind { FD_OTHER, FD_FILE, FD_DSYNC, FD_DIR };
static unsigned char fds[FDS_MAX];

__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("POWERCUT_AT"), *s = getenv("POWERCUT_SEED");

	root = getenv("POWERCUT_ROOT");
	mode = getenv("POWERCUT_MODE");
	report = getenv("POWERCUT_REPORT");
	root_len = root ? strlen(root) : 0;
	cut_at = at ? strtoull(at, NULL, 10) : 0;
	seed = s ? strtoull(s, NULL, 10) : 1;
	if (!mode)
		mode = "tear";
	fault = strcmp(mode, "eio") == 0      ? WRITE_EIO
		: strcmp(mode, "enospc") == 0 ? WRITE_ENOSPC
		: strcmp(mode, "short") == 0  ? WRITE_SHORT
		: strcmp(mode, "read") == 0   ? READ_EIO
					      : NO_FAULT;
}

static void write_report(const char *what, const char *path)
{
	char line[4400];
	int fd, n;

	if (!report)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			  0600);
	n = snprintf(line, sizeof(line), "%llu %s %s\n", (unsigned long long)count, what,
		     path ? path : "");
	if (syscall(SYS_write, fd, line, (size_t)n) < 0)
		return;
	close(fd);
}

__attribute__((destructor)) static void end(void)
{
	if (root && !(fault && count >= cut_at && cut_at))
		write_report("end", NULL);
}

static bool below(const char *path)
{
	return root_len && strncmp(path, root, root_len) == 0 &&
	       (path[root_len] == '/' || path[root_len] == '\0');
}

static void path_of_fd(int fd, char out[4096])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, 4095);
	out[n > 0 ? n : 0] = '\0';
}

static _Atomic unsigned frozen;

static void freeze(int signal)
{
	(void)signal;
	frozen++;
	for (;;)
		pause();
}

/* No other thread may look at the files while they change under it: it would see damage that no disk ever
 * held, and end the process with an error of its own.  No memory is taken: its lock may be held by one of them. */
static void freeze_others(void)
{
	static char entries[65536];
	unsigned told = 0;
	int dir = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY, 0);
	long n, me = syscall(SYS_gettid);

	signal(SIGUSR2, freeze);
	while ((n = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0)
		for (long at = 0; at < n;) {
			struct dirent64 *e = (struct dirent64 *)(entries + at);
			long tid = strtol(e->d_name, NULL, 10);

			if (tid > 0 && tid != me &&
			    syscall(SYS_tgkill, getpid(), tid, SIGUSR2) == 0)
				told++;
			at += e->d_reclen;
		}
	/* A thread that ended meanwhile does not answer: a moment is enough for the others. */
	for (int i = 0; i < 500 && frozen < told; i++)
		usleep(20);
}

/* With the lock held, when the change stands in the model: is this the moment? */
static void tick(const char *what, int fd, const char *path)
{
	char of_fd[4096];

	if (fault || ++count != cut_at)
		return;
	if (fd >= 0) {
		path_of_fd(fd, of_fd);
		path = of_fd;
	}
	write_report(what, path);
	freeze_others();
	model_cut(seed, mode);
	_exit(POWERCUT_EXIT);
}

/* RocksDB's diary, which nothing depends on; Debian's build ends the process by an assertion when a write to it fails. */
static bool is_diary(int fd)
{
	char path[4096];
	const char *name;

	path_of_fd(fd, path);
	name = strrchr(path, '/');
	return name && strcmp(name, "/LOG") == 0;
}

/* Counted, when faults are asked for instead of cuts; true: this is the one, errno says how it fails. */
static bool fails(bool read, const char *what, int fd, const char *path)
{
	char of_fd[4096];
	bool now;

	if (fault == NO_FAULT || read != (fault == READ_EIO) || (fd >= 0 && is_diary(fd)))
		return false;
	pthread_mutex_lock(&lock);
	now = ++count == cut_at;
	if (now && fd >= 0) {
		path_of_fd(fd, of_fd);
		path = of_fd;
	}
	if (now)
		write_report(what, path);
	pthread_mutex_unlock(&lock);
	errno = fault == WRITE_ENOSPC ? ENOSPC : EIO;
	return now;
}

static unsigned char kind_of(int fd)
{
	return fd >= 0 && fd < FDS_MAX ? __atomic_load_n(&fds[fd], __ATOMIC_ACQUIRE) : FD_OTHER;
}

static void set_kind(int fd, unsigned char kind)
{
	if (fd >= 0 && fd < FDS_MAX)
		__atomic_store_n(&fds[fd], kind, __ATOMIC_RELEASE);
}

/* ---- the folder of a path ---- */

struct place {
	int dir; /* to be closed */
	char name[256];
};

/* The folder and the last name of a path below the root; false: not ours, or no such folder. */
static bool place_of(int dirfd, const char *path, struct place *out)
{
	char folder[4096], whole[4096];
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!root || strlen(name) >= sizeof(out->name) || n >= sizeof(folder) - 1)
		return false;
	memcpy(folder, path, n);
	folder[n] = '\0';
	out->dir = (int)syscall(SYS_openat, dirfd,
				n       ? folder
				: slash ? "/"
					: ".",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (out->dir < 0)
		return false;
	path_of_fd(out->dir, whole);
	if (!below(whole)) {
		syscall(SYS_close, out->dir);
		return false;
	}
	snprintf(out->name, sizeof(out->name), "%s", name);
	return true;
}

static bool is_there(const struct place *p)
{
	struct stat st;

	return fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void leave(struct place *p)
{
	int saved = errno;

	syscall(SYS_close, p->dir);
	errno = saved;
}

/* ---- opening and closing ---- */

static void note_open(int fd, int flags)
{
	char path[4096];
	struct stat st;

	set_kind(fd, FD_OTHER);
	if (fstat(fd, &st) < 0)
		return;
	path_of_fd(fd, path);
	if (!below(path))
		return;
	if (S_ISDIR(st.st_mode))
		set_kind(fd, FD_DIR);
	else if (S_ISREG(st.st_mode) && (flags & O_ACCMODE) != O_RDONLY)
		set_kind(fd, flags & O_DSYNC ? FD_DSYNC : FD_FILE);
	else if (S_ISREG(st.st_mode))
		set_kind(fd, FD_FILE);
}

/* The kernel's own syncing and alignment are left out: the model has the one, the other is not at stake. */
static int plain(int flags)
{
	flags &= ~O_DIRECT;
	return flags & ~(O_SYNC | O_DSYNC);
}

static int do_open(int dirfd, const char *path, int flags, mode_t m)
{
	struct place p;
	bool created, emptied;
	int fd;

	if ((flags & O_TMPFILE) == O_TMPFILE || !(flags & (O_CREAT | O_TRUNC)) ||
	    !place_of(dirfd, path, &p)) {
		fd = (int)syscall(SYS_openat, dirfd, path, below(path) ? plain(flags) : flags, m);
		if (fd >= 0 && root)
			note_open(fd, flags);
		return fd;
	}
	if (fails(false, "open", -1, path)) {
		leave(&p);
		return -1;
	}
	pthread_mutex_lock(&lock);
	created = !is_there(&p);
	emptied = !created && (flags & O_TRUNC);
	fd = (int)syscall(SYS_openat, p.dir, p.name, plain(flags) & ~O_TRUNC, m);
	if (fd >= 0) {
		note_open(fd, flags);
		if (created) {
			model_name(NAME_CREATE, p.dir, p.name, -1, NULL);
			tick("create", fd, NULL);
		}
		if (emptied) {
			struct file *f = model_file(fd);

			if (f)
				model_resize(f, 0);
			tick("truncate", fd, NULL);
			syscall(SYS_ftruncate, fd, (off_t)0);
		}
	}
	pthread_mutex_unlock(&lock);
	leave(&p);
	return fd;
}

#define OPEN_MODE(flags, mode_out)                                                                 \
	do {                                                                                       \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		mode_out = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;               \
		va_end(ap);                                                                        \
	} while (0)

WATCHED int open(const char *path, int flags, ...)
{
	mode_t m;

	OPEN_MODE(flags, m);
	return do_open(AT_FDCWD, path, flags, m);
}

WATCHED int open64(const char *path, int flags, ...)
{
	mode_t m;

	OPEN_MODE(flags, m);
	return do_open(AT_FDCWD, path, flags, m);
}

WATCHED int openat(int dir, const char *path, int flags, ...)
{
	mode_t m;

	OPEN_MODE(flags, m);
	return do_open(dir, path, flags, m);
}

WATCHED int openat64(int dir, const char *path, int flags, ...)
{
	mode_t m;

	OPEN_MODE(flags, m);
	return do_open(dir, path, flags, m);
}

WATCHED int __open_2(const char *path, int flags);
WATCHED int __open_2(const char *path, int flags)
{
	return do_open(AT_FDCWD, path, flags, 0);
}

WATCHED int __open64_2(const char *path, int flags);
WATCHED int __open64_2(const char *path, int flags)
{
	return do_open(AT_FDCWD, path, flags, 0);
}

WATCHED int __openat_2(int dir, const char *path, int flags);
WATCHED int __openat_2(int dir, const char *path, int flags)
{
	return do_open(dir, path, flags, 0);
}

WATCHED int __openat64_2(int dir, const char *path, int flags);
WATCHED int __openat64_2(int dir, const char *path, int flags)
{
	return do_open(dir, path, flags, 0);
}

WATCHED int creat(const char *path, mode_t m)
{
	return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, m);
}

WATCHED int close(int fd)
{
	set_kind(fd, FD_OTHER);
	return (int)syscall(SYS_close, fd);
}

/* ---- reading: only to let it fail ---- */

static bool read_fails(int fd)
{
	return fault == READ_EIO && kind_of(fd) != FD_OTHER && fails(true, "read", fd, NULL);
}

WATCHED ssize_t pread(int fd, void *at, size_t len, off_t off)
{
	return read_fails(fd) ? -1 : real_pread(fd, at, len, off);
}

WATCHED ssize_t pread64(int fd, void *at, size_t len, off64_t off)
{
	return pread(fd, at, len, off);
}

WATCHED ssize_t __pread64_chk(int fd, void *at, size_t len, off64_t off, size_t room);
WATCHED ssize_t __pread64_chk(int fd, void *at, size_t len, off64_t off, size_t room)
{
	return len > room ? (abort(), -1) : pread(fd, at, len, off);
}

WATCHED ssize_t __pread_chk(int fd, void *at, size_t len, off_t off, size_t room);
WATCHED ssize_t __pread_chk(int fd, void *at, size_t len, off_t off, size_t room)
{
	return __pread64_chk(fd, at, len, off, room);
}

WATCHED ssize_t read(int fd, void *at, size_t len)
{
	return read_fails(fd) ? -1 : syscall(SYS_read, fd, at, len);
}

WATCHED ssize_t __read_chk(int fd, void *at, size_t len, size_t room);
WATCHED ssize_t __read_chk(int fd, void *at, size_t len, size_t room)
{
	return len > room ? (abort(), -1) : read(fd, at, len);
}

/* ---- writing ---- */

ssize_t real_pread(int fd, void *at, size_t len, off_t off)
{
	return syscall(SYS_pread64, fd, at, len, off);
}

ssize_t real_pwrite(int fd, const void *at, size_t len, off_t off)
{
	return syscall(SYS_pwrite64, fd, at, len, off);
}

static ssize_t do_pwrite(int fd, const void *at, size_t len, uint64_t off, bool durable)
{
	struct file *f;
	ssize_t n;

	if (fails(false, "write", fd, NULL)) {
		if (fault != WRITE_SHORT || len < 2)
			return -1;
		len /= 2;
	}
	pthread_mutex_lock(&lock);
	f = model_file(fd);
	/* In the model it is not durable before it is over. */
	if (f && count + 1 == cut_at)
		durable = false;
	if (f)
		model_write(f, at, len, off, durable);
	tick("write", fd, NULL);
	n = real_pwrite(fd, at, len, (off_t)off);
	pthread_mutex_unlock(&lock);
	return n;
}

static ssize_t do_pwritev(int fd, const struct iovec *iov, int n, uint64_t off, bool durable)
{
	size_t len = 0, at = 0;
	char *all;
	ssize_t w;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	all = malloc(len + 1);
	if (!all) {
		errno = ENOMEM;
		return -1;
	}
	for (int i = 0; i < n; i++) {
		memcpy(all + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	w = do_pwrite(fd, all, len, off, durable);
	free(all);
	return w;
}

/* Where write(2) would write. */
static uint64_t here(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	off_t at = lseek(fd, 0, flags >= 0 && (flags & O_APPEND) ? SEEK_END : SEEK_CUR);

	return at < 0 ? 0 : (uint64_t)at;
}

WATCHED ssize_t write(int fd, const void *at, size_t len)
{
	unsigned char k = kind_of(fd);
	uint64_t off;
	ssize_t n;

	if (k != FD_FILE && k != FD_DSYNC)
		return syscall(SYS_write, fd, at, len);
	off = here(fd);
	n = do_pwrite(fd, at, len, off, k == FD_DSYNC);
	if (n > 0)
		lseek(fd, (off_t)off + n, SEEK_SET);
	return n;
}

WATCHED ssize_t writev(int fd, const struct iovec *iov, int n)
{
	unsigned char k = kind_of(fd);
	uint64_t off;
	ssize_t w;

	if (k != FD_FILE && k != FD_DSYNC)
		return syscall(SYS_writev, fd, iov, n);
	off = here(fd);
	w = do_pwritev(fd, iov, n, off, k == FD_DSYNC);
	if (w > 0)
		lseek(fd, (off_t)off + w, SEEK_SET);
	return w;
}

WATCHED ssize_t pwrite(int fd, const void *at, size_t len, off_t off)
{
	unsigned char k = kind_of(fd);

	if (k != FD_FILE && k != FD_DSYNC)
		return real_pwrite(fd, at, len, off);
	return do_pwrite(fd, at, len, (uint64_t)off, k == FD_DSYNC);
}

WATCHED ssize_t pwrite64(int fd, const void *at, size_t len, off64_t off)
{
	return pwrite(fd, at, len, off);
}

WATCHED ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	unsigned char k = kind_of(fd);

	if (k != FD_FILE && k != FD_DSYNC)
		return syscall(SYS_pwritev2, fd, iov, n, off, 0, flags);
	return do_pwritev(fd, iov, n, (uint64_t)off,
			  k == FD_DSYNC || (flags & (RWF_DSYNC | RWF_SYNC)));
}

WATCHED ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return pwritev2(fd, iov, n, off, flags);
}

WATCHED ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return pwritev2(fd, iov, n, off, 0);
}

WATCHED ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return pwritev2(fd, iov, n, off, 0);
}

static void resized(int fd, const char *what, uint64_t len)
{
	struct file *f = model_file(fd);

	if (f)
		model_resize(f, len);
	tick(what, fd, NULL);
}

WATCHED int ftruncate(int fd, off_t len)
{
	int r;

	if (kind_of(fd) == FD_OTHER)
		return (int)syscall(SYS_ftruncate, fd, len);
	if (fails(false, "truncate", fd, NULL))
		return -1;
	pthread_mutex_lock(&lock);
	resized(fd, "truncate", (uint64_t)len);
	r = (int)syscall(SYS_ftruncate, fd, len);
	pthread_mutex_unlock(&lock);
	return r;
}

WATCHED int ftruncate64(int fd, off64_t len)
{
	return ftruncate(fd, len);
}

/* A hole reads as zeros: in the model somebody wrote them. */
static int punch(int fd, int how, off_t off, off_t len)
{
	char *zeros = calloc(1, (size_t)len);
	struct file *f;
	int r;

	pthread_mutex_lock(&lock);
	f = model_file(fd);
	if (f && zeros)
		model_write(f, zeros, (size_t)len, (uint64_t)off, false);
	tick("punch", fd, NULL);
	r = (int)syscall(SYS_fallocate, fd, how, off, len);
	pthread_mutex_unlock(&lock);
	free(zeros);
	return r;
}

/* Of plain ones only the effect on the length is modelled. */
WATCHED int fallocate(int fd, int how, off_t off, off_t len)
{
	struct stat st;
	int r;

	if (kind_of(fd) == FD_OTHER)
		return (int)syscall(SYS_fallocate, fd, how, off, len);
	if (fails(false, "allocate", fd, NULL))
		return -1;
	if (how & FALLOC_FL_PUNCH_HOLE)
		return punch(fd, how, off, len);
	if (how != 0)
		return (int)syscall(SYS_fallocate, fd, how, off, len);
	pthread_mutex_lock(&lock);
	if (fstat(fd, &st) == 0 && st.st_size < off + len)
		resized(fd, "allocate", (uint64_t)(off + len));
	r = (int)syscall(SYS_fallocate, fd, how, off, len);
	pthread_mutex_unlock(&lock);
	return r;
}

WATCHED int fallocate64(int fd, int how, off64_t off, off64_t len)
{
	return fallocate(fd, how, off, len);
}

WATCHED int posix_fallocate(int fd, off_t off, off_t len)
{
	return fallocate(fd, 0, off, len) < 0 ? errno : 0;
}

WATCHED int posix_fallocate64(int fd, off64_t off, off64_t len)
{
	return posix_fallocate(fd, off, len);
}

/* ---- syncs ---- */

static int do_sync(int fd, const char *what, long number)
{
	unsigned char k = kind_of(fd);

	if (k == FD_OTHER)
		return (int)syscall(number, fd);
	if (fails(false, what, fd, NULL))
		return -1;
	pthread_mutex_lock(&lock);
	tick(what, fd, NULL);
	if (k == FD_DIR)
		model_sync_dir(fd);
	else
		model_sync_file(fd);
	pthread_mutex_unlock(&lock);
	return 0;
}

WATCHED int fsync(int fd)
{
	return do_sync(fd, "fsync", SYS_fsync);
}

WATCHED int fdatasync(int fd)
{
	return do_sync(fd, "fdatasync", SYS_fdatasync);
}

/* A hint only: nothing is promised about lengths or the disk's cache. */
WATCHED int sync_file_range(int fd, off64_t off, off64_t len, unsigned flags)
{
	return kind_of(fd) == FD_OTHER ? (int)syscall(SYS_sync_file_range, fd, off, len, flags) : 0;
}

/* ---- extended attributes ---- */

static int do_setxattr(int fd, const char *name, const void *value, size_t len, int flags)
{
	struct file *f;
	int r;

	if (fails(false, "setxattr", fd, NULL))
		return -1;
	pthread_mutex_lock(&lock);
	f = model_file(fd);
	if (f)
		model_xattr(f, name, value, len, false);
	tick("setxattr", fd, NULL);
	r = (int)syscall(SYS_fsetxattr, fd, name, value, len, flags);
	pthread_mutex_unlock(&lock);
	return r;
}

WATCHED int fsetxattr(int fd, const char *name, const void *value, size_t len, int flags)
{
	if (kind_of(fd) == FD_OTHER)
		return (int)syscall(SYS_fsetxattr, fd, name, value, len, flags);
	return do_setxattr(fd, name, value, len, flags);
}

WATCHED int setxattr(const char *path, const char *name, const void *value, size_t len, int flags)
{
	int fd = do_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), r;

	if (fd < 0 || kind_of(fd) == FD_OTHER) {
		if (fd >= 0)
			close(fd);
		return (int)syscall(SYS_setxattr, path, name, value, len, flags);
	}
	r = do_setxattr(fd, name, value, len, flags);
	close(fd);
	return r;
}

WATCHED int fremovexattr(int fd, const char *name)
{
	struct file *f;
	int r;

	if (kind_of(fd) == FD_OTHER)
		return (int)syscall(SYS_fremovexattr, fd, name);
	pthread_mutex_lock(&lock);
	f = model_file(fd);
	if (f)
		model_xattr(f, name, NULL, 0, true);
	tick("removexattr", fd, NULL);
	r = (int)syscall(SYS_fremovexattr, fd, name);
	pthread_mutex_unlock(&lock);
	return r;
}

/* ---- names ---- */

static int do_unlink(int dirfd, const char *path, int flags)
{
	struct place p;
	int r;

	if (!place_of(dirfd, path, &p))
		return (int)syscall(SYS_unlinkat, dirfd, path, flags);
	if (fails(false, "remove", -1, path)) {
		leave(&p);
		return -1;
	}
	pthread_mutex_lock(&lock);
	if (is_there(&p) && !(flags & AT_REMOVEDIR))
		model_name(NAME_REMOVE, p.dir, p.name, -1, NULL);
	r = (int)syscall(SYS_unlinkat, p.dir, p.name, flags);
	if (r < 0 && is_there(&p) && !(flags & AT_REMOVEDIR))
		model_name_failed();
	if (r == 0 && (flags & AT_REMOVEDIR))
		model_name(NAME_RMDIR, p.dir, p.name, -1, NULL);
	tick("remove", -1, path);
	pthread_mutex_unlock(&lock);
	leave(&p);
	return r;
}

WATCHED int unlink(const char *path)
{
	return do_unlink(AT_FDCWD, path, 0);
}

WATCHED int unlinkat(int dir, const char *path, int flags)
{
	return do_unlink(dir, path, flags);
}

WATCHED int rmdir(const char *path)
{
	return do_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}

WATCHED int remove(const char *path)
{
	int r = do_unlink(AT_FDCWD, path, 0);

	return r < 0 && errno == EISDIR ? do_unlink(AT_FDCWD, path, AT_REMOVEDIR) : r;
}

/* In: both names below the root.  A rename that crosses the root's border is not for this model. */
static int do_rename(int d1, const char *from, int d2, const char *to, unsigned flags)
{
	struct place a, b;
	int r = -1;

	if (!place_of(d1, from, &a))
		return (int)syscall(SYS_renameat2, d1, from, d2, to, flags);
	if (!place_of(d2, to, &b)) {
		leave(&a);
		return (int)syscall(SYS_renameat2, d1, from, d2, to, flags);
	}
	if (fails(false, "rename", -1, to)) {
		leave(&a);
		leave(&b);
		return -1;
	}
	pthread_mutex_lock(&lock);
	model_name(NAME_RENAME, a.dir, a.name, b.dir, b.name);
	r = (int)syscall(SYS_renameat2, a.dir, a.name, b.dir, b.name, flags);
	if (r < 0)
		model_name_failed();
	tick("rename", -1, to);
	pthread_mutex_unlock(&lock);
	leave(&a);
	leave(&b);
	return r;
}

WATCHED int rename(const char *from, const char *to)
{
	return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}

WATCHED int renameat(int d1, const char *from, int d2, const char *to)
{
	return do_rename(d1, from, d2, to, 0);
}

WATCHED int renameat2(int d1, const char *from, int d2, const char *to, unsigned flags)
{
	return do_rename(d1, from, d2, to, flags);
}

static int do_link(int d1, const char *from, int d2, const char *to, int flags)
{
	struct place p;
	int r;

	if (!place_of(d2, to, &p))
		return (int)syscall(SYS_linkat, d1, from, d2, to, flags);
	if (fails(false, "link", -1, to)) {
		leave(&p);
		return -1;
	}
	pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_linkat, d1, from, p.dir, p.name, flags);
	if (r == 0)
		model_name(NAME_CREATE, p.dir, p.name, -1, NULL);
	tick("link", -1, to);
	pthread_mutex_unlock(&lock);
	leave(&p);
	return r;
}

WATCHED int link(const char *from, const char *to)
{
	return do_link(AT_FDCWD, from, AT_FDCWD, to, 0);
}

WATCHED int linkat(int d1, const char *from, int d2, const char *to, int flags)
{
	return do_link(d1, from, d2, to, flags);
}

static int do_mkdir(int dirfd, const char *path, mode_t m)
{
	struct place p;
	int r;

	if (!place_of(dirfd, path, &p))
		return (int)syscall(SYS_mkdirat, dirfd, path, m);
	if (fails(false, "mkdir", -1, path)) {
		leave(&p);
		return -1;
	}
	pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_mkdirat, p.dir, p.name, m);
	if (r == 0)
		model_name(NAME_MKDIR, p.dir, p.name, -1, NULL);
	tick("mkdir", -1, path);
	pthread_mutex_unlock(&lock);
	leave(&p);
	return r;
}

WATCHED int mkdir(const char *path, mode_t m)
{
	return do_mkdir(AT_FDCWD, path, m);
}

WATCHED int mkdirat(int dir, const char *path, mode_t m)
{
	return do_mkdir(dir, path, m);
}
