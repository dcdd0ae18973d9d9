/* body.c - bodies on their way in, references to them, and reading them; see ese.h. */
#include "ese/ese_int.h"

#include "base/crc32c.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the table of bodies that somebody holds ---- */

static struct ese_body **slot(struct ese_db *db, uint64_t id)
{
	struct ese_body **at = &db->table[id % BODY_TABLE];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static void free_nodes(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		node_free(n);
		n = next;
	}
}

void body_destroy(struct ese_body *b)
{
	free_nodes(b->kept);
	free(b->runs);
	free(b->crcs);
	db_leave(b->db);
	free(b);
}

enum st ese_body_new(struct ese_db *db, struct ese_body **out, struct err *err)
{
	struct ese_body *b = calloc(1, sizeof(*b));
	struct ese_body **at;
	enum st st = b ? db_enter(db, err) : fail(err, ST_NOMEM, "new body");

	if (st != ST_OK) {
		free(b);
		return st;
	}
	b->db = db;
	b->fresh = true;
	b->refs = 1;
	b->kept_tail = &b->kept;
	b->id = atomic_fetch_add(&db->next_id, 1);
	pthread_mutex_lock(&db->lock);
	at = slot(db, b->id);
	b->next = *at;
	*at = b;
	pthread_mutex_unlock(&db->lock);
	*out = b;
	return ST_OK;
}

uint64_t ese_body_id(const struct ese_body *b)
{
	return b->id;
}

uint64_t ese_body_len(const struct ese_body *b)
{
	return b->len;
}

void ese_body_hold(struct ese_body *b)
{
	pthread_mutex_lock(&b->db->lock);
	b->refs++;
	pthread_mutex_unlock(&b->db->lock);
}

/* Never linked: nothing on disk says that the pages are anybody's.  Bytes of it that are still in the queue come
 * before whatever the next owner does with them, so they go behind those. */
void body_give_back(struct ese_db *db, const struct run *runs, uint32_t nruns)
{
	struct node *n = node_new(REC_BODY, nruns * 8);

	/* Without memory the pages are free again after the next opening. */
	if (!n)
		return;
	n->way = NODE_PASS;
	n->db = db;
	n->len = nruns * 8;
	for (uint32_t i = 0; i < nruns; i++) {
		le32_put(n->payload + (size_t)i * 8, runs[i].page);
		le32_put(n->payload + (size_t)i * 8 + 4, runs[i].pages);
	}
	group_queue(db->g, n);
}

static void give_pages_back(struct ese_body *b)
{
	if (b->queued)
		body_give_back(b->db, b->runs, b->nruns);
	for (uint32_t i = 0; !b->queued && i < b->nruns; i++)
		space_release(b->db->space, b->runs[i].page, b->runs[i].pages);
}

void body_passed(const struct node *n)
{
	struct span runs = span_of(n->payload, n->len);

	if (n->way == NODE_PASS)
		for (uint32_t i = 0; i < n->len / 8; i++)
			space_release(n->db->space, run_page(runs, i), run_pages(runs, i));
}

void ese_body_drop(struct ese_body *b)
{
	struct ese_db *db;
	bool last;

	if (!b)
		return;
	db = b->db;
	pthread_mutex_lock(&db->lock);
	assert(b->refs > 0);
	last = --b->refs == 0;
	if (last)
		*slot(db, b->id) = b->next;
	pthread_mutex_unlock(&db->lock);
	if (!last)
		return;
	if (b->fresh && !b->linked)
		give_pages_back(b);
	if (b->way == WAY_DIRECT)
		direct_end(db->g);
	if (b->orphan)
		body_queue_free(db, b->id);
	body_destroy(b);
}

void body_applied(struct ese_db *db, uint64_t id, uint32_t count, bool gone)
{
	struct ese_body *b;
	bool ask;

	if (db->replaying)
		return;
	pthread_mutex_lock(&db->lock);
	b = *slot(db, id);
	if (b && !gone) {
		b->linked = true;
		b->orphan = count == 0;
	}
	ask = !b && !gone && count == 0;
	pthread_mutex_unlock(&db->lock);
	if (ask)
		body_queue_free(db, id);
}

bool body_is_new(struct ese_db *db, uint64_t id)
{
	struct ese_body *b;
	bool is;

	pthread_mutex_lock(&db->lock);
	b = *slot(db, id);
	is = b && b->fresh && !b->linked;
	pthread_mutex_unlock(&db->lock);
	return is;
}

void body_queue_free(struct ese_db *db, uint64_t id)
{
	struct node *n = node_new(REC_FREE, REC_FREE_PAYLOAD);

	/* Without memory the body stays in the rows 05 and is freed after the next opening. */
	if (!n)
		return;
	n->db = db;
	n->db_number = db->number;
	n->len = REC_FREE_PAYLOAD;
	le64_put(n->payload, id);
	group_queue(db->g, n);
}

/* The reference is taken before the row is read, so that a count above 0 seen here can't be followed by a FREE. */
enum st body_by_id(struct ese_db *db, uint64_t id, struct ese_body **out, struct err *err)
{
	struct ese_body *b = calloc(1, sizeof(*b)), *spare = NULL;
	struct row_key key = row_key_body(id);
	struct ese_body **at;
	struct row_body row;
	struct span v;
	void *hold;
	enum st st;

