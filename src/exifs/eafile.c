/* eafile.c - a body read and sent by its scatter list; see eafile.h. */
#include "exifs/eafile.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

enum st eafile_open(struct exipc_chan *chan, const struct plist *row, struct eafile *out,
		    struct err *err)
{
	struct eafile f = { .chan = chan, .tag = plist_u64(row, PR_STREAM_TAG, 0) };
	enum st st = scatter_read(plist_span(row, PR_BODY_SCATTER), &f.scatter, err);

	if (st != ST_OK)
		return st;
	f.epoch = exipc_epoch(chan);
	f.stream = exipc_is_bound(chan) ? exipc_fd_hold(chan, f.tag) : NULL;
	if (!f.stream)
		return fail(err, ST_GONE, "the streaming file is not at hand");
	*out = f;
	return ST_OK;
}

void eafile_close(struct eafile *f)
{
	if (f->stream)
		exipc_fd_drop(f->stream);
	*f = (struct eafile){ 0 };
}

/* Without the binding that pinned them, or behind a withdrawn descriptor, the pages may hold something else by now. */
static bool pinned(const struct eafile *f)
{
	return exipc_is_bound(f->chan) && exipc_epoch(f->chan) == f->epoch &&
	       !exipc_fd_withdrawn(f->stream);
}

/* A piece of the body that lies in one run. */
struct piece {
	int64_t at; /* in the streaming file */
	size_t len;
};

/* Walks the runs from a place in the body. */
struct walk {
	const struct eafile *f;
	uint32_t run;
	uint64_t skip; /* bytes before the place, from this run on */
	uint64_t left; /* bytes wanted */
};

static struct walk walk_from(const struct eafile *f, uint64_t offset, uint64_t len)
{
	uint64_t all = f->scatter.len;

	if (offset > all)
		offset = all;
	return (struct walk){ f, 0, offset, len < all - offset ? len : all - offset };
}

static bool walk_next(struct walk *w, struct piece *out)
{
	while (w->left && w->run < w->f->scatter.nruns) {
		struct scatter_run run = scatter_run(&w->f->scatter, w->run++);
		uint64_t bytes = (uint64_t)run.pages * SCATTER_PAGE;

		if (w->skip >= bytes) {
			w->skip -= bytes;
			continue;
		}
		bytes -= w->skip;
		out->at = (int64_t)((uint64_t)run.page * SCATTER_PAGE + w->skip);
		out->len = (size_t)(bytes < w->left ? bytes : w->left);
		w->skip = 0;
		w->left -= out->len;
		return true;
	}
	return false;
}

/* ---- reading ---- */

struct cold_read {
	int fd;
	struct piece piece;
	char *out;
	ssize_t n;
	int error;
};

static void cold_read(void *arg)
{
	struct cold_read *r = arg;

	do {
		r->n = pread(r->fd, r->out, r->piece.len, r->piece.at);
	} while (r->n < 0 && errno == EINTR);
	r->error = r->n < 0 ? errno : 0;
}

/* What the page cache has is read here and now; the rest is waited for elsewhere. */
static ssize_t read_some(int fd, struct piece piece, char *out)
{
	struct iovec v = { out, piece.len };
	ssize_t n = preadv2(fd, &v, 1, piece.at, RWF_NOWAIT);
	struct cold_read cold;

	if (n > 0 || (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP && errno != ENOSYS))
		return n;
	cold = (struct cold_read){ .fd = fd, .piece = piece, .out = out };
	work_run(cold_read, &cold);
	errno = cold.error;
	return cold.n;
}

static enum st read_piece(const struct eafile *f, struct piece piece, char *out, struct err *err)
{
	while (piece.len) {
		ssize_t n = read_some(exipc_fd_get(f->stream), piece, out);

		if (n < 0)
			return fail_errno(err, "streaming file: read at %lld", (long long)piece.at);
		if (n == 0)
			return fail(err, ST_CORRUPT, "streaming file ends before %lld",
				    (long long)piece.at);
		out += n;
		piece.at += n;
		piece.len -= (size_t)n;
	}
	return ST_OK;
}

enum st eafile_read(const struct eafile *f, uint64_t offset, void *out, size_t len, size_t *got,
		    struct err *err)
{
	struct walk w = walk_from(f, offset, len);
	struct piece piece;
	char *to = out;

	while (walk_next(&w, &piece)) {
		enum st st = pinned(f) ? read_piece(f, piece, to, err)
				       : fail(err, ST_GONE, "the store went away");

		if (st != ST_OK)
			return st;
		to += piece.len;
	}
	/* Read under a pin that still held when the last byte was here. */
	if (!pinned(f))
		return fail(err, ST_GONE, "the store went away");
	*got = (size_t)(to - (char *)out);
	return ST_OK;
}

/* ---- sending ---- */

static void drop_stream(void *stream)
{
	exipc_fd_drop(stream);
}

enum st eafile_send(const struct eafile *f, struct conn *conn, uint64_t offset, uint64_t len)
{
	struct walk w = walk_from(f, offset, len);
	struct exipc_fd *hold;
	struct piece piece;
	enum st st = ST_OK, noted;

	hold = pinned(f) ? exipc_fd_hold(f->chan, f->tag) : NULL;
	if (!hold)
		return ST_GONE;
	while (st == ST_OK && walk_next(&w, &piece))
		st = pinned(f) ? conn_send_file(conn, exipc_fd_get(hold), piece.at, piece.len)
			       : ST_GONE;
	/* Called exactly once whatever becomes of the connection. */
	noted = conn_on_sent(conn, drop_stream, hold);
	return st != ST_OK ? st : noted;
}
