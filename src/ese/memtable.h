/* memtable.h - rows in memory, in key order, each with its versions: what stands in front of RocksDB's files.
 *
 * A skip list that only grows: a row, once in, stays where it is until the table goes, a change puts a version in
 * front of the older ones.  Versions carry the number of the batch they came with, so that a reader who keeps to a number
 * sees exactly the batches up to it.  Puts near the one before with the same beginning are cheap: mail grows at the end of
 * folders.
 *
 * One thread puts at a time; any number read meanwhile, without a lock.  What a reader is given stays as long as
 * the table, which whoever holds it keeps (pdb.c counts). */
#ifndef ESE_MEMTABLE_H
#define ESE_MEMTABLE_H

#include "base/span.h"

#include <stdint.h>

struct memtable;
struct memtable_row;

struct memtable *memtable_new(void); /* NULL: out of memory */
void memtable_free(struct memtable *t);
/* Bytes taken so far, overwritten versions included. */
size_t memtable_bytes(const struct memtable *t);

bool memtable_is_empty(const struct memtable *t);

struct memtable_value {
	struct span bytes;
	bool deleted; /* the row is gone, whatever is beneath this table */
};
/* A key has at least one byte; `number` is not below that of any put before.  false: out of memory, nothing changed. */
bool memtable_put(struct memtable *t, uint64_t number, struct span key,
		  const struct memtable_value *v);
/* As of batch `number`; false: this table does not know. */
bool memtable_get(const struct memtable *t, uint64_t number, struct span key,
		  struct memtable_value *out);

/* A place between rows, which moves forward over those that there are as of a batch. */
struct memtable_cursor {
	const struct memtable *t;
	uint64_t number;
	const struct memtable_row *row; /* NULL: behind the last */
	struct span key;
	struct memtable_value value;
};
/* To the first row whose key is not below `key`. */
void memtable_seek(struct memtable_cursor *c, const struct memtable *t, uint64_t number,
		   struct span key);
void memtable_next(struct memtable_cursor *c);

#endif
