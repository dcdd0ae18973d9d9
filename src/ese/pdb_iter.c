/* pdb_iter.c - over ranges of rows: those in memory and those in RocksDB as one sequence; see pdb.h. */
#include "ese/pdb_int.h"

#include <stdlib.h>

enum { ACTIVE, FROZEN, FILES, SOURCES }; /* newest first: the first that has a key decides */

struct pdb_iter {
	struct pdb *p;
	struct view *view;
	uint64_t number;
	struct memtable_cursor mem[FILES];
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *it;
	bool started;
	unsigned used; /* the sources that stand at the row handed out last */
	size_t from_len, to_len;
	char keys[]; /* from, to: RocksDB keeps a pointer to the bound */
};

/* RocksDB's own snapshot is taken with its iterator.  It must not hold rows that came after our number: that needs a
 * table that was taken into the view's place and written meanwhile, and then everything is taken again. */
static void take_snapshot(struct pdb_iter *it)
{
	for (;;) {
		struct view *now;

		it->view = view_take(it->p);
		it->number = it->p->number;
		it->it = rocksdb_create_iterator(it->p->db, it->read);
		now = view_take(it->p);
		view_drop(now);
		if (now == it->view)
			return;
		rocksdb_iter_destroy(it->it);
		view_drop(it->view);
	}
}

enum st pdb_iter_new(struct pdb *p, struct span from, struct span to, struct pdb_iter **out,
		     struct err *err)
{
	struct pdb_iter *it = malloc(sizeof(*it) + from.len + to.len);

	if (!it)
		return fail(err, ST_NOMEM, "list rows");
	*it = (struct pdb_iter){ .p = p, .from_len = from.len, .to_len = to.len };
	if (from.len)
		memcpy(it->keys, from.at, from.len);
	if (to.len)
		memcpy(it->keys + from.len, to.at, to.len);
	it->read = rocksdb_readoptions_create();
	if (to.len)
		rocksdb_readoptions_set_iterate_upper_bound(it->read, it->keys + from.len, to.len);
	take_snapshot(it);
	*out = it;
	return ST_OK;
}

static void start(struct pdb_iter *it)
{
	struct span from = span_of(it->keys, it->from_len);

	if (it->view) {
		memtable_seek(&it->mem[ACTIVE], it->view->active->rows, it->number, from);
		if (it->view->frozen)
			memtable_seek(&it->mem[FROZEN], it->view->frozen->rows, it->number, from);
	}
	rocksdb_iter_seek(it->it, from.at, from.len);
	it->started = true;
}

static void leave_row(struct pdb_iter *it)
{
	for (int i = ACTIVE; i < FILES; i++)
		if (it->used & 1u << i)
			memtable_next(&it->mem[i]);
	if (it->used & 1u << FILES)
		rocksdb_iter_next(it->it);
}

/* The key at which a source stands; false: it has no more in the range. */
static bool key_at(const struct pdb_iter *it, int source, struct span *key)
{
	struct span to = span_of(it->keys + it->from_len, it->to_len);

	if (source == FILES) {
		if (!rocksdb_iter_valid(it->it))
			return false;
		key->at = rocksdb_iter_key(it->it, &key->len);
		return true;
	}
	if (!it->mem[source].row)
		return false;
	*key = it->mem[source].key;
	return to.len == 0 || span_cmp(*key, to) < 0;
}

/* The lowest key any source stands at; those that do, and the newest of them. */
static bool choose(struct pdb_iter *it, struct span *key, int *newest)
{
	it->used = 0;
	for (int i = ACTIVE; i < SOURCES; i++) {
		struct span k;
		int c;

		if (!key_at(it, i, &k))
			continue;
		c = it->used ? span_cmp(k, *key) : -1;
		if (c < 0) {
			*key = k;
			*newest = i;
			it->used = 0;
		}
		if (c <= 0)
			it->used |= 1u << i;
	}
	return it->used != 0;
}

enum st pdb_iter_next(struct pdb_iter *it, struct span *key, struct span *value, struct err *err)
{
	char *message = NULL;
	int newest = FILES;

	if (!it->started)
		start(it);
	else
		leave_row(it);
	for (;;) {
		if (!rocksdb_iter_valid(it->it))
			rocksdb_iter_get_error(it->it, &message);
		if (message)
			return pdb_failed(message, "list rows", err);
		if (!choose(it, key, &newest))
			return ST_EOF;
		if (newest == FILES) {
			value->at = rocksdb_iter_value(it->it, &value->len);
			return ST_OK;
		}
		if (!it->mem[newest].value.deleted) {
			*value = it->mem[newest].value.bytes;
			return ST_OK;
		}
		leave_row(it);
	}
}

void pdb_iter_free(struct pdb_iter *it)
{
	if (!it)
		return;
	rocksdb_iter_destroy(it->it);
	rocksdb_readoptions_destroy(it->read);
	view_drop(it->view);
	free(it);
}
