/* pdb.c - RocksDB through its C API; see pdb.h. */
#include "ese/pdb_int.h"

#include "base/buf.h"
#include "ese/manifest.h"

#include <stdlib.h>

/* RocksDB's package is not built for ThreadSanitizer, which therefore does not see its ordering. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifdef UNDER_TSAN
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:librocksdb.so\nrace:libstdc++.so\nmutex:librocksdb.so\n";
}
#endif

/* RocksDB's message becomes ours.  It names damage and I/O errors by its first word. */
enum st pdb_failed(char *message, const char *what, struct err *err)
{
	bool corrupt = strncmp(message, "Corruption", 10) == 0;
	enum st st = corrupt ? ST_CORRUPT : ST_IO;

	if (strstr(message, "No space left"))
		st = ST_NOSPACE;
	fail(err, st, "%s: %.160s", what, message);
	rocksdb_free(message);
	return st;
}

static void set_options(struct pdb *p, bool create, const struct pdb_conf *c)
{
	rocksdb_options_t *o = p->options = rocksdb_options_create();

	p->table = rocksdb_block_based_options_create();
	p->cache = rocksdb_cache_create_lru(c->cache_bytes);
	rocksdb_block_based_options_set_block_cache(p->table, p->cache);
	rocksdb_block_based_options_set_filter_policy(p->table,
						      rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_block_based_options_set_format_version(p->table, 5);
	rocksdb_options_set_block_based_table_factory(o, p->table);
	rocksdb_options_set_create_if_missing(o, create);
	rocksdb_options_set_error_if_exists(o, create);
	/* It gets rows by the table and flushes when it is told, never in between. */
	rocksdb_options_set_write_buffer_size(o, 1u << 30);
	rocksdb_options_set_max_write_buffer_number(o, 2);
	rocksdb_options_set_max_open_files(o, c->files_max);
	rocksdb_options_set_max_background_jobs(o, 2);
	/* Compaction can wait, mail can't. */
	p->env = rocksdb_create_default_env();
	rocksdb_env_lower_thread_pool_cpu_priority(p->env);
	rocksdb_options_set_env(o, p->env);
	/* Each file spans all mailboxes, so merging some rewrites the whole next level: wait for as much as that holds. */
	rocksdb_options_set_level0_file_num_compaction_trigger(o, 8);
	rocksdb_options_set_level0_slowdown_writes_trigger(o, 24);
	rocksdb_options_set_level0_stop_writes_trigger(o, 36);
	rocksdb_options_set_max_bytes_for_level_base(o, 64u * 1024 * 1024);
	rocksdb_options_set_compression(o, rocksdb_lz4_compression);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
	rocksdb_options_set_max_manifest_file_size(o, 4u * 1024 * 1024);
	/* Its own account of itself: kept, but small. */
	rocksdb_options_set_info_log_level(o, 2);
	rocksdb_options_set_max_log_file_size(o, 256u * 1024);
	rocksdb_options_set_keep_log_file_num(o, 2);
	rocksdb_options_set_stats_dump_period_sec(o, 0);
	rocksdb_options_set_stats_persist_period_sec(o, 0);
}

/* A table in memory that is smaller would be made and written all the time. */
#define TABLE_LEAST (1u << 20)

enum how { OPEN, CREATE, LOOK };

static enum st open_once(const char *path, enum how how, const struct pdb_conf *c, struct pdb **out,
			 struct err *err)
{
	struct pdb *p = calloc(1, sizeof(*p));
	char *message = NULL;
	enum st st = ST_OK;

	if (!p)
		return fail(err, ST_NOMEM, "%s: open", path);
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->look, NULL);
	pthread_cond_init(&p->freeze, NULL);
	pthread_cond_init(&p->frozen, NULL);
	/* Two tables here, and two of RocksDB's: one that is filled from ours and one that is flushed. */
	p->limit = c->buffer_bytes / 2 > TABLE_LEAST ? c->buffer_bytes / 2 : TABLE_LEAST;
	p->path = strdup(path);
	set_options(p, how == CREATE, c);
	p->read = rocksdb_readoptions_create();
	p->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(p->write, 1);
	p->flush = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(p->flush, 1);
	p->begin_flush = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(p->begin_flush, 0);
	p->db = how == LOOK ? rocksdb_open_for_read_only(p->options, path, 0, &message)
			    : rocksdb_open(p->options, path, &message);
	if (message) {
		pdb_close(p);
		return pdb_failed(message, path, err);
	}
	if (!p->path)
		st = fail(err, ST_NOMEM, "%s: open", path);
	else if (how != LOOK)
		st = flush_start(p, err);
	if (st != ST_OK) {
		pdb_close(p);
		return st;
	}
	*out = p;
	return ST_OK;
}

