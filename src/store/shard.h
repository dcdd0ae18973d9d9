/* shard.h - the store, and the part of it that belongs to one loop.
 *
 * struct store is set up before the loops run and is constant then.  A shard is touched on its own loop
 * only: mailboxes, logons, virtual files and watchers are found there by number, and a number says by
 * itself where (number modulo the count of shards): mailbox ids by nature, the random ones because they
 * are drawn so. */
#ifndef STORE_SHARD_H
#define STORE_SHARD_H

#include "base/config.h"
#include "ese/ese.h"
#include "exipc/exipc.h"
#include "loop/loop.h"
#include "store/hmap.h"
#include "wire/wire.h"

/* A place in a list of what was used last.  The list itself is a link that points to both ends. */
struct link {
	struct link *prev, *next;
};
void link_init(struct link *list);
void link_push(struct link *list, struct link *l); /* to the front: used now */
void link_cut(struct link *l);                     /* fine for one that is in no list */

/* Written on the shard's loop, read by anyone. */
struct op_figures {
	_Atomic uint64_t requests, failures, nanoseconds;
};

struct store;

struct shard {
	struct store *store;
	struct loop *loop;
	unsigned index;
	struct hmap mailboxes, logons, watched, vfiles, purging, cleaning;
	struct fiber *mover; /* waits for a mailbox to leave the memory: relocate.c */
	struct link mailboxes_used, indexes_used;
	size_t watchers;
	size_t index_bytes; /* memory of all folder indexes */
	size_t index_limit;
	struct timer expire; /* the next pass over what is kept */
	bool expiring;
	struct timer sweep; /* ends virtual files that nobody writes */
	unsigned searching; /* bodies that the work pool looks into, see eximap_search.c */
	struct fiber_queue search_turn;
	_Atomic uint64_t mailboxes_loaded, indexes_loaded, index_bytes_seen, logons_now, vfiles_now;
	struct op_figures ops[WIRE_OP_MAX];
};

struct group;
struct database;
struct directory; /* directory.h; shard 0 */
struct sasl;      /* sasl.h; shard 0 */
struct shipped;   /* exship.c; shard 0 */
struct found;     /* found.h */
struct backup;    /* exbackup.c; shard 0 */

struct store {
	const struct config *conf;
	struct group *_Atomic groups; /* database.h; so are these */
	struct database *_Atomic databases;
	struct ese_options ese_options; /* for groups that are opened later */
	struct fiber_lock life;         /* of databases and groups: one change at a time; loop 0 */
	_Atomic uint64_t moving;        /* the mailbox that moves to another database; 0: none */
	struct ese_db *dir;             /* where the rows of the directory are */
	struct exipc_server *ipc;
	struct shard *shards;
	unsigned nshards;
	uint64_t message_max;
	size_t batch_bytes; /* a change that has so much is committed, see change_full() */
	/* How long deleted messages, and mailboxes of removed users, are kept. */
	int64_t keep_items_ns, keep_mailboxes_ns;
	uint64_t quota[3];      /* enum quota: the configured limits, 0: none */
	bool keep_until_backup; /* and not less long than until a backup holds them */
	struct directory *directory;
	struct sasl *sasl;
	struct shipped *shipped;
	struct found *found;
	struct backup *backup; /* the one that is under way */
	int64_t started;       /* clock_real */
	_Atomic bool stopping; /* long work ends at its next step */
	/* Requests, changes and purges under way: the store ends when there are none. */
	_Atomic unsigned busy;
	void (*idle)(struct store *s); /* any of its loops: busy fell to 0 while stopping */
};

void store_begin(struct store *s);
void store_end(struct store *s);

/* The shard of the calling loop. */
struct shard *shard_here(struct store *s);
struct shard *shard_of(struct store *s, uint64_t number);
/* A random number that is not 0 and belongs to the shard. */
uint64_t shard_draw(struct shard *sh);

/* Run fn(arg) in a fiber on the shard's loop while the calling fiber sleeps; at once when it is its own.
 * ST_OK when it ran; ST_BUSY, ST_NOMEM when no fiber could be started. */
enum st shard_call(struct shard *sh, void (*fn)(struct shard *sh, void *arg), void *arg,
		   struct err *err);
/* The same in two steps, so that several shards can work at a time.  *h must stay where it is until
 * hop_wait() returned. */
struct hop {
	struct shard *to;
	struct loop *from;
	struct fiber *fiber;
	void (*fn)(struct shard *sh, void *arg);
	void *arg;
	enum st st;
	struct err err;
	bool back;
};
void hop_start(struct hop *h, struct shard *sh, void (*fn)(struct shard *sh, void *arg), void *arg);
enum st hop_wait(struct hop *h, struct err *err);
/* The same without waiting, outside any fiber of the caller's: fn runs on the shard's loop itself. */
void shard_post(struct shard *sh, void (*fn)(struct shard *sh, void *arg), void *arg);

#endif
