/* exds.c - the directory's requests: logging on, resolving, administration. */
#include "store/call.h"
#include "store/directory.h"
#include "store/exds.h"
#include "store/quota.h"
#include "store/removed.h"
#include "store/sasl.h"
#include "store/watch.h"

#include <stdlib.h>

#define TARGETS_MAX 1000

enum st exds_on_loop_0(const struct call *c, struct err *err)
{
	if (c->shard->index != 0)
		return fail(err, ST_BAD, "requests to the directory go to loop 0");
	return ST_OK;
}

/* ---- logging on ---- */

/* Can it be opened now, as far as its database goes? */
static bool mailbox_is_up(struct store *s, uint64_t mailbox)
{
	struct database *db;

	if (mailbox == s->moving || database_of_mailbox(s, mailbox, &db, NULL) != ST_OK)
		return false;
	database_release(db);
	return true;
}

struct log_on {
	uint64_t binding, mailbox, logon;
	enum st st;
	struct err err;
};

static void log_on(struct shard *sh, void *arg)
{
	struct log_on *l = arg;

	l->st = logon_new(sh, l->binding, l->mailbox, &l->logon, &l->err);
}

static enum st welcome(struct call *c, struct sasl_result *r, struct err *err)
{
	struct log_on l = { .binding = c->rq->binding_id, .mailbox = r->user.mailbox };
	enum st st = shard_call(shard_of(c->store, l.mailbox), log_on, &l, err);
	struct pw *w;

	if (st != ST_OK)
		return st;
	if (l.st != ST_OK)
		return fail(err, l.st, "%s", l.err.text);
	w = call_reply(c, 5);
	pw_u64(w, PR_LOGON, l.logon);
	pw_u64(w, PR_MAILBOX_ID, l.mailbox);
	pw_bool(w, PR_DATABASE_UP, mailbox_is_up(c->store, l.mailbox));
	pw_str(w, PR_USER, r->user.name);
	if (r->data.len)
		pw_span(w, PR_SASL_DATA, buf_get(&r->data));
	return ST_OK;
}

static enum st sasl_answer(struct call *c, enum st st, struct sasl_result *r, struct err *err)
{
	struct pw *w;

	if (st == ST_OK) {
		st = welcome(c, r, err);
	} else if (st == ST_MORE) {
		w = call_reply(c, 2);
		pw_u64(w, PR_SASL_ID, r->id);
		pw_span(w, PR_SASL_DATA, r->data.len ? buf_get(&r->data) : SPAN(""));
	} else if (r->retry_ms) {
		pw_u32(call_reply(c, 1), PR_RETRY_MS, r->retry_ms);
	}
	buf_free(&r->data);
	return st;
}

enum st serve_DS_SASL_START(struct call *c, struct err *err)
{
	struct sasl_result r = { .data = BUF_MAX(SASL_DATA_MAX) };
	enum st st = exds_on_loop_0(c, err);

	if (st != ST_OK)
		return st;
	st = sasl_start(c->store->sasl, c->rq->binding_id, plist_span(&c->in, PR_MECHANISM),
			plist_span(&c->in, PR_CLIENT_IP), plist_span(&c->in, PR_SASL_DATA), &r,
			err);
	return sasl_answer(c, st, &r, err);
}

enum st serve_DS_SASL_STEP(struct call *c, struct err *err)
{
	struct sasl_result r = { .data = BUF_MAX(SASL_DATA_MAX) };
	enum st st = exds_on_loop_0(c, err);

	if (st != ST_OK)
		return st;
	st = sasl_step(c->store->sasl, c->rq->binding_id, plist_u64(&c->in, PR_SASL_ID, 0),
		       plist_span(&c->in, PR_SASL_DATA), &r, err);
	return sasl_answer(c, st, &r, err);
}

enum st serve_DS_SASL_CANCEL(struct call *c, struct err *err)
{
	enum st st = exds_on_loop_0(c, err);

	if (st != ST_OK)
		return st;
	return sasl_cancel(c->store->sasl, c->rq->binding_id, plist_u64(&c->in, PR_SASL_ID, 0),
			   err);
}