enum st pdb_open(const char *path, bool create, const struct pdb_conf *c, struct pdb **out,
		 struct err *err)
{
	enum st st = open_once(path, create ? CREATE : OPEN, c, out, err);
	bool cut;

	if (st != ST_CORRUPT || create || manifest_cut(path, &cut, NULL) != ST_OK || !cut)
		return st;
	return open_once(path, OPEN, c, out, err);
}

enum st pdb_open_readonly(const char *path, const struct pdb_conf *c, struct pdb **out,
			  struct err *err)
{
	return open_once(path, LOOK, c, out, err);
}

void pdb_close(struct pdb *p)
{
	if (!p)
		return;
	flush_stop(p);
	if (p->db)
		rocksdb_close(p->db);
	rocksdb_flushoptions_destroy(p->begin_flush);
	rocksdb_flushoptions_destroy(p->flush);
	rocksdb_writeoptions_destroy(p->write);
	rocksdb_readoptions_destroy(p->read);
	rocksdb_options_destroy(p->options);
	rocksdb_block_based_options_destroy(p->table);
	rocksdb_cache_destroy(p->cache);
	rocksdb_env_destroy(p->env);
	pthread_cond_destroy(&p->frozen);
	pthread_cond_destroy(&p->freeze);
	pthread_mutex_destroy(&p->look);
	pthread_mutex_destroy(&p->lock);
	free(p->path);
	free(p);
}

enum st pdb_repair(const char *path, struct err *err)
{
	struct pdb_conf c = { .cache_bytes = TABLE_LEAST,
			      .buffer_bytes = TABLE_LEAST,
			      .files_max = 64 };
	struct pdb *p = calloc(1, sizeof(*p));
	char *message = NULL;

	if (!p)
		return fail(err, ST_NOMEM, "%s: repair", path);
	set_options(p, false, &c);
	rocksdb_repair_db(p->options, path, &message);
	rocksdb_options_destroy(p->options);
	rocksdb_block_based_options_destroy(p->table);
	rocksdb_cache_destroy(p->cache);
	rocksdb_env_destroy(p->env);
	free(p);
	return message ? pdb_failed(message, path, err) : ST_OK;
}

void pdb_thread(void)
{
	rocksdb_set_perf_level(rocksdb_disable);
}

/* What a caller holds is RocksDB's value, or a view, which is told apart by its lowest bit. */
#define IN_MEMORY ((uintptr_t)1)

static bool get_in_memory(struct view *v, uint64_t number, struct span key,
			  struct memtable_value *out)
{
	return memtable_get(v->active->rows, number, key, out) ||
	       (v->frozen && memtable_get(v->frozen->rows, number, key, out));
}

static enum st get_in_files(struct pdb *p, struct span key, struct span *bytes_out, void **hold_out,
			    struct err *err)
{
	char *message = NULL;
	rocksdb_pinnableslice_t *v;
	size_t len;
	const char *at;

	v = rocksdb_get_pinned(p->db, p->read, key.at, key.len, &message);
	if (message)
		return pdb_failed(message, "read a row", err);
	if (!v)
		return ST_NOTFOUND;
	at = rocksdb_pinnableslice_value(v, &len);
	*bytes_out = span_of(at, len);
	*hold_out = v;
	return ST_OK;
}

/* The view is held until RocksDB has answered: a table that is neither in it nor there yet can't be. */
enum st pdb_get(struct pdb *p, struct span key, struct span *bytes_out, void **hold_out,
		struct err *err)
{
	struct view *v = view_take(p);
	struct memtable_value found;
	enum st st;

	if (v && key.len && get_in_memory(v, p->number, key, &found)) {
		if (found.deleted) {
			view_drop(v);
			return ST_NOTFOUND;
		}
		*bytes_out = found.bytes;
		*hold_out = (void *)((uintptr_t)v | IN_MEMORY);
		return ST_OK;
	}
	st = get_in_files(p, key, bytes_out, hold_out, err);
	view_drop(v);
	return st;
}

void pdb_release(void *hold)
{
	if ((uintptr_t)hold & IN_MEMORY)
		view_drop((struct view *)((uintptr_t)hold & ~IN_MEMORY));
	else if (hold)
		rocksdb_pinnableslice_destroy(hold);
}

