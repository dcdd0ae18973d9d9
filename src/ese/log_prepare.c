/* log_prepare.c - log files ahead of their use, and files that are used again.
 *
 * The happy path: a checkpoint releases a file, it becomes a spare by rename, the preparer writes
 * the next header into it, syncs, renames it to its generation, syncs the folder, and the committer takes it
 * without waiting.  Without a spare a new one is zero-filled.
 * Possible failures: a full disk (starved: the group refuses new work; tried again every second and
 * whenever a file is released), anything else breaks the group. */
#include "ese/log_int.h"

#include "base/clock.h"
#include "ese/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Any spare number, or make one. */
static enum st get_spare(struct log *l, uint32_t *number_out, struct err *err)
{
	uint32_t number = 0;
	bool have = false;

	pthread_mutex_lock(&l->lock);
	if (l->nspares > 0) {
		number = l->spares[--l->nspares];
		have = true;
	} else {
		number = l->next_spare++;
	}
	pthread_mutex_unlock(&l->lock);
	if (!have) {
		enum st st = seg_make_spare(l->c.dir, number, l->c.segment_bytes, err);

		if (st != ST_OK)
			return st;
	}
	*number_out = number;
	return ST_OK;
}

enum st log_prepare_one(struct log *l, uint32_t prev_end, struct err *err)
{
	struct seg_head h = {
		.gen = l->last_gen + 1,
		.size = l->c.segment_bytes,
		.prev_end = prev_end,
		.prev_created = l->last_created,
		.created = (uint64_t)clock_real(),
	};
	uint32_t number;
	struct seg s;
	enum st st;

	if (h.gen == 0)
		return fail(err, ST_IO, "the log has used up its generations");
	/* The chain tells neighbours by this time, so it must differ even on a clock that stands. */
	if (h.created <= l->last_created)
		h.created = l->last_created + 1;
	memcpy(h.signature, l->c.signature, LOG_SIGNATURE);
	st = get_spare(l, &number, err);
	if (st != ST_OK)
		return st;
	st = seg_take_spare(l->c.dir, number, &h, l->c.sync, &s, err);
	if (st != ST_OK)
		return st;
	l->last_gen = h.gen;
	l->last_created = h.created;
	pthread_mutex_lock(&l->lock);
	l->ahead[l->nahead++] = s;
	l->starved = false;
	pthread_cond_signal(&l->ready);
	pthread_mutex_unlock(&l->lock);
	return ST_OK;
}

/* The disk is full: there is no event for "space has come back", so look again in a second. */
static void wait_for_space(struct log *l)
{
	struct timespec until;

	l->starved = true;
	l->c.prepared(l->c.arg);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_mutex_lock(&l->lock);
	if (!l->stop)
		pthread_cond_timedwait(&l->prepare, &l->lock, &until);
	pthread_mutex_unlock(&l->lock);
}

void *log_preparer(void *arg)
{
	struct log *l = arg;

	pthread_setname_np(pthread_self(), "ese-prepare");
	for (;;) {
		struct err err = { 0 };
		enum st st;
		bool stop;

		pthread_mutex_lock(&l->lock);
		while (!l->stop && l->nahead == LOG_AHEAD)
			pthread_cond_wait(&l->prepare, &l->lock);
		stop = l->stop;
		pthread_mutex_unlock(&l->lock);
		if (stop)
			return NULL;
		st = log_prepare_one(l, 0, &err);
		if (st == ST_NOSPACE) {
			wait_for_space(l);
		} else if (st != ST_OK) {
			log_break(l, &err);
			return NULL;
		} else {
			l->c.prepared(l->c.arg);
		}
	}
}

/* With the lock held. */
static bool keep_spare(struct log *l, uint32_t number)
{
	if (l->nspares >= l->c.spares_max)
		return false;
	if (l->nspares == l->spares_cap) {
		uint32_t cap = l->spares_cap ? l->spares_cap * 2 : 8;
		uint32_t *more = realloc(l->spares, cap * sizeof(*more));

		if (!more)
			return false;
		l->spares = more;
		l->spares_cap = cap;
	}
	l->spares[l->nspares++] = number;
	pthread_cond_signal(&l->prepare);
	return true;
}

static bool has_size(const char *path, uint32_t size)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)size;
}

/* The file of a generation that nobody needs: a spare, or away.  Failures leave an old file behind,
 * which costs space and is collected at the next opening. */
static void retire(struct log *l, uint32_t gen)
{
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX];
	uint32_t number;
	bool wanted;

	seg_path(from, l->c.dir, gen);
	pthread_mutex_lock(&l->lock);
	wanted = l->nspares < l->c.spares_max && has_size(from, l->c.segment_bytes);
	number = l->next_spare++;
	pthread_mutex_unlock(&l->lock);
	if (!wanted) {
		io_unlink(from, NULL);
		return;
	}
	seg_spare_path(to, l->c.dir, number);
	if (io_rename(from, to, NULL) != ST_OK)
		return;
	pthread_mutex_lock(&l->lock);
	wanted = keep_spare(l, number);
	pthread_mutex_unlock(&l->lock);
	if (!wanted)
		io_unlink(to, NULL);
}

void log_release(struct log *l, uint32_t keep_from)
{
	for (;;) {
		uint32_t gen;

		pthread_mutex_lock(&l->lock);
		gen = l->oldest;
		if (gen < keep_from)
			l->oldest++;
		pthread_mutex_unlock(&l->lock);
		if (gen >= keep_from)
			return;
		retire(l, gen);
	}
}

enum st log_collect(struct log *l, uint32_t last, struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(l->c.dir, &list, err);

	if (st != ST_OK)
		return st;
	if (list.nspares)
		l->next_spare = list.spares[list.nspares - 1] + 1;
	l->oldest = last + 1;
	for (uint32_t i = 0; i < list.nspares; i++) {
		char path[SEG_PATH_MAX];

		seg_spare_path(path, l->c.dir, list.spares[i]);
		if (!has_size(path, l->c.segment_bytes) || !keep_spare(l, list.spares[i]))
			io_unlink(path, NULL);
	}
	if (list.ngens && list.gens[0] < l->oldest)
		l->oldest = list.gens[0];
	/* The last first, so that a crash in between leaves no gap. */
	for (uint32_t i = list.ngens; i > 0 && list.gens[i - 1] > last; i--)
		retire(l, list.gens[i - 1]);
	seg_list_free(&list);
	/* The retired names must be gone before a new file of the same generation appears. */
	return io_sync_dir(l->c.dir, err);
}
