/* address.h - address lists (RFC 5322 3.4 and 4.4, RFC 6532), read as far as they make sense.
 *
 * Bad syntax never fails: what can be read as an address is one, the rest becomes part of a name or is
 * passed over.  Comments are dropped, except that the last one of an address without a display name is its
 * name ("joe@example.org (Joe)").  Names stay encoded (RFC 2047); quotes and backslashes are gone.
 * Pure code, any thread. */
#ifndef MIME_ADDRESS_H
#define MIME_ADDRESS_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/st.h"

/* The four fields as RFC 3501 7.4.2 wants them; an absent one is {NULL,0} (NIL).
 *	mailbox		name?, adl? (source route "@a,@b"), mailbox, host (empty when it has none)
 *	group begin	mailbox = the group's name, the others absent
 *	group end	all absent */
enum mime_address_kind { MIME_ADDRESS, MIME_GROUP_BEGIN, MIME_GROUP_END };
struct mime_address {
	enum mime_address_kind kind;
	struct span name, adl, mailbox, host;
};

/* One after another, in bounded memory whatever the length of the list.  The spans of an address are
 * valid until the next call. */
struct mime_address_iter {
	struct span rest;
	bool in_group;
	struct buf name, adl, mailbox, host, comment; /* what the last address points into */
};
void mime_addresses_begin(struct mime_address_iter *it, struct span raw);
bool mime_address_next(struct mime_address_iter *it, struct mime_address *out);
void mime_addresses_end(struct mime_address_iter *it);

/* The whole list, copied into the pool.  ST_TOOBIG when the pool is full: *list and *n then hold what
 * fitted.  No other failure. */
enum st mime_addresses(struct span raw, struct pool *pool, struct mime_address **list, size_t *n,
		       struct err *err);

/* For people and for searching, decoded to UTF-8: Name <mailbox@host>, Group: a@b, c@d; */
void mime_addresses_text(struct span raw, struct buf *out);

#endif
