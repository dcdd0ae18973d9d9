/* checkpoint.c - from where a replay would start, and what moves that forward; see docs/crash-states.md.
 *
 * Order: note what is applied -> flush every RocksDB -> sync every .stm -> write and sync the slot ->
 * only then give the older log files away. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "ese/io.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOT      32768u
#define SLOT_OLD  4096u       /* of format 1 */
#define SLOT_DBS  128u        /* where the databases begin */
#define DB_FIXED  24u         /* of a database, before its name */
#define CHK_MAGIC 0x4b43524du /* "MRCK" */

static_assert(SLOT_DBS + ESE_DATABASES * (DB_FIXED + ESE_NAME_MAX) <= SLOT);

static void chk_path(char out[SEG_PATH_MAX], const char *dir)
{
	snprintf(out, SEG_PATH_MAX, "%s/E00.chk", dir);
}

/* ---- a slot ---- */

static void put_db(char *at, const struct checkpoint_db *d)
{
	le64_put(at, d->id);
	le64_put(at + 8, d->position);
	le32_put(at + 16, d->state);
	le16_put(at + 20, 0);
	le16_put(at + 22, (uint16_t)strlen(d->name));
	memcpy(at + DB_FIXED, d->name, strlen(d->name));
}

static void put_slot(char *slot, const struct checkpoint *c)
{
	size_t at = SLOT_DBS;

	memset(slot, 0, SLOT);
	le32_put(slot + 4, CHK_MAGIC);
	le32_put(slot + 8, ESE_FORMAT);
	le32_put(slot + 12, c->state);
	memcpy(slot + 16, c->signature, LOG_SIGNATURE);
	le64_put(slot + 32, c->number);
	le64_put(slot + 40, c->position);
	le64_put(slot + 48, c->time);
	le32_put(slot + 56, c->keep_from);
	le32_put(slot + 60, c->ndbs);
	le32_put(slot + 64, c->facts.flags);
	le64_put(slot + 72, c->facts.full_pos);
	le64_put(slot + 80, c->facts.full_time);
	le64_put(slot + 88, c->facts.last_pos);
	le64_put(slot + 96, c->facts.last_time);
	for (uint32_t i = 0; i < c->ndbs; i++) {
		put_db(slot + at, &c->dbs[i]);
		at += DB_FIXED + strlen(c->dbs[i].name);
	}
	le32_put(slot, crc32c(0, slot + 4, SLOT - 4));
}

/* One database of a slot of `format` at *at; false: it makes no sense. */
static bool get_db(const char *slot, size_t size, uint32_t format, size_t *at,
		   struct checkpoint_db *out)
{
	size_t fixed = format == ESE_FORMAT_OLD ? 10 : DB_FIXED, len;

	if (*at + fixed > size)
		return false;
	*out = (struct checkpoint_db){ .id = le64_get(slot + *at), .state = ESE_UP };
	len = le16_get(slot + *at + fixed - 2);
	if (format == ESE_FORMAT_OLD) {
		out->position = le64_get(slot + 40);
	} else {
		out->position = le64_get(slot + *at + 8);
		out->state = le32_get(slot + *at + 16);
	}
	if (len == 0 || len > ESE_NAME_MAX || *at + fixed + len > size || out->state < ESE_UP ||
	    out->state > ESE_FAILED)
		return false;
	memcpy(out->name, slot + *at + fixed, len);
	*at += fixed + len;
	return true;
}

static bool get_dbs(const char *slot, size_t size, uint32_t format, struct checkpoint *out)
{
	size_t at = format == ESE_FORMAT_OLD ? 64 : SLOT_DBS;

	out->ndbs = le32_get(slot + 60);
	if (out->ndbs > ESE_DATABASES)
		return false;
	for (uint32_t i = 0; i < out->ndbs; i++)
		if (!get_db(slot, size, format, &at, &out->dbs[i]))
			return false;
	return true;
}

