/* match.h - which mailbox names a LIST or LSUB pattern means (RFC 3501 section 6.3.8).
 *
 * Names and patterns are UTF-8 without anything escaped.  '*' is any octets, '%' any octets but the
 * hierarchy delimiter.  The first component INBOX compares without case.  Pure; any thread. */
#ifndef PROTO_IMAP_MATCH_H
#define PROTO_IMAP_MATCH_H

#include "base/pool.h"

/* One pattern out of a reference and a mailbox argument: the reference is put in front as it is, unless
 * the argument begins with the delimiter: then it stands alone, without that delimiter.  In the
 * pool; the absent span when that is full. */
struct span imap_list_join(struct pool *pool, struct span reference, struct span pattern,
			   char delim);

/* Time is at most pattern length times name length, whatever the wildcards; patterns longer than
 * 2 * IMAP_PATTERN_MAX match nothing. */
bool imap_list_match(struct span pattern, struct span name, char delim);

/* The shortest proper ancestor of `name` that matches when `name` itself need not: what LSUB answers
 * with \Noselect for "%" ("foo" for the subscribed "foo/bar").  Absent: none. */
struct span imap_list_match_parent(struct span pattern, struct span name, char delim);

#endif
