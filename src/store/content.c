#include "store/content.h"

#include "mime/promote.h"
#include "store/mailbox.h"

#include <stdlib.h>

#define PIECE EXIPC_SECTION

/* Smaller than the scanner's own: a row BOX_ITEM must fit a reply. */
static const struct mime_limits limits = { .parts = 1000,
					   .depth = 50,
					   .top_header = 256 * 1024,
					   .part_header = 32 * 1024,
					   .text = 192 * 1024 };

struct vfile {
	struct hnode node; /* by token */
	struct shard *shard;
	uint64_t binding, token; /* token 0: in no table */
	struct content_part *parts;
	unsigned nparts;
	struct mime_scan *scan;
	uint64_t size;
	int64_t touched;
	bool dot_lines, line_start; /* some line begins with '.'; the next byte begins a line */
	char last[2];               /* bytes so far */
	bool busy, orphan;          /* in use by a fiber; to be freed when it is released */
	bool failed;
};

/* ---- parts ---- */

static void part_leave(struct content_part *p)
{
	if (!p->body)
		return;
	ese_body_drop(p->body);
	p->body = NULL;
	database_release(p->db);
}

static void part_failed(struct content_part *p, enum st st, const struct err *why)
{
	part_leave(p);
	p->why = *why;
	p->why.st = st;
}

static void parts_free(struct content_part *parts, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		part_leave(&parts[i]);
		buf_free(&parts[i].item);
	}
	free(parts);
}

static struct content_part *part_in(struct content_part *parts, unsigned n,
				    const struct database *db)
{
	for (unsigned i = 0; i < n; i++)
		if (parts[i].db == db)
			return &parts[i];
	return NULL;
}

/* Takes over the use of db. */
static enum st part_add(struct vfile *v, struct database *db, struct err *err)
{
	struct content_part *more =
		realloc(v->parts, (v->nparts + 1) * sizeof(struct content_part));
	struct content_part *p;
	enum st st;

	if (!more) {
		database_release(db);
		return fail(err, ST_NOMEM, "out of memory");
	}
	v->parts = more;
	p = &more[v->nparts++];
	*p = (struct content_part){ .db = db, .item = BUF_MAX(ITEM_MAX) };
	st = ese_body_new(db->ese, &p->body, &p->why);
	if (st == ST_OK)
		return ST_OK;
	p->body = NULL;
	p->why.st = st;
	database_release(db);
	return ST_OK;
}

/* Where a mailbox is: one that this loop has in memory says so itself. */
static enum st place_of(struct shard *sh, uint64_t mailbox, struct database **out, struct err *err)
{
	struct hnode *n = hmap_get(&sh->mailboxes, mailbox);
	struct mailbox *mb = n ? HNODE_OF(struct mailbox, node, n) : NULL;

	if (!mb || mb->state != BOX_READY)
		return database_of_mailbox(sh->store, mailbox, out, err);
	*out = mb->db;
	return database_use(mb->db, err);
}

/* Mailboxes that are not there, or not now, have no part: who delivers to them says so. */
static enum st parts_for(struct vfile *v, const uint64_t *mailboxes, size_t n, struct err *err)
{
	struct database *db = n ? NULL : database_default(v->shard->store);
	enum st st = ST_OK;

	if (db && database_use(db, err) == ST_OK)
		return part_add(v, db, err);
	for (size_t i = 0; i < n && st == ST_OK; i++) {
		if (place_of(v->shard, mailboxes[i], &db, err) != ST_OK)
			continue;
		if (part_in(v->parts, v->nparts, db))
			database_release(db);
		else
			st = part_add(v, db, err);
	}
	return st;
}

/* ---- finished ---- */

struct content *content_hold(struct content *c)
{
	c->refs++;
	return c;
}

void content_drop(struct content *c)
{
	if (!c || --c->refs)
		return;
	parts_free(c->parts, c->nparts);
	free(c);
}

enum st content_in(const struct content *c, const struct database *db,
		   const struct content_part **out, struct err *err)
{
	const struct content_part *p = part_in(c->parts, c->nparts, db);

	if (!p)
		return fail(err, ST_GONE, "the mailbox is elsewhere by now; try again");
	if (!p->body)
		return fail(err, p->why.st, "%s", p->why.text);
	*out = p;
	return ST_OK;
}

/* ---- being written ---- */

