/* mailmsg.h - MailMsg: a message on its way (seed "Informationsspeichertreiber", first part).
 *
 * A transfer envelope (the property stream: MP_ and RP_ properties of props/msgids.def) and a handle on
 * the content, with a driver behind it that keeps both.  What is changed while the message is handled
 * (recipients done, attempts made) is a second, small stream: the live properties.  Both survive a restart;
 * they are described in docs/formats.md, section "Queue files".
 *
 * Life in a session (all F: in a fiber of the session's loop, may park it):
 *
 *	mailmsg_create() -> mailmsg_write() ... -> mailmsg_commit() -> aq_submit()
 *
 * Nothing is acknowledged before mailmsg_commit() returned ST_OK: then content and envelope are on the
 * disk, under their final name.  Before that mailmsg_free() at any point leaves nothing behind.
 *
 * One owner at a time; the owner may change loops between calls (aq_submit does).  Memory: content is
 * gathered to MAILMSG_GATHER bytes, then written on the work pool; a message that is smaller is made,
 * synced and named in one job at commit. */
#ifndef TRANSPORT_MAILMSG_H
#define TRANSPORT_MAILMSG_H

#include "base/pool.h"
#include "base/span.h"
#include "base/st.h"
#include "props/tags.h"

struct mailmsg;
struct mailmsg_driver; /* transport/mailmsg_driver.h; the file-system driver: transport/fsdriver.h */

#define MAILMSG_GATHER       (64 * 1024)
#define MAILMSG_ENVELOPE_MAX (8 * 1024 * 1024) /* one property stream */
#define MAILMSG_GUID         16

/* Names a message within its driver: when it was created (clock_real) and which one it was of its process. */
struct mailmsg_id {
	uint64_t time;
	uint32_t count;
};

/* MP_MESSAGE_STATUS (Win32 metadata). */
enum mailmsg_status {
	MP_STATUS_SUCCESS = 0,
	MP_STATUS_RETRY = 1,
	MP_STATUS_ABORT_DELIVERY = 2,
	MP_STATUS_BAD_MAIL = 3,
	MP_STATUS_SUBMITTED = 4,
	MP_STATUS_CATEGORIZED = 5,
	MP_STATUS_ABANDON_DELIVERY = 6
};

/* MP_MSGCLASS; 0 is an ordinary message. */
enum mailmsg_class {
	MP_CLASS_SYSTEM = 1,
	MP_CLASS_REPLICATION = 2,
	MP_CLASS_DELIVERY_REPORT = 3,
	MP_CLASS_NON_DELIVERY_REPORT = 4
};

/* RP_RECIPIENT_FLAGS (Win32 metadata): RP_HANDLED is part of every final state. */
enum mailmsg_rcpt_flag {
	RP_HANDLED = 0x10,
	RP_GENERAL_FAILURE = 0x20,
	RP_DSN_HANDLED = 0x40,
	RP_DELIVERED = 0x110,
	RP_DSN_SENT_NDR = 0x450,
	RP_FAILED = 0x830,
	RP_UNRESOLVED = 0x1030,
	RP_EXPANDED = 0x2010,
	RP_DSN_SENT_DELAYED = 0x4000,
	RP_DSN_SENT_EXPANDED = 0x8040,
	RP_DSN_SENT_RELAYED = 0x10040,
	RP_DSN_SENT_DELIVERED = 0x20040,
	RP_REMOTE_MTA_NO_DSN = 0x80000,
	RP_ERROR_CONTEXT_STORE = 0x100000,
	RP_ERROR_CONTEXT_CAT = 0x200000,
	RP_ERROR_CONTEXT_MTA = 0x400000,
	RP_NOTIFY_SUCCESS = 0x1000000,
	RP_NOTIFY_FAILURE = 0x2000000,
	RP_NOTIFY_DELAY = 0x4000000,
	RP_NOTIFY_NEVER = 0x8000000,
	RP_NOTIFY_MASK = 0x0F000000
};

