/* compact.c - moving bodies towards the front of the streaming file and giving its end back; see ese.h.
 *
 * The happy path: a look at all body rows finds those that end behind the point to which the used pages would reach if
 * there were no gap, the last ones first, and those in many pieces.  Each gets free pages in front of that point, its bytes are
 * read, verified and queued as any body's are, and one batch says for about a megabyte of them where they are now.
 * When nothing moves any more, a checkpoint, and the free end is cut off (docs/crash-states.md, "Moving bodies").
 * Possible failures: a damaged page (the body stays, and is reported); no run long enough in front (it stays); a full disk. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/io.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CANDIDATES  4096u /* bodies of one pass */
#define BATCH_BYTES (1024u * 1024)
#define BATCH_MOVES 128u
#define PUNCH_LEAST ESE_CLUSTER

struct candidate {
	uint64_t id;
	uint32_t top; /* behind its last page in the file */
};

struct runs {
	struct run *at;
	uint32_t n, cap;
};

struct job {
	struct ese_db *db;
	const struct ese_compact_options *o;
	struct ese_compact_figures f;
	int64_t began;
	uint32_t front; /* where the used pages would end without a gap */
	struct candidate *list;
	uint32_t n;
	char *pages;

	/* the batch that is being gathered */
	struct ese_batch *batch;
	struct runs placed; /* everything that it says */
	uint64_t bytes;
	uint32_t moves, direct;
	uint64_t commits; /* batches given away, as moves_done counts */
};

/* ---- runs ---- */

static enum st add_run(struct runs *r, struct run run, struct err *err)
{
	if (r->n > 0 && r->at[r->n - 1].page + r->at[r->n - 1].pages == run.page) {
		r->at[r->n - 1].pages += run.pages;
		return ST_OK;
	}
	if (r->n == r->cap) {
		uint32_t cap = r->cap ? r->cap * 2 : 8;
		struct run *more = realloc(r->at, cap * sizeof(*more));

		if (!more)
			return fail(err, ST_NOMEM, "compact");
		r->at = more;
		r->cap = cap;
	}
	r->at[r->n++] = run;
	return ST_OK;
}

static void release_runs(struct ese_db *db, struct runs *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		space_release(db->space, r->at[i].page, r->at[i].pages);
	r->n = 0;
}

/* ---- which bodies ---- */

static int by_top(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->top < y->top ? 1 : x->top > y->top ? -1 : 0;
}

static bool scattered(const struct row_body *row)
{
	return row->nruns > 1 && row->npages / row->nruns < ESE_CLUSTER;
}

static uint32_t top_of(const struct row_body *row)
{
	uint32_t top = 0;

	for (uint32_t i = 0; i < row->nruns; i++) {
		uint32_t end = run_page(row->runs, i) + run_pages(row->runs, i);

		top = end > top ? end : top;
	}
	return top;
}

static void consider(struct job *j, uint64_t id, const struct row_body *row)
{
	uint32_t top = top_of(row);

	if (row->refs == 0 || (top <= j->front && !scattered(row)))
		return;
	if (j->n == 2 * CANDIDATES) {
		qsort(j->list, j->n, sizeof(*j->list), by_top);
		j->n = CANDIDATES;
	}
	j->list[j->n++] = (struct candidate){ id, top };
}

static enum st look_for_bodies(struct job *j, struct err *err)
{
	struct row_key from = row_key_body(0);
	struct span key, v, to = SPAN("\x04");
	struct row_body row;
	struct pdb_iter *it;
	uint64_t id;
	enum st st = pdb_iter_new(j->db->rows, row_key_span(&from), to, &it, err);

	if (st != ST_OK)
		return st;
	j->n = 0;
	while ((st = pdb_iter_next(it, &key, &v, err)) == ST_OK)
		if (row_key_id(key, &id) && row_body_get(v, &row) == ST_OK)
			consider(j, id, &row);
	pdb_iter_free(it);
	qsort(j->list, j->n, sizeof(*j->list), by_top);
	return st == ST_EOF ? ST_OK : st;
}

/* ---- a place for one ---- */

