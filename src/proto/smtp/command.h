/* command.h - SMTP command lines: one row per verb, the row is the gate.
 *
 * RFC 5321 with 1870 (SIZE), 2920, 3030 (BDAT), 3207 (STARTTLS), 4954 (AUTH), 6152 (8BITMIME) and 6531
 * (SMTPUTF8).  Pure: no socket, no session; spans point into the line that was given. */
#ifndef PROTO_SMTP_COMMAND_H
#define PROTO_SMTP_COMMAND_H

#include "proto/smtp/address.h"
#include "proto/smtp/reply.h"

/* Octets with CR LF.  The reader takes lines up to the longest; each row has its own limit
 * (RFC 5321 section 4.5.3.1.4, enlarged as each extension says). */
#define SMTP_LINE_MAX      512
#define SMTP_MAIL_LINE_MAX (512 + 26 + 17 + 500 + 10) /* SIZE, BODY, AUTH, SMTPUTF8 */
#define SMTP_AUTH_LINE_MAX 12288                      /* RFC 4954 section 4 */

enum smtp_cmd {
	SMTP_HELO,
	SMTP_EHLO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BDAT,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_VRFY,
	SMTP_HELP,
	SMTP_QUIT,
	SMTP_STARTTLS,
	SMTP_AUTH,
	SMTP_CMDS
};

/* Where a session is; a row's `states` is a set of these. */
enum smtp_state {
	SMTP_START = 1 << 0,  /* nobody said EHLO or HELO yet */
	SMTP_READY = 1 << 1,  /* between messages */
	SMTP_SENDER = 1 << 2, /* MAIL was taken, no recipient yet */
	SMTP_RCPTS = 1 << 3,  /* at least one recipient was taken */
	SMTP_CHUNKS = 1 << 4, /* at least one BDAT chunk was taken, LAST is still to come */
	SMTP_BROKEN = 1 << 5, /* a chunk was refused: RFC 3030 section 2 wants RSET */
	SMTP_ANY = (1 << 6) - 1
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };

struct smtp_command;
struct smtp_verb {
	const char *name;
	enum smtp_cmd cmd;
	enum st (*parse)(struct span args, struct smtp_command *c, enum smtp_reply_id *why);
	unsigned states;
	enum smtp_reply_id misplaced; /* the reply out of those states */
	enum { SMTP_ARGS_NONE, SMTP_ARGS_MAYBE, SMTP_ARGS_NEEDED } args;
	unsigned line_max;
	const char *help; /* what HELP prints behind the verb */
};

struct smtp_command {
	const struct smtp_verb *verb;
	struct span text; /* HELO, EHLO: the name; VRFY, HELP, NOOP: the argument */
	/* MAIL, RCPT */
	struct smtp_path path;
	bool has_size, smtputf8;
	uint64_t size; /* MAIL SIZE=, BDAT's octets */
	enum smtp_body body;
	struct span auth; /* MAIL AUTH= as xtext ("<>" for nobody), or absent */
	/* BDAT */
	bool last;
	/* AUTH */
	struct span mechanism;
	struct span initial; /* base64; absent when not given; "=" was turned into an empty one */
};

/* Parse one line (without CR LF).  out->verb is set whenever the verb was known, also on ST_BAD.
 *   ST_OK   *out is whole; whether the verb is allowed now is smtp_allowed()'s answer
 *   ST_BAD  *why is the reply.  After a bad BDAT the octets behind it can't be told from commands:
 *           the session must close. */
enum st smtp_parse(struct span line, struct smtp_command *out, enum smtp_reply_id *why);

/* True when the verb may run in `state`; else *why is the reply. */
bool smtp_allowed(const struct smtp_verb *v, enum smtp_state state, enum smtp_reply_id *why);

/* Row i in the order of enum smtp_cmd, NULL past the end: for HELP, documentation, tests. */
const struct smtp_verb *smtp_verb_at(size_t i);
/* HELP's reply: all verbs, or the line of the one that `topic` names. */
void smtp_help(struct buf *out, struct span topic);

/* ---- EHLO ---- */

/* What a session can announce right now. */
enum smtp_ext {
	SMTP_EXT_SIZE = 1 << 0,
	SMTP_EXT_8BITMIME = 1 << 1,
	SMTP_EXT_BINARYMIME = 1 << 2,
	SMTP_EXT_CHUNKING = 1 << 3,
	SMTP_EXT_PIPELINING = 1 << 4,
	SMTP_EXT_SMTPUTF8 = 1 << 5,
	SMTP_EXT_ENHANCED = 1 << 6,
	SMTP_EXT_HELP = 1 << 7,
	SMTP_EXT_STARTTLS = 1 << 8,
	SMTP_EXT_AUTH = 1 << 9,
	SMTP_EXT_ALWAYS = (1 << 8) - 1
};

/* The whole reply to EHLO.  `extensions` is a set of enum smtp_ext; size_max goes behind SIZE (0: no
 * limit told); mechanisms, separated by spaces, behind AUTH. */
void smtp_ehlo(struct buf *out, struct span host, struct span client, unsigned extensions,
	       uint64_t size_max, const char *mechanisms);

#endif
