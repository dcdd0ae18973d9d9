/* io.h - the seam: every file operation of the engine goes through here.
 *
 * (RocksDB does its own; the power-cut test covers both from below, tests/crash/powercut.c.)
 * Tests replace the table to fail, shorten or count operations.  Any thread; io_set_seam only before
 * a group is opened.  `name` in the calls is for the error's sentence only.
 *
 * Errors: ST_NOSPACE for a full disk, ST_IO for everything else, errno in err->sys. */
#ifndef ESE_IO_H
#define ESE_IO_H

#include "base/st.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Each returns as the system call of its name does. */
struct io_ops {
	int (*open)(const char *path, int flags, mode_t mode);
	ssize_t (*pread)(int fd, void *at, size_t len, off_t off);
	ssize_t (*pwritev)(int fd, const struct iovec *iov, int n, off_t off, int rwf);
	int (*sync)(int fd); /* fdatasync for files, fsync for folders */
	int (*sync_dir)(int fd);
	int (*rename)(const char *from, const char *to);
	int (*unlink)(const char *path);
	int (*truncate)(int fd, off_t len);
	int (*allocate)(int fd, off_t off, off_t len);
	ssize_t (*pread_cached)(int fd, void *at, size_t len, off_t off); /* RWF_NOWAIT */
	int (*forget)(int fd, off_t off, off_t len);                      /* POSIX_FADV_DONTNEED */
	int (*punch)(int fd, off_t off, off_t len);
	int (*mkdir)(const char *path, mode_t mode);
	int (*space)(const char *path, uint64_t *free_bytes);
	int (*start_sync)(int fd); /* begin to write back; NULL: don't */
};

const struct io_ops *io_real(void);
void io_set_seam(const struct io_ops *ops); /* NULL: the real ones */
uint64_t io_count(void);                    /* operations so far, reads aside */

enum st io_open(const char *path, int flags, int *fd_out, struct err *err);
/* Reads until `len` or the end of the file; *got_out says how much. */
enum st io_read(int fd, void *at, size_t len, uint64_t off, size_t *got_out, const char *name,
		struct err *err);
/* Are the bytes in memory?  They are read then; false also where the kernel can't say. */
bool io_cached(int fd, void *at, size_t len, uint64_t off);
/* Nobody will want these bytes again soon: no failure, no promise. */
void io_forget(int fd, uint64_t off, uint64_t len);
/* All or failure; `iov` is used up.  rwf: 0 or RWF_DSYNC. */
enum st io_writev(int fd, struct iovec *iov, int n, uint64_t off, int rwf, const char *name,
		  struct err *err);
enum st io_write(int fd, const void *at, size_t len, uint64_t off, const char *name,
		 struct err *err);
enum st io_sync(int fd, const char *name, struct err *err);
/* What was written goes to the disk meanwhile: a later io_sync has less to wait for.  Promises nothing. */
void io_start_sync(int fd);
enum st io_sync_dir(const char *path, struct err *err);
enum st io_rename(const char *from, const char *to, struct err *err);
enum st io_unlink(const char *path, struct err *err); /* a file that is not there is fine */
enum st io_truncate(int fd, uint64_t len, const char *name, struct err *err);
enum st io_allocate(int fd, uint64_t off, uint64_t len, const char *name, struct err *err);
/* The bytes are given back to the file system and read as zeros; the length stays.  ST_BAD: it can't. */
enum st io_punch(int fd, uint64_t off, uint64_t len, const char *name, struct err *err);
enum st io_mkdir(const char *path, struct err *err); /* one that exists is fine */
enum st io_space(const char *path, uint64_t *free_out, struct err *err);
/* Calls fn for each entry but . and .. until it returns something else than ST_OK. */
enum st io_list(const char *path, enum st (*fn)(void *arg, const char *entry, struct err *err),
		void *arg, struct err *err);

#endif