static void log_off(struct shard *sh, void *arg)
{
	struct log_on *l = arg;

	l->st = logon_end(sh, l->binding, l->logon, &l->err);
}

enum st serve_DS_LOGOFF(struct call *c, struct err *err)
{
	struct log_on l = { .binding = c->rq->binding_id, .logon = plist_u64(&c->in, PR_LOGON, 0) };
	enum st st = shard_call(shard_of(c->store, l.logon), log_off, &l, err);

	if (st == ST_OK && l.st != ST_OK)
		st = fail(err, l.st, "%s", l.err.text);
	return st;
}

/* ---- resolving ---- */

enum st serve_DS_WATCH(struct call *c, struct err *err)
{
	enum st st = exds_on_loop_0(c, err);

	if (st != ST_OK)
		return st;
	return watch_add(c->shard, WATCH_DIRECTORY, c->rq->binding_id, c->rq->client_loop,
			 plist_u64(&c->in, PR_WATCH_TOKEN, 0), err);
}

static enum st put_alias(struct call *c, const char *name, struct err *err)
{
	struct ese_value row;
	struct plist l;
	struct key k;
	struct pw *w;
	enum st st = ese_get(c->store->dir, key_dir(&k, DIR_ALIAS, span_str(name)), &row, err);

	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "an alias", &l, err);
	if (st == ST_OK) {
		w = call_reply(c, 2);
		pw_u32(w, PR_OBJECT_KIND, OBJECT_ALIAS);
		pw_copy(w, &l, PR_TARGETS);
	}
	ese_value_free(&row);
	return st;
}

struct room {
	uint64_t mailbox, octets;
	bool no_send;
};

static void room_run(struct shard *sh, void *arg)
{
	struct room *r = arg;
	struct mailbox *mb;

	/* One that can't be looked at has room: its own answer comes with the message. */
	if (mailbox_get(sh, r->mailbox, &mb, NULL) != ST_OK)
		return;
	r->octets = quota_room(mb);
	r->no_send = quota_over(mb, QUOTA_SEND);
	mailbox_put(mb);
}

static struct room look_at_room(const struct call *c, const struct user *u)
{
	struct room r = { .mailbox = u->mailbox, .octets = UINT64_MAX };
	uint64_t limits[QUOTAS];

	quota_limits(c->store, u, limits);
	if (limits[QUOTA_SEND] || limits[QUOTA_RECEIVE])
		(void)shard_call(shard_of(c->store, u->mailbox), room_run, &r, NULL);
	return r;
}

/* ST_NOTFOUND leaves the answer open. */
static enum st resolve(struct call *c, const char *name, struct err *err)
{
	struct room room;
	struct user u;
	struct pw *w;
	enum st st = directory_user(c->store->directory, name, &u, err);

	if (st == ST_NOTFOUND)
		return put_alias(c, name, err);
	if (st != ST_OK)
		return st;
	room = look_at_room(c, &u);
	w = call_reply(c, 7);
	pw_u32(w, PR_OBJECT_KIND, OBJECT_MAILBOX);
	pw_bool(w, PR_DATABASE_UP, mailbox_is_up(c->store, u.mailbox));
	pw_u64(w, PR_MAILBOX_ID, u.mailbox);
	pw_str(w, PR_USER, u.name);
	pw_bool(w, PR_DISABLED, u.disabled);
	if (room.octets != UINT64_MAX)
		pw_u64(w, PR_QUOTA_ROOM, room.octets);
	if (room.no_send)
		pw_bool(w, PR_SEND_PROHIBITED, true);
	return ST_OK;
}

/* "user+detail@domain" means user@domain where it is nobody of its own. */
static bool without_detail(char *name)
{
	char *at = strrchr(name, '@'), *plus = memchr(name, '+', (size_t)(at - name));

	if (!plus || plus == name)
		return false;
	memmove(plus, at, strlen(at) + 1);
	return true;
}