/* Runs of at least `least` pages (the last may be shorter); false: there are not enough. */
static enum st find_place(struct job *j, uint32_t pages, uint32_t below, uint32_t least,
			  struct runs *out, bool *found, struct err *err)
{
	enum st st = ST_OK;

	*found = true;
	while (st == ST_OK && *found && pages > 0) {
		uint32_t want = pages < SPACE_CHUNK ? pages : SPACE_CHUNK;
		struct run r;

		*found = space_reserve_below(j->db->space, want, want < least ? want : least, below,
					     &r);
		if (!*found)
			break;
		st = add_run(out, r, err);
		if (st != ST_OK)
			space_release(j->db->space, r.page, r.pages);
		pages -= r.pages;
	}
	if (st != ST_OK || !*found)
		release_runs(j->db, out);
	return st;
}

static uint32_t bottom_of(const struct row_body *row)
{
	uint32_t bottom = UINT32_MAX;

	for (uint32_t i = 0; i < row->nruns; i++)
		bottom = run_page(row->runs, i) < bottom ? run_page(row->runs, i) : bottom;
	return bottom;
}

/* In front of the point, in as few pieces as there is a place for; if there is none, nearer to it than now. */
static enum st plan(struct job *j, const struct row_body *row, struct runs *out, bool *found,
		    struct err *err)
{
	uint32_t bottom = bottom_of(row);
	const struct {
		uint32_t below, least;
	} tries[] = {
		{ j->front, SPACE_CHUNK / 2 },
		{ j->front, ESE_CLUSTER },
		{ j->front, ESE_CLUSTER / 4 },
		{ bottom > j->front ? bottom : 0, ESE_CLUSTER },
	};
	enum st st = ST_OK;

	*found = false;
	for (unsigned i = 0; st == ST_OK && !*found && i < sizeof(tries) / sizeof(*tries); i++)
		st = find_place(j, row->npages, tries[i].below, tries[i].least, out, found, err);
	/* What need not move is moved only to lie in fewer pieces. */
	if (st == ST_OK && *found && top_of(row) <= j->front && out->n >= row->nruns) {
		release_runs(j->db, out);
		*found = false;
	}
	return st;
}

/* ---- its bytes ---- */

static void room_came(void *arg)
{
	struct ese_db *db = arg;

	pthread_mutex_lock(&db->g->lock);
	db->compact_room = true;
	pthread_cond_broadcast(&db->g->settled);
	pthread_mutex_unlock(&db->g->lock);
}

static enum st claim(struct ese_db *db, size_t len, bool direct, struct err *err)
{
	struct ese *g = db->g;
	enum st st;

	while ((st = group_admit(g, len, false, err)) == ST_OK &&
	       (st = group_claim(g, len, direct, err)) == ST_BUSY) {
		db->compact_room = false;
		ese_when_room(g, room_came, db);
		pthread_mutex_lock(&g->lock);
		while (!db->compact_room && !g->broken)
			pthread_cond_wait(&g->settled, &g->lock);
		pthread_mutex_unlock(&g->lock);
	}
	return st;
}

static enum st queue_piece(struct job *j, uint64_t id, uint64_t off, uint64_t at, const char *bytes,
			   size_t len, bool direct, struct err *err)
{
	struct node *n;
	enum st st = claim(j->db, len, direct, err);

	if (st != ST_OK)
		return st;
	n = node_new(REC_BODY, (uint32_t)(REC_BODY_HEAD + len));
	if (!n) {
		group_unclaim(j->db->g, len);
		return fail(err, ST_NOMEM, "compact");
	}
	n->way = direct ? NODE_DIRECT : NODE_LOGGED;
	n->db = j->db;
	n->db_number = j->db->number;
	n->len = (uint32_t)(REC_BODY_HEAD + len);
	le64_put(n->payload, id);
	le64_put(n->payload + 8, off);
	le64_put(n->payload + 16, at);
	memcpy(n->payload + REC_BODY_HEAD, bytes, len);
	group_queue(j->db->g, n);
	return ST_OK;
}

