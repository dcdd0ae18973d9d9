/* talk.h - sessions as transcripts, over a socket pair, against real loop, connection and queue code.
 *
 * The directory is a table, the store is fakestore.h, the queuing engine is a list of what was submitted.  A transcript is lines:
 *	C: text		the client sends it with CR LF
 *	c: text		the client sends it as it is; \r \n \0 and \\ are escapes
 *	S: pattern	the server's next line (fnmatch)
 *	E:		the server has closed the connection
 *	W: n		the client sends n bytes of 'x'
 *	T:		the client begins TLS
 *	R: tag		IMAP responses (with their literals) up to the one with that tag, or to the end of the
 *			connection; with nothing behind it always to the end
 */
#ifndef TESTS_INET_TALK_H
#define TESTS_INET_TALK_H

#include "inet/host.h"

struct talk {
	const char *name;
	const char *service; /* "smtp" when NULL */
	const char *ip;      /* the client's address, "127.0.0.1" when NULL */
	const char *text;
	const char *
		content; /* what the submitted message must end with; NULL: none may be submitted */
	unsigned rcpts;  /* of the submitted message */
	bool loose;      /* the server may end the connection at any step */
};

/* Run all; the first difference fails the test.  `settings` is the text of mailroot.conf. */
/* The same with a certificate, so that TLS is offered. */
void talk_run(const struct inet_protocol *protocol, const char *settings, const struct talk *talks,
	      size_t n);
void talk_run_tls(const struct inet_protocol *protocol, const char *settings,
		  const struct talk *talks, size_t n);

#endif