enum st serve_DS_RESOLVE(struct call *c, struct err *err)
{
	char name[NAME_BYTES_MAX + 1];
	enum st st = exds_on_loop_0(c, err), local;

	if (st == ST_OK)
		st = directory_name(plist_span(&c->in, PR_ADDRESS), name, err);
	if (st != ST_OK)
		return st;
	st = resolve(c, name, err);
	if (st == ST_NOTFOUND && without_detail(name))
		st = resolve(c, name, err);
	if (st != ST_NOTFOUND)
		return st;
	local = directory_has(c->store->directory, DIR_DOMAIN, directory_domain_of(name), err);
	if (local != ST_OK && local != ST_NOTFOUND)
		return local;
	pw_bool(call_reply(c, 1), PR_DOMAIN_LOCAL, local == ST_OK);
	return fail(err, ST_NOTFOUND, "nobody has the address '%s'", name);
}

/* ---- users ---- */

enum st exds_local_name(struct call *c, uint32_t tag, char *name, struct err *err)
{
	struct directory *d = c->store->directory;
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = directory_name(plist_span(&c->in, tag), name, err);
	if (st != ST_OK)
		return st;
	st = directory_has(d, DIR_DOMAIN, directory_domain_of(name), err);
	if (st == ST_NOTFOUND)
		return fail(err, ST_NOTFOUND, "the domain '%s' is not ours",
			    directory_domain_of(name));
	return st;
}

enum st exds_name_is_free(struct directory *d, const char *name, struct err *err)
{
	static const enum dir_row kinds[] = { DIR_USER, DIR_ALIAS };

	for (size_t i = 0; i < 2; i++) {
		enum st st = directory_has(d, kinds[i], name, err);

		if (st == ST_OK)
			return fail(err, ST_EXISTS, "'%s' is there already", name);
		if (st != ST_NOTFOUND)
			return st;
	}
	return ST_OK;
}

/* Make the new user's mailbox now, not at its first message. */
static void first_use(struct shard *sh, void *arg)
{
	struct mailbox *mb;

	if (mailbox_get(sh, *(uint64_t *)arg, &mb, NULL) == ST_OK)
		mailbox_put(mb);
}

/* Where a new mailbox is to be: what the request says, or the default one. */
static enum st place_for(const struct call *c, struct database **out, struct err *err)
{
	struct span name = plist_span(&c->in, PR_DATABASE);

	if (name.len)
		return database_named(c->store, name, out, err);
	*out = database_default(c->store);
	return *out ? ST_OK
		    : fail(err, ST_NOTFOUND,
			   "there is no default database (" FIRST_GROUP "/" DEFAULT_NAME
			   "); say which one");
}

enum st serve_DS_USER_ADD(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	struct user u = { .created = clock_real() };
	struct span display = plist_span(&c->in, PR_DISPLAY_NAME);
	struct database *db = NULL;
	enum st st = exds_local_name(c, PR_USER, u.name, err);

	if (st == ST_OK)
		st = place_for(c, &db, err);
	if (st != ST_OK)
		return st;
	if (display.len > NAME_BYTES_MAX)
		return fail(err, ST_TOOBIG, "the display name is over %d bytes", NAME_BYTES_MAX);
	if (display.len)
		memcpy(u.display, display.at, display.len);
	st = auth_set_password(d->auth, &u, plist_span(&c->in, PR_PASSWORD), err);
	if (st != ST_OK)
		return st;
	fiber_lock(&d->lock);
	st = exds_name_is_free(d, u.name, err);
	if (st == ST_OK)
		st = directory_user_add(d, &u, db, err);
	fiber_unlock(&d->lock);
	if (st != ST_OK)
		return st;
	(void)shard_call(shard_of(c->store, u.mailbox), first_use, &u.mailbox, NULL);
	pw_u64(call_reply(c, 1), PR_MAILBOX_ID, u.mailbox);
	return ST_OK;
}

/* Rows of a kind: the wanted properties of each. */
static enum st list_rows(struct call *c, enum dir_row kind, const uint32_t *tags, size_t ntags,
			 struct err *err)
{
	struct wire_rows_out rows;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st = exds_on_loop_0(c, err);

