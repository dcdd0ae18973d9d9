/* data.h - the content of a message as DATA and BDAT send it, in pieces of any size.
 *
 * DATA: one dot at the start of a line is taken away (RFC 5321 section 4.5.2), and only CR LF "." CR LF
 * ends the message.  A CR or LF that stands alone never begins or ends a line: it is kept as it is and
 * remembered, and the session refuses the message AFTER its end (SMTP_CONTENT_REFUSED), so that both
 * sides stay in step and nothing behind a false end is taken for a command.
 *
 * The pieces that come out point into the input (or to a constant): nothing is copied.  Pure; one
 * decoder per message, one thread. */
#ifndef PROTO_SMTP_DATA_H
#define PROTO_SMTP_DATA_H

#include "base/span.h"
#include "base/st.h"

/* What was seen in the content. */
enum smtp_content_fault {
	SMTP_BARE_CR = 1 << 0,
	SMTP_BARE_LF = 1 << 1,
	SMTP_NUL = 1 << 2,
};
/* Policy: these make a message that is not BINARYMIME refused with SMTP_R_BARE_CONTENT. */
#define SMTP_CONTENT_REFUSED (SMTP_BARE_CR | SMTP_BARE_LF | SMTP_NUL)

/* Zeroed = at the start of the content. */
struct smtp_data {
	enum {
		SMTP_DATA_LINE,   /* at the start of a line */
		SMTP_DATA_TEXT,   /* inside one */
		SMTP_DATA_CR,     /* behind a CR that was already passed on */
		SMTP_DATA_DOT,    /* behind a dot at the start of a line, which is held back */
		SMTP_DATA_DOT_CR, /* behind that dot and a CR, both held back */
		SMTP_DATA_END
	} state;
	unsigned faults; /* set of enum smtp_content_fault */
	uint64_t octets; /* passed on so far: the message's size */
};

/* Take bytes from the start of `in`.  *used of them are done with; *out is the next piece of the message,
 * possibly empty, valid as long as `in` is.  *used is 0 only when *out is a CR that was held back.
 *   ST_MORE  call again with the rest of `in`, or with what comes next
 *   ST_OK    the end was found; what lies behind *used are commands
 * in.len must not be 0, and nothing may be given after ST_OK. */
enum st smtp_data_take(struct smtp_data *d, struct span in, size_t *used, struct span *out);

/* For BDAT, whose octets need no decoding: look for the same faults.  Call smtp_text_end() behind the
 * last chunk: a CR as the last octet stands alone too. */
struct smtp_text {
	bool cr; /* the last octet was a CR */
	unsigned faults;
};
void smtp_text_look(struct smtp_text *t, struct span in);
void smtp_text_end(struct smtp_text *t);

#endif
