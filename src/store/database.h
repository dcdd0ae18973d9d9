/* database.h - the storage groups and databases of a store, and who uses them.
 *
 * Every folder under HOME/groups is a storage group; its databases are `directory` (in the group `first` only: rows
 * of the directory), `mailbox/NAME` and `public/NAME`.  A group or a database that can't be opened is kept
 * with its reason, and the others serve.  docs/decisions/0015-databases.md.
 *
 * Both lists only grow while the store runs, and are read by any thread without a lock; they are changed on loop 0.
 *
 * A database that is up may be USED: a loaded mailbox, a body being written, a purge each hold a use.  One that is
 * closing gives out no more, and is dismounted when the last came back.  Pins are counted apart: they are in
 * the hands of client processes. */
#ifndef STORE_DATABASE_H
#define STORE_DATABASE_H

#include "store/shard.h"

#include <pthread.h>

#define GROUP_NAME_MAX    64
#define DATABASE_NAME_MAX ESE_NAME_MAX
#define FIRST_GROUP       "first"
#define DIRECTORY_NAME    "directory"
#define DEFAULT_NAME      "mailbox/default"

struct group {
	struct store *store;
	struct group *next;
	char name[GROUP_NAME_MAX + 1];
	struct ese *ese; /* NULL: it could not be opened */
	struct err why;
};

enum database_state {
	DATABASE_UP,
	DATABASE_CLOSING, /* being dismounted: nobody may begin to use it */
	DATABASE_DOWN,
	DATABASE_FAILED, /* database_reason() says why */
	DATABASE_REMOVED /* no such database any more */
};

struct database {
	struct database *next;
	struct group *group;
	char name[DATABASE_NAME_MAX + 1];
	uint64_t id;
	struct ese_db *ese;
	_Atomic int state; /* enum database_state */
	_Atomic unsigned uses;
	_Atomic uint64_t tag;      /* of its streaming file at this mount: never used again */
	struct fiber *waiter;      /* loop 0: who is closing or opening it */
	pthread_mutex_t lock;      /* of what follows */
	uint64_t mount;            /* counts them: pins of an earlier one are not the engine's */
	struct database_pin *pins; /* of this mount */
	unsigned old_pins;         /* of earlier ones: their pages may still be read */
};

/* Before the loops run.  Open all groups of HOME/groups and their databases; the group `first` and its directory must
 * open, and are made in a new home (together with mailbox/default). */
enum st databases_open(struct store *s, const struct ese_options *o, struct err *err);
void databases_close(struct store *s);
/* Hand the streaming files of all that are up to the bindings, once there is s->ipc. */
void databases_offer(struct store *s);

struct group *group_find(const struct store *s, struct span name); /* NULL: none */
struct database *database_find(const struct store *s, const struct group *g, struct span name);
/* GROUP/NAME taken apart; NAME alone means mailbox/NAME.  ST_BAD.  Whether it may be a new one's: database_name_ok(). */
enum st database_name_read(struct span full, struct span *group,
			   char name[static DATABASE_NAME_MAX + 1], struct err *err);
/* By what an administrator writes: GROUP/NAME, where NAME alone means mailbox/NAME.  ST_NOTFOUND. */
enum st database_named(const struct store *s, struct span name, struct database **out,
		       struct err *err);
struct database *database_by_id(const struct store *s, uint64_t id);
/* What holds mailboxes, when nothing else is said.  NULL: there is none any more. */
struct database *database_default(const struct store *s);
static inline bool database_is_up(const struct database *db)
{
	return db->state == DATABASE_UP;
}
const char *database_state_name(int state);
/* What the engine says, "" when nothing. */
void database_reason(struct database *db, char *out, size_t room);
/* "first/mailbox/default" */
void database_full_name(const struct database *db, struct buf *out);

/* Any thread.  ST_GONE, with what it is and why, unless it is up. */
enum st database_use(struct database *db, struct err *err);
void database_release(struct database *db);

/* The database of a mailbox, used.  Any thread; reads one row of the directory.  ST_NOTFOUND: no such mailbox; ST_GONE: its
 * database is not up, or is none that was found at the start. */
enum st database_of_mailbox(struct store *s, uint64_t mailbox, struct database **out,
			    struct err *err);
/* The same by the directory's row of it (DIR_MAILBOX, DIR_PURGE); not used.  NULL: none of ours. */
struct database *database_of_row(const struct store *s, const struct plist *row);

/* A pin on its bodies, while it is up (the caller uses it). */
struct database_pin;
struct database_pin *database_pin(struct database *db);
void database_unpin(struct database_pin *p); /* any thread, also after a dismount */
bool database_pinned(struct database *db);   /* now, or still since an earlier mount */
/* The engine lets go of all pins; those that still come back are only counted. */
void database_outlive_pins(struct database *db);

/* ---- between database.c and mount.c ---- */

/* Wake db->waiter; any thread. */
void database_stir(struct database *db);
/* Known from now on, in the state that the engine says; while the store serves one that is up counts as down until its
 * descriptor was offered.  NULL: out of memory. */
struct database *database_enter(struct group *g, struct ese_db *ese, struct err *err);
bool group_name_ok(struct span name); /* a-z 0-9 - _ */
/* Open (or make) a group's folder; not yet known.  Blocks.  A group that can't be opened is ST_OK too: g->why. */
enum st group_open(struct store *s, const char *name, struct group **out, struct err *err);
enum st group_enter(struct group *g, struct err *err);

#endif