	if (st != ST_OK)
		return st;
	key_dir(&to, kind, SPAN_NONE);
	st = ese_iter_new(c->store->dir, key_dir(&from, kind, SPAN_NONE), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		struct plist l;
		struct pw w;

		st = row_open(value, "the directory", &l, err);
		if (st != ST_OK)
			break;
		wire_row_begin(&rows, &w, ntags);
		for (size_t i = 0; i < ntags; i++)
			pw_copy(&w, &l, tags[i]);
		st = wire_row_end(&rows, &w);
		if (st != ST_OK)
			break;
	}
	ese_iter_free(it);
	return call_rows_end(c, &rows, st == ST_EOF ? ST_OK : st, err);
}

enum st serve_DS_USER_LIST(struct call *c, struct err *err)
{
	static const uint32_t tags[] = { PR_USER, PR_DISPLAY_NAME, PR_MAILBOX_ID, PR_DISABLED,
					 PR_CREATION_TIME };

	return list_rows(c, DIR_USER, tags, sizeof tags / sizeof tags[0], err);
}

/* The user of the request, with d->lock held until it is written. */
static enum st begin_edit(struct call *c, struct user *u, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1];
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = directory_name(plist_span(&c->in, PR_USER), name, err);
	if (st != ST_OK)
		return st;
	fiber_lock(&d->lock);
	st = directory_user(d, name, u, err);
	if (st != ST_OK)
		fiber_unlock(&d->lock);
	return st;
}

enum st serve_DS_USER_PASSWD(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	struct user u;
	enum st st = begin_edit(c, &u, err);

	if (st != ST_OK)
		return st;
	st = auth_set_password(d->auth, &u, plist_span(&c->in, PR_PASSWORD), err);
	if (st == ST_OK)
		st = directory_user_write(d, &u, err);
	fiber_unlock(&d->lock);
	return st;
}

static void end_logons(struct shard *sh, void *arg)
{
	logons_end_mailbox(sh, *(uint64_t *)arg);
}

enum st serve_DS_USER_DISABLE(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	struct user u;
	enum st st = begin_edit(c, &u, err);

	if (st != ST_OK)
		return st;
	u.disabled = plist_bool(&c->in, PR_DISABLED, true);
	st = directory_user_write(d, &u, err);
	fiber_unlock(&d->lock);
	if (st == ST_OK && u.disabled)
		st = shard_call(shard_of(c->store, u.mailbox), end_logons, &u.mailbox, err);
	return st;
}

enum st serve_DS_USER_REMOVE(struct call *c, struct err *err)
{
	struct user u;
	enum st st = begin_edit(c, &u, err);

	if (st != ST_OK)
		return st;
	fiber_unlock(&c->store->directory->lock);
	return removed_take(c->store->directory, &u, removed_are_kept(c->store), err);
}

/* ---- domains ---- */

static enum st domain_name(struct call *c, char *name, struct err *err)
{
	enum st st = exds_on_loop_0(c, err);

	return st == ST_OK ? directory_domain_name(plist_span(&c->in, PR_DOMAIN), name, err) : st;
}

enum st serve_DS_DOMAIN_ADD(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1];
	struct buf row = BUF_MAX(1024);
	struct pw w;
	enum st st = domain_name(c, name, err);

	if (st != ST_OK)
		return st;
	pw_begin(&w, &row, 2);
	pw_str(&w, PR_DOMAIN, name);
	pw_u64(&w, PR_CREATION_TIME, (uint64_t)clock_real());
	pw_end(&w);
	fiber_lock(&d->lock);
	st = directory_has(d, DIR_DOMAIN, name, err);
	if (st == ST_OK)
		st = fail(err, ST_EXISTS, "the domain '%s' is there already", name);
	else if (st == ST_NOTFOUND)
		st = directory_write(d, DIR_DOMAIN, name, &row, err);
	fiber_unlock(&d->lock);
	buf_free(&row);
	return st;
}

