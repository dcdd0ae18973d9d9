/* offline.h - users, folders and messages of databases that no store serves: a stopped home, a copy, a backup.
 *
 * No loop, no wire; reads only (ese/look.h), from one thread at a time.  What is damaged is told and gone
 * around, never taken for good.  The parts below offline_open work on any struct ese_db, a live one too, and need
 * to know nothing about where directory rows and mailboxes are: mailboxes are found by their rows. */
#ifndef STORE_OFFLINE_H
#define STORE_OFFLINE_H

#include "ese/look.h"
#include "store/mailbox.h"
#include "store/rows.h"

/* ---- databases ---- */

struct offline_db {
	char *dir;  /* of its group */
	char *name; /* "mailbox/default" */
	char *edb, *stm;
	struct ese_db *db; /* NULL: could not be opened, `why` says why */
	bool borrowed;
	struct look_head head; /* zeros when head_st is not ST_OK */
	enum st head_st;
	struct err why;
};

struct offline_user {
	char *name, *display;
	uint64_t mailbox;
	int64_t created;
	int64_t removed; /* the mailbox is kept, the user is none any more (nanoseconds since 1970); 0 */
	bool disabled;
};

struct offline {
	struct offline_db *dbs;
	size_t ndbs;
	struct offline_user *users; /* ascending by mailbox */
	size_t nusers;
	int *locks; /* of the groups */
	size_t nlocks;
};

/* What is at `path`: a home (its groups), a folder of groups, or a group or copy (NAME.edb in it or one folder
 * below).  Databases that can't be opened are in the list with the reason.  ST_NOTFOUND: there is no database; ST_BUSY: a
 * process has a group open. */
enum st offline_open(const char *path, struct offline **out, struct err *err);
/* No folder: offline_add, then offline_load_users. */
enum st offline_new(struct offline **out, struct err *err);
/* One database more.  ST_NOMEM; one that can't be opened is no failure. */
enum st offline_add(struct offline *o, const char *dir, const char *name, const char *edb,
		    const char *stm, struct err *err);
/* One that is open already and stays its owner's. */
enum st offline_add_open(struct offline *o, const char *name, struct ese_db *db, struct err *err);
/* Read the users of every database that was added.  Rows that can't be read leave users out (ese check names them). */
enum st offline_load_users(struct offline *o, struct err *err);
void offline_close(struct offline *o); /* NULL is fine */

/* Who owns a mailbox; NULL: nobody known. */
const struct offline_user *offline_owner(const struct offline *o, uint64_t mailbox);
/* The owner's name, or "mailbox 7". */
void offline_owner_name(const struct offline *o, uint64_t mailbox,
			char out[static NAME_BYTES_MAX + 1]);
/* By login name, a user before one who was removed; NULL: none. */
const struct offline_user *offline_user(const struct offline *o, const char *name);
/* The database that holds rows of the mailbox; NULL: none (a mailbox that was never used, or its database is down). */
struct offline_db *offline_db_of(struct offline *o, uint64_t mailbox);

/* ---- mailboxes ---- */

/* The next mailbox that has rows, above *mailbox (0 to begin).  ST_EOF; ST_CORRUPT: rows on the way can't be read,
 * call again to go on behind them (*mailbox moved on). */
enum st offline_mailbox_next(struct ese_db *db, uint64_t *mailbox, struct err *err);

struct offline_folder {
	uint32_t number, parent, uidvalidity;
	bool noselect, has_figures;
	int64_t created;
	char *name, *special; /* special "" when it has no use */
	char *path;           /* as the user sees it; a parent that is missing shows as "?" */
	char *keywords[KEYWORDS_MAX];
	unsigned nkeywords;
	struct figures figures;
};
struct offline_tree {
	uint64_t mailbox;
	bool has_row; /* the mailbox's own row was read: */
	uint32_t next_folder, uidvalidity;
	uint64_t cn;
	struct offline_folder *folders; /* ascending by number */
	size_t n, cap;
	unsigned damaged; /* rows that could not be read */
};
/* All folders of a mailbox, at most FOLDERS_MAX.  What can't be read is left out and counted.  ST_NOMEM, ST_IO. */
enum st offline_tree_load(struct ese_db *db, uint64_t mailbox, struct offline_tree *out,
			  struct err *err);
void offline_tree_free(struct offline_tree *t); /* empty again */
const struct offline_folder *offline_folder(const struct offline_tree *t, uint32_t number);
/* INBOX in any case.  NULL: none. */
const struct offline_folder *offline_folder_at(const struct offline_tree *t, struct span path);

/* ---- messages ---- */

struct offline_message {
	uint32_t folder, uid;
	bool has_entry, has_item; /* both, unless a row is missing or damaged */
	struct entry entry;       /* flags, keyword bits, date, size, change numbers */
	struct plist item;        /* everything promoted */
	uint64_t body;            /* 0 without the item */
	struct span from, subject, message_id;
	/* It was deleted and is kept (row BOX_KEPT): where it was, a folder that may be gone; keyword bits are not set. */
	bool deleted;
	int64_t deleted_on;
	uint64_t kept_id;
	struct span path;
};
struct offline_messages;
/* The messages of a folder in order of UID. */
enum st offline_messages_open(struct ese_db *db, uint64_t mailbox, uint32_t folder,
			      struct offline_messages **out, struct err *err);
/*   ST_OK       valid until the next call
 *   ST_EOF
 *   ST_CORRUPT  some rows here could not be read; call again to go on behind them */
enum st offline_messages_next(struct offline_messages *m, struct offline_message *out,
			      struct err *err);
void offline_messages_close(struct offline_messages *m); /* NULL is fine */
/* Fill from, subject, message_id and body from out->item. */
void offline_name_message(struct offline_message *m);
/* Does this row of a mailbox link a body?  Those do, and no others: the rows of messages (only the item is filled in) and of
 * deleted ones that are kept. */
bool offline_links_body(struct span key, struct span value, uint64_t *mailbox,
			struct offline_message *out);
/* The messages of a mailbox that were deleted and are kept, in order of time, as offline_messages_open. */
enum st offline_kept_open(struct ese_db *db, uint64_t mailbox, struct offline_messages **out,
			  struct err *err);
/* The keyword of a bit that is set in entry.keywords; NULL: the folder has no such one. */
const char *offline_keyword(const struct offline_folder *f, unsigned bit);

/* Bytes of a message's body go to fn in order, each piece verified before it is handed out.  ST_CORRUPT names the page;
 * what fn got before was right.  fn's own failure is passed on. */
enum st offline_body(struct ese_db *db, uint64_t body,
		     enum st (*fn)(void *arg, const char *bytes, size_t len, struct err *err),
		     void *arg, struct err *err);

/* ---- the way back: whose is this body? ---- */

struct offline_link {
	uint64_t body, mailbox;
	const struct offline_folder *folder; /* NULL: its row is lost */
	const struct offline_message *message;
};
/* fn for every message of the database whose body is one of ids[n] (ascending).  Reads all messages once.  Rows that can't
 * be read are left out. */
enum st offline_links(struct ese_db *db, const uint64_t *ids, size_t n,
		      enum st (*fn)(void *arg, const struct offline_link *l, struct err *err),
		      void *arg, struct err *err);

#endif
