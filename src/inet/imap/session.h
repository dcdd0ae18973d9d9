/* session.h - an IMAP session (RFC 3501): what it holds, and what its files share.  Private to inet/imap.
 *
 * serve() in session.c reads commands and runs one function per verb (cmd_*.c).  Everything a command
 * says is gathered in ->out and handed to the connection piece by piece; message octets are queued by
 * reference.  Between commands a session holds this struct and, when a folder is selected, a view: no pool, no
 * buffers, no stack.  Everything here runs in the session's serving fiber. */
#ifndef INET_IMAP_SESSION_H
#define INET_IMAP_SESSION_H

#include "inet/host.h"
#include "inet/sasl.h"
#include "proto/imap/reader.h"
#include "proto/imap/reply.h"

#define IMAP_OUT_HIGH (32u * 1024) /* text gathered before it goes to the connection */
/* What is said without a moment at which it may go to the connection: a million EXPUNGEs, a long structure. */
#define IMAP_OUT_MAX  (32u * 1024 * 1024)
#define IMAP_NEWS     (512u * 1024) /* of news, after which they are given to the connection */
#define IMAP_DELIM    '/'

/* The selected folder as this session knows it: sequence numbers are positions in `uids`. */
struct imap_view {
	uint64_t fid;
	struct uset uids;    /* what the client was told, minus what it was told to be expunged */
	struct uset gone;    /* expunged by others, not told yet */
	struct uset recent;  /* \Recent for this session */
	struct uset own;     /* low 32 bits of change numbers this session made: not news to it */
	uint64_t change_num; /* everything up to here is known */
	uint32_t nkeywords;  /* of the folder, as last told */
	bool readonly;
	bool changed; /* the store notified: there is news */
	struct inet_watcher watcher;
	struct imap_session *session;
};

struct imap_session {
	struct inet_session base;
	struct imap_reader reader;
	enum imap_state state;
	struct ds_logon logon;
	struct imap_view *view; /* NULL: none selected */
	bool greeted, ending;
	bool over_quota; /* the store's last refusal was because of the mailbox's limit */
	bool idling;     /* between "+ idling" and DONE */
	char idle_tag[IMAP_TAG_MAX + 1];
	/* only while serving */
	struct pool *pool;
	struct buf out;
	const struct imap_command *cmd;
};

/* ---- session.c ---- */
/* Hand what is in ->out to the connection when it is more than IMAP_OUT_HIGH, or all of it.  The client may let us
 * wait for as long as it likes: never while an answer of the store is held, because all sessions of the loop
 * live on the same shared memory. */
void imap_out_some(struct imap_session *s);
void imap_out_all(struct imap_session *s);
/* The tagged reply of the current command. */
void imap_ok(struct imap_session *s, const char *text);
void imap_ok_code(struct imap_session *s, const char *code, const char *text);
void imap_bad(struct imap_session *s, const char *text);
/* Tagged NO with the response code of RFC 5530 that fits `st`. */
void imap_no(struct imap_session *s, enum st st, const struct err *err);
void imap_no_code(struct imap_session *s, const char *code, const char *text);
/* Untagged BYE; the session ends when serve() returns. */
void imap_bye(struct imap_session *s, const char *code, const char *text);
/* BAD to what could not be read. */
void imap_refuse(struct imap_session *s, const struct imap_result *res);
/* A reader for the state the session is in: from strangers it takes little. */
void imap_reader_begin(struct imap_session *s);
void imap_capability_code(struct imap_session *s, struct buf *code);
struct imap_offer imap_offer(struct imap_session *s);

/* A request for this session's mailbox, with PR_LOGON in it. */
void imap_ask_begin(struct imap_session *s, struct wire_msg *m, size_t props);
enum st imap_ask(struct imap_session *s, struct wire_msg *m, enum wire_op op, struct wire_answer *a,
		 struct err *err);
