/* st.h - what a call came to, and one sentence about it.
 *
 * Every fallible function returns an enum st and takes a struct err last.  The code is what a caller
 * acts on; the sentence is what a person reads.  It is made where the failure happens, passed up
 * unchanged, and logged once, at the edge (session, daemon, command).  Libraries never log.
 *
 * Three kinds of failure, three fates: the peer's fault (ST_BAD, ST_DENIED, ST_NOTFOUND, ST_EXISTS,
 * ST_TOOBIG) becomes a reply; the world's fault (ST_NOSPACE, ST_BUSY, ST_GONE, ST_TIMEOUT, ST_IO)
 * undoes and refuses for now; our own fault is an assert(). */
#ifndef BASE_ST_H
#define BASE_ST_H

#include <stdarg.h>
#include <stdbool.h>

enum st {
	ST_OK = 0,
	ST_MORE,     /* not finished: more input is needed, or more replies follow */
	ST_EOF,      /* the other side ended in order */
	ST_BAD,      /* the input breaks its grammar or a rule; asking again is useless */
	ST_DENIED,   /* the caller may not do this */
	ST_NOTFOUND, /* no such thing */
	ST_EXISTS,   /* there is one already */
	ST_TOOBIG,   /* over a limit */
	ST_NOSPACE,  /* no room (disk, heap, quota); nothing was changed; later it may work */
	ST_BUSY,     /* somebody else holds it; later it may work */
	ST_GONE,     /* the peer process or the object vanished under the call */
	ST_TIMEOUT,  /* the deadline passed; the result is unknown */
	ST_IO,       /* a read, write or sync failed */
	ST_CORRUPT,  /* stored bytes are not what was written */
	ST_NOMEM,    /* out of memory */
	ST_CODES
};

struct err {
	enum st st;
	int sys; /* errno at the failure, or 0 */
	char text[256];
};

/* "ok", "more", "bad" ...: for logs and JSON. */
const char *st_name(enum st st);

/* Fill *e (may be NULL) with the sentence, keep errno's value in e->sys (0 unless st is ST_IO,
 * ST_NOSPACE or ST_NOMEM), and return st, so that a failure is one line:
 *	return fail(e, ST_IO, "log segment %s: write %zu bytes", name, n);
 * The text is cut at sizeof text - 1.  errno is preserved. */
enum st fail(struct err *e, enum st st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with errno's own words behind the sentence (": No space left on device"); ENOSPC and
 * EDQUOT give ST_NOSPACE, ENOMEM gives ST_NOMEM, anything else ST_IO. */
enum st fail_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Our own mistake or a broken promise of the machine: one line to standard error, then abort(). */
void panic(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
