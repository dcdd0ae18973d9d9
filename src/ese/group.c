/* group.c - a storage group: opening, closing, what may be queued; see ese.h. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "ese/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- what may be queued ---- */

static enum st look_at_space(struct ese *g, uint64_t now, struct err *err)
{
	uint64_t bytes;
	enum st st = io_space(g->dir, &bytes, err);

	if (st != ST_OK)
		return st;
	g->free_bytes = bytes;
	g->taken_since = 0;
	g->last_look = now;
	return ST_OK;
}

enum st group_admit(struct ese *g, size_t bytes, bool small, struct err *err)
{
	uint64_t now = (uint64_t)clock_mono();
	uint64_t least = small ? g->o.reserve_bytes / 4 : g->o.reserve_bytes;

	if (g->broken) {
		pthread_mutex_lock(&g->lock);
		if (err)
			*err = g->broken_why;
		pthread_mutex_unlock(&g->lock);
		if (err)
			err->st = ST_IO;
		return ST_IO;
	}
	if (atomic_fetch_add(&g->taken_since, bytes) + bytes > RESERVE_CHECK ||
	    now - g->last_look > NS_PER_SEC) {
		enum st st = look_at_space(g, now, err);

		if (st != ST_OK)
			return st;
	}
	if (g->free_bytes < least || log_starved(g->log))
		return fail(err, ST_NOSPACE, "the disk of %s is full", g->dir);
	return ST_OK;
}

/* With the lock held: may bodies come?  On a full disk they may come to be refused. */
static bool has_room(struct ese *g)
{
	if (g->broken || log_starved(g->log))
		return true;
	return g->queue_bytes <= g->o.queue_bytes / 2 && log_has_room(g->log, SIZE_MAX);
}

void group_wake(struct ese *g)
{
	struct waiter *w = NULL;

	pthread_mutex_lock(&g->lock);
	if (g->waiters && has_room(g)) {
		w = g->waiters;
		g->waiters = NULL;
	}
	pthread_mutex_unlock(&g->lock);
	while (w) {
		struct waiter *next = w->next;

		w->fn(w->arg);
		free(w);
		w = next;
	}
}

size_t group_cost(const struct node *n)
{
	if (n->way == NODE_PASS)
		return 0;
	return n->kind == REC_BODY ? n->len - REC_BODY_HEAD : n->len;
}

enum st group_claim(struct ese *g, size_t len, bool direct, struct err *err)
{
	bool busy;

	pthread_mutex_lock(&g->lock);
	busy = g->queue_bytes > g->o.queue_bytes / 2 && g->queue_bytes + len > g->o.queue_bytes;
	busy = busy || (!direct && !log_has_room(g->log, len));
	if (!busy)
		g->queue_bytes += len;
	pthread_mutex_unlock(&g->lock);
	return busy ? fail(err, ST_BUSY, "the log's queue is full") : ST_OK;
}

void group_claim_anyway(struct ese *g, size_t len)
{
	pthread_mutex_lock(&g->lock);
	g->queue_bytes += len;
	pthread_mutex_unlock(&g->lock);
}

void group_unclaim(struct ese *g, size_t len)
{
	pthread_mutex_lock(&g->lock);
	g->queue_bytes -= len;
	pthread_mutex_unlock(&g->lock);
}

void group_queue(struct ese *g, struct node *n)
{
	pthread_mutex_lock(&g->lock);
	if (n->kind != REC_BODY)
		g->queue_bytes += group_cost(n);
	g->queued++;
	atomic_fetch_add(&n->db->pending, 1);
	pthread_mutex_unlock(&g->lock);
	log_queue(g->log, n);
}

void ese_when_room(struct ese *g, void (*fn)(void *arg), void *arg)
{
	struct waiter *w = malloc(sizeof(*w));
	bool now;

	pthread_mutex_lock(&g->lock);
	now = !w || has_room(g);
	if (!now) {
		*w = (struct waiter){ .next = g->waiters, .fn = fn, .arg = arg };
		g->waiters = w;
	}
	pthread_mutex_unlock(&g->lock);
	if (now) {
		free(w);
		fn(arg);
	} else {
		log_kick(g->log);
	}
}

