/* ds_private.h - what the files of this room share. */
#ifndef DIRECTORY_DS_PRIVATE_H
#define DIRECTORY_DS_PRIVATE_H

#include "directory/dsaccess.h"

struct dsaccess {
	struct exipc_chan *chan;
	struct ds_source source;
	unsigned ttl_s, negative_ttl_s, timeout_ms, entries_max;
	uint64_t seed; /* of the hash: what peers send must not choose the bucket */
	struct entry **buckets;
	size_t nbuckets;
	struct entry *newest, *oldest;
	struct flight *flights;
	uint64_t flushes;
	struct ds_stats stats;
};

/* The source over the wire: DS_RESOLVE. */
enum st ds_ask_store(void *ds, struct span address, struct pool *pool, struct ds_object *out,
		     struct err *err);

#endif
