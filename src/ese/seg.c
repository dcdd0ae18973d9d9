/* seg.c - log files; see seg.h. */
#include "ese/seg.h"

#include "base/crc32c.h"
#include "ese/format.h"
#include "ese/io.h"
#include "base/byteorder.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEG_MAGIC 0x474c524du /* "MRLG" */
#define FILL      (256u * 1024)

void seg_head_put(char page[SEG_HEAD], const struct seg_head *h)
{
	memset(page, 0, SEG_HEAD);
	le32_put(page + 4, SEG_MAGIC);
	le32_put(page + 8, ESE_FORMAT);
	le32_put(page + 12, h->size);
	memcpy(page + 16, h->signature, LOG_SIGNATURE);
	le32_put(page + 32, h->gen);
	le32_put(page + 36, h->prev_end);
	le64_put(page + 40, h->created);
	le64_put(page + 48, h->prev_created);
	le32_put(page, crc32c(0, page + 4, SEG_HEAD - 4));
}

enum st seg_head_get(const char page[SEG_HEAD], struct seg_head *out, const char *name,
		     struct err *err)
{
	enum st st;

	if (le32_get(page) != crc32c(0, page + 4, SEG_HEAD - 4) || le32_get(page + 4) != SEG_MAGIC)
		return fail(err, ST_CORRUPT, "log file %s: the header is damaged", name);
	st = format_check(le32_get(page + 8), name, err);
	if (st != ST_OK)
		return st;
	out->format = le32_get(page + 8);
	out->size = le32_get(page + 12);
	memcpy(out->signature, page + 16, LOG_SIGNATURE);
	out->gen = le32_get(page + 32);
	out->prev_end = le32_get(page + 36);
	out->created = le64_get(page + 40);
	out->prev_created = le64_get(page + 48);
	if (out->size < SEG_SIZE_MIN || out->size > SEG_SIZE_MAX || out->size % SEG_HEAD != 0 ||
	    out->gen == 0)
		return fail(err, ST_CORRUPT, "log file %s: the header makes no sense", name);
	return ST_OK;
}

void seg_path(char out[SEG_PATH_MAX], const char *dir, uint32_t gen)
{
	snprintf(out, SEG_PATH_MAX, "%s/E00%08X.log", dir, gen);
}

void seg_spare_path(char out[SEG_PATH_MAX], const char *dir, uint32_t number)
{
	snprintf(out, SEG_PATH_MAX, "%s/E00tmp%08X.log", dir, number);
}

/* PREFIX + eight upper-case hexadecimal digits + ".log". */
static bool numbered(const char *entry, const char *prefix, uint32_t *out)
{
	size_t n = strlen(prefix);
	uint32_t value = 0;

	if (strncmp(entry, prefix, n) != 0 || strlen(entry) != n + 12 ||
	    strcmp(entry + n + 8, ".log") != 0)
		return false;
	for (size_t i = n; i < n + 8; i++) {
		char c = entry[i];

		if (!isdigit((unsigned char)c) && (c < 'A' || c > 'F'))
			return false;
		value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
	}
	*out = value;
	return true;
}

static enum st append(uint32_t **list, uint32_t *n, uint32_t value, struct err *err)
{
	uint32_t *more = realloc(*list, (*n + 1) * sizeof(**list));

	if (!more)
		return fail(err, ST_NOMEM, "list of log files");
	more[(*n)++] = value;
	*list = more;
	return ST_OK;
}

static enum st list_entry(void *arg, const char *entry, struct err *err)
{
	struct seg_list *l = arg;
	uint32_t number;

	if (numbered(entry, "E00tmp", &number))
		return append(&l->spares, &l->nspares, number, err);
	if (numbered(entry, "E00", &number) && number != 0)
		return append(&l->gens, &l->ngens, number, err);
	return ST_OK;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

enum st seg_list(const char *dir, struct seg_list *out, struct err *err)
{
	enum st st;

	*out = (struct seg_list){ 0 };
	st = io_list(dir, list_entry, out, err);
	if (st != ST_OK) {
		seg_list_free(out);
		return st;
	}
	if (out->ngens)
		qsort(out->gens, out->ngens, sizeof(*out->gens), by_number);
	if (out->nspares)
		qsort(out->spares, out->nspares, sizeof(*out->spares), by_number);
	return ST_OK;
}

void seg_list_free(struct seg_list *l)
{
	free(l->gens);
	free(l->spares);
	*l = (struct seg_list){ 0 };
}

static enum st fill(int fd, uint32_t size, const char *path, struct err *err)
{
	char *zeros = calloc(1, FILL);
	enum st st = ST_OK;

