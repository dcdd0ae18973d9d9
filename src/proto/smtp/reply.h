/* reply.h - everything an SMTP server says, in one table.
 *
 * Code, enhanced code (RFC 3463, RFC 5248) and the usual words stand in one row; sessions name rows and
 * never spell a code.  A reply of several lines repeats both codes on each (RFC 2034 section 4).  Pure. */
#ifndef PROTO_SMTP_REPLY_H
#define PROTO_SMTP_REPLY_H

#include "base/buf.h"

/* X(name, code, enhanced code or "" where RFC 2034 wants none, text) */
#define SMTP_REPLIES(X)                                                                            \
	X(SMTP_R_READY, 220, "", "Service ready")                                                  \
	X(SMTP_R_TLS_GO, 220, "2.0.0", "Ready to start TLS")                                       \
	X(SMTP_R_BYE, 221, "2.0.0", "Bye")                                                         \
	X(SMTP_R_HELP, 214, "2.0.0", "See RFC 5321")                                               \
	X(SMTP_R_AUTH_OK, 235, "2.7.0", "Authentication succeeded")                                \
	X(SMTP_R_HELLO, 250, "", "Hello")                                                          \
	X(SMTP_R_OK, 250, "2.0.0", "OK")                                                           \
	X(SMTP_R_SENDER_OK, 250, "2.1.0", "Sender OK")                                             \
	X(SMTP_R_RCPT_OK, 250, "2.1.5", "Recipient OK")                                            \
	X(SMTP_R_QUEUED, 250, "2.0.0", "Queued")                                                   \
	X(SMTP_R_CHUNK_OK, 250, "2.0.0", "Chunk received")                                         \
	X(SMTP_R_MAYBE, 252, "2.5.0", "Cannot verify, but will take mail for local users")         \
	X(SMTP_R_AUTH_GO, 334, "", "")                                                             \
	X(SMTP_R_DATA_GO, 354, "", "Start mail input; end with <CRLF>.<CRLF>")                     \
	X(SMTP_R_STOPPING, 421, "4.3.2", "Server is stopping, closing connection")                 \
	X(SMTP_R_TIMEOUT, 421, "4.4.2", "Timeout, closing connection")                             \
	X(SMTP_R_TOO_MANY_ERRORS, 421, "4.7.0", "Too many errors, closing connection")             \
	X(SMTP_R_LOST_SYNC, 421, "4.5.0", "Command stream out of step, closing connection")        \
	X(SMTP_R_TRY_LATER, 451, "4.3.0", "Temporary failure, try again later")                    \
	X(SMTP_R_DIRECTORY_DOWN, 451, "4.3.0", "Directory not available, try again later")         \
	X(SMTP_R_MAILBOX_DOWN, 451, "4.2.1", "Mailbox not available now, try again later")         \
	X(SMTP_R_TOO_FAST, 451, "4.7.1", "Too much mail from your address, try again later")       \
	X(SMTP_R_QUEUE_FULL, 452, "4.3.1", "Too many messages wait here, try again later")         \
	X(SMTP_R_DISK_FULL, 452, "4.3.1", "Not enough room for mail, try again later")             \
	X(SMTP_R_MAILBOX_FULL, 452, "4.2.2", "Mailbox full, try again later")                      \
	X(SMTP_R_TOO_MANY_RCPTS, 452, "4.5.3", "Too many recipients in one message")               \
	X(SMTP_R_TLS_TROUBLE, 454, "4.7.0", "TLS not available")                                   \
	X(SMTP_R_AUTH_TROUBLE, 454, "4.7.0", "Temporary authentication failure")                   \
	X(SMTP_R_UNKNOWN_COMMAND, 500, "5.5.1", "Command not recognized")                          \
	X(SMTP_R_LINE_BARE, 500, "5.5.2", "Only CR LF ends a line; CR, LF or NUL alone refused")   \
	X(SMTP_R_LINE_TOO_LONG, 500, "5.5.2", "Line too long")                                     \
	X(SMTP_R_AUTH_TOO_LONG, 500, "5.5.6", "Authentication exchange line is too long")          \
	X(SMTP_R_BAD_ARGS, 501, "5.5.4", "Syntax error in arguments")                              \
	X(SMTP_R_NEEDS_ARGS, 501, "5.5.4", "Argument missing")                                     \
	X(SMTP_R_NO_ARGS, 501, "5.5.4", "Takes no arguments")                                      \
	X(SMTP_R_BAD_HELO, 501, "5.5.4", "Needs a domain name or an address literal")              \
	X(SMTP_R_BAD_SENDER, 501, "5.1.7", "Bad sender address syntax")                            \
	X(SMTP_R_BAD_RCPT, 501, "5.1.3", "Bad recipient address syntax")                           \
	X(SMTP_R_BAD_BASE64, 501, "5.5.2", "Not base64")                                           \
	X(SMTP_R_AUTH_CANCELLED, 501, "5.7.0", "Authentication cancelled")                         \
	X(SMTP_R_WRONG_ORDER, 503, "5.5.1", "Bad sequence of commands")                            \
	X(SMTP_R_NEED_HELLO, 503, "5.5.1", "Send EHLO or HELO first")                              \
	X(SMTP_R_NEED_MAIL, 503, "5.5.1", "Need MAIL first")                                       \
	X(SMTP_R_NEED_RCPT, 503, "5.5.1", "Need a valid RCPT first")                               \
	X(SMTP_R_NEED_RSET, 503, "5.5.1", "A chunk was refused; send RSET")                        \
	X(SMTP_R_NEED_BDAT, 503, "5.5.1", "BINARYMIME and chunks already sent need BDAT")          \
	X(SMTP_R_HAVE_TLS, 503, "5.5.1", "TLS is already active")                                  \
	X(SMTP_R_HAVE_AUTH, 503, "5.5.1", "Already authenticated")                                 \
	X(SMTP_R_UNKNOWN_MECHANISM, 504, "5.5.4", "Authentication mechanism not offered")          \
	X(SMTP_R_NEED_AUTH, 530, "5.7.0", "Authentication required")                               \
	X(SMTP_R_AUTH_FAILED, 535, "5.7.8", "Authentication failed")                               \
	X(SMTP_R_AUTH_NEEDS_TLS, 538, "5.7.11", "This mechanism needs TLS")                        \
	X(SMTP_R_NO_SUCH_USER, 550, "5.1.1", "No such user here")                                  \
	X(SMTP_R_DISABLED, 550, "5.2.1", "Mailbox disabled")                                       \
	X(SMTP_R_NO_RELAY, 550, "5.7.1", "Relaying denied")                                        \
	X(SMTP_R_NO_REMOTE, 550, "5.4.4", "Delivery to other servers is not available")            \
	X(SMTP_R_BARE_CONTENT, 550, "5.6.0", "Message holds a CR, LF or NUL alone")                \
	X(SMTP_R_TOO_BIG, 552, "5.3.4", "Message too big")                                         \
	X(SMTP_R_MAY_NOT_SEND, 552, "5.2.2",                                                       \
	  "Your mailbox is over its limit: delete messages before you send")                       \
	X(SMTP_R_NEED_UTF8, 553, "5.6.7", "Address needs SMTPUTF8")                                \
	X(SMTP_R_LOOP, 554, "5.4.6", "Too many hops")                                              \
	X(SMTP_R_BAD_PARAM, 555, "5.5.4", "MAIL or RCPT parameter not recognized")

enum smtp_reply_id {
#define SMTP_REPLY_NAME(name, code, enhanced, text) name,
	SMTP_REPLIES(SMTP_REPLY_NAME)
#undef SMTP_REPLY_NAME
		SMTP_R_COUNT
};

struct smtp_reply {
	unsigned short code;
	const char *enhanced; /* "" for none */
	const char *text;
};

const struct smtp_reply *smtp_reply(enum smtp_reply_id id);
static inline bool smtp_reply_is_error(enum smtp_reply_id id)
{
	return smtp_reply(id)->code >= 400;
}

/* Append the reply with its usual words. */
void smtp_reply_write(struct buf *out, enum smtp_reply_id id);
/* Append it with these words instead: several lines where they hold '\n'.  Bytes that are not printable
 * ASCII (or UTF-8 above it) become '?', so that nothing from a peer can forge a line. */
void smtp_reply_say(struct buf *out, enum smtp_reply_id id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void smtp_reply_span(struct buf *out, enum smtp_reply_id id, struct span text);

#endif