struct mailmsg_rcpt {
	struct span address;    /* local@domain, as in RCPT TO, without the brackets */
	struct span notify;     /* NOTIFY= as said, SPAN_NONE when not */
	struct span orcpt;      /* ORCPT= as said */
	uint32_t flags;         /* mailmsg_rcpt_flag bits */
	enum st error;          /* with RP_FAILED: why */
	struct span error_text; /* with RP_FAILED: "5.1.1 no such mailbox" */
};

/* The envelope as a struct: what a session fills, what a sink reads.  Absent text is SPAN_NONE; the
 * spans belong to whoever filled it. */
struct mailmsg_envelope {
	struct span sender;    /* local@domain; empty (len 0) for the null sender */
	int64_t arrival;       /* clock_real; 0: commit puts the time */
	struct span client_ip; /* "192.0.2.1" */
	struct span helo;
	struct span auth_user; /* who logged on */
	struct span auth_type; /* with which mechanism */
	struct span mail_auth; /* AUTH= of MAIL FROM */
	struct span server_ip;
	uint32_t server_port;
	struct span server_name; /* our name on that connection */
	struct span tls;         /* conn_tls_text(), SPAN_NONE without */
	struct span envid, ret;  /* ENVID=, RET= as said (RFC 3461) */
	struct span pickup_file;
	bool eightbitmime, binarymime, chunking, smtputf8;
	enum mailmsg_class msgclass;
	int64_t not_before; /* MP_DEFERRED_DELIVERY, 0: at once */
	struct mailmsg_rcpt *rcpts;
	size_t nrcpts;
	/* filled by mailmsg_commit() and mailmsg_envelope() */
	uint64_t size;        /* octets of the content */
	uint32_t content_crc; /* CRC-32C of the content */
	uint8_t guid[MAILMSG_GUID];
};

/* What changes while a message is handled.  `rcpts` holds final recipients (after aliases) whose fate is
 * known, by address: they are not tried again. */
struct mailmsg_live {
	enum mailmsg_status status;
	uint32_t attempts;
	int64_t next_try; /* clock_real; 0: at once */
	enum st error;    /* why the last attempt did not finish it */
	struct mailmsg_rcpt *rcpts;
	size_t nrcpts;
};

/* ---- making one: a session ---- */

/* Begins a message: memory only, nothing on the disk yet.  ST_NOMEM. */
[[nodiscard]] enum st mailmsg_create(struct mailmsg_driver *driver, struct mailmsg **out,
				     struct err *err);
/* F: append content, in wire form (CRLF, dots unstuffed, our Received line first).  ST_OK; ST_NOSPACE (452: try
 * later), ST_IO, ST_NOMEM.  After a failure the message can only be freed. */
[[nodiscard]] enum st mailmsg_write(struct mailmsg *m, const void *bytes, size_t len,
				    struct err *err);
uint64_t mailmsg_size(const struct mailmsg *m); /* octets of content so far */
/* 16 bytes that name this message for ever (made by create). */
const uint8_t *mailmsg_guid(const struct mailmsg *m);
/* F: content and envelope become durable under the final name.  Fills env->arrival (when 0), ->size,
 * ->content_crc, ->guid.
 *   ST_OK       it is ours now: hand it to aq_submit(), then acknowledge
 *   ST_NOSPACE  no room; ST_IO; ST_TOOBIG: the envelope is over MAILMSG_ENVELOPE_MAX; ST_NOMEM.
 *               The message can only be freed; nothing is left on the disk. */
[[nodiscard]] enum st mailmsg_commit(struct mailmsg *m, struct mailmsg_envelope *env,
				     struct err *err);
/* F: mailmsg_commit() in two steps, for a message that may not need the queue folder: after the first it can be read
 * like any other but is nowhere durable; then mailmsg_keep(), or mailmsg_free() and it is gone.  Fails like
 * mailmsg_commit(). */
[[nodiscard]] enum st mailmsg_seal(struct mailmsg *m, struct mailmsg_envelope *env,
				   struct err *err);
[[nodiscard]] enum st mailmsg_keep(struct mailmsg *m, struct err *err);
/* Gives the object back.  Not committed: what was written is removed (in the background).  Committed:
 * the files stay; only mailmsg_delete() removes them.  NULL is fine.  On a loop's thread. */
void mailmsg_free(struct mailmsg *m);

/* ---- handling one: the queuing engine and its sinks ---- */

