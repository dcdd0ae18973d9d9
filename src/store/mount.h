/* mount.h - the life of databases while the store serves: create, mount, dismount, remove, move.
 *
 * All on loop 0 inside a fiber, with store->life held; each waits for the disk elsewhere.  A database that goes
 * down does so in order: nobody new may use it, its mailboxes leave the memory as their requests end and their
 * sessions hear of it, bodies being written lose their part, replies that client processes still hold are waited
 * for; then the engine closes it.  docs/decisions/0015-databases.md. */
#ifndef STORE_MOUNT_H
#define STORE_MOUNT_H

#include "store/database.h"

/* ST_OK: down (also when it was).  ST_BUSY: some request did not end in time: it is up again; ST_DENIED: the directory;
 * ST_GONE: it is failed; ST_IO. */
enum st database_dismount(struct database *db, struct err *err);
/* ST_OK: up (also when it was).  ST_BUSY: replies of before the dismount are still being read; else as the engine says: it stays
 * what it was. */
enum st database_mount(struct database *db, struct err *err);
/* In that group, up.  ST_BAD: a name other than mailbox/x and public/x, or a group that is not open; ST_EXISTS ... */
enum st database_create(struct group *g, const char *name, struct err *err);
/* Its mailboxes and their users with it, if asked for; ST_EXISTS: there are some. */
enum st database_remove(struct database *db, bool with_mailboxes, struct err *err);
/* To another name or group, and up there.  A crash leaves it in one of the two places, and the next start brings it to the
 * new one. */
enum st database_move(struct database *db, struct group *to, const char *name, struct err *err);
enum st group_create(struct store *s, struct span name, struct err *err);

/* Before the loops run: moves that were cut. */
enum st database_moves_resume(struct store *s, struct err *err);

#endif