/* ---- from the log ---- */

static void on_placed(void *arg, struct node *list)
{
	struct ese *g = arg;
	struct node *last = list;
	uint64_t nodes = 1;

	for (; last->next; last = last->next)
		nodes++;
	pthread_mutex_lock(&g->lock);
	*g->tail = list;
	g->tail = &last->next;
	g->placed += nodes;
	pthread_cond_signal(&g->synced);
	pthread_mutex_unlock(&g->lock);
}

static void on_synced(void *arg)
{
	struct ese *g = arg;

	/* Before anybody hears of his commit. */
	shipping_moved(g);
	pthread_mutex_lock(&g->lock);
	g->durable = g->placed;
	pthread_cond_signal(&g->synced);
	pthread_mutex_unlock(&g->lock);
}

void group_break(struct ese *g, const struct err *why)
{
	bool first;

	pthread_mutex_lock(&g->lock);
	first = !g->broken;
	if (first)
		g->broken_why = *why;
	g->broken = true;
	pthread_cond_broadcast(&g->synced);
	pthread_cond_broadcast(&g->settled);
	pthread_cond_broadcast(&g->check);
	pthread_cond_broadcast(&g->checked);
	pthread_mutex_unlock(&g->lock);
	if (!first)
		return;
	if (g->o.broken)
		g->o.broken(g->o.arg, why);
	else
		panic("storage group %s: %s", g->dir, why->text);
}

void group_found(struct ese *g, const struct finding *f)
{
	uint64_t what[3] = { f->kind, f->body, f->page }, mark;
	bool told = false;

	mark = (uint64_t)crc32c(0, what, sizeof(what)) << 32 | crc32c(0, f->text, strlen(f->text));
	pthread_mutex_lock(&g->lock);
	for (uint32_t i = 0; !told && i < g->ntold; i++)
		told = g->told[i] == mark;
	if (!told && g->ntold < FINDINGS_TOLD)
		g->told[g->ntold++] = mark;
	pthread_mutex_unlock(&g->lock);
	if (!told && g->o.found)
		g->o.found(g->o.arg, f);
}

static void on_broken(void *arg, const struct err *why)
{
	group_break(arg, why);
}

static void on_prepared(void *arg)
{
	group_wake(arg);
}

/* ---- opening ---- */

static void set_defaults(struct ese_options *o)
{
	if (!o->segment_bytes)
		o->segment_bytes = 5u * 1024 * 1024;
	if (!o->checkpoint_bytes)
		o->checkpoint_bytes = 64u * 1024 * 1024;
	if (!o->queue_bytes)
		o->queue_bytes = 4u * 1024 * 1024;
	if (!o->direct_bytes)
		o->direct_bytes = 64u * 1024;
	if (!o->reserve_bytes)
		o->reserve_bytes = 64u * 1024 * 1024;
	if (!o->ship_keep_bytes)
		o->ship_keep_bytes = 1024u * 1024 * 1024;
	if (!o->cache_bytes)
		o->cache_bytes = 32u * 1024 * 1024;
	if (!o->write_buffer_bytes)
		o->write_buffer_bytes = 16u * 1024 * 1024;
}

static enum st lock_dir(struct ese *g, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st;

	snprintf(path, sizeof(path), "%s/E00.lck", g->dir);
	st = io_open(path, O_RDWR | O_CREAT, &g->lock_fd, err);
	if (st == ST_OK && flock(g->lock_fd, LOCK_EX | LOCK_NB) < 0)
		st = errno == EWOULDBLOCK
			     ? fail(err, ST_BUSY, "%s is open in another process", g->dir)
			     : fail_errno(err, "lock %s", path);
	return st;
}

/* The folder itself and its name in its parent. */
static enum st make_dir(const char *dir, struct err *err)
{
	char parent[SEG_PATH_MAX];
	char *slash;
	enum st st;

	if (access(dir, F_OK) == 0)
		return ST_OK;
	st = io_mkdir(dir, err);
	if (st != ST_OK)
		return st;
	snprintf(parent, sizeof(parent), "%s", dir);
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash++;
	if (slash)
		*slash = '\0';
	return io_sync_dir(slash ? parent : ".", err);
}

