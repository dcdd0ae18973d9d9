/* fsfile.c - files of the queue folder: written, named, read, removed; see fsfile.h.
 *
 * The happy path of a commit is content -> properties -> fsync of the file -> rename; what each crash leaves is in
 * docs/crash-states.md, "Queue".  fsync and not fdatasync: the envelope is in extended attributes, and
 * fdatasync may leave a change of those behind. */
#include "transport/fsfile.h"
#include "base/crc32c.h"
#include "base/byteorder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- frames ---- */

void frame_write(struct buf *out, struct span list)
{
	uint8_t head[FRAME_HEAD];

	le32_put(head, FRAME_MAGIC);
	le32_put(head + 4, (uint32_t)list.len);
	le32_put(head + 8, crc32c(0, list.at, list.len));
	buf_add(out, head, sizeof(head));
	buf_span(out, list);
}

enum st frame_read(struct span bytes, struct span *list, struct err *err)
{
	const uint8_t *head = (const uint8_t *)bytes.at;

	if (bytes.len < FRAME_HEAD || le32_get(head) != FRAME_MAGIC)
		return fail(err, ST_CORRUPT, "property stream: no head");
	if (le32_get(head + 4) != bytes.len - FRAME_HEAD)
		return fail(err, ST_CORRUPT, "property stream: %zu bytes, its head says %" PRIu32,
			    bytes.len - FRAME_HEAD, le32_get(head + 4));
	*list = span_skip(bytes, FRAME_HEAD);
	if (crc32c(0, list->at, list->len) != le32_get(head + 8))
		return fail(err, ST_CORRUPT, "property stream: wrong checksum");
	return ST_OK;
}

/* ---- small operations, each behind the seam ---- */

/* false, with errno set, when the seam makes the operation fail. */
static bool may(struct fsdriver *d, const char *op, const char *file)
{
	int failed = d->step ? d->step(d->step_arg, op, file) : 0;

	errno = failed ? failed : errno;
	return failed == 0;
}

static enum st create(struct fsdriver *d, int folder, const char *file, int *fd, struct err *err)
{
	*fd = -1;
	if (may(d, "create", file))
		*fd = openat(folder, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
			     0600);
	return *fd >= 0 ? ST_OK : fail_errno(err, "queue file %s: create", file);
}

