/* exquota.c - what the administrator asks about the size of mailboxes. */
#include "store/exds.h"
#include "store/quota.h"
#include "store/removed.h"
#include "store/watch.h"

#include <stdlib.h>

#define AS_CONFIGURED UINT64_MAX
#define QUOTA_MAX     ((uint64_t)1 << 60)

static const uint32_t tags[QUOTAS] = { PR_QUOTA_WARN, PR_QUOTA_SEND, PR_QUOTA_RECEIVE };

/* ---- setting ---- */

static enum st take_limits(const struct call *c, struct user *u, struct err *err)
{
	uint64_t now[QUOTAS], above = 0;

	for (unsigned i = 0; i < QUOTAS; i++) {
		uint64_t octets = plist_u64(&c->in, tags[i], 0);

		if (!plist_has(&c->in, tags[i]))
			continue;
		if (octets != AS_CONFIGURED && octets > QUOTA_MAX)
			return fail(err, ST_TOOBIG, "a limit is at most %llu octets",
				    (unsigned long long)QUOTA_MAX);
		u->quota[i] = octets == AS_CONFIGURED ? 0 : octets ? (int64_t)octets : -1;
	}
	quota_limits(c->store, u, now);
	for (unsigned i = 0; i < QUOTAS; i++) {
		if (!now[i])
			continue;
		if (now[i] < above)
			return fail(err, ST_BAD,
				    "the limits must not fall from warn to send to receive");
		above = now[i];
	}
	return ST_OK;
}

struct limits {
	uint64_t mailbox;
	uint64_t quota[QUOTAS];
};

static void limits_run(struct shard *sh, void *arg)
{
	const struct limits *l = arg;
	struct mailbox *mb;

	/* One that can't be loaded now reads them when it can. */
	if (mailbox_get(sh, l->mailbox, &mb, NULL) != ST_OK)
		return;
	memcpy(mb->quota, l->quota, sizeof mb->quota);
	quota_moved(mb, false);
	mailbox_put(mb);
}

enum st serve_QUOTA_SET(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1];
	struct limits l;
	struct user u;
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = directory_name(plist_span(&c->in, PR_USER), name, err);
	if (st != ST_OK)
		return st;
	fiber_lock(&d->lock);
	st = directory_user(d, name, &u, err);
	if (st == ST_OK)
		st = take_limits(c, &u, err);
	if (st == ST_OK)
		st = directory_user_write(d, &u, err);
	fiber_unlock(&d->lock);
	if (st != ST_OK)
		return st;
	l.mailbox = u.mailbox;
	quota_limits(c->store, &u, l.quota);
	st = shard_call(shard_of(c->store, u.mailbox), limits_run, &l, err);
	/* Who asked in between was told of the room that there was by the limits before. */
	watch_notify(c->shard, WATCH_DIRECTORY, ++d->changes);
	return st;
}

/* ---- the list ---- */

static enum st put_user_row(const struct store *s, struct wire_rows_out *rows, const struct box *u)
{
	uint64_t limits[QUOTAS];
	struct pw w;

	quota_limits(s, &u->user, limits);
	wire_row_begin(rows, &w, 7 + QUOTAS);
	pw_str(&w, PR_USER, u->user.name);
	pw_u64(&w, PR_MAILBOX_ID, u->user.mailbox);
	pw_u32(&w, PR_CONTENT_COUNT, (uint32_t)u->figures.messages);
	pw_u64(&w, PR_FOLDER_SIZE, u->figures.bytes);
	pw_u64(&w, PR_KEPT_COUNT, u->figures.kept.count);
	pw_u64(&w, PR_KEPT_SIZE, u->figures.kept.bytes);
	if (u->down)
		pw_bool(&w, PR_DATABASE_DOWN, true);
	for (unsigned i = 0; i < QUOTAS; i++)
		pw_u64(&w, tags[i], limits[i]);
	return wire_row_end(rows, &w);
}

enum st serve_QUOTA_LIST(struct call *c, struct err *err)
{
	char name[NAME_BYTES_MAX + 1];
	bool one = plist_has(&c->in, PR_USER);
	struct wire_rows_out rows;
	struct boxes boxes;
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK && one)
		st = directory_name(plist_span(&c->in, PR_USER), name, err);
	if (st == ST_OK)
		st = boxes_gather(c->store, DIR_USER, one ? name : NULL, &boxes, err);
	if (st != ST_OK)
		return st;
	if (one && !boxes.n)
		return fail(err, ST_NOTFOUND, "there is no user '%s'", name);
	wire_rows_begin(&rows, c->rq);
	for (size_t i = 0; i < boxes.n && st == ST_OK; i++)
		st = put_user_row(c->store, &rows, &boxes.at[i]);
	free(boxes.at);
	return call_rows_end(c, &rows, st, err);
}
