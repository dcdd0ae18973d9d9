/* services.h - the ports of the server: ONE table.
 *
 * mailrootd opens the sockets and hands them over as "--socket NAME=FD"; the protocol host finds the row by
 * the name; the demo and the manual print it. */
#ifndef INET_SERVICES_H
#define INET_SERVICES_H

#include "base/span.h"

enum protocol { PROTO_SMTP, PROTO_POP3, PROTO_IMAP };

struct service {
	const char *name;
	const char *port_key; /* setting in mailroot.conf; 0 = not offered */
	enum protocol protocol;
	bool implicit_tls; /* RFC 8314 */
	bool submission;   /* SMTP: only after AUTH (RFC 6409) */
	const char *what;
};

extern const struct service services[];
extern const size_t nservices;
const struct service *service_find(struct span name); /* NULL: no such service */

#endif