/* ST_NOTFOUND: nothing valid here. */
static enum st get_slot(const char *slot, size_t size, struct checkpoint *out, struct err *err)
{
	uint32_t format = le32_get(slot + 8);
	enum st st;

	if (le32_get(slot) != crc32c(0, slot + 4, size - 4) || le32_get(slot + 4) != CHK_MAGIC)
		return ST_NOTFOUND;
	st = format_check(format, "E00.chk", err);
	if (st != ST_OK)
		return st;
	*out = (struct checkpoint){ .number = le64_get(slot + 32),
				    .position = le64_get(slot + 40),
				    .time = le64_get(slot + 48),
				    .state = le32_get(slot + 12),
				    .keep_from = le32_get(slot + 56),
				    .format = format };
	memcpy(out->signature, slot + 16, LOG_SIGNATURE);
	if (format != ESE_FORMAT_OLD)
		out->facts = (struct checkpoint_facts){ .flags = le32_get(slot + 64),
							.full_pos = le64_get(slot + 72),
							.full_time = le64_get(slot + 80),
							.last_pos = le64_get(slot + 88),
							.last_time = le64_get(slot + 96) };
	return get_dbs(slot, size, format, out) ? ST_OK : ST_NOTFOUND;
}

/* Both slots of one format. */
static enum st get_slots(const char *bytes, size_t size, struct checkpoint out[2], struct err *err)
{
	for (unsigned i = 0; i < 2; i++) {
		struct err why = { 0 };
		enum st st = get_slot(bytes + i * size, size, &out[i], &why);

		if (st == ST_BAD) {
			if (err)
				*err = why;
			return st;
		}
		if (st != ST_OK)
			out[i] = (struct checkpoint){ 0 };
	}
	return ST_OK;
}

enum st checkpoint_slots(const char *path, struct checkpoint out[2], struct err *err)
{
	char *bytes = calloc(2, SLOT);
	size_t got;
	enum st st;
	int fd;

	if (!bytes)
		return fail(err, ST_NOMEM, "%s", path);
	st = io_open(path, O_RDONLY, &fd, err);
	if (st == ST_OK) {
		st = io_read(fd, bytes, 2 * SLOT, 0, &got, path, err);
		close(fd);
	}
	if (st == ST_OK)
		st = get_slots(bytes, SLOT, out, err);
	/* Only where there is none of ours: format_check takes or refuses the old ones. */
	if (st == ST_OK && !out[0].number && !out[1].number)
		st = get_slots(bytes, SLOT_OLD, out, err);
	free(bytes);
	return st;
}

enum st checkpoint_read(const char *dir, struct checkpoint *out, struct err *err)
{
	char path[SEG_PATH_MAX];
	struct checkpoint *slots;
	enum st st;

	chk_path(path, dir);
	if (access(path, F_OK) < 0)
		return ST_NOTFOUND;
	slots = calloc(2, sizeof(*slots));
	if (!slots)
		return fail(err, ST_NOMEM, "%s", path);
	st = checkpoint_slots(path, slots, err);
	if (st == ST_OK && !slots[0].number && !slots[1].number)
		st = ST_NOTFOUND;
	if (st == ST_OK)
		*out = slots[slots[1].number > slots[0].number];
	free(slots);
	return st;
}

/* ---- taking one ---- */

static enum st write_slot(struct ese *g, const struct checkpoint *c, struct err *err)
{
	char path[SEG_PATH_MAX];
	char *slot = malloc(SLOT);
	bool first;
	enum st st;
	int fd;

	if (!slot)
		return fail(err, ST_NOMEM, "checkpoint");
	chk_path(path, g->dir);
	first = access(path, F_OK) < 0;
	put_slot(slot, c);
	st = io_open(path, O_RDWR | O_CREAT, &fd, err);
	if (st == ST_OK) {
		st = io_write(fd, slot, SLOT, c->number % 2 * SLOT, path, err);
		if (st == ST_OK)
			st = io_sync(fd, path, err);
		close(fd);
	}
	free(slot);
	return st == ST_OK && first ? io_sync_dir(g->dir, err) : st;
}

