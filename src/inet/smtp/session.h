/* session.h - an SMTP session: what it holds, and what its files share.  Private to inet/smtp.
 *
 * serve() in session.c reads command lines and runs one function per verb.  What belongs to one message
 * hangs on a struct smtp_tx that lives from MAIL to the end of the message; between messages a session holds
 * nothing but its struct.  Everything here runs in the session's serving fiber. */
#ifndef INET_SMTP_SESSION_H
#define INET_SMTP_SESSION_H

#include "inet/host.h"
#include "inet/lines.h"
#include "proto/smtp/command.h"
#include "proto/smtp/data.h"
#include "proto/smtp/hops.h"

/* One message on its way in. */
struct smtp_tx {
	struct pool *pool; /* what the envelope points to */
	struct mailmsg_envelope env;
	size_t rcpts_room;
	uint64_t size; /* as declared; 0: it was not */
	enum smtp_body body;
	bool smtputf8;
	/* from DATA or the first BDAT on */
	struct mailmsg *msg;
	struct smtp_text text; /* faults of BDAT's octets */
	struct smtp_hops hops;
	char last[2]; /* octets of the content */
	/* Why it will be refused at its end; SMTP_R_OK while it won't.  What comes is then thrown away. */
	enum smtp_reply_id refusal;
};

struct smtp_session {
	struct inet_session head;
	struct inet_lines lines;
	enum smtp_state state;
	bool greeted, ending, esmtp;
	char helo[SMTP_DOMAIN_MAX + 1];
	char mechanism[24]; /* logged on with */
	unsigned bad_rcpts;
	struct smtp_tx *tx; /* between MAIL and the end of its message */
	/* only while serving */
	struct pool *turn; /* one command's */
	struct buf out;    /* one reply's */
};

/* ---- session.c ---- */
void smtp_reply_to(struct smtp_session *s, enum smtp_reply_id id);
void smtp_say(struct smtp_session *s, enum smtp_reply_id id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Send what s->out holds. */
void smtp_send(struct smtp_session *s);
/* A command was wrong: reply, count it, end the session after too many. */
void smtp_refuse(struct smtp_session *s, enum smtp_reply_id id);
/* Say this and end when serve() returns. */
void smtp_bye(struct smtp_session *s, enum smtp_reply_id id);
static inline struct inet_host *smtp_host(const struct smtp_session *s)
{
	return s->head.loop->host;
}

/* ---- tx.c ---- */
/* Begin a message; false: out of memory. */
bool smtp_tx_begin(struct smtp_session *s);
/* Drop the message, if there is one, and be READY (or START before a greeting). */
void smtp_tx_reset(struct smtp_session *s);
/* Room for one recipient more in the envelope; NULL: out of memory. */
struct mailmsg_rcpt *smtp_tx_rcpt(struct smtp_tx *tx);

/* ---- the verbs: one function each ---- */
typedef void smtp_run(struct smtp_session *s, const struct smtp_command *c);
smtp_run smtp_run_hello, smtp_run_starttls, smtp_run_auth; /* hello.c */
smtp_run smtp_run_mail, smtp_run_rcpt;                     /* envelope.c */
smtp_run smtp_run_data, smtp_run_bdat;                     /* content.c */
/* A BDAT that is not allowed now: its octets are read and thrown away, then this is said. */
void smtp_skip_chunk(struct smtp_session *s, uint64_t octets, enum smtp_reply_id why);

#endif
