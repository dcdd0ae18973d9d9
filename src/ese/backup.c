/* backup.c - what an online backup needs of the running engine; see backup.h. */
#include "ese/backup.h"

#include "base/clock.h"
#include "ese/ese_int.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct held {
	struct ese_db *db;
	uint64_t pin;
	bool pinned, snapped;
	char why[256];
};

struct ese_backup {
	struct ese *g;
	bool full;
	uint32_t first_gen, next_gen;
	uint64_t covers; /* what was acknowledged before this time is in it */
	size_t ndbs;
	struct held *held;
	struct ese_backup_db *dbs;
};

/* ---- which logs are kept (ese.lock held) ---- */

static enum ese_chain chain_of(const struct ese *g)
{
	if (!g->facts.last_pos)
		return CHAIN_NONE;
	return g->circular || g->facts.flags & CHECKPOINT_CHAIN_BROKEN ? CHAIN_BROKEN : CHAIN_WHOLE;
}

uint32_t backup_keep_from(struct ese *g, uint64_t needed)
{
	uint32_t from = pos_gen(needed);

	if (chain_of(g) == CHAIN_WHOLE && pos_gen(g->facts.last_pos) < from)
		from = pos_gen(g->facts.last_pos);
	if (g->backup_holds && g->backup_holds < from)
		from = g->backup_holds;
	return from;
}

void backup_look_at_space(struct ese *g)
{
	uint64_t bytes;
	bool kept;

	if (!g->o.low_bytes || io_space(g->dir, &bytes, NULL) != ST_OK || bytes >= g->o.low_bytes)
		return;
	pthread_mutex_lock(&g->lock);
	kept = chain_of(g) == CHAIN_WHOLE && !g->backup_holds &&
	       pos_gen(g->facts.last_pos) < pos_gen(g->checkpoint_pos);
	if (kept)
		g->facts.flags |= CHECKPOINT_CHAIN_BROKEN;
	pthread_mutex_unlock(&g->lock);
}

/* ---- one database ---- */

static void snap_path(char out[SEG_PATH_MAX], const struct ese_db *db)
{
	snprintf(out, SEG_PATH_MAX, "%s/%s.snap", db->g->dir, db->name);
}

/* Up to where does the snapshot hold everything? */
static enum st read_position(const char *path, const struct ese_db *db, uint64_t *out,
			     struct err *err)
{
	struct pdb_conf c = { .cache_bytes = 1 << 20, .buffer_bytes = 1 << 20, .files_max = 16 };
	struct row_key key = row_key_applied();
	struct row_applied a = { 0 };
	struct span v;
	struct pdb *p;
	void *hold;
	enum st st = pdb_open_readonly(path, &c, &p, err);

	if (st != ST_OK)
		return st;
	st = pdb_get(p, row_key_span(&key), &v, &hold, err);
	if (st == ST_OK) {
		st = row_applied_get(v, &a);
		pdb_release(hold);
	}
	pdb_close(p);
	if (st == ST_NOTFOUND || st == ST_CORRUPT)
		return fail(err, ST_CORRUPT, "database %s: its applied row is damaged", db->name);
	*out = a.pos;
	return st;
}

/* The pin first: what the snapshot names is then held. */
static enum st snap(struct held *h, struct ese_backup_db *out, struct err *err)
{
	char path[SEG_PATH_MAX];
	struct stat info;
	enum st st = ST_OK;

	snap_path(path, h->db);
	if (access(path, F_OK) == 0)
		st = db_remove_folder(path, err);
	if (st != ST_OK)
		return st;
	h->pin = ese_pin(h->db);
	h->pinned = h->pin != 0;
	if (!h->pinned)
		return db_gone(h->db, err);
	st = pdb_snapshot(h->db->rows, path, err);
	h->snapped = st == ST_OK;
	if (st == ST_OK)
		st = read_position(path, h->db, &out->position, err);
	if (st == ST_OK && fstat(h->db->fd, &info) < 0)
		st = fail_errno(err, "%s.stm", h->db->name);
	if (st == ST_OK)
		out->stm_bytes = (uint64_t)info.st_size / ESE_PAGE * ESE_PAGE;
	return st;
}

static void let_go(struct held *h)
{
	char path[SEG_PATH_MAX];

	snap_path(path, h->db);
	/* What can't be removed now is removed by the next backup or opening. */
	if (h->snapped)
		db_remove_folder(path, NULL);
	if (h->pinned)
		ese_unpin(h->db, h->pin);
	h->snapped = h->pinned = false;
}

static void snap_all(struct ese_backup *b)
{
	for (size_t i = 0; i < b->ndbs; i++) {
		struct err err = { 0 };

		if (snap(&b->held[i], &b->dbs[i], &err) == ST_OK)
			continue;
		let_go(&b->held[i]);
		snprintf(b->held[i].why, sizeof(b->held[i].why), "%s", err.text);
		b->dbs[i].why = b->held[i].why;
	}
}

/* ---- begin ---- */

static enum st list_dbs(struct ese_backup *b, struct err *err)
{
	struct ese_db *all[ESE_DATABASES];
	size_t n = ese_db_list(b->g, all, ESE_DATABASES);

	if (n > ESE_DATABASES)
		n = ESE_DATABASES;
	b->held = calloc(n + 1, sizeof(*b->held));
	b->dbs = calloc(n + 1, sizeof(*b->dbs));
	if (!b->held || !b->dbs)
		return fail(err, ST_NOMEM, "backup of %s", b->g->dir);
	for (; b->ndbs < n; b->ndbs++) {
		struct ese_db *db = all[b->ndbs];

		b->held[b->ndbs].db = db;
		b->dbs[b->ndbs] = (struct ese_backup_db){ .name = db->name, .id = db->id };
	}
	return ST_OK;
}

