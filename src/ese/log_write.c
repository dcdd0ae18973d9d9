/* log_write.c - the committer: many records, one write, one sync; see log.h.
 *
 * The happy path: nodes queue up while a sync runs; then all of them are laid out behind a GROUP
 * record, handed on, padded to the page, written and synced at once.  Where the file ends, END closes the
 * group and the next file, already prepared, takes over.
 * Possible failures: a failed write or sync breaks the group for good; no file ahead makes the
 * committer wait, with what it was given, until there is one. */
#include "ese/log_int.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>

/* A group stops growing here, should the queue ever be longer. */
#define GROUP_ENOUGH (4u * 1024 * 1024)
/* Bytes of bodies wait for the batch that needs them, up to this: a sync for them alone helps nobody. */
#define LAZY_BYTES   (256u * 1024)
#define GROUP_FIRST  (REC_HEAD + REC_GROUP_PAYLOAD)
#define END_SIZE     (REC_HEAD + 8u)

struct node *node_new(enum rec_kind kind, uint32_t cap)
{
	struct node *n = malloc(sizeof(*n) + cap);

	if (!n)
		return NULL;
	*n = (struct node){ .kind = kind, .cap = cap };
	return n;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	free(n->bodies);
	free(n);
}

void log_break(struct log *l, const struct err *why)
{
	bool first;

	pthread_mutex_lock(&l->lock);
	first = !l->broken;
	l->broken = true;
	pthread_cond_broadcast(&l->ready);
	pthread_cond_broadcast(&l->rolled);
	pthread_mutex_unlock(&l->lock);
	if (first)
		l->c.broken(l->c.arg, why);
}

uint32_t log_payload_max(const struct log *l)
{
	return l->c.segment_bytes - 2 * SEG_HEAD -
	       128; /* header, END's page, GROUP and own header */
}

/* With the lock held: what is queued is to be written. */
static void go(struct log *l)
{
	if (!l->go)
		pthread_cond_signal(&l->work);
	l->go = true;
}

void log_queue(struct log *l, struct node *n)
{
	bool lazy = n->kind == REC_BODY || n->way == NODE_PASS;

	n->next = NULL;
	if (n->way == NODE_LOGGED)
		n->payload_crc = crc32c(0, n->payload, n->len);
	pthread_mutex_lock(&l->lock);
	if (n->way == NODE_LOGGED)
		l->waiting += rec_size(n->len);
	else
		l->direct += n->len;
	*l->tail = n;
	l->tail = &n->next;
	if (!lazy || l->waiting + l->direct > LAZY_BYTES)
		go(l);
	pthread_mutex_unlock(&l->lock);
}

void log_kick(struct log *l)
{
	pthread_mutex_lock(&l->lock);
	go(l);
	pthread_mutex_unlock(&l->lock);
}

bool log_starved(struct log *l)
{
	return l->starved;
}

bool log_has_room(struct log *l, size_t len)
{
	uint64_t left, spare = l->c.segment_bytes / 4;
	bool has;

	if (len > l->c.segment_bytes / 2)
		len = l->c.segment_bytes / 2;
	pthread_mutex_lock(&l->lock);
	left = l->c.segment_bytes - pos_off(l->position) + l->nahead * (uint64_t)l->c.segment_bytes;
	/* An eighth for headers and the ends of pages. */
	has = (l->waiting + len) / 8 * 9 + spare < left;
	pthread_mutex_unlock(&l->lock);
	return has;
}

uint32_t log_oldest(struct log *l)
{
	uint32_t gen;

	pthread_mutex_lock(&l->lock);
	gen = l->oldest;
	pthread_mutex_unlock(&l->lock);
	return gen;
}

uint64_t log_position(struct log *l)
{
	uint64_t pos;

	pthread_mutex_lock(&l->lock);
	pos = l->position;
	pthread_mutex_unlock(&l->lock);
	return pos;
}