static struct ese *group_new(const char *dir, const struct ese_options *o)
{
	struct ese *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->dir = strdup(dir);
	if (!g->dir) {
		free(g);
		return NULL;
	}
	g->o = *o;
	set_defaults(&g->o);
	g->lock_fd = -1;
	g->tail = &g->head;
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_init(&g->life, NULL);
	pthread_mutex_init(&g->slot, NULL);
	scrub_init(g);
	pthread_cond_init(&g->synced, NULL);
	pthread_cond_init(&g->settled, NULL);
	pthread_cond_init(&g->check, NULL);
	pthread_cond_init(&g->checked, NULL);
	return g;
}

static void group_destroy(struct ese *g)
{
	struct ese_db *db = g->dbs;

	while (db) {
		struct ese_db *next = db->next;

		db_free(db);
		db = next;
	}
	if (g->lock_fd >= 0)
		close(g->lock_fd);
	scrub_destroy(g);
	pthread_cond_destroy(&g->checked);
	pthread_cond_destroy(&g->check);
	pthread_cond_destroy(&g->settled);
	pthread_cond_destroy(&g->synced);
	pthread_mutex_destroy(&g->slot);
	pthread_mutex_destroy(&g->life);
	pthread_mutex_destroy(&g->lock);
	free(g->dir);
	free(g);
}

/* Whose log is this, and from where is it to be replayed? */
static enum st find_log(struct ese *g, struct checkpoint *cp, struct err *err)
{
	struct log_reader *r;
	enum st have = checkpoint_read(g->dir, cp, err), st;

	if (have != ST_OK && have != ST_NOTFOUND)
		return have;
	if (have == ST_NOTFOUND)
		*cp = (struct checkpoint){ 0 };
	st = log_read_open(g->dir, pos_gen(cp->position), NULL, &r, err);
	g->fresh = st == ST_NOTFOUND && have == ST_NOTFOUND;
	if (g->fresh) {
		random_bytes(g->signature, LOG_SIGNATURE);
		if (g->o.circular)
			g->facts.flags = CHECKPOINT_CIRCULAR | CHECKPOINT_DIRECT;
		g->circular = g->o.circular;
		return ST_OK;
	}
	if (st == ST_NOTFOUND)
		return fail(
			err, ST_CORRUPT,
			"%s: the log files are missing; put them back, or run: mailroot ese repair",
			g->dir);
	if (st != ST_OK)
		return st;
	memcpy(g->signature, log_read_signature(r), LOG_SIGNATURE);
	log_read_close(r);
	if (have == ST_OK && memcmp(g->signature, cp->signature, LOG_SIGNATURE) != 0)
		return fail(err, ST_CORRUPT, "%s: checkpoint and log belong to different groups",
			    g->dir);
	g->checkpoint_number = cp->number;
	/* The first slot of ours is the second place, which those of format 1 do not reach. */
	if (cp->format == ESE_FORMAT_OLD)
		g->checkpoint_number += cp->number % 2;
	g->checkpoint_pos = cp->position;
	g->facts = cp->facts;
	g->circular = g->facts.flags & CHECKPOINT_CIRCULAR;
	return ST_OK;
}

static enum st start_log(struct ese *g, const struct log_end *end, struct err *err)
{
	struct log_conf c = {
		.dir = g->dir,
		.segment_bytes = g->o.segment_bytes,
		.sync = (enum seg_sync)g->o.log_sync,
		.spares_max = 2 * (uint32_t)(g->o.checkpoint_bytes / g->o.segment_bytes) + 3,
		.direct = direct_write,
		.direct_sync = direct_sync,
		.placed = on_placed,
		.synced = on_synced,
		.broken = on_broken,
		.prepared = on_prepared,
		.arg = g,
	};
	enum st st;

	memcpy(c.signature, g->signature, LOG_SIGNATURE);
	st = log_start(&c, end->gen + 1, end->created, g->fresh ? 0 : end->off, end->number + 1,
		       &g->log, err);
	if (st == ST_OK)
		g->applied_pos = g->start_pos = log_position(g->log);
	return st;
}

