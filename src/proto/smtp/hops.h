/* hops.h - how often a message was on the way already: its Received fields (RFC 5321 section 6.3).
 *
 * Looks at the header section only, in pieces of any size.  Pure; zeroed = at the start. */
#ifndef PROTO_SMTP_HOPS_H
#define PROTO_SMTP_HOPS_H

#include "base/span.h"

struct smtp_hops {
	unsigned received; /* fields so far */
	unsigned column;   /* bytes of the current line, as far as they matter */
	bool other;        /* the current line is not a Received field */
	bool over;         /* the header section has ended */
};
void smtp_hops_look(struct smtp_hops *h, struct span in);

#endif