void log_newest(struct log *l, uint64_t *pos, uint64_t *time, uint32_t *oldest)
{
	pthread_mutex_lock(&l->lock);
	*pos = l->position;
	*time = l->newest;
	*oldest = l->oldest;
	pthread_mutex_unlock(&l->lock);
}

void log_counts(struct log *l, uint64_t *bytes, uint64_t *syncs)
{
	pthread_mutex_lock(&l->lock);
	*bytes = l->bytes;
	*syncs = l->syncs;
	pthread_mutex_unlock(&l->lock);
}

/* ---- layout ---- */

struct layout {
	uint32_t used, records;
};

static uint32_t page_up(uint32_t n)
{
	return (n + LOG_PAGE - 1) & ~(LOG_PAGE - 1);
}

static void put_record(struct log *l, struct layout *g, const struct rec *r, uint32_t payload_crc)
{
	char *at = l->buffer + g->used;
	size_t size = rec_size(r->payload.len);

	rec_head_put(at, r, payload_crc, l->mark);
	memcpy(at + REC_HEAD, r->payload.at, r->payload.len);
	memset(at + REC_HEAD + r->payload.len, 0, size - REC_HEAD - r->payload.len);
	g->used += (uint32_t)size;
	g->records++;
}

static void put_node(struct log *l, struct layout *g, struct node *n)
{
	struct rec r = {
		.kind = n->kind,
		.db = n->db_number,
		.partition = n->partition,
		.pos = pos_of(l->cur.gen, l->off + g->used),
		.payload = span_of(n->payload, n->len),
	};

	n->pos = r.pos;
	put_record(l, g, &r, n->payload_crc);
}

static void put_end(struct log *l, struct layout *g)
{
	char payload[REC_END_PAYLOAD];
	struct rec r = {
		.kind = REC_END,
		.pos = pos_of(l->cur.gen, l->off + g->used),
		.payload = span_of(payload, sizeof(payload)),
	};

	le32_put(payload, l->cur.gen + 1);
	put_record(l, g, &r, crc32c(0, payload, sizeof(payload)));
}

/* The first record, when the sizes are known; then zeros to the page. */
static uint32_t close_group(struct log *l, struct layout *g)
{
	char payload[REC_GROUP_PAYLOAD];
	struct rec r = {
		.kind = REC_GROUP,
		.pos = pos_of(l->cur.gen, l->off),
		.payload = span_of(payload, sizeof(payload)),
	};
	uint32_t bytes = page_up(g->used);
	struct layout first = { 0 };

	l->time = (uint64_t)clock_real();
	rec_group_put(payload, &(struct rec_group){ .time = l->time,
						    .number = l->number,
						    .bytes = bytes,
						    .records = g->records });
	put_record(l, &first, &r, crc32c(0, payload, sizeof(payload)));
	memset(l->buffer + g->used, 0, bytes - g->used);
	return bytes;
}

/* Would a group that grows by `more` still leave a page for the END of this file? */
static bool fits(const struct log *l, const struct layout *g, uint32_t more)
{
	return l->off + page_up(g->used + more) <= l->cur.size - LOG_PAGE;
}

/* ---- committing ---- */

/* `queued`: how many bytes of it were waiting. */
static enum st write_group(struct log *l, struct layout *g, uint32_t queued, struct err *err)
{
	uint32_t bytes = close_group(l, g);
	enum st st = seg_write(&l->cur, l->buffer, bytes, l->off, err);

	if (st != ST_OK)
		return st;
	l->off += bytes;
	l->number++;
	pthread_mutex_lock(&l->lock);
	l->bytes += bytes;
	l->syncs++;
	l->waiting -= queued;
	l->position = pos_of(l->cur.gen, l->off);
	l->newest = l->time;
	pthread_mutex_unlock(&l->lock);
	return ST_OK;
}

