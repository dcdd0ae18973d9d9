/* copytree.h - copy a folder with everything in it: modes, extended attributes, times and, for root, owners. */
#ifndef ADMIN_COPYTREE_H
#define ADMIN_COPYTREE_H

#include "base/st.h"

/* `to` must not exist, its parent must.  Sockets and other special files are left out.  What is at the top of `from` under
 * a name for which skip() (may be NULL) is true is left out as well.  ST_IO, ST_NOSPACE name the file; what was copied stays. */
enum st copy_tree(const char *from, const char *to, bool (*skip)(const char *name),
		  struct err *err);
/* Everything below `path` belongs to the owner of `like`; nothing happens for who is not root. */
enum st own_tree(const char *path, const char *like, struct err *err);

#endif