static enum st start_threads(struct ese *g, struct err *err)
{
	if (pthread_create(&g->apply_thread, NULL, apply_thread, g) != 0)
		return fail(err, ST_NOMEM, "apply thread");
	g->apply_runs = true;
	if (pthread_create(&g->checkpointer, NULL, checkpoint_thread, g) != 0)
		return fail(err, ST_NOMEM, "checkpoint thread");
	g->checkpointer_runs = true;
	return scrub_begin(g, err);
}

/* Replay has ended: each database says so in its files, or fails. */
static void begin_databases(struct ese *g)
{
	for (struct ese_db *db = g->dbs; db; db = db->next) {
		struct err why = { 0 };

		if (!db->live)
			continue;
		db_begin(db);
		if (db_mark_applied(db, g->applied_pos, &why) != ST_OK ||
		    io_sync(db->fd, db->name, &why) != ST_OK ||
		    db_mark(db, STATE_DIRTY, g->applied_pos, &why) != ST_OK) {
			db->holds = true;
			db_fail(db, &why);
		}
	}
}

/* The threads run: databases are there for everybody. */
static enum st let_in(struct ese *g, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next) {
		if (!db->live)
			continue;
		db->state = ESE_UP;
		st = db_attach(db, ATTACH_OPENED, err);
		if (st == ST_OK)
			st = recover_orphans(db, err);
	}
	return st;
}

/* An upgrade takes all of its databases or none: nothing of ours has been written yet. */
static enum st all_came(struct ese *g, struct err *err)
{
	for (struct ese_db *db = g->dbs; format_takes_old() && db; db = db->next)
		if (db->state == ESE_FAILED && !db->live && !db->removed)
			return fail(err, ST_CORRUPT,
				    "database %s can't be upgraded: %.120s; mend or remove it with "
				    "the version of mailroot that wrote it",
				    db->name, db->last.reason);
	return ST_OK;
}

/* Everything between the lock and the first new work (docs/crash-states.md, "The states at opening"). */
static enum st bring_up(struct ese *g, struct checkpoint *cp, struct err *err)
{
	struct log_end end = { 0 };
	enum st st = find_log(g, cp, err);

	if (st == ST_OK)
		st = find_databases(g, cp, err);
	if (st == ST_OK && !g->fresh)
		st = recover(g, cp, &end, err);
	if (st == ST_OK)
		st = all_came(g, err);
	if (st == ST_OK)
		st = look_at_space(g, (uint64_t)clock_mono(), err);
	if (st == ST_OK)
		st = start_log(g, &end, err);
	if (st != ST_OK)
		return st;
	shipping_open(g);
	begin_databases(g);
	/* What was replayed becomes durable in its place, so that the next opening has it behind itself. */
	st = checkpoint_take(g, STATE_DIRTY, err);
	if (st == ST_OK)
		st = start_threads(g, err);
	return st == ST_OK ? let_in(g, err) : st;
}

static enum st bring_up_group(struct ese *g, struct err *err)
{
	struct checkpoint *cp = calloc(1, sizeof(*cp));
	enum st st = cp ? bring_up(g, cp, err) : fail(err, ST_NOMEM, "open %s", g->dir);

	free(cp);
	return st;
}

/* The checkpointer asks the apply thread, which asks the log: they go in that order. */
static void stop_checkpointer(struct ese *g)
{
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_cond_broadcast(&g->check);
	pthread_mutex_unlock(&g->lock);
	if (g->checkpointer_runs)
		pthread_join(g->checkpointer, NULL);
	g->checkpointer_runs = false;
}

static void stop_apply(struct ese *g)
{
	pthread_mutex_lock(&g->lock);
	g->stop_apply = true;
	pthread_cond_broadcast(&g->synced);
	pthread_mutex_unlock(&g->lock);
	if (g->apply_runs)
		pthread_join(g->apply_thread, NULL);
	g->apply_runs = false;
}

static void stop_threads(struct ese *g)
{
	scrub_end(g);
	stop_checkpointer(g);
	stop_apply(g);
	log_stop(g->log);
	while (g->head) {
		struct node *n = g->head;

		g->head = n->next;
		node_free(n);
	}
}

enum st ese_open(const char *dir, const struct ese_options *o, struct ese **out, struct err *err)
{
	struct ese *g = group_new(dir, o);
	enum st st;