/* Take the next prepared file, which is there. */
static void next_file(struct log *l)
{
	seg_close(&l->cur);
	pthread_mutex_lock(&l->lock);
	l->cur = l->ahead[0];
	memmove(l->ahead, l->ahead + 1, (LOG_AHEAD - 1) * sizeof(*l->ahead));
	l->nahead--;
	l->off = SEG_HEAD;
	l->position = pos_of(l->cur.gen, l->off);
	pthread_cond_signal(&l->prepare);
	pthread_mutex_unlock(&l->lock);
}

/* END says that the next file is there, so it is written only when that is so.  Waits for it when the
 * group has nothing else to write; false: no END now (or the log broke). */
static bool may_end(struct log *l, bool wait)
{
	bool have;

	pthread_mutex_lock(&l->lock);
	while (wait && l->nahead == 0 && !l->broken && !l->stop)
		pthread_cond_wait(&l->ready, &l->lock);
	have = l->nahead > 0;
	pthread_mutex_unlock(&l->lock);
	return have;
}

/* Lay out what fits from `list` on, and write what goes beside the log; *end_out is behind it. */
static enum st gather(struct log *l, struct layout *g, struct node **list, struct node ***end_out,
		      bool *full, struct err *err)
{
	struct node **end = list;
	bool direct = false;
	enum st st = ST_OK;

	for (; st == ST_OK && *end && g->used < GROUP_ENOUGH; end = &(*end)->next) {
		struct node *n = *end;

		if (n->way == NODE_DIRECT)
			st = l->c.direct(l->c.arg, n, err);
		if (n->way != NODE_LOGGED)
			continue;
		if (!fits(l, g, (uint32_t)rec_size(n->len))) {
			*full = true;
			break;
		}
		put_node(l, g, n);
		direct = direct || n->after_direct;
	}
	*end_out = end;
	return st == ST_OK && direct ? l->c.direct_sync(l->c.arg, err) : st;
}

/* Write one group from the front of *list; the nodes that are in it are handed on. */
static bool commit_group(struct log *l, struct node **list)
{
	struct layout g = { .used = GROUP_FIRST, .records = 1 };
	struct node *first = *list, **end;
	uint32_t queued;
	bool full = false, some;
	struct err err = { 0 };

	if (gather(l, &g, list, &end, &full, &err) != ST_OK) {
		log_break(l, &err);
		return false;
	}
	queued = g.used - GROUP_FIRST;
	if (full) {
		full = may_end(l, end == list);
		if (!full && end == list)
			return false;
		if (full)
			put_end(l, &g);
	}
	some = end != list;
	if (some) {
		*list = *end;
		*end = NULL;
		l->c.placed(l->c.arg, first);
	}
	if (g.records > 1 && write_group(l, &g, queued, &err) != ST_OK) {
		log_break(l, &err);
		return false;
	}
	if (some)
		l->c.synced(l->c.arg);
	if (full)
		next_file(l);
	return true;
}

/* The open file ends here, unless nothing is in it.  False: no file ahead, or broken. */
static bool end_file(struct log *l)
{
	struct layout g = { .used = GROUP_FIRST, .records = 1 };
	struct err err = { 0 };

	if (l->off == SEG_HEAD)
		return true;
	if (!may_end(l, true))
		return false;
	put_end(l, &g);
	if (write_group(l, &g, 0, &err) != ST_OK) {
		log_break(l, &err);
		return false;
	}
	next_file(l);
	return true;
}

/* What log_roll asked for before `wanted`. */
static bool roll(struct log *l, uint64_t wanted)
{
	bool ended = end_file(l);

	pthread_mutex_lock(&l->lock);
	if (ended)
		l->rolls_done = wanted;
	pthread_cond_broadcast(&l->rolled);
	pthread_mutex_unlock(&l->lock);
	return ended;
}

enum st log_roll(struct log *l, uint32_t *next_out, struct err *err)
{
	enum st st = ST_OK;
	uint64_t mine;