static enum st write_all(struct fsdriver *d, const char *file, int fd, struct span bytes,
			 uint64_t offset, struct err *err)
{
	if (!may(d, "write", file))
		return fail_errno(err, "queue file %s: write", file);
	while (bytes.len) {
		ssize_t n = pwrite(fd, bytes.at, bytes.len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail_errno(err, "queue file %s: write %zu bytes", file, bytes.len);
		bytes = span_skip(bytes, (size_t)n);
		offset += (uint64_t)n;
	}
	return ST_OK;
}

static enum st sync_file(struct fsdriver *d, const char *file, int fd, struct err *err)
{
	atomic_fetch_add(&d->file_syncs, 1);
	if (!may(d, "sync", file) || fsync(fd) < 0)
		return fail_errno(err, "queue file %s: sync", file);
	return ST_OK;
}

/* Never over an existing file, where the file system can promise that. */
static enum st rename_new(struct fsdriver *d, const char *from, int folder, const char *to,
			  struct err *err)
{
	int r = -1;

	if (may(d, "rename", to)) {
		r = renameat2(d->queue, from, folder, to, RENAME_NOREPLACE);
		if (r < 0 && (errno == EINVAL || errno == ENOSYS))
			r = renameat(d->queue, from, folder, to);
	}
	return r == 0 ? ST_OK : fail_errno(err, "queue file %s: rename", to);
}

static enum st unlink_file(struct fsdriver *d, const char *file, struct err *err)
{
	if (!may(d, "unlink", file) || (unlinkat(d->queue, file, 0) < 0 && errno != ENOENT))
		return fail_errno(err, "queue file %s: remove", file);
	return ST_OK;
}

/* A whole small file, synced. */
static enum st write_file(struct fsdriver *d, int folder, const char *file, struct span bytes,
			  struct err *err)
{
	int fd;
	enum st st;

	unlinkat(folder, file, 0); /* an earlier, unfinished one */
	st = create(d, folder, file, &fd, err);
	if (st != ST_OK)
		return st;
	st = write_all(d, file, fd, bytes, 0, err);
	if (st == ST_OK)
		st = sync_file(d, file, fd, err);
	close(fd);
	if (st != ST_OK)
		unlinkat(folder, file, 0);
	return st;
}

/* ---- commit ---- */

enum st fs_write(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	char file[FSNAME_MAX];
	enum st st = ST_OK;

	fs_name(m->id, ".tmp", file);
	if (!m->on_disk) {
		st = create(d, d->queue, file, &m->fd, err);
		m->on_disk = st == ST_OK;
	}
	if (st == ST_OK)
		st = write_all(d, file, m->fd, buf_get(&m->gather), m->size - m->gather.len, err);
	if (st == ST_OK)
		buf_clear(&m->gather);
	return st;
}

/* The envelope into the file's attributes, or beside the file.  A file system that has no attributes, or no
 * room for these, says so in many ways (ext4: ENOSPC); the side file's own failure is what counts. */
static enum st put_props(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	struct buf frame = BUF_MAX(MAILMSG_ENVELOPE_MAX + FRAME_HEAD);
	char file[FSNAME_MAX];
	enum st st = ST_OK;

	fs_name(m->id, ".stp", file);
	frame_write(&frame, buf_get(&m->props));
	if (frame.failed) {
		st = fail(err, ST_NOMEM, "queue file %s: envelope", file);
	} else if (d->no_xattr || frame.len > XATTR_MAX || !may(d, "attribute", file) ||
		   fsetxattr(m->fd, XATTR_PROPS, frame.at, frame.len, 0) < 0) {
		st = write_file(d, d->queue, file, buf_get(&frame), err);
		atomic_fetch_add(&d->side_files, 1);
		m->props_aside = true;
	}
	m->sides_known = true;
	buf_free(&frame);
	return st;
}

enum st fs_commit(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	bool small = !m->on_disk;
	char from[FSNAME_MAX], to[FSNAME_MAX];
	enum st st = ST_OK;

	fs_name(m->id, ".tmp", from);
	fs_name(m->id, ".eml", to);
	if (small) {
		st = create(d, d->queue, from, &m->fd, err);
		m->on_disk = st == ST_OK;
	}
	if (st == ST_OK)
		st = write_all(d, from, m->fd, buf_get(&m->gather), m->size - m->gather.len, err);
	if (st == ST_OK)
		st = put_props(d, m, err);
	if (st == ST_OK)
		st = sync_file(d, from, m->fd, err);
	if (st == ST_OK)
		st = rename_new(d, from, d->queue, to, err);
	m->renamed = st == ST_OK;
	if (!small)
		buf_free(&m->gather); /* only the end of the content */
	mailmsg_close(m);
	return st;
}

void fs_discard(struct fsdriver *d, struct mailmsg_id id, bool renamed)
{
	char file[FSNAME_MAX];

	fs_name(id, renamed ? ".eml" : ".tmp", file);
	unlinkat(d->queue, file, 0);
	fs_name(id, ".stp", file);
	unlinkat(d->queue, file, 0);
	atomic_fetch_add(&d->discarded, 1);
}

/* ---- reading ---- */

enum st fs_open(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	char file[FSNAME_MAX];
	struct stat at;
	int fd;

	fs_name(m->id, ".eml", file);
	fd = openat(d->queue, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? fail(err, ST_NOTFOUND, "queue file %s is gone", file)
				       : fail_errno(err, "queue file %s: open", file);
	if (fstat(fd, &at) < 0 || !S_ISREG(at.st_mode)) {
		close(fd);
		return fail(err, ST_CORRUPT, "queue file %s is no plain file", file);
	}
	m->fd = fd;
	m->size = (uint64_t)at.st_size;
	return ST_OK;
}

enum st fs_read(struct mailmsg *m, uint64_t offset, void *out, size_t len, size_t *got,
		struct err *err)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(m->fd, (char *)out + have, len - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(err, "queue file %s: read", m->name);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*got = have;
	return ST_OK;
}

/* The raw bytes of a side file; ST_NOTFOUND. */
static enum st read_side(struct fsdriver *d, const char *file, struct buf *out, struct err *err)
{
	int fd = openat(d->queue, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n = 1;

	if (fd < 0)
		return errno == ENOENT ? fail(err, ST_NOTFOUND, "no %s", file)
				       : fail_errno(err, "queue file %s: open", file);
	while (n > 0) {
		char *room = buf_room(out, 4096);

		n = room ? read(fd, room, 4096) : -1;
		if (n > 0)
			out->len += (size_t)n;
	}
	close(fd);
	return n == 0 ? ST_OK : fail(err, ST_IO, "queue file %s: read", file);
}

/* The raw bytes of an attribute; ST_NOTFOUND, also where the file system has none. */
static enum st read_attribute(const struct mailmsg *m, const char *attribute, struct buf *out,
			      struct err *err)
{
	ssize_t room = 4096, n;

	do {
		char *at = buf_room(out, (size_t)room);

		if (!at)
			return fail(err, ST_NOMEM, "attribute %s", attribute);
		n = fgetxattr(m->fd, attribute, at, (size_t)room);
		if (n < 0 && errno == ERANGE)
			room = fgetxattr(m->fd, attribute, NULL, 0);
	} while (n < 0 && errno == ERANGE && room > 0);
	if (n < 0)
		return fail(err, ST_NOTFOUND, "no %s", attribute);
	out->len += (size_t)n;
	return ST_OK;
}

/* Raw stream -> checked list in *to. */
static enum st take_stream(const struct buf *raw, struct buf *to, struct err *err)
{
	struct span bytes;
	struct plist list;
	enum st st = frame_read(buf_get(raw), &bytes, err);

	if (st != ST_OK)
		return st;
	st = plist_open(&list, bytes.at, bytes.len, err);
	if (st != ST_OK)
		return ST_CORRUPT;
	buf_clear(to);
	buf_add(to, list.at, list.len);
	return to->failed ? fail(err, ST_NOMEM, "property stream") : ST_OK;
}

static enum st read_props(struct fsdriver *d, struct mailmsg *m, struct buf *raw, struct err *err)
{
	char file[FSNAME_MAX];
	enum st st = read_attribute(m, XATTR_PROPS, raw, err);

	if (st == ST_OK)
		return st;
	fs_name(m->id, ".stp", file);
	m->props_aside = true;
	st = read_side(d, file, raw, err);
	return st == ST_NOTFOUND ? fail(err, ST_CORRUPT, "no envelope with the content") : st;
}

/* Once it was too long for the attributes it stays in the side file, which therefore counts. */
static enum st read_live(struct fsdriver *d, struct mailmsg *m, struct buf *raw, struct err *err)
{
	char file[FSNAME_MAX];
	enum st st;

	fs_name(m->id, ".stl", file);
	st = read_side(d, file, raw, err);
	m->live_aside = st != ST_NOTFOUND;
	return st == ST_NOTFOUND ? read_attribute(m, XATTR_LIVE, raw, err) : st;
}

enum st fs_load(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	struct buf raw = BUF_MAX(MAILMSG_ENVELOPE_MAX + 8192);
	struct err ignored;
	enum st st = m->fd >= 0 ? ST_OK : fs_open(d, m, err);

	if (st == ST_OK)
		st = read_props(d, m, &raw, err);
	if (st == ST_OK)
		st = take_stream(&raw, &m->props, err);
	if (st == ST_OK) {
		buf_clear(&raw);
		if (read_live(d, m, &raw, &ignored) == ST_OK)
			m->live_broken = take_stream(&raw, &m->live, &ignored) != ST_OK;
		if (m->live_broken)
			buf_clear(&m->live);
		m->sides_known = true;
	}
	buf_free(&raw);
	return st;
}

/* ---- the live stream ---- */

static enum st put_live_aside(struct fsdriver *d, struct mailmsg *m, struct span frame,
			      struct err *err)
{
	char file[FSNAME_MAX], temporary[FSNAME_MAX];
	enum st st;

	fs_name(m->id, ".stl", file);
	fs_name(m->id, ".stl.tmp", temporary);
	st = write_file(d, d->queue, temporary, frame, err);
	if (st != ST_OK)
		return st;
	if (!may(d, "rename", file) || renameat(d->queue, temporary, d->queue, file) < 0)
		return fail_errno(err, "queue file %s: rename", file);
	m->live_aside = true;
	atomic_fetch_add(&d->side_files, 1);
	if (!may(d, "folder-sync", "Queue") || fsync(d->queue) < 0)
		return fail_errno(err, "queue folder: sync");
	return ST_OK;
}

enum st fs_put_live(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	struct buf frame = BUF_MAX(MAILMSG_ENVELOPE_MAX + FRAME_HEAD);
	enum st st = m->fd >= 0 ? ST_OK : fs_open(d, m, err);

	frame_write(&frame, buf_get(&m->live));
	if (st == ST_OK && frame.failed)
		st = fail(err, ST_NOMEM, "%s: live properties", m->name);
	if (st != ST_OK) {
		buf_free(&frame);
		return st;
	}
	if (!m->live_aside && !d->no_xattr && frame.len <= XATTR_MAX &&
	    may(d, "attribute", m->name) &&
	    fsetxattr(m->fd, XATTR_LIVE, frame.at, frame.len, 0) == 0)
		st = sync_file(d, m->name, m->fd, err);
	else
		st = put_live_aside(d, m, buf_get(&frame), err);
	buf_free(&frame);
	return st;
}

/* ---- the end of a message ---- */

enum st fs_remove(struct fsdriver *d, struct mailmsg *m, struct err *err)
{
	char file[FSNAME_MAX];
	enum st st;

	/* The content first: without it the side files are nothing, and the next start removes them. */
	fs_name(m->id, ".eml", file);
	st = unlink_file(d, file, err);
	if (st != ST_OK)
		return st;
	fs_name(m->id, ".stp", file);
	if (m->props_aside || !m->sides_known)
		unlinkat(d->queue, file, 0);
	fs_name(m->id, ".stl", file);
	if (m->live_aside || !m->sides_known)
		unlinkat(d->queue, file, 0);
	return ST_OK;
}

static enum st copy_across(struct fsdriver *d, const char *from, const char *to, struct err *err)
{
	struct buf bytes = BUF_MAX(SIZE_MAX / 2);
	enum st st = read_side(d, from, &bytes, err);

	if (st == ST_OK)
		st = write_file(d, d->badmail, to, buf_get(&bytes), err);
	buf_free(&bytes);
	return st == ST_OK ? unlink_file(d, from, err) : st;
}

enum st fs_badmail(struct fsdriver *d, struct mailmsg *m, const char *why, struct err *err)
{
	struct buf text = BUF_MAX(1024 * 1024), raw = BUF_MAX(2 * MAILMSG_ENVELOPE_MAX);
	char from[FSNAME_MAX], to[FSNAME_MAX];
	struct err ignored;
	enum st st;

	if (m->fd < 0)
		(void)!fs_open(d, m, &ignored);
	if (m->fd >= 0)
		(void)!read_props(d, m, &raw, &ignored);
	mailmsg_close(m);
	buf_printf(&text, "Set aside from the queue as undeliverable: %s\r\n\r\n%s\r\n", m->name,
		   why);
	fs_name(m->id, ".BDR", to);
	st = write_file(d, d->badmail, to, buf_get(&text), err);
	fs_name(m->id, ".BDP", to);
	if (st == ST_OK && raw.len)
		st = write_file(d, d->badmail, to, buf_get(&raw), err);
	fs_name(m->id, ".eml", from);
	fs_name(m->id, ".BAD", to);
	if (st == ST_OK && renameat(d->queue, from, d->badmail, to) < 0 && errno != ENOENT)
		st = errno == EXDEV ? copy_across(d, from, to, err)
				    : fail_errno(err, "queue file %s: to Badmail", from);
	if (st == ST_OK && fsync(d->badmail) < 0)
		st = fail_errno(err, "Badmail folder: sync");
	if (st == ST_OK)
		st = fs_remove(d, m, err); /* the side files */
	buf_free(&text);
	buf_free(&raw);
	return st;
}