/* A message that the driver keeps from earlier (fsdriver_enumerate, or after mailmsg_free): memory only,
 * nothing is read before mailmsg_load().  ST_NOMEM. */
[[nodiscard]] enum st mailmsg_reopen(struct mailmsg_driver *driver, struct mailmsg_id id,
				     struct mailmsg **out, struct err *err);
struct mailmsg_id mailmsg_id(const struct mailmsg *m);
/* "MR_0123456789ABCDEF00000001": the name without its extension, for logs and the queue list. */
#define MAILMSG_NAME_MAX 32
const char *mailmsg_name(const struct mailmsg *m);
void mailmsg_id_name(struct mailmsg_id id, char out[static MAILMSG_NAME_MAX]);
/* F: read both property streams from the driver (no-op when they are in memory).  ST_CORRUPT: the envelope is
 * broken or the content has another length; ST_NOTFOUND: the files are gone; ST_IO, ST_NOMEM.  A broken live
 * stream counts as none (everything is tried again, which harms nobody): see mailmsg_live_was_broken. */
[[nodiscard]] enum st mailmsg_load(struct mailmsg *m, struct err *err);
bool mailmsg_live_was_broken(const struct mailmsg *m);
/* Bytes of content and streams held in memory: a small message keeps its content until unloaded. */
size_t mailmsg_memory(const struct mailmsg *m);
/* Drop content and streams from memory and close the content file; mailmsg_load() brings them back. */
void mailmsg_unload(struct mailmsg *m);
/* The checked property stream itself (loaded). */
struct plist mailmsg_props(const struct mailmsg *m);
/* The envelope as a struct; spans point into the loaded stream, arrays into pool.  ST_TOOBIG: pool full. */
[[nodiscard]] enum st mailmsg_envelope(const struct mailmsg *m, struct pool *pool,
				       struct mailmsg_envelope *out, struct err *err);
[[nodiscard]] enum st mailmsg_live(const struct mailmsg *m, struct pool *pool,
				   struct mailmsg_live *out, struct err *err);
/* F: replace the live stream; durable when ST_OK. */
[[nodiscard]] enum st mailmsg_put_live(struct mailmsg *m, const struct mailmsg_live *live,
				       struct err *err);
/* F: read content; opens the file when needed.  *got is short only at the end.  ST_IO, ST_NOTFOUND. */
[[nodiscard]] enum st mailmsg_read(struct mailmsg *m, uint64_t offset, void *out, size_t len,
				   size_t *got, struct err *err);
bool mailmsg_is_open(const struct mailmsg *m); /* holds a descriptor */
void mailmsg_close(struct mailmsg *m);
/* F: a new message with the same content for some of the recipients (bifurcation).  *out is committed;
 * the old one is unchanged.  It has a guid of its own. */
[[nodiscard]] enum st mailmsg_fork(struct mailmsg *m, struct mailmsg_envelope *env,
				   struct mailmsg **out, struct err *err);
/* F: remove it; the removal is durable when ST_OK.  Gone already is ST_OK.  The object still needs
 * mailmsg_free(). */
[[nodiscard]] enum st mailmsg_delete(struct mailmsg *m, struct err *err);
/* F: set it aside as Badmail: NAME.BAD (content), NAME.BDR (why, in words), NAME.BDP (envelope). */
[[nodiscard]] enum st mailmsg_to_badmail(struct mailmsg *m, const char *why, struct err *err);

/* ---- the property stream by itself (pure) ---- */

/* Appends the list; out->failed when over its max.  */
void mailmsg_props_write(struct buf *out, const struct mailmsg_envelope *env);
/* ST_BAD: a needed property is missing (sender, recipients, guid, size, arrival) or of a wrong shape.
 * ST_TOOBIG: pool full. */
[[nodiscard]] enum st mailmsg_props_read(const struct plist *list, struct pool *pool,
					 struct mailmsg_envelope *out, struct err *err);
void mailmsg_live_write(struct buf *out, const struct mailmsg_live *live);
[[nodiscard]] enum st mailmsg_live_read(const struct plist *list, struct pool *pool,
					struct mailmsg_live *out, struct err *err);

#endif
