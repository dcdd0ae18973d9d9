/* session.h - a POP3 session (RFC 1939): what it holds, and what its files share.  Private to inet/pop3.
 *
 * The store holds the lock on the maildrop ([IN-USE] to the next session) and does the deleting, all
 * at once, at QUIT.  Message numbers are positions in what the store listed at log-on.  Everything here
 * runs in the session's serving fiber. */
#ifndef INET_POP3_SESSION_H
#define INET_POP3_SESSION_H

#include "inet/host.h"
#include "inet/lines.h"
#include "proto/pop3/command.h"

struct pop3_item {
	uint64_t octets; /* as RETR sends it, dot-stuffing aside */
	uint32_t uid;
	bool deleted;
};

/* The open maildrop. */
struct pop3_drop {
	uint32_t uidvalidity;
	uint32_t count, room;
	uint32_t deleted;        /* how many are marked */
	uint64_t octets;         /* of those that are not */
	struct pop3_item *items; /* message n is items[n - 1] */
};

struct pop3_session {
	struct inet_session head;
	struct inet_lines lines;
	enum pop3_state state;
	bool greeted, ending;
	char *name; /* from USER, until PASS */
	struct ds_logon logon;
	struct pop3_drop drop;
	/* only while serving */
	struct pool *turn; /* one command's */
	struct buf out;
};

/* ---- session.c ---- */
void pop3_say(struct pop3_session *s, enum pop3_reply_id id);
void pop3_send(struct pop3_session *s);      /* what s->out holds */
void pop3_send_some(struct pop3_session *s); /* when it is much: inside listings */
/* A command was wrong: reply, count it, end the session after too many. */
void pop3_refuse(struct pop3_session *s, enum pop3_reply_id id);
void pop3_bye(struct pop3_session *s, enum pop3_reply_id id);

/* ---- drop.c ---- */
/* F: lock and list the maildrop.  ST_BUSY: another session has it. */
enum st pop3_drop_open(struct pop3_session *s, struct err *err);
/* F: delete what is marked, unlock.  ST_OK: none of it is there any more (some may have gone before, by IMAP). */
enum st pop3_drop_update(struct pop3_session *s, struct err *err);
/* F: unlock and log off; nothing is deleted.  Fine when nothing is open. */
void pop3_drop_close(struct pop3_session *s);
/* The message a command names, if it is there and not marked; else NULL, and the reply went out. */
struct pop3_item *pop3_item(struct pop3_session *s, uint32_t number);
/* A request with PR_LOGON in it, and sending it to the maildrop's loop. */
void pop3_ask_begin(struct pop3_session *s, struct wire_msg *m);
enum st pop3_ask(struct pop3_session *s, struct wire_msg *m, enum wire_op op,
		 struct wire_answer *answer, struct err *err);

/* ---- the verbs: one function each ---- */
typedef void pop3_run(struct pop3_session *s, const struct pop3_command *c);
pop3_run pop3_run_capa, pop3_run_user, pop3_run_pass, pop3_run_auth, pop3_run_stls; /* logon.c */
pop3_run pop3_run_stat, pop3_run_list, pop3_run_uidl, pop3_run_dele, pop3_run_rset; /* drop.c */
pop3_run pop3_run_retr, pop3_run_top;                                               /* message.c */

#endif