/* Every database says in its own rows that it is at the group's position, so that one which is not (an older
 * copy, a cut MANIFEST) is known by it.  The apply thread writes these rows, if it runs. */
enum st checkpoint_meet(struct ese *g, uint64_t *pos_out, struct err *err)
{
	enum st st = ST_OK;

	if (!g->apply_runs) {
		*pos_out = g->applied_pos;
		return apply_mark(g, g->applied_pos, err);
	}
	pthread_mutex_lock(&g->lock);
	g->mark_rows = true;
	pthread_cond_signal(&g->synced);
	while (g->mark_rows && !g->broken)
		pthread_cond_wait(&g->settled, &g->lock);
	*pos_out = g->marked_pos;
	if (g->mark_rows)
		st = fail(err, ST_IO, "the group is broken");
	pthread_mutex_unlock(&g->lock);
	return st;
}

/* The databases as they are now, and the log that they need. */
static void collect(struct ese *g, struct checkpoint *c)
{
	uint64_t low = c->position;

	for (struct ese_db *db = g->dbs; db; db = db->next) {
		struct checkpoint_db *d = &c->dbs[c->ndbs];
		enum ese_state state = db->live ? ESE_UP : db->state;

		if (db->removed || db->given || (state == ESE_FAILED && !db->holds))
			continue;
		if (state != ESE_DOWN && db->safe < low)
			low = db->safe;
		if (c->ndbs == ESE_DATABASES)
			continue;
		*d = (struct checkpoint_db){ .id = db->id, .position = db->safe, .state = state };
		memcpy(d->name, db->name, sizeof(d->name));
		c->ndbs++;
	}
	pthread_mutex_lock(&g->lock);
	c->keep_from = g->o.keep_logs || low == 0 ? 0 : backup_keep_from(g, low);
	pthread_mutex_unlock(&g->lock);
}

/* With g->slot held: a slot of this state and position becomes the valid one. */
static enum st put_out(struct ese *g, uint32_t state, uint64_t position, struct err *err)
{
	struct checkpoint *c = calloc(1, sizeof(*c));
	enum st st;

	if (!c)
		return fail(err, ST_NOMEM, "checkpoint");
	c->state = state;
	c->position = position;
	c->time = (uint64_t)clock_real();
	memcpy(c->signature, g->signature, LOG_SIGNATURE);
	pthread_mutex_lock(&g->lock);
	c->number = g->checkpoint_number + 1;
	c->facts = g->facts;
	pthread_mutex_unlock(&g->lock);
	collect(g, c);
	st = ST_OK;
	if (c->keep_from != 0 && g->log)
		st = shipping_keep(g, &c->keep_from, err);
	if (st == ST_OK)
		st = write_slot(g, c, err);
	if (st == ST_OK) {
		pthread_mutex_lock(&g->lock);
		g->checkpoint_number = c->number;
		g->checkpoint_pos = position;
		pthread_mutex_unlock(&g->lock);
		if (g->log)
			log_release(g->log, c->keep_from);
	}
	free(c);
	return st;
}

/* With g->slot held.  What fails breaks the group: what the slot says is not known any more. */
enum st checkpoint_rewrite(struct ese *g, struct err *err)
{
	struct err why = { 0 };
	enum st st = put_out(g, STATE_DIRTY, g->checkpoint_pos, &why);

	if (st == ST_OK)
		return ST_OK;
	if (err)
		*err = why;
	/* Whoever feeds a standby ends it. */
	if (!g->standby)
		group_break(g, &why);
	return st;
}