/* A checkpoint first: afterwards every database's applied row is at its position or later, so that an idle one does
 * not ask for logs of long ago. */
static enum st begin_full(struct ese_backup *b, struct err *err)
{
	struct ese *g = b->g;
	uint32_t first = 0;
	enum st st = list_dbs(b, err);

	if (st == ST_OK)
		st = ese_checkpoint(g, err);
	if (st != ST_OK)
		return st;
	snap_all(b);
	for (size_t i = 0; i < b->ndbs; i++)
		if (!b->dbs[i].why && (!first || pos_gen(b->dbs[i].position) < first))
			first = pos_gen(b->dbs[i].position);
	pthread_mutex_lock(&g->lock);
	if (first)
		g->backup_holds = first;
	b->first_gen = g->backup_circular ? 0 : g->backup_holds;
	pthread_mutex_unlock(&g->lock);
	return ST_OK;
}

enum st ese_backup_begin(struct ese *g, bool full, struct ese_backup **out, struct err *err)
{
	struct ese_backup *b = calloc(1, sizeof(*b));
	enum st st = ST_OK;
	bool busy;

	if (!b)
		return fail(err, ST_NOMEM, "backup of %s", g->dir);
	b->g = g;
	b->full = full;
	b->covers = (uint64_t)clock_real();
	pthread_mutex_lock(&g->lock);
	busy = g->backup_holds != 0;
	if (!busy) {
		bool chain = chain_of(g) == CHAIN_WHOLE;

		g->backup_circular = g->circular || g->direct_now > 0;
		b->first_gen = chain ? pos_gen(g->facts.last_pos) : 0;
		g->backup_holds = chain && !full ? b->first_gen : pos_gen(g->checkpoint_pos);
	}
	pthread_mutex_unlock(&g->lock);
	if (busy) {
		free(b);
		return fail(err, ST_BUSY, "%s: another backup is under way", g->dir);
	}
	if (full)
		st = begin_full(b, err);
	if (st != ST_OK) {
		ese_backup_end(b, false, NULL);
		return st;
	}
	*out = b;
	return ST_OK;
}

/* Now, or at any time since it began: its logs could not bring it further. */
static bool was_circular(const struct ese_backup *b)
{
	bool was;

	pthread_mutex_lock(&b->g->lock);
	was = b->g->backup_circular;
	pthread_mutex_unlock(&b->g->lock);
	return was;
}

void ese_backup_info(const struct ese_backup *b, struct ese_backup_info *out)
{
	*out = (struct ese_backup_info){ .first_gen = b->first_gen,
					 .ndbs = b->ndbs,
					 .dbs = b->dbs,
					 .circular = was_circular(b) };
	memcpy(out->signature, b->g->signature, LOG_SIGNATURE);
}

enum st ese_backup_roll(struct ese_backup *b, uint32_t *next_out, struct err *err)
{
	uint64_t now = (uint64_t)clock_real();
	bool circular = was_circular(b);
	enum st st;

	if (circular && !b->full)
		return fail(err, ST_BAD,
			    "%s: circular logging was switched on meanwhile: a full backup is due",
			    b->g->dir);
	if (circular) {
		*next_out = 0;
		return ST_OK;
	}
	st = log_roll(b->g->log, &b->next_gen, err);
	if (st == ST_OK) {
		*next_out = b->next_gen;
		b->covers = now;
	}
	return st;
}

/* With the locks held. */
static void note_done(struct checkpoint_facts *f, void *arg)
{
	struct ese_backup *b = arg;

	f->last_pos = pos_of(b->next_gen, SEG_HEAD);
	f->last_time = b->covers;
	if (b->full) {
		f->full_pos = f->last_pos;
		f->full_time = f->last_time;
		if (!b->g->backup_circular)
			f->flags &= ~CHECKPOINT_CHAIN_BROKEN;
	}
	b->g->backup_holds = 0;
}

/* Circular logging: there is no position to go on from. */
static void note_circular(struct checkpoint_facts *f, void *arg)
{
	struct ese_backup *b = arg;

	f->last_pos = f->full_pos = b->g->applied_pos;
	f->last_time = f->full_time = b->covers;
	f->flags |= CHECKPOINT_CHAIN_BROKEN;
	b->g->backup_holds = 0;
}

enum st ese_backup_end(struct ese_backup *b, bool done, struct err *err)
{
	struct ese *g = b->g;
	enum st st = ST_OK;

	for (size_t i = 0; i < b->ndbs; i++)
		let_go(&b->held[i]);
	/* The slot is written, and log files go after it. */
	if (done)
		st = checkpoint_facts_change(g, b->next_gen ? note_done : note_circular, b, err);
	pthread_mutex_lock(&g->lock);
	g->backup_holds = 0;
	pthread_mutex_unlock(&g->lock);
	free(b->held);
	free(b->dbs);
	free(b);
	return st;
}

void ese_logs(struct ese *g, struct ese_logs *out)
{
	uint32_t oldest = log_oldest(g->log), needed;

	pthread_mutex_lock(&g->lock);
	needed = pos_gen(g->checkpoint_pos);
	*out = (struct ese_logs){ .chain = chain_of(g),
				  .files = needed > oldest ? needed - oldest : 0,
				  .from_gen = oldest,
				  .backup_time = g->facts.last_time,
				  .full_time = g->facts.full_time,
				  .backup_runs = g->backup_holds != 0 };
	pthread_mutex_unlock(&g->lock);
	out->bytes = (uint64_t)out->files * g->o.segment_bytes;
}
