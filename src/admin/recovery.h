/* recovery.h - a recovery store: databases out of a backup, read beside the live store.
 *
 * It is a folder HOME/recovery/NAME with restored groups; nothing serves it, and it is only read (store/offline.h).
 * One thread. */
#ifndef ADMIN_RECOVERY_H
#define ADMIN_RECOVERY_H

#include "base/uset.h"
#include "store/offline.h"

#define RECOVERY_PATH_MAX 4096

/* NAME, or a path (with a '/') of any folder with databases: a stopped home, a copy. */
enum st recovery_path(const char *home, const char *name, char out[RECOVERY_PATH_MAX],
		      struct err *err);
/* ST_NOTFOUND: no such recovery store; else as offline_open. */
enum st recovery_open(const char *home, const char *name, struct offline **out, struct err *err);

/* Which messages; what is NULL, 0 or empty lets all through.  Words are looked for without regard to case. */
struct recovery_filter {
	const char *user, *folder;
	struct uset uids;
	const char *from, *subject, *message_id;
	int64_t since;
};
/* "3,5:9".  ST_BAD. */
enum st recovery_uids(const char *text, struct uset *out, struct err *err);

struct recovery_found {
	const struct offline_user *user;
	struct ese_db *db;
	const struct offline_folder *folder;
	const struct offline_message *message;
};
/* fn for each message that the filter lets through, user by user, folder by folder.  *damaged counts what could not be
 * read and was passed over.  ST_NOTFOUND: no such user or folder; or fn's failure, which ends it. */
enum st recovery_each(struct offline *o, const struct recovery_filter *f,
		      enum st (*fn)(void *arg, const struct recovery_found *found, struct err *err),
		      void *arg, uint64_t *damaged, struct err *err);

#endif
