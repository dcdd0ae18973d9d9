/* item.h - rows BOX_ITEM: what does not change of a message, and where its body is. */
#ifndef STORE_ITEM_H
#define STORE_ITEM_H

#include "store/mailbox.h"

/* The items of a folder, asked for in ascending order of UID: by scans or one by one. */
struct items {
	struct folder *folder;
	struct ese_iter *it; /* a scan, or NULL */
	uint32_t it_last;    /* the scan ends with this UID */
	uint32_t it_uid;     /* where it stands; 0: nowhere yet */
	struct span it_value;
	struct ese_value value;
	bool held; /* value must be freed */
};
void items_begin(struct items *i, struct folder *f);
/* The item of uid, checked; valid until the next call.  `last` above uid: those up to there will be asked for
 * too.  ST_NOTFOUND: it is gone. */
enum st items_get(struct items *i, uint32_t uid, uint32_t last, struct plist *out, struct err *err);
void items_end(struct items *i);

/* F (may park, the first time since the database was opened, to read and verify the body): BODY_SCATTER STREAM_TAG
 * HEADER_LENGTH of an item; ST_CORRUPT: the body is damaged.  A pin must be held since before the item was read, or
 * ST_NOTFOUND be expected. */
enum st item_put_body(const struct database *db, struct pw *w, const struct plist *item,
		      struct err *err);
/* Pin bodies for each reply of the rowset. */
void item_pin_rows(struct wire_rows_out *rows, struct database *db);

#endif