static enum st flush_all(struct ese *g, uint64_t position, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next) {
		if (!db->live)
			continue;
		st = pdb_flush(db->rows, err);
		if (st == ST_OK)
			st = io_sync(db->fd, db->name, err);
	}
	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next) {
		if (!db->live)
			continue;
		pthread_mutex_lock(&db->lock);
		db->safe = position;
		pthread_mutex_unlock(&db->lock);
	}
	return st;
}

enum st checkpoint_take(struct ese *g, uint32_t state, struct err *err)
{
	uint64_t position, log_bytes = 0, syncs;
	bool ended;
	enum st st;

	pthread_mutex_lock(&g->slot);
	ended = direct_ended(g);
	st = checkpoint_meet(g, &position, err);
	if (g->log)
		log_counts(g->log, &log_bytes, &syncs);
	if (st == ST_OK)
		st = flush_all(g, position, err);
	backup_look_at_space(g);
	if (st == ST_OK && ended) {
		pthread_mutex_lock(&g->lock);
		g->facts.flags &= ~CHECKPOINT_DIRECT;
		pthread_mutex_unlock(&g->lock);
	}
	if (st == ST_OK)
		st = put_out(g, state, position, err);
	if (st == ST_OK) {
		pthread_mutex_lock(&g->lock);
		g->checkpoint_log = log_bytes;
		pthread_mutex_unlock(&g->lock);
	}
	pthread_mutex_unlock(&g->slot);
	return st;
}

void checkpoint_facts(struct ese *g, struct checkpoint_facts *out)
{
	pthread_mutex_lock(&g->lock);
	*out = g->facts;
	pthread_mutex_unlock(&g->lock);
}

enum st checkpoint_facts_change(struct ese *g,
				void (*change)(struct checkpoint_facts *f, void *arg), void *arg,
				struct err *err)
{
	enum st st;

	pthread_mutex_lock(&g->slot);
	pthread_mutex_lock(&g->lock);
	change(&g->facts, arg);
	pthread_mutex_unlock(&g->lock);
	st = checkpoint_rewrite(g, err);
	pthread_mutex_unlock(&g->slot);
	return st;
}

/* With the lock held: is there a reason? */
static bool due(struct ese *g)
{
	uint64_t log_bytes, syncs;

	if (g->checkpoint_wanted > g->checkpoint_done)
		return true;
	log_counts(g->log, &log_bytes, &syncs);
	return log_bytes - g->checkpoint_log > g->o.checkpoint_bytes;
}

void *checkpoint_thread(void *arg)
{
	struct ese *g = arg;

	pthread_setname_np(pthread_self(), "ese-checkpoint");
	pthread_mutex_lock(&g->lock);
	while (!g->stop && !g->broken) {
		struct err err = { 0 };
		uint64_t wanted = g->checkpoint_wanted;
		enum st st;

		if (!due(g)) {
			pthread_cond_wait(&g->check, &g->lock);
			continue;
		}
		pthread_mutex_unlock(&g->lock);
		st = checkpoint_take(g, STATE_DIRTY, &err);
		if (st != ST_OK)
			group_break(g, &err);
		pthread_mutex_lock(&g->lock);
		g->checkpoint_err = err;
		g->checkpoint_done = wanted;
		pthread_cond_broadcast(&g->checked);
	}
	pthread_cond_broadcast(&g->checked);
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

enum st ese_checkpoint(struct ese *g, struct err *err)
{
	uint64_t mine;
	enum st st = ST_OK;

	pthread_mutex_lock(&g->lock);
	mine = ++g->checkpoint_wanted;
	pthread_cond_signal(&g->check);
	while (g->checkpoint_done < mine && !g->broken && !g->stop)
		pthread_cond_wait(&g->checked, &g->lock);
	if (g->checkpoint_done < mine || g->checkpoint_err.st != ST_OK)
		st = fail(err, ST_IO, "no checkpoint: %.200s", g->broken_why.text);
	pthread_mutex_unlock(&g->lock);
	return st;
}