enum st vfile_new(struct shard *sh, uint64_t binding, const uint64_t *mailboxes, size_t n,
		  struct vfile **out, struct err *err)
{
	struct vfile *v = calloc(1, sizeof *v);
	enum st st;

	if (!v)
		return fail(err, ST_NOMEM, "out of memory");
	*v = (struct vfile){ .shard = sh, .binding = binding, .line_start = true };
	v->touched = clock_mono();
	v->scan = mime_scan_new(&limits);
	st = v->scan ? parts_for(v, mailboxes, n, err) : fail(err, ST_NOMEM, "out of memory");
	if (st != ST_OK) {
		vfile_free(v);
		return st;
	}
	*out = v;
	return ST_OK;
}

void vfile_free(struct vfile *v)
{
	if (v->token) {
		hmap_remove(&v->shard->vfiles, &v->node);
		v->shard->vfiles_now = v->shard->vfiles.count;
	}
	parts_free(v->parts, v->nparts);
	mime_scan_free(v->scan);
	free(v);
}

struct room {
	struct loop *loop;
	struct fiber *fiber;
	bool there;
};

static void room_here(void *arg)
{
	struct room *r = arg;

	r->there = true;
	fiber_wake(r->fiber);
}

/* On an engine thread, or at once. */
static void room_told(void *arg)
{
	struct room *r = arg;

	loop_post(r->loop, room_here, r);
}

static enum st part_write(struct content_part *p, const char *bytes, size_t len, struct err *err)
{
	enum st st;

	while ((st = ese_body_write(p->body, bytes, len, err)) == ST_BUSY) {
		struct room r = { .loop = loop_self(), .fiber = fiber_self() };

		ese_when_room(p->db->group->ese, room_told, &r);
		while (!r.there)
			fiber_park(NO_DEADLINE);
	}
	return st;
}

/* Fails when there were parts and none is left. */
static enum st parts_write(struct vfile *v, const char *bytes, size_t len, struct err *err)
{
	enum st st = ST_OK;
	unsigned left = 0;

	for (unsigned i = 0; i < v->nparts; i++) {
		struct content_part *p = &v->parts[i];
		enum st one = p->body ? part_write(p, bytes, len, err) : ST_OK;

		if (one != ST_OK)
			part_failed(p, one, err);
		left += p->body != NULL;
		if (!p->body)
			st = fail(err, p->why.st, "%s", p->why.text);
	}
	return left ? ST_OK : st;
}

static void look_for_dots(struct vfile *v, const char *bytes, size_t len)
{
	if (v->dot_lines)
		return;
	if (v->line_start && bytes[0] == '.')
		v->dot_lines = true;
	v->line_start = bytes[len - 1] == '\n';
	if (memmem(bytes, len, "\n.", 2))
		v->dot_lines = true;
}

static void keep_last(struct vfile *v, const char *bytes, size_t len)
{
	v->last[0] = len > 1 ? bytes[len - 2] : v->last[1];
	v->last[1] = bytes[len - 1];
}

enum st vfile_write(struct vfile *v, const void *bytes, size_t len, struct err *err)
{
	const char *from = bytes;
	enum st st = ST_OK;
	char *piece;

	if (v->failed)
		return fail(err, ST_IO, "an earlier piece of the message was not taken");
	v->failed = true; /* until all of it is */
	if (len > v->shard->store->message_max || v->size > v->shard->store->message_max - len)
		return fail(err, ST_TOOBIG, "the message is over %llu bytes",
			    (unsigned long long)v->shard->store->message_max);
	v->touched = clock_mono();
	/* One copy, because the scanner must not read what a peer can change meanwhile. */
	piece = malloc(len < PIECE ? len : PIECE);
	if (!piece && len)
		return fail(err, ST_NOMEM, "out of memory");
	while (len) {
		size_t n = len < PIECE ? len : PIECE;

		memcpy(piece, from, n);
		st = parts_write(v, piece, n, err);
		if (st != ST_OK)
			break;
		mime_scan_feed(v->scan, piece, n);
		look_for_dots(v, piece, n);
		keep_last(v, piece, n);
		v->size += n;
		from += n;
		len -= n;
	}
	free(piece);
	v->failed = st != ST_OK;
	return st;
}