/* `n` pages that were read, from body page `first` on, to where they will be. */
static enum st queue_pages(struct job *j, uint64_t id, const struct row_body *row, uint32_t first,
			   uint32_t n, const struct runs *to, bool direct, struct err *err)
{
	uint32_t before = 0, done = 0;
	enum st st = ST_OK;

	for (uint32_t i = 0; st == ST_OK && done < n; before += to->at[i++].pages) {
		uint32_t page = first + done, in, take;
		uint64_t off = (uint64_t)page * ESE_PAGE, len;

		if (before + to->at[i].pages <= page)
			continue;
		in = page - before;
		take = to->at[i].pages - in < n - done ? to->at[i].pages - in : n - done;
		len = (uint64_t)take * ESE_PAGE;
		len = row->len - off < len ? row->len - off : len;
		st = queue_piece(j, id, off, ((uint64_t)to->at[i].page + in) * ESE_PAGE,
				 j->pages + (size_t)done * ESE_PAGE, (size_t)len, direct, err);
		done += take;
	}
	return st;
}

static enum st copy(struct job *j, uint64_t id, const struct row_body *row, const struct runs *to,
		    bool direct, struct err *err)
{
	uint64_t pin = ese_pin(j->db);
	enum st st = ST_OK;

	for (uint32_t at = 0, n; st == ST_OK && at < row->npages; at += n) {
		st = body_read_pages(j->db, id, row, at, row->npages - at, j->pages, &n, err);
		if (st == ST_OK)
			st = queue_pages(j, id, row, at, n, to, direct, err);
	}
	ese_unpin(j->db, pin);
	return st;
}

/* ---- the batch ---- */

static void moved(void *arg)
{
	struct ese_db *db = arg;

	db->moves_done++;
}

static enum st wait_moved(struct job *j, struct err *err)
{
	struct ese *g = j->db->g;
	enum st st = ST_OK;

	pthread_mutex_lock(&g->lock);
	while (j->db->moves_done < j->commits && !g->broken)
		pthread_cond_wait(&g->settled, &g->lock);
	if (j->db->moves_done < j->commits)
		st = fail(err, ST_IO, "compact %s: %.200s", j->db->name, g->broken_why.text);
	pthread_mutex_unlock(&g->lock);
	return st;
}

static bool wait_for_rate(struct job *j)
{
	if (j->o->bytes_per_s) {
		double due = (double)j->f.bytes_moved / (double)j->o->bytes_per_s * 1e9;
		int64_t until = j->began + (int64_t)due;
		struct timespec ts = { until / NS_PER_SEC, until % NS_PER_SEC };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	}
	return !j->o->go_on || j->o->go_on(j->o->arg, &j->f);
}

static void end_batch(struct job *j)
{
	for (; j->direct > 0; j->direct--)
		direct_end(j->db->g);
	j->placed.n = 0;
	j->bytes = j->moves = 0;
	j->batch = NULL;
}

/* Commit what was gathered and wait for it.  When it can't be, its pages are free again behind their bytes. */
static enum st commit_moves(struct job *j, struct err *err)
{
	enum st st;

	if (!j->batch) {
		end_batch(j); /* what was damaged may have begun */
		return ST_OK;
	}
	st = ese_commit(j->batch, moved, j->db, err);
	if (st == ST_OK) {
		j->commits++;
		st = wait_moved(j, err);
	} else {
		body_give_back(j->db, j->placed.at, j->placed.n);
	}
	if (st == ST_OK) {
		j->f.bodies_moved += j->moves;
		j->f.bytes_moved += j->bytes;
	}
	end_batch(j);
	return st;
}

static enum st add_move(struct job *j, struct ese_body *ref, const struct row_body *row,
			const struct runs *to, bool direct, struct err *err)
{
	enum st st = ST_OK;

	for (uint32_t i = 0; st == ST_OK && i < to->n; i++)
		st = add_run(&j->placed, to->at[i], err);
	if (st == ST_OK && !j->batch)
		st = ese_batch_new(j->db, 0, &j->batch, err);
	if (st != ST_OK) {
		ese_body_drop(ref);
		return st;
	}
	batch_move(j->batch, ref, to->at, to->n, direct);
	j->bytes += row->len;
	j->moves++;
	return ST_OK;
}

/* ---- one body ---- */

