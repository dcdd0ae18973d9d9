/* io.c - file operations behind one table; see io.h. */
#include "ese/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int real_open(const char *path, int flags, mode_t mode)
{
	return open(path, flags, mode);
}

static int real_space(const char *path, uint64_t *free_bytes)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0)
		return -1;
	*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

static int real_allocate(int fd, off_t off, off_t len)
{
	return fallocate(fd, 0, off, len);
}

static ssize_t real_pread_cached(int fd, void *at, size_t len, off_t off)
{
	struct iovec iov = { at, len };

	return preadv2(fd, &iov, 1, off, RWF_NOWAIT);
}

static int real_forget(int fd, off_t off, off_t len)
{
	return posix_fadvise(fd, off, len, POSIX_FADV_DONTNEED);
}

static int real_punch(int fd, off_t off, off_t len)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int real_start_sync(int fd)
{
	return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static const struct io_ops real_ops = {
	.open = real_open,
	.pread = pread,
	.pwritev = pwritev2,
	.sync = fdatasync,
	.sync_dir = fsync,
	.rename = rename,
	.unlink = unlink,
	.truncate = ftruncate,
	.allocate = real_allocate,
	.pread_cached = real_pread_cached,
	.forget = real_forget,
	.punch = real_punch,
	.mkdir = mkdir,
	.space = real_space,
	.start_sync = real_start_sync,
};

static const struct io_ops *ops = &real_ops;
static _Atomic uint64_t operations;

const struct io_ops *io_real(void)
{
	return &real_ops;
}

void io_set_seam(const struct io_ops *o)
{
	ops = o ? o : &real_ops;
}

uint64_t io_count(void)
{
	return operations;
}

enum st io_open(const char *path, int flags, int *fd_out, struct err *err)
{
	int fd;

	operations++;
	do
		fd = ops->open(path, flags | O_CLOEXEC, 0640);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return fail_errno(err, "open %s", path);
	*fd_out = fd;
	return ST_OK;
}

enum st io_read(int fd, void *at, size_t len, uint64_t off, size_t *got_out, const char *name,
		struct err *err)
{
	size_t got = 0;

	while (got < len) {
		ssize_t r = ops->pread(fd, (char *)at + got, len - got, (off_t)(off + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return fail_errno(err, "%s: read %zu bytes at %llu", name, len,
					  (unsigned long long)off);
		if (r == 0)
			break;
		got += (size_t)r;
	}
	*got_out = got;
	return ST_OK;
}

bool io_cached(int fd, void *at, size_t len, uint64_t off)
{
	return ops->pread_cached(fd, at, len, (off_t)off) == (ssize_t)len;
}

void io_forget(int fd, uint64_t off, uint64_t len)
{
	(void)ops->forget(fd, (off_t)off, (off_t)len);
}

enum st io_writev(int fd, struct iovec *iov, int n, uint64_t off, int rwf, const char *name,
		  struct err *err)
{
	while (n > 0) {
		ssize_t w;

		operations++;
		w = ops->pwritev(fd, iov, n, (off_t)off, rwf);
		if (w < 0 && errno == EINTR)
			continue;
		if (w == 0)
			errno = ENOSPC;
		if (w <= 0)
			return fail_errno(err, "%s: write at %llu", name, (unsigned long long)off);
		off += (uint64_t)w;
		for (; n > 0 && (size_t)w >= iov->iov_len; iov++, n--)
			w -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	return ST_OK;
}

enum st io_write(int fd, const void *at, size_t len, uint64_t off, const char *name,
		 struct err *err)
{
	struct iovec iov = { .iov_len = len };

	/* iovec has no const form; pwritev only reads. */
	memcpy(&iov.iov_base, &at, sizeof(at));
	return io_writev(fd, &iov, 1, off, 0, name, err);
}

enum st io_sync(int fd, const char *name, struct err *err)
{
	operations++;
	if (ops->sync(fd) < 0)
		return fail_errno(err, "%s: sync", name);
	return ST_OK;
}

void io_start_sync(int fd)
{
	if (ops->start_sync)
		ops->start_sync(fd);
}

enum st io_sync_dir(const char *path, struct err *err)
{
	enum st st;
	int fd;

	st = io_open(path, O_RDONLY | O_DIRECTORY, &fd, err);
	if (st != ST_OK)
		return st;
	operations++;
	if (ops->sync_dir(fd) < 0)
		st = fail_errno(err, "%s: sync of the folder", path);
	close(fd);
	return st;
}

enum st io_rename(const char *from, const char *to, struct err *err)
{
	operations++;
	if (ops->rename(from, to) < 0)
		return fail_errno(err, "rename %s to %s", from, to);
	return ST_OK;
}

enum st io_unlink(const char *path, struct err *err)
{
	operations++;
	if (ops->unlink(path) < 0 && errno != ENOENT)
		return fail_errno(err, "remove %s", path);
	return ST_OK;
}

enum st io_truncate(int fd, uint64_t len, const char *name, struct err *err)
{
	operations++;
	if (ops->truncate(fd, (off_t)len) < 0)
		return fail_errno(err, "%s: set length %llu", name, (unsigned long long)len);
	return ST_OK;
}

enum st io_allocate(int fd, uint64_t off, uint64_t len, const char *name, struct err *err)
{
	struct stat info;

	operations++;
	if (ops->allocate(fd, (off_t)off, (off_t)len) == 0)
		return ST_OK;
	if (errno != EOPNOTSUPP)
		return fail_errno(err, "%s: allocate %llu bytes", name, (unsigned long long)len);
	/* A file system without it: the length alone will do, a full disk shows at the write. */
	if (fstat(fd, &info) < 0)
		return fail_errno(err, "%s", name);
	if ((uint64_t)info.st_size >= off + len)
		return ST_OK;
	return io_truncate(fd, off + len, name, err);
}

enum st io_punch(int fd, uint64_t off, uint64_t len, const char *name, struct err *err)
{
	operations++;
	if (ops->punch(fd, (off_t)off, (off_t)len) == 0)
		return ST_OK;
	if (errno == EOPNOTSUPP)
		return fail(err, ST_BAD, "%s: this file system can't take back part of a file",
			    name);
	return fail_errno(err, "%s: give back %llu bytes", name, (unsigned long long)len);
}

enum st io_mkdir(const char *path, struct err *err)
{
	operations++;
	if (ops->mkdir(path, 0750) < 0 && errno != EEXIST)
		return fail_errno(err, "make folder %s", path);
	return ST_OK;
}

enum st io_space(const char *path, uint64_t *free_out, struct err *err)
{
	if (ops->space(path, free_out) < 0)
		return fail_errno(err, "%s: free space", path);
	return ST_OK;
}

enum st io_list(const char *path, enum st (*fn)(void *arg, const char *entry, struct err *err),
		void *arg, struct err *err)
{
	DIR *d = opendir(path);
	enum st st = ST_OK;
	struct dirent *e;

	if (!d)
		return fail_errno(err, "open folder %s", path);
	while (st == ST_OK && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			st = fn(arg, e->d_name, err);
	if (st == ST_OK && errno != 0)
		st = fail_errno(err, "read folder %s", path);
	closedir(d);
	return st;
}