	if (!b)
		return fail(err, ST_NOMEM, "link a body");
	pthread_mutex_lock(&db->lock);
	at = slot(db, id);
	if (*at) {
		spare = b;
		b = *at;
	} else {
		b->db = db;
		b->id = id;
		b->linked = true;
		*at = b;
		/* Whoever asks has a batch, which is a use: the gate is open. */
		atomic_fetch_add(&db->uses, 1);
	}
	b->refs++;
	pthread_mutex_unlock(&db->lock);
	free(spare);
	st = pdb_get(db->rows, row_key_span(&key), &v, &hold, err);
	if (st == ST_OK) {
		st = row_body_get(v, &row);
		if (st == ST_OK && row.refs == 0)
			st = ST_NOTFOUND;
		pdb_release(hold);
	}
	if (st == ST_NOTFOUND)
		fail(err, st, "body %llu has no link", (unsigned long long)id);
	if (st != ST_OK) {
		ese_body_drop(b);
		return st;
	}
	*out = b;
	return ST_OK;
}

/* ---- writing ---- */

static enum st add_run(struct ese_body *b, struct run r, struct err *err)
{
	struct run *last = b->nruns ? &b->runs[b->nruns - 1] : NULL;

	if (last && last->page + last->pages == r.page) {
		last->pages += r.pages;
	} else {
		if (b->nruns == b->cap_runs) {
			uint32_t cap = b->cap_runs ? b->cap_runs * 2 : 2;
			struct run *more = realloc(b->runs, cap * sizeof(*more));

			if (!more) {
				space_release(b->db->space, r.page, r.pages);
				return fail(err, ST_NOMEM, "body");
			}
			b->runs = more;
			b->cap_runs = cap;
		}
		b->runs[b->nruns++] = r;
	}
	b->reserved += r.pages;
	return ST_OK;
}

/* Pages for `len` bytes in all.  What was reserved stays with the body when there are not enough. */
static enum st reserve_pages(struct ese_body *b, uint64_t len, struct err *err)
{
	uint32_t need = (uint32_t)((len + ESE_PAGE - 1) / ESE_PAGE), all = need;

