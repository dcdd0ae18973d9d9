/* sasl.h - logging on, for every protocol: the exchange of lines around DSAccess (RFC 4422).
 *
 * The store holds the secrets and runs the mechanisms; here base64 lines become challenges and
 * responses, LOGIN is turned into PLAIN, "*" gives up, wrong passwords are answered late. */
#ifndef INET_SASL_H
#define INET_SASL_H

#include "inet/host.h"

#define SASL_LINE_MAX 12288 /* RFC 4954 section 4 */

/* What this connection is offered: "PLAIN LOGIN SCRAM-SHA-256", or without the first two where a password
 * would be seen by others. */
const char *inet_mechanisms(const struct inet_session *s);

struct inet_sasl {
	struct span mechanism; /* as the client wrote it */
	struct span initial;   /* base64; SPAN_NONE: none was sent; empty: sent, and empty */
	/* F: send one challenge (base64) as the protocol does ("334 ", "+ ") and read the answer's line.  The
	 * line must stay until the next call.  Anything but ST_OK ends the exchange and is returned. */
	enum st (*ask)(void *arg, struct span challenge, struct span *line);
	void *arg;
};

enum inet_logon_result {
	LOGON_OK,
	LOGON_DENIED,    /* wrong, or too many tries: one answer for both, already delayed */
	LOGON_CANCELLED, /* the client sent "*" */
	LOGON_MECHANISM, /* not offered here */
	LOGON_SYNTAX,    /* not base64, or a broken response */
	LOGON_TROUBLE,   /* no store: try again later */
	LOGON_GONE       /* the connection ended, or ask() failed */
};

/* F: run one exchange.  LOGON_OK fills *logon, calls inet_logged_on() and counts; log off with ds_logoff().
 * What a mechanism says with its success (SCRAM) goes out as a challenge that the client answers with an
 * empty line. */
enum inet_logon_result inet_sasl_run(struct inet_session *s, const struct inet_sasl *x,
				     struct ds_logon *logon);
/* F: name and password as IMAP's LOGIN and POP3's USER and PASS give them. */
enum inet_logon_result inet_login(struct inet_session *s, struct span user, struct span password,
				  struct ds_logon *logon);

#endif
