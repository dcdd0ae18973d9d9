/* tree.h - the folder tree of a mailbox: names, and what changes it. */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "store/mailbox.h"

struct path {
	struct span names[FOLDER_DEPTH_MAX];
	unsigned n;
};
/* Names of a path, checked: UTF-8 without control characters and wildcards, none empty ("a/" is "a"), not
 * too long, not too deep.  ST_BAD, ST_TOOBIG.  The names point into `text`. */
enum st path_read(struct span text, struct path *out, struct err *err);

/* All F, durable on return; mb->tree is taken inside.
 * Create it and what is missing above it.  ST_EXISTS. */
enum st tree_create(struct mailbox *mb, struct span path, struct span special, struct folder **out,
		    struct err *err);
/* Its messages go; it goes too, or when folders are inside it becomes \Noselect.  ST_NOTFOUND; ST_DENIED: INBOX, or a
 * \Noselect name with folders inside. */
enum st tree_delete(struct mailbox *mb, struct span path, struct err *err);
/* The folder and what is inside it get another name; INBOX only gives its messages away (RFC 3501 6.3.5).
 * ST_NOTFOUND, ST_EXISTS, ST_BAD: into itself. */
enum st tree_rename(struct mailbox *mb, struct span from, struct span to, struct err *err);

#endif