	/* The first write is often the only one; a body that goes on does so in clusters. */
	if (b->reserved > 0)
		all = (need + ESE_CLUSTER - 1) / ESE_CLUSTER * ESE_CLUSTER;
	while (b->reserved < need) {
		uint32_t near = 0, want = all - b->reserved;
		struct run r;
		enum st st;

		if (b->nruns)
			near = b->runs[b->nruns - 1].page + b->runs[b->nruns - 1].pages;
		if (want > SPACE_CHUNK)
			want = SPACE_CHUNK;
		st = space_reserve(b->db->space, want, near, &r, err);
		if (st == ST_OK)
			st = add_run(b, r, err);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* Where byte `off` of the body is in the file, and how many bytes follow it without a gap. */
static uint64_t place(const struct ese_body *b, uint64_t off, uint64_t *follow_out)
{
	uint64_t page = off / ESE_PAGE, before = b->reserved;

	/* From the end: writing is where the body ends. */
	for (uint32_t i = b->nruns; i-- > 0;) {
		before -= b->runs[i].pages;
		if (before <= page) {
			uint64_t in_run = off - before * ESE_PAGE;

			*follow_out = (uint64_t)b->runs[i].pages * ESE_PAGE - in_run;
			return (uint64_t)b->runs[i].page * ESE_PAGE + in_run;
		}
	}
	assert(!"a body without pages for its bytes");
	return 0;
}

static enum st room_for_crcs(struct ese_body *b, uint64_t len, struct err *err)
{
	uint32_t need = (uint32_t)((len + ESE_PAGE - 1) / ESE_PAGE), cap = b->cap_pages;
	uint32_t *more;

	if (need <= cap)
		return ST_OK;
	cap = need > cap * 2 ? need : cap * 2;
	more = realloc(b->crcs, cap * sizeof(*more));
	if (!more)
		return fail(err, ST_NOMEM, "body");
	b->crcs = more;
	b->cap_pages = cap;
	return ST_OK;
}

/* Carry the CRC of each page on over bytes that nobody else can change any more. */
static void count_crcs(struct ese_body *b, const char *at, size_t len)
{
	while (len > 0) {
		uint32_t page = (uint32_t)(b->len / ESE_PAGE), in = (uint32_t)(b->len % ESE_PAGE);
		size_t n = ESE_PAGE - in < len ? ESE_PAGE - in : len;

		b->crcs[page] = crc32c(in ? b->crcs[page] : 0, at, n);
		b->npages = page + 1;
		b->len += n;
		at += n;
		len -= n;
	}
}

/* BODY records for the bytes, copied: from here on only the copies are looked at. */
static enum st make_nodes(struct ese_body *b, const char *bytes, size_t len, struct node **out,
			  struct err *err)
{
	struct node *first = NULL, **tail = &first;
	uint64_t off = b->len;

	while (len > 0) {
		uint64_t follow, at = place(b, off, &follow);
		size_t n = len < REC_BODY_BYTES ? len : REC_BODY_BYTES;
		struct node *node;

		if (n > follow)
			n = (size_t)follow;
		node = node_new(REC_BODY, (uint32_t)(REC_BODY_HEAD + n));
		if (!node) {
			free_nodes(first);
			return fail(err, ST_NOMEM, "body");
		}
		node->db = b->db;
		node->db_number = b->db->number;
		node->len = (uint32_t)(REC_BODY_HEAD + n);
		le64_put(node->payload, b->id);
		le64_put(node->payload + 8, off);
		le64_put(node->payload + 16, at);
		memcpy(node->payload + REC_BODY_HEAD, bytes, n);
		*tail = node;
		tail = &node->next;
		bytes += n;
		off += n;
		len -= n;
	}
	*out = first;
	return ST_OK;
}

/* Queue nodes whose bytes are claimed. */
static void queue_nodes(struct ese_body *b, struct node *list)
{
	while (list) {
		struct node *next = list->next;

		list->way = b->way == WAY_DIRECT ? NODE_DIRECT : NODE_LOGGED;
		group_queue(b->db->g, list);
		b->queued = true;
		list = next;
	}
}

static void queue_kept(struct ese_body *b)
{
	struct node *list = b->kept;

	b->kept = NULL;
	b->kept_tail = &b->kept;
	queue_nodes(b, list);
}

/* The way of a body, with `len` bytes more, and the room that it needs. */
struct choice {
	enum body_way way;
	bool began; /* counted in direct_now for it */
	size_t claimed;
};

static void unchoose(struct ese_body *b, const struct choice *c)
{
	if (c->claimed)
		group_unclaim(b->db->g, c->claimed);
	if (c->began)
		direct_end(b->db->g);
}

/* Bytes that are kept back need no room; when they become too many, all go the same way. */
static enum st choose(struct ese_body *b, size_t len, struct choice *c, struct err *err)
{
	struct ese *g = b->db->g;
	enum st st;

	*c = (struct choice){ .way = b->way };
	if (b->len == 0)
		c->way = g->circular ? WAY_OPEN : WAY_LOG;
	if (c->way == WAY_OPEN && b->len + len <= g->o.direct_bytes)
		return ST_OK;
	if (c->way == WAY_OPEN) {
		len += b->len;
		c->began = direct_begin(g);
		c->way = c->began ? WAY_DIRECT : WAY_LOG;
	}
	st = group_claim(g, len, c->way == WAY_DIRECT, err);
	if (st == ST_OK)
		c->claimed = len;
	else
		unchoose(b, c);
	return st;
}

enum st ese_body_write(struct ese_body *b, const void *bytes, size_t len, struct err *err)
{
	struct ese *g = b->db->g;
	struct node *list = NULL;
	struct choice choice;
	enum st st;

	assert(b->fresh && !b->sealed);
	if (len > ESE_BODY_MAX - b->len)
		return fail(err, ST_TOOBIG, "a body is at most %llu bytes",
			    (unsigned long long)ESE_BODY_MAX);
	if (len == 0)
		return ST_OK;
	st = group_admit(g, len, false, err);
	if (st == ST_OK)
		st = reserve_pages(b, b->len + len, err);
	if (st == ST_OK)
		st = room_for_crcs(b, b->len + len, err);
	if (st == ST_OK)
		st = choose(b, len, &choice, err);
	if (st != ST_OK)
		return st;
	st = make_nodes(b, bytes, len, &list, err);
	if (st != ST_OK) {
		unchoose(b, &choice);
		return st;
	}
	b->way = choice.way;
	*b->kept_tail = list;
	for (struct node *n = list; n; n = n->next) {
		count_crcs(b, n->payload + REC_BODY_HEAD, n->len - REC_BODY_HEAD);
		b->kept_tail = &n->next;
	}
	if (b->way != WAY_OPEN)
		queue_kept(b);
	return ST_OK;
}

/* A small body of a group with circular logging: through the log, or beside it when that has no room. */
static void send_kept(struct ese_body *b)
{
	struct ese *g = b->db->g;

	b->way = !log_has_room(g->log, b->len) && direct_begin(g) ? WAY_DIRECT : WAY_LOG;
	group_claim_anyway(g, b->len);
	queue_kept(b);
}

static void trim(struct ese_body *b)
{
	uint32_t need = (uint32_t)((b->len + ESE_PAGE - 1) / ESE_PAGE);

	while (b->reserved > need) {
		struct run *last = &b->runs[b->nruns - 1];
		uint32_t give = b->reserved - need;

		if (give > last->pages)
			give = last->pages;
		last->pages -= give;
		b->reserved -= give;
		space_release(b->db->space, last->page + last->pages, give);
		if (last->pages == 0)
			b->nruns--;
	}
}

void body_seal(struct ese_body *b)
{
	pthread_mutex_lock(&b->db->sealing);
	if (!b->sealed) {
		trim(b);
		if (b->kept)
			send_kept(b);
		b->sealed = true;
	}
	pthread_mutex_unlock(&b->db->sealing);
}
