/* match.h - does a message match a search program?
 *
 * In three steps, each only for messages that the one before left open: by the entry in the index, by the
 * promoted properties, by the body.  The last reads the body on a pool thread. */
#ifndef STORE_MATCH_H
#define STORE_MATCH_H

#include "store/mailbox.h"
#include "wire/search.h"

enum verdict { MATCH_NO, MATCH_YES, MATCH_OPEN };

struct text_test; /* a condition on header or body */

struct match {
	const struct search_node *root;
	const struct search_node *nodes; /* all of them, for numbering */
	size_t nnodes;
	const struct folder *folder;
	struct uset *sets; /* by node: the sets of S_UIDS */
	struct text_test *tests;
	size_t ntests;
};

enum st match_begin(struct match *m, const struct folder *f, struct span program, struct err *err);
void match_end(struct match *m);

enum verdict match_entry(const struct match *m, const struct entry *e);
enum verdict match_item(const struct match *m, const struct entry *e, const struct plist *item);
/* Reads the body; any thread, one at a time.  ST_OK: *v is MATCH_YES or MATCH_NO; ST_NOTFOUND: the body
 * is gone; ST_IO, ST_CORRUPT, ST_NOMEM. */
enum st match_body(struct match *m, const struct entry *e, const struct plist *item,
		   struct ese_db *db, enum verdict *v, struct err *err);

#endif
