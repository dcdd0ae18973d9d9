/* directory.h - the embedded directory: domains, users, aliases.
 *
 * It belongs to shard 0 and keeps nothing in memory but a lock and two secrets: rows are read when they are
 * asked for.  All calls on loop 0; F: inside a fiber. */
#ifndef STORE_DIRECTORY_H
#define STORE_DIRECTORY_H

#include "store/database.h"
#include "store/rows.h"

#define HASH_ROOM        256 /* of a password's hash, with its NUL */
#define SCRAM_SALT       16
#define SCRAM_KEY        32
#define SCRAM_ITERATIONS 10000u

struct directory {
	struct store *store;
	struct fiber_lock
		lock; /* one change at a time: what is checked stays true until it is written */
	uint64_t last_mailbox;
	uint64_t changes; /* since this start, for those who watch */
	uint8_t secret[32];
	struct auth *auth;
};

struct scram_keys {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT], stored[SCRAM_KEY], server[SCRAM_KEY];
};

struct user {
	char name[NAME_BYTES_MAX + 1];
	char display[NAME_BYTES_MAX + 1];
	char hash[HASH_ROOM]; /* as libsodium writes it ($argon2id$), or libxcrypt ($y$) */
	struct scram_keys scram;
	uint64_t mailbox;
	int64_t created;
	int64_t removed;       /* nanoseconds since 1970; 0: it is a user */
	int64_t quota[QUOTAS]; /* octets; 0: as configured; -1: none */
	bool disabled;
};

/* Before the loops run: read the counters, or write them for a new database (waits for the disk). */
enum st directory_open(struct store *s, struct directory **out, struct err *err);
void directory_close(struct directory *d); /* NULL is fine */

/* Lower case, domains as A-labels, checked: local@domain, or for directory_domain_name a domain.  ST_BAD. */
enum st directory_name(struct span raw, char out[static NAME_BYTES_MAX + 1], struct err *err);
enum st directory_domain_name(struct span raw, char out[static NAME_BYTES_MAX + 1],
			      struct err *err);

enum st directory_user(struct directory *d, const char *name, struct user *out, struct err *err);
enum st directory_has(struct directory *d, enum dir_row kind, const char *name, struct err *err);
/* The id of the database where a mailbox is; 0: the default one.  ST_NOTFOUND. */
enum st directory_place(struct directory *d, uint64_t mailbox, uint64_t *database, struct err *err);
const char *directory_domain_of(const char *name); /* behind the last @ */

/* F: put one row, or delete it where value is NULL, durable on return; then whoever watches the directory is told.  So do
 * the others that write. */
enum st directory_write(struct directory *d, enum dir_row kind, const char *name,
			const struct buf *value, struct err *err);
/* F.  A new user with a mailbox in db: row, mailbox id, counters in one batch.  d->lock is held. */
enum st directory_user_add(struct directory *d, struct user *u, const struct database *db,
			   struct err *err);
/* Row DIR_MAILBOX or DIR_PURGE of the user's mailbox, in that database (0: the default one). */
void directory_put_place(struct ese_batch *b, enum dir_row kind, const struct user *u,
			 uint64_t database);
enum st directory_user_write(struct directory *d, const struct user *u, struct err *err);
/* F.  The user's row goes.  The mailbox waits for another owner (`keep`), or is marked to be purged.  d->lock is held. */
enum st directory_user_remove(struct directory *d, const struct user *u, bool keep,
			      struct err *err);
/* Who had the mailbox that waits.  ST_NOTFOUND: no such one does. */
enum st directory_removed(struct directory *d, uint64_t mailbox, struct user *out, struct err *err);
/* Whose mailbox it is, or was.  Any thread.  ST_NOTFOUND. */
enum st directory_owner(const struct store *s, uint64_t mailbox, struct user *out, struct err *err);
/* F.  It belongs to a user again, whose name is free.  d->lock is held. */
enum st directory_reconnect(struct directory *d, const struct user *u, struct err *err);
/* A row of a user, or of one who was removed. */
void user_read(const struct plist *l, struct user *out);

/* F: queue the batch (ended whatever comes) and wait until it is durable. */
enum st commit_wait(struct ese_batch *b, struct err *err);
/* F: the same for a change of the directory, which those who remember its answers then hear of. */
enum st commit_and_tell(struct directory *d, struct ese_batch *b, struct err *err);
/* The same as a thread waits: before the loops run, or on a pool thread. */
enum st commit_block(struct ese_batch *b, struct err *err);

/* ---- purge.c: mailboxes without an owner ---- */

/* On the mailbox's shard: refuse it from now on and delete its rows in a fiber, then its DIR_PURGE row.  Where the
 * database is not up (or is NULL: not here) it is only refused. */
void purge_start(struct shard *sh, uint64_t mailbox, struct database *db);
/* F.  Delete all rows of the mailbox in that database, durable on return; links are undone.  ST_GONE: the database was closed, or the
 * store is stopping: the rest is still there. */
enum st mailbox_rows_delete(struct database *db, uint64_t mailbox, struct err *err);
/* Nobody uses the mailbox any more. */
void purge_wake(struct shard *sh, uint64_t mailbox);
void purges_end(struct shard *sh); /* all: at the end of the store */
bool purge_is_on(const struct shard *sh, uint64_t mailbox);
/* Loop 0, or before the loops run: those that an earlier run, or a closed database, left unfinished go on. */
enum st purge_resume(struct store *s, struct err *err);

#endif