	if (!g)
		return fail(err, ST_NOMEM, "open %s", dir);
	if (g->o.segment_bytes < SEG_SIZE_MIN || g->o.segment_bytes > SEG_SIZE_MAX ||
	    g->o.segment_bytes % LOG_PAGE != 0)
		st = fail(err, ST_BAD, "a log file has %u to %u bytes, in pages of %u",
			  SEG_SIZE_MIN, SEG_SIZE_MAX, LOG_PAGE);
	else
		st = make_dir(dir, err);
	if (st == ST_OK)
		st = lock_dir(g, err);
	if (st == ST_OK)
		st = bring_up_group(g, err);
	if (st != ST_OK) {
		stop_threads(g);
		group_destroy(g);
		return st;
	}
	*out = g;
	return ST_OK;
}

enum st group_open_standby(const char *dir, const struct ese_options *o, struct ese **out,
			   struct log_end *end, struct err *err)
{
	struct ese *g = group_new(dir, o);
	struct checkpoint *cp = calloc(1, sizeof(*cp));
	enum st st;

	*out = g;
	if (!g || !cp) {
		free(cp);
		return fail(err, ST_NOMEM, "open %s", dir);
	}
	g->standby = true;
	st = make_dir(dir, err);
	if (st == ST_OK)
		st = lock_dir(g, err);
	if (st == ST_OK)
		st = find_log(g, cp, err);
	if (st == ST_OK)
		st = find_databases(g, cp, err);
	if (st == ST_OK && !g->fresh)
		st = recover(g, cp, end, err);
	free(cp);
	return st;
}

void group_close_standby(struct ese *g)
{
	if (g)
		group_destroy(g);
}

/* ---- closing ---- */

/* Everything queued is applied, and what that queued in turn; false: the group broke. */
static bool settle(struct ese *g)
{
	bool broken;

	log_kick(g->log);
	pthread_mutex_lock(&g->lock);
	while (g->applied < g->queued && !g->broken)
		pthread_cond_wait(&g->settled, &g->lock);
	broken = g->broken;
	pthread_mutex_unlock(&g->lock);
	return !broken;
}

static enum st close_clean(struct ese *g, struct err *err)
{
	enum st st = checkpoint_take(g, STATE_DIRTY, err);

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next)
		if (db->live)
			st = db_mark(db, STATE_CLEAN, g->applied_pos, err);
	return st == ST_OK ? checkpoint_take(g, STATE_CLEAN, err) : st;
}

void ese_close(struct ese *g)
{
	struct err err = { 0 };

	if (!g)
		return;
	scrub_end(g);
	if (settle(g)) {
		stop_checkpointer(g);
		stop_apply(g);
		if (!g->broken && close_clean(g, &err) != ST_OK)
			group_break(g, &err);
	}
	stop_threads(g);
	group_destroy(g);
}

void ese_stats(struct ese *g, struct ese_stats *out)
{
	struct ese_stats s = { .log_position = log_position(g->log) };

	log_counts(g->log, &s.log_bytes, &s.log_syncs);
	for (struct ese_db *db = g->dbs; db; db = db->next) {
		struct ese_db_info i;

		if (db->removed)
			continue;
		ese_db_info(db, &i);
		s.databases++;
		s.databases_failed += i.state == ESE_FAILED;
		if (i.state != ESE_UP)
			continue;
		s.databases_up++;
		s.pages_total += i.pages_total;
		s.pages_free += i.pages_free;
		s.pages_reserved += i.pages_reserved;
		s.bodies += i.bodies;
		s.pins += i.pins;
	}
	pthread_mutex_lock(&g->lock);
	s.commits = g->commits;
	s.direct_bytes = g->direct_bytes;
	s.direct_syncs = g->direct_syncs;
	s.applied_position = g->applied_pos;
	s.checkpoint_position = g->checkpoint_pos;
	s.queue_bytes = g->queue_bytes;
	s.recovered_records = g->recovered_records;
	s.recovery_ns = g->recovery_ns;
	pthread_mutex_unlock(&g->lock);
	s.refusing = log_starved(g->log) || g->free_bytes < g->o.reserve_bytes;
	*out = s;
}