/* ---- writing ---- */

struct row_change {
	uint32_t key_len, value_len;
	bool deleted;
};

/* Changes one behind the other: struct row_change, key, value. */
struct pdb_batch {
	struct buf changes;
};

struct pdb_batch *pdb_batch_new(void)
{
	struct pdb_batch *b = calloc(1, sizeof(*b));

	if (b)
		b->changes = BUF_MAX(SIZE_MAX / 2);
	return b;
}

void pdb_batch_free(struct pdb_batch *b)
{
	if (!b)
		return;
	buf_free(&b->changes);
	free(b);
}

static void change(struct pdb_batch *b, struct span key, struct span value, bool deleted)
{
	struct row_change c = { (uint32_t)key.len, (uint32_t)value.len, deleted };

	buf_add(&b->changes, &c, sizeof(c));
	buf_span(&b->changes, key);
	buf_span(&b->changes, value);
}

void pdb_batch_clear(struct pdb_batch *b)
{
	buf_clear(&b->changes);
}

void pdb_put(struct pdb_batch *b, struct span key, struct span value)
{
	change(b, key, value, false);
}

void pdb_delete(struct pdb_batch *b, struct span key)
{
	change(b, key, SPAN_NONE, true);
}

static bool put_changes(struct memtable *t, uint64_t number, struct span changes)
{
	while (changes.len > 0) {
		struct row_change c;
		struct span key, value;

		memcpy(&c, changes.at, sizeof(c));
		key = span_cut(span_skip(changes, sizeof(c)), c.key_len);
		value = span_cut(span_skip(changes, sizeof(c) + c.key_len), c.value_len);
		if (!memtable_put(t, number, key, &(struct memtable_value){ value, c.deleted }))
			return false;
		changes = span_skip(changes, sizeof(c) + c.key_len + c.value_len);
	}
	return true;
}

/* With the lock held, after anything went wrong. */
static enum st say_failed(struct pdb *p, struct err *err)
{
	if (p->failed.st != ST_OK && err)
		*err = p->failed;
	return p->failed.st;
}

enum st pdb_prepare(struct pdb *p, struct pdb_batch *b, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&p->lock);
	while (p->prepared && p->failed.st == ST_OK)
		pthread_cond_wait(&p->frozen, &p->lock);
	if (p->failed.st == ST_OK &&
	    (b->changes.failed ||
	     !put_changes(p->view->active->rows, p->number + 1, buf_get(&b->changes))))
		fail(&p->failed, ST_NOMEM, "write rows"); /* half of it is there: no more */
	p->prepared = p->failed.st == ST_OK;
	st = say_failed(p, err);
	pthread_mutex_unlock(&p->lock);
	buf_clear(&b->changes);
	return st;
}

enum st pdb_publish(struct pdb *p, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&p->lock);
	p->prepared = false;
	st = say_failed(p, err);
	if (st == ST_OK) {
		p->number++;
		if (memtable_bytes(p->view->active->rows) > p->limit)
			st = flush_freeze(p, err);
	}
	pthread_cond_broadcast(&p->frozen);
	pthread_mutex_unlock(&p->lock);
	return st;
}

void pdb_abandon(struct pdb *p)
{
	pthread_mutex_lock(&p->lock);
	if (p->prepared)
		fail(&p->failed, ST_IO, "rows that were to come did not");
	p->prepared = false;
	pthread_cond_broadcast(&p->frozen);
	pthread_mutex_unlock(&p->lock);
}

enum st pdb_write(struct pdb *p, struct pdb_batch *b, struct err *err)
{
	enum st st = pdb_prepare(p, b, err);

	return st == ST_OK ? pdb_publish(p, err) : st;
}

enum st pdb_snapshot(struct pdb *p, const char *dir, struct err *err)
{
	enum st st = pdb_flush(p, err);
	rocksdb_checkpoint_t *c;
	char *message = NULL;

	if (st != ST_OK)
		return st;
	c = rocksdb_checkpoint_object_create(p->db, &message);
	if (c)
		rocksdb_checkpoint_create(c, dir, 0, &message);
	rocksdb_checkpoint_object_destroy(c);
	return message ? pdb_failed(message, dir, err) : ST_OK;
}

uint64_t pdb_size(struct pdb *p)
{
	uint64_t bytes = 0;

	rocksdb_property_int(p->db, "rocksdb.live-sst-files-size", &bytes);
	return bytes;
}