/* Row BOX_ITEM of a part. */
static enum st write_item(const struct vfile *v, struct content_part *p, const struct plist *l,
			  struct err *err)
{
	struct pw w;

	pw_begin(&w, &p->item, plist_count(l) + 2);
	pw_u64(&w, PR_BODY_ID, ese_body_id(p->body));
	if (v->dot_lines)
		pw_bool(&w, PR_HAS_DOT_LINES, true);
	pw_merge(&w, l);
	pw_end(&w);
	return p->item.failed ? fail(err, ST_TOOBIG, "the message's properties are too large")
			      : ST_OK;
}

static enum st promote(struct vfile *v, struct err *err)
{
	struct buf promoted = BUF_MAX(ITEM_MAX);
	enum st st = mime_scan_end(v->scan, err);
	struct plist l;

	if (st == ST_OK)
		st = mime_promote(v->scan, &promoted, err);
	if (st == ST_OK)
		l = plist_trusted(promoted.at, promoted.len);
	for (unsigned i = 0; i < v->nparts && st == ST_OK; i++)
		if (v->parts[i].body)
			st = write_item(v, &v->parts[i], &l, err);
	buf_free(&promoted);
	return st;
}

enum st vfile_finish(struct vfile *v, struct content **out, struct err *err)
{
	struct content *c = calloc(1, sizeof *c);
	enum st st;

	if (!c) {
		vfile_free(v);
		return fail(err, ST_NOMEM, "out of memory");
	}
	c->refs = 1;
	c->size = (uint32_t)v->size;
	c->open_end = v->last[0] != '\r' || v->last[1] != '\n';
	if (v->failed)
		st = fail(err, ST_IO, "a piece of the message was not taken");
	else if (!v->size)
		st = fail(err, ST_BAD, "the message is empty");
	else
		st = promote(v, err);
	if (st == ST_OK) {
		c->parts = v->parts;
		c->nparts = v->nparts;
		v->parts = NULL;
		v->nparts = 0;
		*out = c;
	} else {
		content_drop(c);
	}
	vfile_free(v);
	return st;
}

/* ---- tokens ---- */

struct tally {
	uint64_t binding;
	size_t n;
};

static void tally_one(void *arg, struct hnode *n)
{
	struct tally *t = arg;

	t->n += HNODE_OF(struct vfile, node, n)->binding == t->binding;
}

enum st vfile_offer(struct vfile *v, uint64_t *token, struct err *err)
{
	struct tally t = { .binding = v->binding };
	struct shard *sh = v->shard;
	uint64_t key;

	hmap_each(&sh->vfiles, tally_one, &t);
	if (t.n >= VFILES_MAX)
		return fail(err, ST_BUSY, "%d messages are being written already", VFILES_MAX);
	do
		key = shard_draw(sh);
	while (hmap_get(&sh->vfiles, key));
	if (!hmap_put(&sh->vfiles, &v->node, key))
		return fail(err, ST_NOMEM, "out of memory");
	v->token = *token = key;
	sh->vfiles_now = sh->vfiles.count;
	return ST_OK;
}

enum st vfile_use(struct shard *sh, uint64_t binding, uint64_t token, struct vfile **out,
		  struct err *err)
{
	struct hnode *n = hmap_get(&sh->vfiles, token);
	struct vfile *v = n ? HNODE_OF(struct vfile, node, n) : NULL;

	if (!v || v->binding != binding || v->orphan)
		return fail(err, ST_NOTFOUND, "there is no such file being written");
	if (v->busy)
		return fail(err, ST_BUSY, "the file is in use");
	v->busy = true;
	*out = v;
	return ST_OK;
}

static void leave_closed(struct vfile *v)
{
	for (unsigned i = 0; i < v->nparts; i++) {
		struct content_part *p = &v->parts[i];
		struct err why;

		if (!p->body || database_is_up(p->db))
			continue;
		fail(&why, ST_GONE, "the database was closed while the message was written");
		part_failed(p, ST_GONE, &why);
	}
}

void vfile_release(struct vfile *v)
{
	v->busy = false;
	leave_closed(v);
	if (v->orphan)
		vfile_free(v);
}

static void leave_one(void *arg, struct hnode *n)
{
	struct vfile *v = HNODE_OF(struct vfile, node, n);

	(void)arg;
	if (!v->busy)
		leave_closed(v);
}

