/* eximap.h - what the files of the IMAP stub share. */
#ifndef STORE_EXIMAP_H
#define STORE_EXIMAP_H

#include "store/call.h"
#include "store/change.h"

/* UID IMAP_FLAGS KEYWORDS CHANGE_NUM */
enum st put_flags_row(struct wire_rows_out *rows, const struct folder *f, const struct entry *e);

/* ---- eximap_store.c ---- */

struct flag_change {
	uint32_t mode; /* wire_store_mode */
	uint32_t flags;
	uint64_t keywords;        /* bits of the folder's table */
	uint64_t unchanged_since; /* UINT64_MAX: whatever */
	uint64_t since;           /* what the client knows */
	uint64_t cn;              /* out: the last change number, 0 when nothing changed */
	struct uset stale;        /* out: UIDs that had changed after `since` before this */
};
/* F.  Change the flags of the folder's messages in `uids`, durable on return.  `failed` gets those that
 * changed since unchanged_since.  c->ix is pinned.  The caller frees fc->stale. */
enum st flags_change(struct call *c, const struct uset *uids, struct flag_change *fc,
		     struct uset *failed, struct err *err);

/* ---- expunge.c ---- */

/* F.  Delete the messages of `uids` that are there, durable on return; `keep`: they can come back as long as the
 * settings say (keep.h).  `gone` (an empty set) gets them.  The folder is held, its index pinned. */
enum st expunge_uids(struct folder *f, struct folder_index *ix, const struct uset *uids, bool keep,
		     struct uset *gone, struct err *err);

/* What a change needs to let messages vanish from a folder: room in the index, the row BOX_VANISHED, old ones
 * deleted.  After the commit: index_vanish(). */
enum st vanish_prepare(struct change *c, struct folder *f, const struct uset *uids, uint64_t *cn,
		       struct err *err);

/* ---- eximap_copy.c ---- */

struct copied {
	struct uset from, to; /* UIDs there, UIDs here, in the same order */
	uint64_t cn;          /* of the source after a move */
};
/* F.  Copy (or move) the messages of `uids` that are there, durable on return.  Both folders are held, the source's
 * index pinned.  Fails whole, as far as a full disk lets it. */
enum st messages_copy(struct folder *from, struct folder_index *ix, const struct uset *uids,
		      struct folder *to, bool move, struct copied *out, struct err *err);

#endif