	pthread_mutex_lock(&l->lock);
	mine = ++l->rolls_wanted;
	go(l);
	while (l->rolls_done < mine && !l->broken && !l->stop)
		pthread_cond_wait(&l->rolled, &l->lock);
	if (l->rolls_done >= mine)
		*next_out = pos_gen(l->position);
	else if (l->broken)
		st = fail(err, ST_IO, "%s: the log is broken", l->c.dir);
	else
		st = fail(err, ST_GONE, "%s: the log is being closed", l->c.dir);
	pthread_mutex_unlock(&l->lock);
	return st;
}

static void free_list(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		node_free(n);
		n = next;
	}
}

static void *committer(void *arg)
{
	struct log *l = arg;

	pthread_setname_np(pthread_self(), "ese-log");
	for (;;) {
		uint64_t rolls;
		struct node *list;
		bool stop;

		pthread_mutex_lock(&l->lock);
		while (!l->go && !l->stop)
			pthread_cond_wait(&l->work, &l->lock);
		l->go = false;
		rolls = l->rolls_wanted == l->rolls_done ? 0 : l->rolls_wanted;
		list = l->head;
		l->head = NULL;
		l->tail = &l->head;
		l->direct = 0;
		stop = l->broken || (l->stop && !list);
		pthread_mutex_unlock(&l->lock);
		while (list && !stop)
			stop = !commit_group(l, &list);
		if (!stop && rolls)
			stop = !roll(l, rolls);
		if (stop) {
			free_list(list);
			return NULL;
		}
	}
}

/* ---- life ---- */

static void log_destroy(struct log *l)
{
	for (unsigned i = 0; i < l->nahead; i++)
		seg_close(&l->ahead[i]);
	seg_close(&l->cur);
	pthread_cond_destroy(&l->rolled);
	pthread_cond_destroy(&l->ready);
	pthread_cond_destroy(&l->prepare);
	pthread_cond_destroy(&l->work);
	pthread_mutex_destroy(&l->lock);
	free(l->spares);
	free(l->buffer);
	free(l);
}

static enum st first_files(struct log *l, uint32_t prev_end, struct err *err)
{
	enum st st = log_collect(l, l->last_gen, err);

	if (st == ST_OK)
		st = log_prepare_one(l, prev_end, err);
	if (st != ST_OK)
		return st;
	next_file(l);
	return log_prepare_one(l, 0, err);
}

enum st log_start(const struct log_conf *c, uint32_t gen, uint64_t prev_created, uint32_t prev_end,
		  uint64_t number, struct log **out, struct err *err)
{
	struct log *l = calloc(1, sizeof(*l));
	enum st st;

	if (!l)
		return fail(err, ST_NOMEM, "log");
	l->c = *c;
	l->mark = le32_get(c->signature);
	l->tail = &l->head;
	l->cur.fd = -1;
	l->last_gen = gen - 1;
	l->last_created = prev_created;
	l->number = number;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->work, NULL);
	pthread_cond_init(&l->prepare, NULL);
	pthread_cond_init(&l->ready, NULL);
	pthread_cond_init(&l->rolled, NULL);
	if (posix_memalign((void **)&l->buffer, LOG_PAGE, c->segment_bytes - SEG_HEAD) != 0) {
		l->buffer = NULL;
		st = fail(err, ST_NOMEM, "log buffer");
	} else {
		st = first_files(l, prev_end, err);
	}
	if (st == ST_OK && pthread_create(&l->committer, NULL, committer, l) != 0)
		st = fail(err, ST_NOMEM, "log thread");
	if (st != ST_OK) {
		log_destroy(l);
		return st;
	}
	if (pthread_create(&l->preparer, NULL, log_preparer, l) != 0)
		panic("no thread for the log");
	*out = l;
	return ST_OK;
}

void log_stop(struct log *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->prepare);
	pthread_cond_broadcast(&l->ready);
	pthread_cond_broadcast(&l->rolled);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->preparer, NULL);
	pthread_join(l->committer, NULL);
	free_list(l->head);
	log_destroy(l);
}
