/* ds_wire.c - questions to the directory in the store, and logging on; see dsaccess.h.  All of it is served by
 * the store's first loop. */
#include "directory/ds_private.h"

#define DS_LOOP      0
#define DS_REBIND_MS 3000

/* ---- addresses ---- */

static enum st take_object(const struct plist *l, struct pool *pool, struct ds_object *out,
			   struct err *err)
{
	size_t n = plist_mv_count(l, PR_TARGETS);
	struct ds_object o = {
		.kind = plist_u32(l, PR_OBJECT_KIND, 0),
		.mailbox_id = plist_u64(l, PR_MAILBOX_ID, 0),
		.disabled = plist_bool(l, PR_DISABLED, false),
		.no_send = plist_bool(l, PR_SEND_PROHIBITED, false),
		.limited = plist_has(l, PR_QUOTA_ROOM),
		.room = plist_u64(l, PR_QUOTA_ROOM, 0),
		.unavailable = !plist_bool(l, PR_DATABASE_UP, true),
		.domain_local = true,
		.user = pool_span(pool, plist_span(l, PR_USER)),
	};

	if (o.kind != OBJECT_MAILBOX && o.kind != OBJECT_ALIAS)
		return fail(err, ST_CORRUPT, "directory: an object of no known kind");
	if (n > DS_TARGETS_MAX)
		return fail(err, ST_TOOBIG, "directory: an alias with %zu targets", n);
	o.targets = pool_get(pool, (n ? n : 1) * sizeof(*o.targets));
	for (size_t i = 0; o.targets && i < n; i++)
		o.targets[i] = pool_span(pool, plist_mv_span(l, PR_TARGETS, i));
	if (!o.targets || (n && !o.targets[n - 1].at))
		return fail(err, ST_TOOBIG, "directory: the answer does not fit");
	o.ntargets = n;
	*out = o;
	return ST_OK;
}

/* The store comes back within a moment when it was killed: better a client waits that long than that it is told
 * to come again.  What fails after the wait is said by the request itself. */
static void await_store(struct dsaccess *ds)
{
	struct err ignored;

	if (!exipc_is_bound(ds->chan))
		(void)!exipc_wait_bound(ds->chan, deadline_in_ms(DS_REBIND_MS), &ignored);
}

enum st ds_ask_store(void *arg, struct span address, struct pool *pool, struct ds_object *out,
		     struct err *err)
{
	struct dsaccess *ds = arg;
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	await_store(ds);
	wire_begin(&m, 1);
	pw_span(&m.w, PR_ADDRESS, address);
	m.deadline = deadline_in_ms(ds->timeout_ms);
	st = wire_send(&m, ds->chan, DS_LOOP, WIRE_DS_RESOLVE, &a, err);
	if (st == ST_OK)
		st = take_object(&a.list, pool, out, err);
	else if (st == ST_NOTFOUND)
		*out = (struct ds_object){ .domain_local =
						   plist_bool(&a.list, PR_DOMAIN_LOCAL, false) };
	wire_answer_free(&a);
	return st;
}

enum st ds_watch(struct dsaccess *ds, uint64_t token, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	pw_u64(&m.w, PR_WATCH_TOKEN, token);
	st = wire_send(&m, ds->chan, DS_LOOP, WIRE_DS_WATCH, &a, err);
	wire_answer_free(&a);
	return st;
}

/* ---- logging on ---- */

static enum st take_logon(struct dsaccess *ds, const struct plist *l, struct ds_logon *logon,
			  struct err *err)
{
	struct span user = plist_span(l, PR_USER);

	if (user.len > DS_ADDRESS_MAX || !plist_has(l, PR_LOGON) || !plist_has(l, PR_MAILBOX_ID))
		return fail(err, ST_CORRUPT, "directory: a log-on without user, mailbox or number");
	*logon = (struct ds_logon){ .logon = plist_u64(l, PR_LOGON, 0),
				    .mailbox_id = plist_u64(l, PR_MAILBOX_ID, 0),
				    .unavailable = !plist_bool(l, PR_DATABASE_UP, true),
				    .epoch = exipc_epoch(ds->chan) };
	if (user.len)
		memcpy(logon->user, user.at, user.len);
	return ST_OK;
}

