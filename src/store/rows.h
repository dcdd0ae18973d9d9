/* rows.h - keys and values of a mailbox database: docs/formats.md, section "Rows of the store".
 *
 * Any thread; nothing here asks the engine.  A key is written into the caller's struct key and returned as a
 * span into it. */
#ifndef STORE_ROWS_H
#define STORE_ROWS_H

#include "base/buf.h"
#include "ese/ese.h"
#include "props/plist.h"
#include "props/tags.h"

#define NAME_BYTES_MAX 320 /* of a user, a domain, an address */
#define PATH_BYTES_MAX 900 /* of a folder's path */
#define GUID_BYTES     16

struct key {
	size_t len;
	uint8_t at[ESE_KEY_MAX];
};

enum dir_row {
	DIR_COUNTERS = 'N',
	DIR_DOMAIN = 'D',
	DIR_USER = 'U',
	DIR_ALIAS = 'A',
	DIR_MAILBOX = 'M',
	DIR_PURGE = 'P',
	DIR_MOVE = 'V',  /* a mailbox that is on its way to another database */
	DIR_SHIFT = 'W', /* a database that is on its way to another name or group */
	DIR_REMOVED = 'R'
};
enum box_row {
	BOX_MAILBOX = 1,
	BOX_FOLDER,
	BOX_FIGURES,
	BOX_ENTRY, /* the part of a message that changes */
	BOX_ITEM,  /* the part that does not */
	BOX_VANISHED,
	BOX_SUBSCRIBED,
	BOX_DELIVERED,
	BOX_KEPT,         /* a message that was deleted and can come back */
	BOX_KEPT_FIGURES, /* how many of those; of the mailbox, not of a folder */
	BOX_ROWS_END
};

struct span key_dir(struct key *k, enum dir_row kind, struct span name);
struct span key_dir_mailbox(struct key *k, enum dir_row kind, uint64_t mailbox);
/* Rows with nothing, a folder, or a folder and a UID behind their kind. */
struct span key_box(struct key *k, uint64_t mailbox, enum box_row kind);
struct span key_folder(struct key *k, uint64_t mailbox, enum box_row kind, uint32_t folder);
struct span key_message(struct key *k, uint64_t mailbox, enum box_row kind, uint32_t folder,
			uint32_t uid);
struct span key_vanished(struct key *k, uint64_t mailbox, uint32_t folder, uint64_t cn);
/* BOX_KEPT: when it was deleted (nanoseconds since 1970), and its number in the mailbox; 0 and 0 is before all of
 * them. */
struct span key_kept(struct key *k, uint64_t mailbox, int64_t deleted, uint64_t id);
int64_t key_kept_time(struct span key);
/* BOX_SUBSCRIBED and BOX_DELIVERED. */
struct span key_named(struct key *k, uint64_t mailbox, enum box_row kind, struct span name);
/* Take a mailbox's key apart: what is behind the kind is *rest.  false: no such key (the kind may be unknown). */
bool key_box_read(struct span key, uint64_t *mailbox, unsigned *kind, struct span *rest);
/* The first key behind all that begin with k: the end of a scan. */
struct span key_after(struct key *k);
/* The last 4 (8) bytes of a key as a number. */
uint32_t key_tail_u32(struct span key);
uint64_t key_tail_u64(struct span key);

/* ---- values ---- */

/* The limits on a mailbox's size: its owner is warned; may not send; it receives nothing. */
enum quota { QUOTA_WARN, QUOTA_SEND, QUOTA_RECEIVE, QUOTAS };

/* A message in its folder's index; row BOX_ENTRY. */
struct entry {
	uint32_t uid;
	uint32_t size;
	uint64_t mid; /* change number at which it came */
	uint64_t cn;  /* of its last change */
	int64_t date; /* nanoseconds since 1970 */
	uint64_t keywords;
	uint32_t flags; /* message_flag, ENTRY_OPEN_END */
};
/* Nothing ends the message's last line: POP3, which must end it, counts two octets more.  Never changes. */
#define ENTRY_OPEN_END 0x100u
void entry_write(const struct entry *e, struct buf *out);
/* The uid comes from the key.  ST_CORRUPT. */
enum st entry_read(struct span key, struct span row, struct entry *out, struct err *err);

/* What changes in a folder with every message; row BOX_FIGURES. */
struct figures {
	uint64_t cn; /* of the last change in it */
	uint64_t size;
	uint64_t vanished_from;
	uint32_t uidnext, recent_from;
	uint32_t count, unread;
};
void figures_write(const struct figures *f, struct buf *out);
enum st figures_read(struct span row, struct figures *out, struct err *err);

/* Of a mailbox: what was deleted and is kept, and when its owner was last warned; row BOX_KEPT_FIGURES. */
struct kept_figures {
	uint64_t count, bytes;
	int64_t warned; /* nanoseconds since 1970; 0: never */
};
void kept_figures_write(const struct kept_figures *f, struct buf *out);
enum st kept_figures_read(struct span row, struct kept_figures *out, struct err *err);

/* Open a stored row; ST_CORRUPT names the row kind. */
enum st row_open(struct span row, const char *what, struct plist *out, struct err *err);

#endif
