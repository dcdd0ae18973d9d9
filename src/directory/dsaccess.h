/* dsaccess.h - DSAccess: what a protocol host knows of the directory, cached, and the log-on of users.
 *
 * The directory itself lives in the store; every question is a request over ExIPC.  DSAccess keeps the
 * answers for a while (config directory_ttl_s; "no such address" only directory_negative_ttl_s), bounded in
 * number (directory_entries_max, least recently used goes first), and joins questions for the same address
 * that are under way: a burst of mail to one address asks once.
 *
 * One DSAccess per loop, used on that loop only, no locks.  Calls marked F are made in a fiber and may park
 * it.  A change of the directory empties the cache (ds_watch); if that news were lost an answer may be as old as
 * the TTL.  What must be exact (a disabled mailbox at delivery, a password) is checked by the store again. */
#ifndef DIRECTORY_DSACCESS_H
#define DIRECTORY_DSACCESS_H

#include "base/config.h"
#include "base/pool.h"
#include "base/st.h"
#include "wire/wire.h"

struct dsaccess;

#define DS_ADDRESS_MAX 320 /* octets: local part 64, '@', domain 255 (RFC 5321 4.5.3.1) */
#define DS_TARGETS_MAX 1000
#define DS_OBJECT_POOL (DS_TARGETS_MAX * (DS_ADDRESS_MAX + 32)) /* room that no answer exceeds */

struct ds_object {
	enum wire_object kind;
	/* OBJECT_MAILBOX */
	uint64_t mailbox_id;
	struct span user; /* primary address, lower case */
	bool disabled;    /* may not log on, receives nothing */
	bool no_send;     /* its mailbox is over the limit for sending */
	bool limited;     /* its mailbox may grow by no more than `room` octets */
	uint64_t room;
	bool unavailable; /* its database is not up: ask again later */
	/* OBJECT_ALIAS: may name aliases again; following them is the categorizer's work */
	struct span *targets;
	size_t ntargets;
	/* also set with ST_NOTFOUND: the domain is ours, so the address is wrong for good */
	bool domain_local;
};

/* Where answers come from when the cache has none: the wire, or a table in a test.  resolve() runs in a
 * fiber and returns as ds_resolve() does, with its spans in `pool`. */
struct ds_source {
	enum st (*resolve)(void *arg, struct span address, struct pool *pool, struct ds_object *out,
			   struct err *err);
	void *arg;
};

struct ds_options {
	struct exipc_chan *chan;        /* of this loop; NULL only when source is given */
	const struct ds_source *source; /* NULL: the store over chan */
	unsigned ttl_s;                 /* 0: 60 */
	unsigned negative_ttl_s;        /* 0: 5 */
	unsigned timeout_ms;            /* of a question: then ST_TIMEOUT; 0: 5,000 */
	unsigned entries_max;           /* 0: 20,000; about 300 bytes each */
};

/* The numbers from mailroot.conf; the pointers are left alone. */
void ds_options_config(struct ds_options *o, const struct config *c);
/* ST_NOMEM. */
[[nodiscard]] enum st ds_new(const struct ds_options *o, struct dsaccess **out, struct err *err);
void ds_free(struct dsaccess *ds); /* no call under way; NULL is fine */

/* F: who or what is this address?  ASCII case does not matter.  Everything *out points to is copied into
 * `pool`.
 *   ST_OK        *out: a mailbox or an alias
 *   ST_NOTFOUND  no such address; only out->domain_local is set
 *   ST_BAD       not an address (no '@', an empty side, over DS_ADDRESS_MAX)
 *   ST_GONE, ST_TIMEOUT, ST_BUSY, ST_NOSPACE, ST_IO   the directory can't answer now: ask again later
 *   ST_TOOBIG    the pool is too small (see DS_OBJECT_POOL)
 * Failures other than ST_NOTFOUND are never cached. */
[[nodiscard]] enum st ds_resolve(struct dsaccess *ds, struct span address, struct pool *pool,
				 struct ds_object *out, struct err *err);
/* Forget everything (the directory was changed, the store was bound again); what is being asked is asked again by
 * whoever comes from now on. */
void ds_flush(struct dsaccess *ds);
/* F: from now on the store notifies this token (exipc_notify) when the directory changes, until the binding ends.
 * Flush then, and once after this returned: what changed before it is told to nobody.  Status as of any request. */
[[nodiscard]] enum st ds_watch(struct dsaccess *ds, uint64_t token, struct err *err);

struct ds_stats {
	uint64_t hits, misses, joined, evicted;
	uint32_t entries;
};
void ds_stats(const struct dsaccess *ds, struct ds_stats *out);

/* ---- logging on (SASL, RFC 4422): the store holds the secrets and runs the mechanism ---- */

/* One exchange of one session; zeroed = none under way. */
struct ds_sasl {
	uint64_t id;
	uint64_t epoch; /* the binding that knows id */
};

/* Who is logged on; zeroed = nobody.  Requests carry ->logon as PR_LOGON.  It dies with the binding: after
 * the store was lost the session must log on again (the protocol says bye). */
struct ds_logon {
	uint64_t logon;
	uint64_t mailbox_id;
	uint64_t epoch;
	bool unavailable; /* the mailbox can't be opened now */
	char user[DS_ADDRESS_MAX + 1];
};

struct ds_client {
	struct span
		mechanism;   /* "PLAIN", "SCRAM-SHA-256" ...; LOGIN is translated by the session */
	struct span service; /* "smtp", "imap", "pop3" */
	struct span client_ip;
	bool tls;
};

/* F: begin an exchange.  `initial`: the initial response, decoded; SPAN_NONE when the client sent none.
 *   ST_MORE    *data is the challenge (in pool, maybe empty): send it, go on with ds_sasl_step()
 *   ST_OK      *logon is filled; *data is what the mechanism says with its success (in pool, often
 *              empty; a protocol without such a place sends it as a challenge and takes an empty answer)
 *   ST_DENIED  wrong user or password, or disabled: one answer for all, already delayed by nobody: the
 *              session waits auth_failure_delay_ms before it says so
 *   ST_BUSY    too many failures from this address: refuse unlooked; *retry_ms (may be NULL) says how long
 *   ST_BAD     no such mechanism, not offered without TLS, or a broken response
 *   ST_GONE, ST_TIMEOUT   no store
 * After anything but ST_MORE *s is zeroed. */
[[nodiscard]] enum st ds_sasl_start(struct dsaccess *ds, struct ds_sasl *s,
				    const struct ds_client *client, struct span initial,
				    struct pool *pool, struct span *data, struct ds_logon *logon,
				    uint32_t *retry_ms, struct err *err);
/* F: the client's next response, decoded.  Returns as ds_sasl_start(). */
[[nodiscard]] enum st ds_sasl_step(struct dsaccess *ds, struct ds_sasl *s, struct span response,
				   struct pool *pool, struct span *data, struct ds_logon *logon,
				   uint32_t *retry_ms, struct err *err);
/* F: the client gave up ("*") or the session ends in the middle.  A zeroed *s is fine; *s is zeroed. */
void ds_sasl_cancel(struct dsaccess *ds, struct ds_sasl *s);
/* F: the session ends.  A zeroed or dead logon is fine; *logon is zeroed. */
void ds_logoff(struct dsaccess *ds, struct ds_logon *logon);
/* False after the binding that gave it ended. */
bool ds_logon_alive(const struct dsaccess *ds, const struct ds_logon *logon);

#endif