	if (!zeros)
		return fail(err, ST_NOMEM, "%s: zero-filling", path);
	for (uint32_t off = 0; st == ST_OK && off < size; off += FILL)
		st = io_write(fd, zeros, size - off < FILL ? size - off : FILL, off, path, err);
	free(zeros);
	return st;
}

enum st seg_make_spare(const char *dir, uint32_t number, uint32_t size, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st;
	int fd;

	seg_spare_path(path, dir, number);
	st = io_open(path, O_RDWR | O_CREAT | O_TRUNC, &fd, err);
	if (st != ST_OK)
		return st;
	st = fill(fd, size, path, err);
	if (st == ST_OK)
		st = io_sync(fd, path, err);
	close(fd);
	if (st != ST_OK)
		io_unlink(path, NULL);
	return st;
}

static enum st open_for_writing(const char *path, struct seg *s, enum seg_sync want,
				struct err *err)
{
	if (want == SEG_DIRECT &&
	    io_open(path, O_RDWR | O_DIRECT | O_DSYNC, &s->fd, NULL) == ST_OK) {
		s->how = SEG_DIRECT;
		return ST_OK;
	}
	s->how = want == SEG_SYNC ? SEG_SYNC : SEG_DSYNC;
	return io_open(path, O_RDWR, &s->fd, err);
}

static enum st write_header(struct seg *s, const struct seg_head *h, struct err *err)
{
	void *page;
	enum st st;

	if (posix_memalign(&page, SEG_HEAD, SEG_HEAD) != 0)
		return fail(err, ST_NOMEM, "log file header");
	seg_head_put(page, h);
	st = seg_write(s, page, SEG_HEAD, 0, err);
	free(page);
	return st;
}

enum st seg_take_spare(const char *dir, uint32_t number, const struct seg_head *h,
		       enum seg_sync want, struct seg *out, struct err *err)
{
	struct seg s = { .gen = h->gen, .size = h->size, .created = h->created };
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX];
	enum st st;

	seg_spare_path(from, dir, number);
	seg_path(to, dir, h->gen);
	st = open_for_writing(from, &s, want, err);
	if (st != ST_OK)
		return st;
	st = write_header(&s, h, err);
	if (st == ST_OK)
		st = io_rename(from, to, err);
	if (st == ST_OK)
		st = io_sync_dir(dir, err);
	if (st != ST_OK) {
		close(s.fd);
		return st;
	}
	*out = s;
	return ST_OK;
}

/* A file system that takes O_DIRECT at open or RWF_DSYNC not at all says so at the first write (the
 * header's), before anything depends on it: go one step down and stay there. */
static bool step_down(struct seg *s, const struct err *e)
{
	if (s->how == SEG_DIRECT && e->sys == EINVAL) {
		int flags = fcntl(s->fd, F_GETFL);

		if (flags < 0 || fcntl(s->fd, F_SETFL, flags & ~O_DIRECT) < 0)
			return false;
		s->how = SEG_DSYNC;
		return true;
	}
	if (s->how == SEG_DSYNC && (e->sys == EOPNOTSUPP || e->sys == ENOSYS)) {
		s->how = SEG_SYNC;
		return true;
	}
	return false;
}

enum st seg_write(struct seg *s, const void *at, size_t len, uint32_t off, struct err *err)
{
	struct iovec iov = { .iov_len = len };
	char name[32];
	struct err e = { 0 };
	enum st st;

	snprintf(name, sizeof(name), "E00%08X.log", s->gen);
	memcpy(&iov.iov_base, &at, sizeof(at));
	st = io_writev(s->fd, &iov, 1, off, s->how == SEG_DSYNC ? RWF_DSYNC : 0, name, &e);
	if (st != ST_OK && off == 0 && step_down(s, &e))
		return seg_write(s, at, len, off, err);
	if (st != ST_OK) {
		if (err)
			*err = e;
		return st;
	}
	return s->how == SEG_SYNC ? io_sync(s->fd, name, err) : ST_OK;
}

void seg_close(struct seg *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
