/* scrub.c - the thread that reads every body again, slowly, to find damage before somebody needs it; see ese.h.
 *
 * The happy path: a pass begins with a look at all rows and page states (check.h), then reads body after body in the order
 * of their ids, a megabyte at a time, and waits as the rate wants.  How far it is stands in row 06 of the database, which is no part
 * of the log: a restart goes on from there.  What it brought into the page cache it gives back.
 * Possible failures: none that stop it.  What it can't read is a finding, and it goes on with the next. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/check.h"
#include "ese/io.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define STEP_BYTES  (1024u * 1024)
#define STEP_BODIES 256u
#define NOTE_BYTES  (64u * 1024 * 1024) /* read between two notes of how far it is */
#define LOOK_AGAIN  (60 * NS_PER_SEC)

/* ---- row 06 ---- */

#define ROW_SCRUB_BYTES 48u

static void load_progress(struct ese_db *db)
{
	struct row_key key = row_key_scrub();
	struct scrub *s = &db->scrub;
	struct span v;
	void *hold;

	if (s->loaded)
		return;
	s->loaded = true;
	s->row = (struct scrub_row){ 0 };
	if (pdb_get(db->rows, row_key_span(&key), &v, &hold, NULL) != ST_OK)
		return;
	if (v.len == ROW_SCRUB_BYTES)
		s->row = (struct scrub_row){ .next = le64_get(v.at),
					     .began = le64_get(v.at + 8),
					     .ended = le64_get(v.at + 16),
					     .pages = le64_get(v.at + 24),
					     .found = le64_get(v.at + 32),
					     .found_before = le64_get(v.at + 40) };
	pdb_release(hold);
}

static void keep_progress(struct ese_db *db)
{
	struct row_key key = row_key_scrub();
	struct pdb_batch *b = pdb_batch_new();
	const struct scrub_row *r = &db->scrub.row;
	char v[ROW_SCRUB_BYTES];

	db->scrub.unnoted = 0;
	if (!b)
		return;
	le64_put(v, r->next);
	le64_put(v + 8, r->began);
	le64_put(v + 16, r->ended);
	le64_put(v + 24, r->pages);
	le64_put(v + 32, r->found);
	le64_put(v + 40, r->found_before);
	pdb_put(b, row_key_span(&key), span_of(v, sizeof(v)));
	/* A failure shows at the next write of somebody who can't do without. */
	(void)pdb_write(db->rows, b, NULL);
	pdb_batch_free(b);
}

/* ---- rows and page states ---- */

static void on_row_finding(void *arg, const struct finding *f)
{
	struct ese_db *db = arg;

	db->scrub.row.found++;
	group_found(db->g, f);
}

static void look_at_rows(struct ese_db *db)
{
	struct check_db c = {
		.name = db->name, .db = db, .quick = true, .found = on_row_finding, .arg = db
	};

	(void)check_db(&c, NULL);
	check_db_free(&c);
}

/* ---- pages ---- */

/* Where body page `first` is in the file, and how many pages follow it side by side. */
static uint64_t place(const struct row_body *row, uint32_t first, uint32_t *follow_out)
{
	uint32_t before = 0, i = 0;

	while (before + run_pages(row->runs, i) <= first)
		before += run_pages(row->runs, i++);
	*follow_out = before + run_pages(row->runs, i) - first;
	return (uint64_t)run_page(row->runs, i) + first - before;
}

static void read_body(struct ese_db *db, uint64_t id, const struct row_body *row, char *pages)
{
	bool damaged = false;

	for (uint32_t at = 0, n; at < row->npages; at += n) {
		uint32_t follow;
		uint64_t page = place(row, at, &follow);
		bool cached;

		n = follow < BODY_READ_PAGES ? follow : BODY_READ_PAGES;
		cached = io_cached(db->read_fd, pages, (size_t)n * ESE_PAGE, page * ESE_PAGE);
		damaged |= body_read_pages(db, id, row, at, n, pages, &follow, NULL) != ST_OK;
		if (!cached)
			io_forget(db->read_fd, page * ESE_PAGE, (uint64_t)n * ESE_PAGE);
	}
	db->scrub.row.found += damaged;
	db->scrub.row.pages += row->npages;
}