/* `ref` is used up. */
static enum st move_row(struct job *j, struct ese_body *ref, const struct row_body *row,
			struct err *err)
{
	struct runs to = { 0 };
	bool found, direct;
	enum st st = plan(j, row, &to, &found, err);

	if (st != ST_OK || !found) {
		j->f.bodies_left += st == ST_OK && top_of(row) > j->front;
		ese_body_drop(ref);
		free(to.at);
		return st;
	}
	direct = row->len > j->db->g->o.direct_bytes && direct_begin(j->db->g);
	j->direct += direct;
	st = copy(j, ref->id, row, &to, direct, err);
	if (st == ST_OK) {
		st = add_move(j, ref, row, &to, direct, err);
	} else {
		body_give_back(j->db, to.at, to.n);
		ese_body_drop(ref);
	}
	free(to.at);
	if (st == ST_CORRUPT) {
		j->f.bodies_damaged++;
		return ST_OK;
	}
	return st;
}

/* A body whose writer still holds it is left alone: batches of his may yet describe it where it is. */
static enum st move_body(struct job *j, uint64_t id, struct err *err)
{
	struct row_key key = row_key_body(id);
	struct ese_body *ref;
	struct row_body row;
	struct span v;
	void *hold;
	enum st st;

	if (body_is_bad(j->db, id)) {
		j->f.bodies_damaged++;
		return ST_OK;
	}
	st = body_by_id(j->db, id, &ref, err);
	if (st != ST_OK)
		return st == ST_NOTFOUND ? ST_OK : st;
	if (ref->fresh) {
		j->f.bodies_left++;
		ese_body_drop(ref);
		return ST_OK;
	}
	st = pdb_get(j->db->rows, row_key_span(&key), &v, &hold, err);
	if (st == ST_OK && row_body_get(v, &row) != ST_OK) {
		pdb_release(hold);
		st = ST_NOTFOUND; /* the scrubber says so */
	}
	if (st != ST_OK) {
		ese_body_drop(ref);
		return st == ST_NOTFOUND ? ST_OK : st;
	}
	st = move_row(j, ref, &row, err);
	pdb_release(hold);
	return st;
}

static bool enough(const struct job *j)
{
	return j->o->bodies_max && j->f.bodies_moved + j->moves >= j->o->bodies_max;
}

/* ST_EOF: stop, there is nothing more to be done or the caller wants no more. */
static enum st pass(struct job *j, struct err *err)
{
	uint64_t before = j->f.bodies_moved;
	struct space_counts c;
	bool on = true;
	enum st st;

	space_count(j->db->space, &c);
	j->front = (uint32_t)(c.total - c.free);
	j->f.bodies_left = j->f.bodies_damaged = 0;
	st = look_for_bodies(j, err);
	for (uint32_t i = 0; st == ST_OK && on && i < j->n && i < CANDIDATES && !enough(j); i++) {
		st = move_body(j, j->list[i].id, err);
		if (st == ST_OK && (j->bytes >= BATCH_BYTES || j->moves >= BATCH_MOVES)) {
			st = commit_moves(j, err);
			on = wait_for_rate(j);
		}
	}
	if (st == ST_OK)
		st = commit_moves(j, err);
	else if (j->batch)
		(void)commit_moves(j, NULL);
	if (st == ST_OK && (!on || enough(j) || j->f.bodies_moved == before || !wait_for_rate(j)))
		st = ST_EOF;
	return st;
}

/* ---- giving back ---- */

static enum st cut_file(void *arg, uint64_t pages, struct err *err)
{
	struct ese_db *db = arg;

	return io_truncate(db->fd, pages * ESE_PAGE, db->name, err);
}

/* The checkpoint first: no record that is replayed writes behind the new end. */
static enum st give_back(struct job *j, struct err *err)
{
	struct space_runs free_runs;
	struct space_counts c;
	enum st st = ST_OK;

	space_free_runs(j->db->space, &free_runs);
	if (free_runs.tail > 0) {
		st = ese_checkpoint(j->db->g, err);
		pthread_mutex_lock(&j->db->g->scrubbing);
		if (st == ST_OK)
			st = space_trim(j->db->space, cut_file, j->db, &j->f.pages_now, err);
		pthread_mutex_unlock(&j->db->g->scrubbing);
	}
	space_count(j->db->space, &c);
	j->f.pages_now = c.total;
	return st;
}

