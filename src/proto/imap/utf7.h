/* utf7.h - mailbox names: modified UTF-7 on the wire (RFC 3501 section 5.1.3), UTF-8 inside.
 *
 * Both directions are strict, so that a name has exactly one spelling in each form: what one accepts
 * the other turns back into the same octets.  Refused: octets that are not printable ASCII outside
 * a shift, an open shift at the end, padding or bits left over, printable ASCII inside a shift,
 * a shift that directly follows another, half surrogate pairs, U+0000; ill-formed UTF-8.
 * Pure; any thread. */
#ifndef PROTO_IMAP_UTF7_H
#define PROTO_IMAP_UTF7_H

#include "base/span.h"
#include "base/st.h"

/* Room that is always enough. */
#define IMAP_UTF8_ROOM(len) ((len) + (len) / 8 + 1)
#define IMAP_UTF7_ROOM(len) (5 * (len) + 1)

/* ST_OK: *len octets are in `out`.  ST_BAD: not a name in modified UTF-7.  ST_TOOBIG: more than `room`.
 * On failure *len is untouched and `out` may hold anything. */
enum st imap_utf7_decode(struct span utf7, char *out, size_t room, size_t *len, struct err *err);
/* The same from UTF-8. */
enum st imap_utf7_encode(struct span utf8, char *out, size_t room, size_t *len, struct err *err);

#endif
