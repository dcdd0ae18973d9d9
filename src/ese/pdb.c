/* pdb.c - RocksDB through its C API; see pdb.h. */
#include "ese/pdb.h"

#include "ese/manifest.h"

#include <rocksdb/c.h>
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

struct pdb {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_flushoptions_t *flush;
};

/* RocksDB's message becomes ours.  It names damage and I/O errors by its first word. */
static enum st failed(char *message, const char *what, struct err *err)
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
	rocksdb_options_set_write_buffer_size(o, c->buffer_bytes);
	rocksdb_options_set_max_write_buffer_number(o, 2);
	rocksdb_options_set_max_open_files(o, c->files_max);
	rocksdb_options_set_max_background_jobs(o, 2);
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

enum how { OPEN, CREATE, LOOK };

static enum st open_once(const char *path, enum how how, const struct pdb_conf *c, struct pdb **out,
			 struct err *err)
{
	struct pdb *p = calloc(1, sizeof(*p));
	char *message = NULL;

	if (!p)
		return fail(err, ST_NOMEM, "%s: open", path);
	set_options(p, how == CREATE, c);
	p->read = rocksdb_readoptions_create();
	p->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(p->write, 1);
	p->flush = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(p->flush, 1);
	p->db = how == LOOK ? rocksdb_open_for_read_only(p->options, path, 0, &message)
			    : rocksdb_open(p->options, path, &message);
	if (message) {
		pdb_close(p);
		return failed(message, path, err);
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
	if (p->db)
		rocksdb_close(p->db);
	rocksdb_flushoptions_destroy(p->flush);
	rocksdb_writeoptions_destroy(p->write);
	rocksdb_readoptions_destroy(p->read);
	rocksdb_options_destroy(p->options);
	rocksdb_block_based_options_destroy(p->table);
	rocksdb_cache_destroy(p->cache);
	free(p);
}

void pdb_thread(void)
{
	rocksdb_set_perf_level(rocksdb_disable);
}

enum st pdb_get(struct pdb *p, struct span key, struct span *bytes_out, void **hold_out,
		struct err *err)
{
	char *message = NULL;
	rocksdb_pinnableslice_t *v;
	size_t len;
	const char *at;

	v = rocksdb_get_pinned(p->db, p->read, key.at, key.len, &message);
	if (message)
		return failed(message, "read a row", err);
	if (!v)
		return ST_NOTFOUND;
	at = rocksdb_pinnableslice_value(v, &len);
	*bytes_out = span_of(at, len);
	*hold_out = v;
	return ST_OK;
}

void pdb_release(void *hold)
{
	if (hold)
		rocksdb_pinnableslice_destroy(hold);
}

/* A batch is RocksDB's own; the names keep its header out of everybody else's files. */
struct pdb_batch *pdb_batch_new(void)
{
	return (struct pdb_batch *)rocksdb_writebatch_create();
}

void pdb_batch_free(struct pdb_batch *b)
{
	if (b)
		rocksdb_writebatch_destroy((rocksdb_writebatch_t *)b);
}

void pdb_put(struct pdb_batch *b, struct span key, struct span value)
{
	rocksdb_writebatch_put((rocksdb_writebatch_t *)b, key.at, key.len, value.at, value.len);
}

void pdb_delete(struct pdb_batch *b, struct span key)
{
	rocksdb_writebatch_delete((rocksdb_writebatch_t *)b, key.at, key.len);
}

enum st pdb_write(struct pdb *p, struct pdb_batch *b, struct err *err)
{
	char *message = NULL;

	rocksdb_write(p->db, p->write, (rocksdb_writebatch_t *)b, &message);
	rocksdb_writebatch_clear((rocksdb_writebatch_t *)b);
	return message ? failed(message, "write rows", err) : ST_OK;
}

enum st pdb_flush(struct pdb *p, struct err *err)
{
	char *message = NULL;

	rocksdb_flush(p->db, p->flush, &message);
	return message ? failed(message, "flush rows", err) : ST_OK;
}

enum st pdb_snapshot(struct pdb *p, const char *dir, struct err *err)
{
	char *message = NULL;
	rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(p->db, &message);

	/* 0: what is only in memory is flushed first, there is no log that could carry it. */
	if (c)
		rocksdb_checkpoint_create(c, dir, 0, &message);
	rocksdb_checkpoint_object_destroy(c);
	return message ? failed(message, dir, err) : ST_OK;
}

struct pdb_iter {
	struct pdb *p;
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *it;
	bool started;
	size_t from_len;
	char keys[]; /* from, to: RocksDB keeps a pointer to the bound */
};

enum st pdb_iter_new(struct pdb *p, struct span from, struct span to, struct pdb_iter **out,
		     struct err *err)
{
	struct pdb_iter *it = malloc(sizeof(*it) + from.len + to.len);

	if (!it)
		return fail(err, ST_NOMEM, "list rows");
	*it = (struct pdb_iter){ .p = p, .from_len = from.len };
	if (from.len)
		memcpy(it->keys, from.at, from.len);
	if (to.len)
		memcpy(it->keys + from.len, to.at, to.len);
	it->read = rocksdb_readoptions_create();
	if (to.len)
		rocksdb_readoptions_set_iterate_upper_bound(it->read, it->keys + from.len, to.len);
	it->it = rocksdb_create_iterator(p->db, it->read);
	*out = it;
	return ST_OK;
}

enum st pdb_iter_next(struct pdb_iter *it, struct span *key, struct span *value, struct err *err)
{
	char *message = NULL;
	const char *at;
	size_t len;

	if (!it->started)
		rocksdb_iter_seek(it->it, it->keys, it->from_len);
	else if (rocksdb_iter_valid(it->it))
		rocksdb_iter_next(it->it);
	it->started = true;
	if (!rocksdb_iter_valid(it->it)) {
		rocksdb_iter_get_error(it->it, &message);
		return message ? failed(message, "list rows", err) : ST_EOF;
	}
	at = rocksdb_iter_key(it->it, &len);
	*key = span_of(at, len);
	at = rocksdb_iter_value(it->it, &len);
	*value = span_of(at, len);
	return ST_OK;
}

void pdb_iter_free(struct pdb_iter *it)
{
	if (!it)
		return;
	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	free(it);
}