void vfiles_leave(struct shard *sh)
{
	hmap_each(&sh->vfiles, leave_one, NULL);
}

enum st vfile_take(struct shard *sh, uint64_t binding, uint64_t token, struct vfile **out,
		   struct err *err)
{
	enum st st = vfile_use(sh, binding, token, out, err);

	if (st != ST_OK)
		return st;
	hmap_remove(&sh->vfiles, &(*out)->node);
	sh->vfiles_now = sh->vfiles.count;
	(*out)->token = 0;
	return ST_OK;
}

static void vfile_end(struct vfile *v)
{
	if (v->busy)
		v->orphan = true;
	else
		vfile_free(v);
}

static void end_of_binding(void *arg, struct hnode *n)
{
	struct vfile *v = HNODE_OF(struct vfile, node, n);

	if (v->binding == *(uint64_t *)arg)
		vfile_end(v);
}

void vfiles_end_binding(struct shard *sh, uint64_t binding)
{
	hmap_each(&sh->vfiles, end_of_binding, &binding);
}

static void end_if_idle(void *arg, struct hnode *n)
{
	struct vfile *v = HNODE_OF(struct vfile, node, n);

	if (v->touched < *(int64_t *)arg)
		vfile_end(v);
}

/* An idle store has no virtual files, and then no timer runs. */
static void sweep(void *arg)
{
	int64_t before = clock_mono() - VFILE_IDLE_MS * NS_PER_MS;
	struct shard *sh = arg;

	hmap_each(&sh->vfiles, end_if_idle, &before);
	vfiles_sweep_start(sh);
}

void vfiles_sweep_start(struct shard *sh)
{
	if (sh->vfiles.count && !sh->sweep.slot)
		timer_set(&sh->sweep, deadline_in_ms(VFILE_IDLE_MS / 4), sweep, sh);
}

static void end_any(void *arg, struct hnode *n)
{
	(void)arg;
	vfile_free(HNODE_OF(struct vfile, node, n));
}

void vfiles_end(struct shard *sh)
{
	hmap_each(&sh->vfiles, end_any, NULL);
}

/* ---- the body of a request ---- */

struct fetch_token {
	uint64_t binding, token;
	struct content *content;
	enum st st;
	struct err err;
};

static void finish_token(struct shard *sh, void *arg)
{
	struct fetch_token *t = arg;
	struct vfile *v;

	t->st = vfile_take(sh, t->binding, t->token, &v, &t->err);
	if (t->st == ST_OK)
		t->st = vfile_finish(v, &t->content, &t->err);
}

static enum st content_of_token(struct shard *sh, const struct exipc_request *rq, uint64_t token,
				struct content **out, struct err *err)
{
	struct fetch_token t = { .binding = rq->binding_id, .token = token, .st = ST_OK };
	enum st st = shard_call(shard_of(sh->store, token), finish_token, &t, err);

	if (st != ST_OK)
		return st;
	if (t.st != ST_OK)
		return fail(err, t.st, "%s", t.err.text);
	*out = t.content;
	return ST_OK;
}

uint64_t *recipient_mailboxes(const struct plist *in, size_t max, size_t *n)
{
	uint64_t *ids;

	*n = plist_mv_count(in, PR_RECIPIENT_MAILBOXES);
	if (*n > max)
		*n = max;
	ids = *n ? calloc(*n, sizeof *ids) : NULL;
	if (!ids)
		*n = 0;
	for (size_t i = 0; i < *n; i++)
		ids[i] = plist_mv_num(in, PR_RECIPIENT_MAILBOXES, i);
	return ids;
}

enum st content_of_request(struct shard *sh, const struct exipc_request *rq, const struct plist *in,
			   const uint64_t *mailboxes, size_t n, struct content **out,
			   struct err *err)
{
	uint64_t token = plist_u64(in, PR_BODY_TOKEN, 0);
	struct vfile *v;
	enum st st;

	if (token)
		return content_of_token(sh, rq, token, out, err);
	st = vfile_new(sh, rq->binding_id, mailboxes, n, &v, err);
	if (st != ST_OK)
		return st;
	for (unsigned i = 0; i < rq->nsections && st == ST_OK; i++)
		st = vfile_write(v, rq->sections[i].at, rq->sections[i].len, err);
	if (st == ST_OK)
		return vfile_finish(v, out, err);
	vfile_free(v);
	return st;
}