static enum st punch(struct job *j, struct err *err)
{
	enum st st = ST_OK;
	struct run r = { 0 };

	while (st == ST_OK && space_reserve_hole(j->db->space, r.page + r.pages, PUNCH_LEAST, &r)) {
		st = io_punch(j->db->fd, (uint64_t)r.page * ESE_PAGE, (uint64_t)r.pages * ESE_PAGE,
			      j->db->name, err);
		if (st == ST_OK) {
			space_punched(j->db->space, r.page, r.pages);
			j->f.pages_punched += r.pages;
		}
		space_release(j->db->space, r.page, r.pages);
		if (j->o->go_on && !j->o->go_on(j->o->arg, &j->f))
			break;
	}
	return st;
}

static enum st run_job(struct job *j, struct err *err)
{
	struct space_counts c;
	enum st st;

	space_count(j->db->space, &c);
	j->f.pages_before = j->f.pages_now = c.total;
	while ((st = pass(j, err)) == ST_OK)
		;
	if (st == ST_EOF)
		st = give_back(j, err);
	if (st == ST_OK && j->o->punch)
		st = punch(j, err);
	return st;
}

enum st ese_compact(struct ese_db *db, const struct ese_compact_options *o,
		    struct ese_compact_figures *out, struct err *err)
{
	struct job j = { .db = db, .o = o, .began = clock_mono(), .commits = db->moves_done };
	bool was = false;
	enum st st;

	if (!atomic_compare_exchange_strong(&db->compacting, &was, true))
		return fail(err, ST_BUSY, "database %s is being compacted already", db->name);
	j.list = calloc(2 * CANDIDATES, sizeof(*j.list));
	j.pages = malloc((size_t)BODY_READ_PAGES * ESE_PAGE);
	st = db_enter(db, err);
	if (st == ST_OK) {
		st = j.list && j.pages ? run_job(&j, err)
				       : fail(err, ST_NOMEM, "compact %s", db->name);
		db_leave(db);
	}
	free(j.placed.at);
	free(j.pages);
	free(j.list);
	*out = j.f;
	db->compacting = false;
	return st;
}

/* ---- holes ---- */

enum st compact_fill(void *arg, uint32_t page, uint32_t pages, struct err *err)
{
	struct ese_db *db = arg;

	return io_allocate(db->fd, (uint64_t)page * ESE_PAGE, (uint64_t)pages * ESE_PAGE, db->name,
			   err);
}

void compact_find_holes(struct ese_db *db)
{
	struct stat info;
	off_t at = 0, end;

	if (fstat(db->fd, &info) < 0 || info.st_blocks * 512 >= info.st_size)
		return;
	while (at < info.st_size && (at = lseek(db->fd, at, SEEK_HOLE)) >= 0 && at < info.st_size) {
		end = lseek(db->fd, at, SEEK_DATA);
		end = end < 0 ? info.st_size : end;
		space_punched(db->space, (uint32_t)(at / ESE_PAGE),
			      (uint32_t)((end - at + ESE_PAGE - 1) / ESE_PAGE));
		at = end;
	}
}

enum st ese_space(struct ese_db *db, struct ese_space *out, struct err *err)
{
	struct space_counts c;
	struct space_runs r;
	struct stat info;
	enum st st = db_enter(db, err);

	if (st != ST_OK)
		return st;
	if (fstat(db->fd, &info) < 0) {
		st = fail_errno(err, "%s.stm", db->name);
		db_leave(db);
		return st;
	}
	space_count(db->space, &c);
	space_free_runs(db->space, &r);
	*out = (struct ese_space){ .pages_total = c.total,
				   .pages_free = c.free,
				   .pages_reserved = c.total - c.free - c.committed,
				   .free_runs = r.runs,
				   .longest_run = r.longest,
				   .tail_run = r.tail,
				   .disk_bytes = (uint64_t)info.st_blocks * 512 };
	db_leave(db);
	return ST_OK;
}
