/* checkpoint.c - from where a replay would start, and what moves that forward; see docs/crash-states.md.
 *
 * Order: note what is applied -> flush every RocksDB -> sync every .stm -> write and sync the slot ->
 * only then give the older log files away. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "ese/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SLOT      4096u
#define CHK_MAGIC 0x4b43524du /* "MRCK" */

static void chk_path(char out[SEG_PATH_MAX], const char *dir)
{
	snprintf(out, SEG_PATH_MAX, "%s/E00.chk", dir);
}

/* ---- a slot ---- */

static void put_names(char *slot, struct ese *g)
{
	size_t at = 64;
	uint32_t n = 0;

	for (struct ese_db *db = g->dbs; db; db = db->next, n++) {
		size_t len = strlen(db->name);

		if (at + 10 + len > SLOT)
			continue;
		le64_put(slot + at, db->id);
		le16_put(slot + at + 8, (uint16_t)len);
		memcpy(slot + at + 10, db->name, len);
		at += 10 + len;
	}
	le32_put(slot + 60, n);
}

static void put_slot(char *slot, struct ese *g, const struct checkpoint *c)
{
	memset(slot, 0, SLOT);
	le32_put(slot + 4, CHK_MAGIC);
	le32_put(slot + 8, ESE_FORMAT);
	le32_put(slot + 12, c->state);
	memcpy(slot + 16, c->signature, LOG_SIGNATURE);
	le64_put(slot + 32, c->number);
	le64_put(slot + 40, c->position);
	le64_put(slot + 48, (uint64_t)clock_real());
	le32_put(slot + 56, c->keep_from);
	put_names(slot, g);
	le32_put(slot, crc32c(0, slot + 4, SLOT - 4));
}

static enum st get_slot(const char *slot, struct checkpoint *out, struct err *err)
{
	if (le32_get(slot) != crc32c(0, slot + 4, SLOT - 4) || le32_get(slot + 4) != CHK_MAGIC)
		return ST_NOTFOUND;
	if (le32_get(slot + 8) > ESE_FORMAT)
		return fail(err, ST_BAD, "E00.chk: format %u is newer than this program's %u",
			    le32_get(slot + 8), ESE_FORMAT);
	out->state = le32_get(slot + 12);
	memcpy(out->signature, slot + 16, LOG_SIGNATURE);
	out->number = le64_get(slot + 32);
	out->position = le64_get(slot + 40);
	out->keep_from = le32_get(slot + 56);
	return ST_OK;
}

enum st checkpoint_read(const char *dir, struct checkpoint *out, struct err *err)
{
	char path[SEG_PATH_MAX], slots[2 * SLOT] = { 0 };
	bool have = false;
	size_t got;
	enum st st;
	int fd;

	chk_path(path, dir);
	if (access(path, F_OK) < 0)
		return ST_NOTFOUND;
	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, slots, sizeof(slots), 0, &got, path, err);
	close(fd);
	for (int i = 0; st == ST_OK && i < 2; i++) {
		struct checkpoint c;
		enum st one = get_slot(slots + (size_t)i * SLOT, &c, err);

		if (one == ST_BAD)
			return one;
		if (one == ST_OK && (!have || c.number > out->number)) {
			*out = c;
			have = true;
		}
	}
	return st == ST_OK && !have ? ST_NOTFOUND : st;
}

/* ---- taking one ---- */

static enum st write_slot(struct ese *g, const struct checkpoint *c, struct err *err)
{
	char path[SEG_PATH_MAX], slot[SLOT];
	bool first;
	enum st st;
	int fd;

	chk_path(path, g->dir);
	first = access(path, F_OK) < 0;
	st = io_open(path, O_RDWR | O_CREAT, &fd, err);
	if (st != ST_OK)
		return st;
	put_slot(slot, g, c);
	st = io_write(fd, slot, SLOT, c->number % 2 * SLOT, path, err);
	if (st == ST_OK)
		st = io_sync(fd, path, err);
	close(fd);
	return st == ST_OK && first ? io_sync_dir(g->dir, err) : st;
}

/* Every database says in its own rows that it is at the group's position, so that one which is not (an older
 * copy, a cut MANIFEST) is known by it.  The apply thread writes these rows, if it runs. */
static enum st mark_rows(struct ese *g, uint64_t *pos_out, struct err *err)
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

enum st checkpoint_take(struct ese *g, uint32_t state, struct err *err)
{
	struct checkpoint c = { .state = state };
	uint64_t log_bytes, syncs;
	enum st st = mark_rows(g, &c.position, err);

	if (st != ST_OK)
		return st;
	log_bytes = 0;
	if (g->log)
		log_counts(g->log, &log_bytes, &syncs);
	pthread_mutex_lock(&g->lock);
	c.number = g->checkpoint_number + 1;
	c.keep_from = g->o.keep_logs ? 0 : backup_keep_from(g, c.position);
	pthread_mutex_unlock(&g->lock);
	memcpy(c.signature, g->signature, LOG_SIGNATURE);
	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next) {
		st = pdb_flush(db->rows, err);
		if (st == ST_OK)
			st = io_sync(db->fd, db->name, err);
	}
	if (st == ST_OK && c.keep_from != 0 && g->log)
		st = shipping_keep(g, &c.keep_from, err);
	if (st == ST_OK)
		st = write_slot(g, &c, err);
	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&g->lock);
	g->checkpoint_number = c.number;
	g->checkpoint_pos = c.position;
	g->checkpoint_log = log_bytes;
	pthread_mutex_unlock(&g->lock);
	if (g->log)
		log_release(g->log, c.keep_from);
	return ST_OK;
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
