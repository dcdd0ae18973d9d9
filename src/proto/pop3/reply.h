/* reply.h - what a POP3 server says, in one table.
 *
 * Status, response code in brackets (RFC 2449 section 8, RFC 3206) and text stand in one row.  Pure. */
#ifndef PROTO_POP3_REPLY_H
#define PROTO_POP3_REPLY_H

#include "base/buf.h"

/* X(name, ok, response code or "", text) */
#define POP3_REPLIES(X)                                                                            \
	X(POP3_R_READY, true, "", "Mailroot POP3 ready")                                           \
	X(POP3_R_OK, true, "", "OK")                                                               \
	X(POP3_R_BYE, true, "", "Bye")                                                             \
	X(POP3_R_NEED_PASS, true, "", "Send PASS")                                                 \
	X(POP3_R_LOGGED_IN, true, "", "Maildrop locked and ready")                                 \
	X(POP3_R_TLS_GO, true, "", "Begin TLS")                                                    \
	X(POP3_R_CAPA, true, "", "Capabilities follow")                                            \
	X(POP3_R_LANGS, true, "", "Languages follow")                                              \
	X(POP3_R_LANG_OK, true, "", "en English is used")                                          \
	X(POP3_R_UTF8_OK, true, "", "UTF-8 is on")                                                 \
	X(POP3_R_LIST, true, "", "Scan listing follows")                                           \
	X(POP3_R_UIDL, true, "", "Unique-ids follow")                                              \
	X(POP3_R_MESSAGE, true, "", "Message follows")                                             \
	X(POP3_R_TOP, true, "", "Top of message follows")                                          \
	X(POP3_R_DELETED, true, "", "Marked to be deleted")                                        \
	X(POP3_R_RESET, true, "", "Nothing is marked any more")                                    \
	X(POP3_R_UNKNOWN_COMMAND, false, "", "Unknown command")                                    \
	X(POP3_R_WRONG_STATE, false, "", "Not now")                                                \
	X(POP3_R_BAD_ARGS, false, "", "Wrong arguments")                                           \
	X(POP3_R_LINE_BARE, false, "", "Only CR LF ends a line")                                   \
	X(POP3_R_LINE_TOO_LONG, false, "", "Line too long")                                        \
	X(POP3_R_NO_MESSAGE, false, "", "No such message")                                         \
	X(POP3_R_IS_DELETED, false, "", "Message is marked to be deleted")                         \
	X(POP3_R_NEED_USER, false, "", "Send USER first")                                          \
	X(POP3_R_NEED_TLS, false, "", "Start TLS first: passwords are not taken in the clear")     \
	X(POP3_R_HAVE_TLS, false, "", "TLS is already active")                                     \
	X(POP3_R_NO_TLS, false, "", "TLS is not available")                                        \
	X(POP3_R_UNKNOWN_MECHANISM, false, "", "Mechanism not offered")                            \
	X(POP3_R_BAD_BASE64, false, "", "Not base64")                                              \
	X(POP3_R_AUTH_CANCELLED, false, "", "Authentication cancelled")                            \
	X(POP3_R_AUTH_FAILED, false, "AUTH", "Authentication failed")                              \
	X(POP3_R_AUTH_TROUBLE, false, "SYS/TEMP", "Authentication is not available now")           \
	X(POP3_R_IN_USE, false, "IN-USE", "Maildrop is in use by another session")                 \
	X(POP3_R_UNKNOWN_LANG, false, "", "Language not available")                                \
	X(POP3_R_TROUBLE, false, "SYS/TEMP", "Temporary failure, try again later")                 \
	X(POP3_R_DAMAGED, false, "SYS/PERM", "Message is damaged")                                 \
	X(POP3_R_NOT_ALL_DELETED, false, "", "Some messages were not deleted")                     \
	X(POP3_R_TOO_MANY_ERRORS, false, "", "Too many errors, closing connection")                \
	X(POP3_R_TIMEOUT, false, "", "Timeout, closing connection")                                \
	X(POP3_R_STOPPING, false, "SYS/TEMP", "Server is stopping, closing connection")

enum pop3_reply_id {
#define POP3_REPLY_NAME(name, ok, code, text) name,
	POP3_REPLIES(POP3_REPLY_NAME)
#undef POP3_REPLY_NAME
		POP3_R_COUNT
};

struct pop3_reply {
	bool ok;
	const char *code; /* "" for none */
	const char *text;
};

const struct pop3_reply *pop3_reply(enum pop3_reply_id id);

/* Append the reply's line with its usual text, or with this one; control bytes become '?'. */
void pop3_reply_write(struct buf *out, enum pop3_reply_id id);
void pop3_reply_say(struct buf *out, enum pop3_reply_id id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
