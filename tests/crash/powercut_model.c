/* powercut_model.c - what a disk would keep; see powercut.h.
 *
 * The real files always hold what the program wrote.  For each file there is a list of changes since its
 * last sync, with the bytes before and after; for names one list for all.  At the cut every change is
 * taken back, last first, and those that the disk happened to keep are made again, first first. */
#include "powercut.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SECTOR 512u

enum kind { WRITE, RESIZE, XATTR };

struct change {
	struct change *next, *prev;
	enum kind kind;
	bool durable;
	uint64_t off, len, size_before;
	char *before, *after; /* bytes; for XATTR the values */
	size_t nbefore;
	char *name; /* XATTR */
	bool had, remove;
};

struct file {
	struct file *next;
	dev_t dev;
	ino_t ino;
	int fd; /* our own, for reading and writing */
	struct change *first, *last;
};

struct name_change {
	struct name_change *next, *prev;
	enum name_op op;
	int dir, dir2; /* our own descriptors of the folders: they survive renames of them */
	ino_t ino, ino2, child;
	char *name, *name2;
	int trash; /* number of what was replaced or removed; -1: nothing */
};

static struct file *files;
static struct name_change *names_first, *names_last;
static int trash_dir = -1, trash_next;

static void *need(void *at)
{
	if (!at) {
		fprintf(stderr, "powercut: out of memory\n");
		abort();
	}
	return at;
}

/* ---- bytes ---- */

struct file *model_file(int fd)
{
	char path[64];
	struct stat st;
	struct file *f;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	for (f = files; f; f = f->next)
		if (f->dev == st.st_dev && f->ino == st.st_ino)
			return f;
	f = need(calloc(1, sizeof(*f)));
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* syscall: the library's own open is watched */
	f->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (f->fd < 0) {
		free(f);
		return NULL;
	}
	f->next = files;
	files = f;
	return f;
}

static uint64_t size_of(const struct file *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static struct change *add(struct file *f, enum kind kind)
{
	struct change *c = need(calloc(1, sizeof(*c)));

	c->kind = kind;
	c->size_before = size_of(f);
	c->prev = f->last;
	if (f->last)
		f->last->next = c;
	else
		f->first = c;
	f->last = c;
	return c;
}

/* What stands at [off, off+len) now, as far as the file goes. */
static void keep_before(struct file *f, struct change *c, uint64_t off, uint64_t len)
{
	ssize_t got;

	if (off >= c->size_before)
		return;
	if (len > c->size_before - off)
		len = c->size_before - off;
	c->before = need(malloc(len + 1));
	got = real_pread(f->fd, c->before, len, (off_t)off);
	c->nbefore = got > 0 ? (size_t)got : 0;
}

void model_write(struct file *f, const void *at, size_t len, uint64_t off, bool durable)
{
	struct change *c;

	/* With nothing in doubt before it, a durable write is simply there. */
	if (durable && !f->first)
		return;
	c = add(f, WRITE);
	c->off = off;
	c->len = len;
	c->durable = durable;
	keep_before(f, c, off, len);
	c->after = need(malloc(len + 1));
	memcpy(c->after, at, len);
}

void model_resize(struct file *f, uint64_t len)
{
	struct change *c = add(f, RESIZE);

	c->off = c->len = len;
	if (len < c->size_before)
		keep_before(f, c, len, c->size_before - len);
}

void model_xattr(struct file *f, const char *name, const void *value, size_t len, bool remove)
{
	struct change *c = add(f, XATTR);
	char old[65536];
	ssize_t n = fgetxattr(f->fd, name, old, sizeof(old));

	c->name = need(strdup(name));
	c->remove = remove;
	c->had = n >= 0;
	if (c->had) {
		c->before = need(malloc((size_t)n + 1));
		c->nbefore = (size_t)n;
		memcpy(c->before, old, (size_t)n);
	}
	c->after = need(malloc(len + 1));
	c->len = len;
	if (len)
		memcpy(c->after, value, len);
}

static void forget_changes(struct file *f)
{
	while (f->first) {
		struct change *c = f->first;

		f->first = c->next;
		free(c->before);
		free(c->after);
		free(c->name);
		free(c);
	}
	f->last = NULL;
}

void model_sync_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	for (struct file **at = &files; *at; at = &(*at)->next) {
		struct file *f = *at;

		if (f->dev != st.st_dev || f->ino != st.st_ino)
			continue;
		forget_changes(f);
		*at = f->next;
		close(f->fd);
		free(f);
		return;
	}
}