/* Bodies from the next one on, about a megabyte of them; *end_out: there were no more. */
static uint64_t read_some(struct ese_db *db, uint64_t bytes_max, char *pages, bool *end_out)
{
	struct row_key from = row_key_body(db->scrub.row.next);
	struct span key, v, to = SPAN("\x04");
	uint64_t pin = ese_pin(db), before = db->scrub.row.pages, id;
	unsigned bodies = 0;
	struct row_body row;
	struct pdb_iter *it = NULL;
	enum st st = pdb_iter_new(db->rows, row_key_span(&from), to, &it, NULL);

	*end_out = st != ST_OK;
	while (st == ST_OK && bodies++ < STEP_BODIES &&
	       (db->scrub.row.pages - before) * ESE_PAGE < bytes_max) {
		st = pdb_iter_next(it, &key, &v, NULL);
		*end_out = st != ST_OK;
		if (st != ST_OK || !row_key_id(key, &id))
			continue;
		/* A row without references may be of pages that are others' by now. */
		if (row_body_get(v, &row) == ST_OK && row.refs > 0)
			read_body(db, id, &row, pages);
		db->scrub.row.next = id + 1;
	}
	pdb_iter_free(it);
	ese_unpin(db, pin);
	return (db->scrub.row.pages - before) * ESE_PAGE;
}

/* ---- steps ---- */

static void begin_pass(struct ese_db *db)
{
	struct scrub_row *r = &db->scrub.row;

	*r = (struct scrub_row){ .next = 1,
				 .began = (uint64_t)clock_real(),
				 .ended = r->ended,
				 .found_before = r->found_before };
	look_at_rows(db);
}

static void end_pass(struct ese_db *db)
{
	struct scrub_row *r = &db->scrub.row;

	r->ended = (uint64_t)clock_real();
	r->found_before = r->found;
	r->next = 0;
	db->scrub.wanted = false;
}

/* With g->scrubbing held: what is read is up, and not cut short meanwhile. */
static uint64_t step(struct ese_db *db, char *pages)
{
	uint64_t bytes;
	bool end;

	load_progress(db);
	if (db->scrub.row.next == 0) {
		begin_pass(db);
		keep_progress(db);
	}
	bytes = read_some(db, STEP_BYTES, pages, &end);
	db->scrub.unnoted += bytes;
	if (end)
		end_pass(db);
	if (end || db->scrub.unnoted >= NOTE_BYTES)
		keep_progress(db);
	return bytes;
}

enum st ese_scrub_step(struct ese_db *db, bool *end_out, struct err *err)
{
	char *pages = malloc((size_t)BODY_READ_PAGES * ESE_PAGE);
	enum st st = pages ? db_enter(db, err) : fail(err, ST_NOMEM, "scrub %s", db->name);

	if (st == ST_OK) {
		pthread_mutex_lock(&db->g->scrubbing);
		(void)step(db, pages);
		*end_out = db->scrub.row.next == 0;
		pthread_mutex_unlock(&db->g->scrubbing);
		db_leave(db);
	}
	free(pages);
	return st;
}

/* ---- the thread ---- */

/* With g->scrubbing held. */
static bool due(struct ese_db *db, int64_t now)
{
	struct scrub *s = &db->scrub;
	uint64_t last;

	if (!db_is_up(db) || db->removed || s->stopped)
		return false;
	load_progress(db);
	if (s->wanted || s->row.next != 0)
		return true;
	last = s->row.ended > db->created ? s->row.ended : db->created;
	return db->g->scrub_interval && (uint64_t)now > last + db->g->scrub_interval;
}

/* One step of one database; the bytes that it read, or UINT64_MAX: nothing is due. */
static uint64_t work(struct ese *g, char *pages)
{
	uint64_t bytes = UINT64_MAX;
	int64_t now = clock_real();

	pthread_mutex_lock(&g->scrubbing);
	for (struct ese_db *db = g->dbs; db && bytes == UINT64_MAX; db = db->next) {
		if (db_enter(db, NULL) != ST_OK)
			continue;
		if (due(db, now))
			bytes = step(db, pages);
		db_leave(db);
	}
	pthread_mutex_unlock(&g->scrubbing);
	return bytes;
}

static void wait_until(struct ese *g, int64_t until)
{
	struct timespec ts = { until / NS_PER_SEC, until % NS_PER_SEC };
	uint64_t calls = g->scrub_calls;

	while (!g->scrub_stop && calls == g->scrub_calls &&
	       pthread_cond_timedwait(&g->scrub_call, &g->scrub_lock, &ts) != ETIMEDOUT)
		;
}

