/* command.h - POP3 command lines: one row per verb, the row is the gate.
 *
 * RFC 1939 whole (APOP is not offered: it needs passwords kept in the clear), 2449 (CAPA), 2595 (STLS),
 * 5034 (AUTH), 6856 (UTF8, LANG).  Pure; spans point into the line that was given. */
#ifndef PROTO_POP3_COMMAND_H
#define PROTO_POP3_COMMAND_H

#include "proto/pop3/reply.h"
#include "base/st.h"

#define POP3_LINE_MAX      255   /* with CR LF, RFC 2449 section 4 */
#define POP3_AUTH_LINE_MAX 12288 /* a line of an AUTH exchange */

enum pop3_cmd {
	POP3_CAPA,
	POP3_USER,
	POP3_PASS,
	POP3_AUTH,
	POP3_STLS,
	POP3_UTF8,
	POP3_LANG,
	POP3_STAT,
	POP3_LIST,
	POP3_UIDL,
	POP3_RETR,
	POP3_TOP,
	POP3_DELE,
	POP3_RSET,
	POP3_NOOP,
	POP3_QUIT,
	POP3_CMDS
};

enum pop3_state {
	POP3_AUTHORIZATION = 1 << 0,
	POP3_TRANSACTION = 1 << 1,
};

struct pop3_command;
struct pop3_verb {
	const char *name;
	enum pop3_cmd cmd;
	enum st (*parse)(struct span args, struct pop3_command *c);
	unsigned states;
	unsigned char args_min, args_max; /* words; PASS takes the rest of the line as one */
};

struct pop3_command {
	const struct pop3_verb *verb;
	struct span text; /* USER: name; PASS: password with its blanks; LANG: tag, or absent */
	uint32_t number;  /* LIST, UIDL, RETR, TOP, DELE: from 1; 0 when not given */
	uint64_t lines;   /* TOP */
	struct span mechanism; /* AUTH; absent: list them */
	struct span
		initial; /* AUTH: base64; absent when not given; "=" was turned into an empty one */
};

/* Parse one line (without CR LF).  out->verb is set whenever the verb was known.
 *   ST_OK   *out is whole and the verb is allowed in `state`
 *   ST_BAD  *why is the reply */
enum st pop3_parse(struct span line, enum pop3_state state, struct pop3_command *out,
		   enum pop3_reply_id *why);

/* Row i in the order of enum pop3_cmd, NULL past the end. */
const struct pop3_verb *pop3_verb_at(size_t i);

/* What depends on the session in CAPA's list. */
enum pop3_cap {
	POP3_CAP_STLS = 1 << 0, /* TLS can be started */
	POP3_CAP_USER = 1 << 1, /* USER and PASS are taken (TLS is on, or not needed) */
	POP3_CAP_SASL = 1 << 2, /* AUTH is taken with the mechanisms given */
};
/* CAPA's whole reply, from the rows and from this. */
void pop3_capa(struct buf *out, unsigned caps, const char *mechanisms, const char *version);

#endif