static void write_all(int fd, const char *at, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = real_pwrite(fd, at, len, (off_t)off);

		if (n <= 0)
			return;
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
}

static void resize(int fd, uint64_t len)
{
	syscall(SYS_ftruncate, fd, (off_t)len);
}

static void take_back(struct file *f, const struct change *c)
{
	if (c->kind == XATTR) {
		if (c->had)
			syscall(SYS_fsetxattr, f->fd, c->name, c->before, c->nbefore, 0);
		else
			syscall(SYS_fremovexattr, f->fd, c->name);
		return;
	}
	resize(f->fd, c->size_before);
	write_all(f->fd, c->before, c->nbefore, c->off);
}

static void make_again(struct file *f, const struct change *c)
{
	if (c->kind == XATTR && c->remove)
		syscall(SYS_fremovexattr, f->fd, c->name);
	else if (c->kind == XATTR)
		syscall(SYS_fsetxattr, f->fd, c->name, c->after, c->len, 0);
	else if (c->kind == RESIZE)
		resize(f->fd, c->len);
	else
		write_all(f->fd, c->after, c->len, c->off);
}

/* ---- chance ---- */

static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (dice >> 11) % sides;
}

/* Some sectors of a write, on the disk's own borders. */
static void make_torn(struct file *f, const struct change *c)
{
	uint64_t off = c->off, end = c->off + c->len;

	while (off < end) {
		uint64_t border = (off / SECTOR + 1) * SECTOR, stop = border < end ? border : end;

		if (roll(2))
			write_all(f->fd, c->after + (off - c->off), stop - off, off);
		off = stop;
	}
}

static void cut_file(struct file *f, const char *mode)
{
	for (struct change *c = f->last; c; c = c->prev)
		take_back(f, c);
	for (struct change *c = f->first; c; c = c->next) {
		uint64_t fate = roll(3);

		if (c->durable || strcmp(mode, "keep") == 0)
			make_again(f, c);
		else if (strcmp(mode, "lose") == 0)
			continue;
		else if (fate == 0 && c->kind == WRITE)
			make_torn(f, c);
		else if (fate == 1)
			make_again(f, c);
	}
}

/* ---- names ---- */

static void trash_name(int number, char out[32])
{
	snprintf(out, 32, "%d", number);
}