/* What the store said to a start or a step. */
static enum st take_sasl(struct dsaccess *ds, enum st st, const struct plist *l, struct ds_sasl *s,
			 struct pool *pool, struct span *data, struct ds_logon *logon,
			 uint32_t *retry_ms, struct err *err)
{
	struct span said = plist_span(l, PR_SASL_DATA);
	uint64_t id = plist_u64(l, PR_SASL_ID, s->id);

	*s = (struct ds_sasl){ 0 };
	*data = SPAN("");
	if (retry_ms)
		*retry_ms = plist_u32(l, PR_RETRY_MS, 0);
	if (st != ST_OK && st != ST_MORE)
		return st;
	if (said.len) {
		*data = pool_span(pool, said);
		if (!data->at)
			return fail(err, ST_TOOBIG, "directory: the challenge does not fit");
	}
	if (st == ST_OK)
		return take_logon(ds, l, logon, err);
	*s = (struct ds_sasl){ id, exipc_epoch(ds->chan) };
	return ST_MORE;
}

enum st ds_sasl_start(struct dsaccess *ds, struct ds_sasl *s, const struct ds_client *client,
		      struct span initial, struct pool *pool, struct span *data,
		      struct ds_logon *logon, uint32_t *retry_ms, struct err *err)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	await_store(ds);
	wire_begin(&m, 5);
	pw_span(&m.w, PR_MECHANISM, client->mechanism);
	pw_span(&m.w, PR_SERVICE, client->service);
	pw_span(&m.w, PR_CLIENT_IP, client->client_ip);
	pw_bool(&m.w, PR_TLS, client->tls);
	if (initial.at)
		pw_span(&m.w, PR_SASL_DATA, initial);
	st = wire_send(&m, ds->chan, DS_LOOP, WIRE_DS_SASL_START, &a, err);
	st = take_sasl(ds, st, &a.list, s, pool, data, logon, retry_ms, err);
	wire_answer_free(&a);
	return st;
}

enum st ds_sasl_step(struct dsaccess *ds, struct ds_sasl *s, struct span response,
		     struct pool *pool, struct span *data, struct ds_logon *logon,
		     uint32_t *retry_ms, struct err *err)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	if (s->epoch != exipc_epoch(ds->chan)) {
		*s = (struct ds_sasl){ 0 };
		return fail(err, ST_GONE, "the store went away during the log-on");
	}
	wire_begin(&m, 2);
	pw_u64(&m.w, PR_SASL_ID, s->id);
	pw_span(&m.w, PR_SASL_DATA, response);
	st = wire_send(&m, ds->chan, DS_LOOP, WIRE_DS_SASL_STEP, &a, err);
	st = take_sasl(ds, st, &a.list, s, pool, data, logon, retry_ms, err);
	wire_answer_free(&a);
	return st;
}

/* A request with one number that nobody needs the answer of: if the store is gone, so is the number. */
static void tell(struct dsaccess *ds, enum wire_op op, uint32_t tag, uint64_t number)
{
	struct wire_answer a;
	struct wire_msg m;
	struct err ignored;

	wire_begin(&m, 1);
	pw_u64(&m.w, tag, number);
	(void)!wire_send(&m, ds->chan, DS_LOOP, op, &a, &ignored);
	wire_answer_free(&a);
}

void ds_sasl_cancel(struct dsaccess *ds, struct ds_sasl *s)
{
	if (s->epoch && s->epoch == exipc_epoch(ds->chan))
		tell(ds, WIRE_DS_SASL_CANCEL, PR_SASL_ID, s->id);
	*s = (struct ds_sasl){ 0 };
}

void ds_logoff(struct dsaccess *ds, struct ds_logon *logon)
{
	if (ds_logon_alive(ds, logon))
		tell(ds, WIRE_DS_LOGOFF, PR_LOGON, logon->logon);
	*logon = (struct ds_logon){ 0 };
}

bool ds_logon_alive(const struct dsaccess *ds, const struct ds_logon *logon)
{
	return logon->epoch && exipc_is_bound(ds->chan) && logon->epoch == exipc_epoch(ds->chan);
}
