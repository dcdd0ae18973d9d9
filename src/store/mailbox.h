/* mailbox.h - mailboxes and folders in the memory of their owner loop.
 *
 * A mailbox is loaded at its first use and stays while it is referenced; idle ones are kept up to a
 * number.  All calls on the mailbox's loop; F: inside a fiber (may park).
 *
 * Every folder has its figures twice: `now` counts what was queued at the engine (the next UID is taken
 * from here), `seen` what is durable (readers are told this).  docs/life-of-a-message.md says why. */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/database.h"
#include "store/rows.h"
#include "store/shard.h"

#define FOLDERS_MAX       10000 /* of a mailbox */
#define FOLDER_DEPTH_MAX  32
#define FOLDER_NAME_MAX   255 /* bytes */
#define KEYWORDS_MAX      64  /* of a folder */
#define KEYWORD_BYTES_MAX 128
#define FOLDER_INBOX      1u

struct folder_index;

struct folder {
	struct mailbox *mb;
	uint32_t number, parent; /* parent 0: at the top */
	uint32_t uidvalidity;
	bool noselect, gone;  /* gone: deleted; who still holds it must not change it */
	bool row_dirty;       /* its row is written with its next change */
	char *name, *special; /* special "" when it has no use */
	int64_t created;
	char *keywords[KEYWORDS_MAX];
	unsigned nkeywords;
	struct figures now, seen;
	struct folder_index *ix; /* NULL: not loaded */
	unsigned refs, inflight; /* holders; changes queued and not yet durable */
	bool loading;            /* its index: changes wait */
	struct fiber_queue wake; /* loading ended, a change became durable, the folder is gone */
};

struct guid_inflight;

struct mailbox {
	struct hnode node;
	struct shard *shard;
	struct database *db; /* used, from loading until it leaves the memory */
	uint64_t id;
	uint64_t cn; /* the last change number given out */
	uint32_t next_folder, uidvalidity;
	struct kept_figures kept; /* with what is queued */
	uint64_t size;            /* octets in all folders, with what is queued */
	uint64_t quota[QUOTAS];   /* 0: none */
	bool no_send, full;       /* as the directory's watchers were told last; see quota.h */
	bool warning;             /* one is being delivered */
	bool disconnected;        /* its user was removed: nothing is delivered */
	struct folder **folders;  /* ascending by number */
	size_t nfolders, cap;
	uint64_t commits; /* changes queued so far: catches one that was built across a park */
	unsigned refs, inflight;
	enum { BOX_LOADING, BOX_READY, BOX_FAILED } state;
	struct err load_error;
	struct fiber_queue wake;
	struct fiber_lock tree;    /* create, delete, rename: one at a time */
	struct fiber_lock keeping; /* kept messages come back or go for good: one at a time */
	struct guid_inflight *delivering;
	uint64_t maildrop_logon; /* who holds the POP3 maildrop, 0: nobody */
	struct link used;
};

/* F.  ST_NOTFOUND: no such mailbox; ST_GONE: not now: its database is not up, or it moves; or as the engine failed.  A new user's mailbox is made. */
enum st mailbox_get(struct shard *sh, uint64_t id, struct mailbox **out, struct err *err);
void mailbox_put(struct mailbox *mb);
/* Take it out of memory for good; false: somebody uses it (purge_wake() is called when that ends). */
bool mailbox_forget(struct shard *sh, uint64_t id);
/* Take those of a database that is not up out of memory, now or when their requests end; their sessions, and those of mailboxes that
 * are not in memory, are told to look. */
void mailboxes_leave(struct shard *sh, const struct database *db);
/* The sessions of one. */
void mailbox_tell_sessions(struct shard *sh, uint64_t id);
/* Drop idle mailboxes over the limit. */
void mailboxes_trim(struct shard *sh);

void mailboxes_end(struct shard *sh); /* all: at the end of the store */

/* A folder that is held stays in memory, even when it is deleted meanwhile. */
struct folder *folder_by_number(const struct mailbox *mb, uint32_t number); /* NULL: none */
/* Path as clients give it; a first component INBOX counts in any case.  NULL: none (or only \Noselect
 * when `select`). */
struct folder *folder_by_path(const struct mailbox *mb, struct span path, bool select);
void folder_path(const struct folder *f, struct buf *out);
static inline struct folder *folder_hold(struct folder *f)
{
	f->refs++;
	return f;
}
void folder_drop(struct folder *f);
static inline uint64_t folder_fid(const struct folder *f)
{
	return f->mb->id << 32 | f->number;
}

/* F: until no index is being loaded (a change may be built then, without parking on the way). */
void folder_ready(struct folder *f);
/* F: until the change number is durable. */
void folder_wait_cn(struct folder *f, uint64_t cn);
/* F: until what is queued now is durable. */
void folder_settle(struct folder *f);
/* F: until no change is under way and no index is being loaded. */
void folder_rest(struct folder *f);

/* Keyword by name (ASCII case does not count); KEYWORDS_MAX when the folder has it not. */
unsigned folder_keyword(const struct folder *f, struct span name);

/* Bytes of rows BOX_MAILBOX and BOX_FOLDER. */
void mailbox_row(const struct mailbox *mb, struct buf *out);
void folder_row(const struct folder *f, struct buf *out);

/* A folder object that is not yet in the mailbox's table; and into it, out of it.  NULL, false: out of
 * memory.  folder_leave marks it gone; the last holder frees it. */
struct folder *folder_make(struct mailbox *mb, uint32_t number, uint32_t parent, struct span name);
bool folder_room(struct mailbox *mb, size_t more);
void folder_enter(struct mailbox *mb, struct folder *f); /* after folder_room */
void folder_leave(struct folder *f);
void folder_free(struct folder *f); /* one that was never entered */
/* UIDVALIDITY for a new folder, behind all that this mailbox ever gave out. */
uint32_t mailbox_uidvalidity(const struct mailbox *mb);

#endif