/* Keep what stands under this name, by a second link outside the folder. */
static int to_trash(int dir, const char *name)
{
	char path[4096], to[32];

	if (trash_dir < 0) {
		snprintf(path, sizeof(path), "%s.trash.%d", getenv("POWERCUT_ROOT"), getpid());
		syscall(SYS_mkdirat, AT_FDCWD, path, 0700);
		trash_dir = (int)syscall(SYS_openat, AT_FDCWD, path,
					 O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	}
	trash_name(trash_next, to);
	if (syscall(SYS_linkat, dir, name, trash_dir, to, 0) < 0)
		return -1;
	return trash_next++;
}

static void from_trash(int number, int dir, const char *name)
{
	char from[32];

	if (number < 0)
		return;
	trash_name(number, from);
	syscall(SYS_linkat, trash_dir, from, dir, name, 0);
}

static void empty_trash(int number)
{
	char name[32];

	if (number < 0)
		return;
	trash_name(number, name);
	syscall(SYS_unlinkat, trash_dir, name, 0);
}

static ino_t inode_at(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

static int own_dir(int dir, ino_t *ino)
{
	*ino = dir >= 0 ? inode_at(dir, ".") : 0;
	return dir >= 0 ? (int)syscall(SYS_openat, dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
			: -1;
}

void model_name(enum name_op op, int dir, const char *name, int dir2, const char *name2)
{
	struct name_change *n = need(calloc(1, sizeof(*n)));

	n->op = op;
	n->name = need(strdup(name));
	n->name2 = name2 ? need(strdup(name2)) : NULL;
	n->dir = own_dir(dir, &n->ino);
	n->dir2 = own_dir(dir2, &n->ino2);
	n->child = inode_at(dir, name);
	n->trash = -1;
	if (op == NAME_REMOVE)
		n->trash = to_trash(dir, name);
	if (op == NAME_RENAME && inode_at(dir2, name2) != 0)
		n->trash = to_trash(dir2, name2);
	n->prev = names_last;
	if (names_last)
		names_last->next = n;
	else
		names_first = n;
	names_last = n;
}

static void forget_name(struct name_change *n)
{
	*(n->prev ? &n->prev->next : &names_first) = n->next;
	*(n->next ? &n->next->prev : &names_last) = n->prev;
	empty_trash(n->trash);
	if (n->dir >= 0)
		close(n->dir);
	if (n->dir2 >= 0)
		close(n->dir2);
	free(n->name);
	free(n->name2);
	free(n);
}

void model_name_failed(void)
{
	int saved = errno;

	forget_name(names_last);
	errno = saved;
}

/* The names in a folder, and the folder's own: what can be reached from it could not be otherwise. */
static void sync_inode(ino_t ino)
{
	ino_t parent = 0;

	for (struct name_change *n = names_first, *next; n; n = next) {
		bool in = n->op == NAME_RENAME ? n->ino2 == ino : n->ino == ino;

		next = n->next;
		if (n->op == NAME_MKDIR && n->child == ino)
			parent = n->ino;
		if (in)
			forget_name(n);
	}
	if (parent && parent != ino)
		sync_inode(parent);
}

void model_sync_dir(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0)
		sync_inode(st.st_ino);
}

static void undo_name(const struct name_change *n)
{
	switch (n->op) {
	case NAME_CREATE:
		syscall(SYS_unlinkat, n->dir, n->name, 0);
		break;
	case NAME_REMOVE:
		from_trash(n->trash, n->dir, n->name);
		break;
	case NAME_RENAME:
		syscall(SYS_renameat2, n->dir2, n->name2, n->dir, n->name, 0);
		from_trash(n->trash, n->dir2, n->name2);
		break;
	case NAME_MKDIR:
		syscall(SYS_unlinkat, n->dir, n->name, AT_REMOVEDIR);
		break;
	case NAME_RMDIR:
		syscall(SYS_mkdirat, n->dir, n->name, 0700);
		break;
	}
}

static void cut_names(const char *mode)
{
	uint64_t count = 0, kept = 0;

	for (struct name_change *n = names_first; n; n = n->next)
		count++;
	if (strcmp(mode, "keep") == 0)
		kept = count;
	else if (strcmp(mode, "lose") != 0)
		kept = roll(count + 1);
	for (struct name_change *n = names_last; n && count > kept; n = n->prev, count--)
		undo_name(n);
}

static void remove_trash(void)
{
	char path[4096];

	if (trash_dir < 0)
		return;
	for (int i = 0; i < trash_next; i++)
		empty_trash(i);
	snprintf(path, sizeof(path), "%s.trash.%d", getenv("POWERCUT_ROOT"), getpid());
	syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

void model_cut(uint64_t seed, const char *mode)
{
	dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 88172645463325252u;
	if (dice == 0)
		dice = 1;
	for (int i = 0; i < 8; i++)
		roll(2);
	for (struct file *f = files; f; f = f->next)
		cut_file(f, mode);
	cut_names(mode);
	remove_trash();
}
