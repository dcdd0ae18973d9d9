/* check.h - are databases, logs and mail what they should be?  Names what is damaged as a user knows it.
 *
 * One thread; reads only.  The engine's part is ese/check.h; here come the rows of directory and mailboxes: that
 * each decodes, that messages, figures, folders and bodies fit to each other.  Findings go to `found`
 * one by one (base/findings.def), and never end the check.  Memory: the engine's, and for one mailbox at a time 8 bytes
 * a message and its folders. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "base/finding.h"
#include "ese/check.h"
#include "store/offline.h"

struct store_check {
	struct offline *o;
	bool quick;   /* do not read pages of bodies */
	bool no_logs; /* a snapshot: its log goes on elsewhere */
	finding_fn found;
	/* May be NULL.  total 0: not known. */
	void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
	void *arg;

	/* filled */
	uint64_t databases, log_files, log_bytes, rows, pages, bodies, mailboxes, folders, messages;
	uint64_t waiting; /* pages that the log will write anew */
	uint64_t found_damage, found_notes;
};
/* ST_OK: looked at everything that can be opened, whatever was found (found_damage says); ST_IO, ST_NOMEM, ST_BAD (a newer
 * format): it could not be looked at. */
enum st store_check(struct store_check *c, struct err *err);

/* ---- parts, for those two files ---- */

/* What the directory rows of all databases say. */
struct check_owner {
	uint64_t mailbox;
	bool has_user, has_row;
	bool kept;         /* its user was removed, it can come back */
	bool purged;       /* it is being deleted */
	bool moving;       /* it is on its way to another database */
	uint64_t database; /* id of the one where it is said to be; 0: the default one */
};
struct check_directory {
	struct check_owner *owners; /* ascending by mailbox */
	size_t n, cap;
	bool incomplete; /* rows could not be read */
};
enum st check_directory(struct store_check *c, struct check_directory *out, struct err *err);
/* Rows of mailboxes in one database; db->bodies gets its links. */
enum st check_mail(struct store_check *c, struct check_db *db, const struct check_directory *dir,
		   struct err *err);
void check_tell(struct store_check *c, struct finding *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
