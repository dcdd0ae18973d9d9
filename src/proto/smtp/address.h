/* address.h - the paths of MAIL and RCPT: RFC 5321 section 4.1.2, with UTF-8 after RFC 6531.
 *
 * Quoted local parts and address literals are taken; a source route is checked and dropped (RFC 5321
 * appendix C); "<>" and "<Postmaster>" are kinds of their own.  Pure; any thread. */
#ifndef PROTO_SMTP_ADDRESS_H
#define PROTO_SMTP_ADDRESS_H

#include "base/buf.h"
#include "base/st.h"

/* Octets, RFC 5321 section 4.5.3.1; the path counts its angle brackets. */
#define SMTP_LOCAL_MAX  64
#define SMTP_DOMAIN_MAX 255
#define SMTP_PATH_MAX   256
#define SMTP_LABEL_MAX  63

enum smtp_path_kind {
	SMTP_PATH_NULL,       /* <>: reports are sent from here */
	SMTP_PATH_POSTMASTER, /* <Postmaster>, without a domain: this server's own */
	SMTP_PATH_MAILBOX
};

struct smtp_path {
	enum smtp_path_kind kind;
	struct span local;  /* as written, with its quotes; "Postmaster" as written for that kind */
	struct span domain; /* as written; a literal with its brackets; absent unless a mailbox */
	bool quoted;        /* local is a quoted string */
	bool literal;       /* domain is an address literal */
	bool utf8;          /* bytes above 0x7F stand in it: needs SMTPUTF8 */
};

/* Parse "<...>" at the start of `in`; what follows goes to *rest.  Spans point into `in`.
 * ST_BAD: not a path, or one over its limits; *out and *rest are then undefined. */
enum st smtp_path_parse(struct span in, struct smtp_path *out, struct span *rest);

/* The local part without quotes and backslashes: what the directory is asked for. */
void smtp_path_local(const struct smtp_path *p, struct buf *out);
/* local@domain in the shortest right form: quotes only where the grammar needs them, so that
 * "a"@b and a@b come out equal.  Nothing for SMTP_PATH_NULL. */
void smtp_path_write(const struct smtp_path *p, struct buf *out);

/* The whole span is an address literal "[...]". */
bool smtp_is_literal(struct span s);
/* Well-formed UTF-8 (no overlong forms, surrogates or code points past U+10FFFF). */
bool smtp_is_utf8(struct span s);

#endif