enum st serve_DS_DOMAIN_LIST(struct call *c, struct err *err)
{
	static const uint32_t tags[] = { PR_DOMAIN };

	return list_rows(c, DIR_DOMAIN, tags, 1, err);
}

/* ST_EXISTS: some name of that kind is in the domain. */
static enum st domain_unused(struct directory *d, enum dir_row kind, const char *domain,
			     struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_dir(&to, kind, SPAN_NONE);
	st = ese_iter_new(d->store->dir, key_dir(&from, kind, SPAN_NONE), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		struct span tail = span_skip(key, key.len - strlen(domain));

		if (key.len > strlen(domain) + 3 && span_eq(tail, span_str(domain)) &&
		    tail.at[-1] == '@') {
			st = fail(err, ST_EXISTS, "'" SPAN_FMT "' is left in the domain",
				  SPAN_ARG(span_skip(key, 2)));
			break;
		}
	}
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

enum st serve_DS_DOMAIN_REMOVE(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1];
	enum st st = domain_name(c, name, err);

	if (st != ST_OK)
		return st;
	fiber_lock(&d->lock);
	st = directory_has(d, DIR_DOMAIN, name, err);
	if (st == ST_NOTFOUND)
		st = fail(err, ST_NOTFOUND, "the domain '%s' is not ours", name);
	if (st == ST_OK)
		st = domain_unused(d, DIR_USER, name, err);
	if (st == ST_OK)
		st = domain_unused(d, DIR_ALIAS, name, err);
	if (st == ST_OK)
		st = directory_write(d, DIR_DOMAIN, name, NULL, err);
	fiber_unlock(&d->lock);
	return st;
}

/* ---- aliases ---- */

static enum st alias_row(const struct call *c, const char *name, struct buf *row, struct err *err)
{
	size_t n = plist_mv_count(&c->in, PR_TARGETS);
	struct pw w;

	if (!n || n > TARGETS_MAX)
		return fail(err, ST_BAD, "an alias has 1 to %d targets", TARGETS_MAX);
	for (size_t i = 0; i < n; i++) {
		char target[NAME_BYTES_MAX + 1];
		enum st st = directory_name(plist_mv_span(&c->in, PR_TARGETS, i), target, err);

		if (st != ST_OK)
			return st;
	}
	pw_begin(&w, row, 2);
	pw_str(&w, PR_ADDRESS, name);
	pw_copy(&w, &c->in, PR_TARGETS);
	pw_end(&w);
	return ST_OK;
}

enum st serve_DS_ALIAS_ADD(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	struct buf row = BUF_MAX(TARGETS_MAX * (NAME_BYTES_MAX + 8));
	char name[NAME_BYTES_MAX + 1];
	enum st st = exds_local_name(c, PR_ADDRESS, name, err);

	if (st == ST_OK)
		st = alias_row(c, name, &row, err);
	if (st == ST_OK) {
		fiber_lock(&d->lock);
		st = exds_name_is_free(d, name, err);
		if (st == ST_OK)
			st = directory_write(d, DIR_ALIAS, name, &row, err);
		fiber_unlock(&d->lock);
	}
	buf_free(&row);
	return st;
}

enum st serve_DS_ALIAS_LIST(struct call *c, struct err *err)
{
	static const uint32_t tags[] = { PR_ADDRESS, PR_TARGETS };

	return list_rows(c, DIR_ALIAS, tags, 2, err);
}

enum st serve_DS_ALIAS_REMOVE(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1];
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = directory_name(plist_span(&c->in, PR_ADDRESS), name, err);
	if (st != ST_OK)
		return st;
	fiber_lock(&d->lock);
	st = directory_has(d, DIR_ALIAS, name, err);
	if (st == ST_OK)
		st = directory_write(d, DIR_ALIAS, name, NULL, err);
	else if (st == ST_NOTFOUND)
		st = fail(err, ST_NOTFOUND, "there is no alias '%s'", name);
	fiber_unlock(&d->lock);
	return st;
}