static void *scrub_thread(void *arg)
{
	char *pages = malloc((size_t)BODY_READ_PAGES * ESE_PAGE);
	struct ese *g = arg;

	pthread_setname_np(pthread_self(), "ese-scrub");
	pdb_thread();
	pthread_mutex_lock(&g->scrub_lock);
	while (!g->scrub_stop && pages) {
		uint64_t rate = g->scrub_rate, bytes = UINT64_MAX;
		int64_t began = clock_mono();

		pthread_mutex_unlock(&g->scrub_lock);
		if (rate && !g->broken)
			bytes = work(g, pages);
		pthread_mutex_lock(&g->scrub_lock);
		if (bytes == UINT64_MAX)
			wait_until(g, began + LOOK_AGAIN);
		else
			wait_until(g, began + (int64_t)((double)bytes / (double)rate * 1e9));
	}
	pthread_mutex_unlock(&g->scrub_lock);
	free(pages);
	return NULL;
}

void scrub_init(struct ese *g)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->scrub_call, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&g->scrub_lock, NULL);
	pthread_mutex_init(&g->scrubbing, NULL);
}

void scrub_destroy(struct ese *g)
{
	pthread_cond_destroy(&g->scrub_call);
	pthread_mutex_destroy(&g->scrub_lock);
	pthread_mutex_destroy(&g->scrubbing);
}

enum st scrub_begin(struct ese *g, struct err *err)
{
	g->scrub_rate = g->o.scrub_bytes_per_s;
	g->scrub_interval = (uint64_t)g->o.scrub_interval_s * NS_PER_SEC;
	if (pthread_create(&g->scrubber, NULL, scrub_thread, g) != 0)
		return fail(err, ST_NOMEM, "scrub thread");
	g->scrubber_runs = true;
	return ST_OK;
}

void scrub_end(struct ese *g)
{
	if (!g->scrubber_runs)
		return;
	pthread_mutex_lock(&g->scrub_lock);
	g->scrub_stop = true;
	pthread_cond_broadcast(&g->scrub_call);
	pthread_mutex_unlock(&g->scrub_lock);
	pthread_join(g->scrubber, NULL);
	g->scrubber_runs = false;
	for (struct ese_db *db = g->dbs; db; db = db->next)
		if (!g->broken && db_is_up(db) && db->scrub.unnoted)
			keep_progress(db);
}

/* ---- orders ---- */

static void call_thread(struct ese *g)
{
	pthread_mutex_lock(&g->scrub_lock);
	g->scrub_calls++;
	pthread_cond_broadcast(&g->scrub_call);
	pthread_mutex_unlock(&g->scrub_lock);
}

void ese_scrub_set(struct ese *g, uint64_t bytes_per_s, uint32_t interval_s)
{
	pthread_mutex_lock(&g->scrub_lock);
	g->scrub_rate = bytes_per_s;
	pthread_mutex_unlock(&g->scrub_lock);
	pthread_mutex_lock(&g->scrubbing);
	g->scrub_interval = (uint64_t)interval_s * NS_PER_SEC;
	pthread_mutex_unlock(&g->scrubbing);
	call_thread(g);
}

enum st ese_scrub_order(struct ese_db *db, bool run, struct err *err)
{
	enum st st = db_enter(db, err);

	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&db->g->scrubbing);
	db->scrub.wanted = run;
	db->scrub.stopped = !run;
	pthread_mutex_unlock(&db->g->scrubbing);
	db_leave(db);
	call_thread(db->g);
	return ST_OK;
}

void ese_scrub_info(struct ese_db *db, struct ese_scrub_info *out)
{
	struct space_counts c = { 0 };
	struct ese *g = db->g;

	*out = (struct ese_scrub_info){ .state = ESE_SCRUB_NONE };
	if (db_enter(db, NULL) != ST_OK)
		return;
	pthread_mutex_lock(&g->scrub_lock);
	out->bytes_per_s = g->scrub_rate;
	pthread_mutex_unlock(&g->scrub_lock);
	pthread_mutex_lock(&g->scrubbing);
	load_progress(db);
	out->began = db->scrub.row.began;
	out->ended = db->scrub.row.ended;
	out->pages_read = db->scrub.row.pages;
	out->found = db->scrub.row.next ? db->scrub.row.found : db->scrub.row.found_before;
	if (db->scrub.stopped)
		out->state = ESE_SCRUB_STOPPED;
	else if (out->bytes_per_s == 0)
		out->state = ESE_SCRUB_OFF;
	else if (db->scrub.row.next || db->scrub.wanted)
		out->state = ESE_SCRUB_RUNS;
	else
		out->state = ESE_SCRUB_WAITS;
	pthread_mutex_unlock(&g->scrubbing);
	space_count(db->space, &c);
	out->pages_total = c.committed;
	db_leave(db);
}
