/* received.h - the trace fields a server puts in front of a message (RFC 5321 section 4.4).  Pure. */
#ifndef PROTO_SMTP_RECEIVED_H
#define PROTO_SMTP_RECEIVED_H

#include "base/buf.h"

struct smtp_trace {
	struct span helo;      /* what the client called itself; checked by the command parser */
	struct span client_ip; /* "192.0.2.1", "2001:db8::1" */
	struct span host;      /* this server */
	struct span id;        /* queue id */
	struct span tls;       /* "TLSv1.3 TLS_AES_256_GCM_SHA384", empty for none */
	struct span rcpt;      /* the one recipient's address; absent when there are more (RFC 5321
				 section 7.6: a list would tell each of the others) */
	bool esmtp, authenticated, utf8;
	int64_t seconds; /* since 1970, UTC */
};

/* "Received: from ... by ... with ESMTPSA id ...; date", folded, with CR LF at the end.  The protocol
 * word is RFC 3848's (SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA) or RFC 6531's (UTF8SMTP...). */
void smtp_received(struct buf *out, const struct smtp_trace *t);
/* "Fri, 21 Nov 2025 19:42:00 +0000" (RFC 5322 section 3.3). */
void smtp_date(struct buf *out, int64_t seconds);

#endif