/* A set as a property (serialized). */
void imap_put_set(struct wire_msg *m, uint32_t tag, const struct uset *set);
enum st imap_get_set(const struct plist *list, uint32_t tag, struct uset *out, struct err *err);
/* The first `max` members of `all` from `from` on.  *out is empty before, and on failure (ST_NOMEM). */
enum st imap_take_uids(const struct uset *all, uint32_t from, uint32_t max, struct uset *out);

/* ---- view.c ---- */
/* Make the view that SELECT filled from the store's answer.  ST_BAD, ST_NOMEM: *view is freed. */
enum st imap_view_open(struct imap_session *s, const struct plist *answer, bool readonly,
		       struct err *err);
/* Forget the selected folder, here and in the store. */
void imap_view_close(struct imap_session *s);
struct imap_view *imap_view_new(struct imap_session *s); /* not yet s->view; watching already */
void imap_view_free(struct imap_session *s, struct imap_view *v);
/* Ask the store what is new and tell it (EXISTS, RECENT, FETCH FLAGS; EXPUNGE when expunge). */
enum st imap_view_sync(struct imap_session *s, bool expunge, struct err *err);
/* The UIDs a command's set means.  Sequence numbers past the end: ST_BAD.  *out is empty before. */
enum st imap_view_resolve(struct imap_session *s, const struct imap_set *set, bool uid,
			  struct uset *out, struct err *err);
/* The sequence numbers of those of `uids` that the client knows: one walk along both.  *out is empty before. */
enum st imap_view_seqs(const struct imap_view *v, const struct uset *uids, struct uset *out);
/* "* n EXPUNGE" for those of `uids` that the client knows, and take them out of the view.  Only gathers. */
void imap_view_expunge(struct imap_session *s, const struct uset *uids);
/* FLAGS and PERMANENTFLAGS when the row names other keywords of the folder than the client was told. */
void imap_view_keywords(struct imap_session *s, const struct plist *row);
/* " FLAGS (...)" of a row; the name included, no blank in front. */
void imap_put_row_flags(struct imap_session *s, const struct plist *row);
/* "* n FETCH (FLAGS (...) UID u)" for a row of IMAP_SYNC or IMAP_STORE.  Only gathers. */
void imap_put_row_fetch(struct imap_session *s, const struct plist *row, bool with_uid);
/* This change is our own, or was told: no news. */
void imap_view_own(struct imap_session *s, uint64_t change_num);
/* Was the client told of that change, or is it its own? */
bool imap_view_knows(const struct imap_session *s, uint64_t change_num);
/* Up to here the client knows everything that happened. */
uint64_t imap_view_since(const struct imap_session *s);

/* ---- the commands ---- */
void imap_cmd_capability(struct imap_session *s);
void imap_cmd_noop(struct imap_session *s);
void imap_cmd_logout(struct imap_session *s);
void imap_cmd_id(struct imap_session *s);
void imap_cmd_starttls(struct imap_session *s);
void imap_cmd_authenticate(struct imap_session *s);
void imap_cmd_login(struct imap_session *s);
void imap_cmd_enable(struct imap_session *s);
void imap_cmd_namespace(struct imap_session *s);
void imap_cmd_idle(struct imap_session *s);
void imap_cmd_select(struct imap_session *s); /* and EXAMINE */
void imap_cmd_create(struct imap_session *s);
void imap_cmd_delete(struct imap_session *s);
void imap_cmd_rename(struct imap_session *s);
void imap_cmd_subscribe(struct imap_session *s); /* and UNSUBSCRIBE */
void imap_cmd_list(struct imap_session *s);      /* and LSUB */
void imap_cmd_status(struct imap_session *s);
void imap_cmd_close(struct imap_session *s); /* and UNSELECT */
void imap_cmd_expunge(struct imap_session *s);
void imap_cmd_search(struct imap_session *s);
void imap_cmd_fetch(struct imap_session *s);
void imap_cmd_store(struct imap_session *s);
void imap_cmd_copy(struct imap_session *s); /* and MOVE */
/* APPEND comes in two steps: the message's octets, then the end of the command. */
void imap_append_stream(struct imap_session *s);

#endif
