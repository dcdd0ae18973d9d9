/* exremoved.c - what the administrator does with mailboxes of users who were removed. */
#include "store/exds.h"
#include "store/removed.h"

#include <stdlib.h>

/* ---- the list ---- */

static enum st put_box(struct call *c, struct wire_rows_out *rows, const struct box *b)
{
	struct pw w;

	wire_row_begin(rows, &w, 8);
	pw_u64(&w, PR_MAILBOX_ID, b->user.mailbox);
	pw_str(&w, PR_USER, b->user.name);
	pw_u64(&w, PR_DELETED_ON, (uint64_t)b->user.removed);
	if (!c->store->keep_until_backup)
		pw_u64(&w, PR_REMOVED_AFTER,
		       (uint64_t)(b->user.removed + c->store->keep_mailboxes_ns));
	pw_u32(&w, PR_CONTENT_COUNT, (uint32_t)b->figures.messages);
	pw_u64(&w, PR_FOLDER_SIZE, b->figures.bytes);
	pw_u64(&w, PR_KEPT_COUNT, b->figures.kept.count);
	pw_u64(&w, PR_KEPT_SIZE, b->figures.kept.bytes);
	return wire_row_end(rows, &w);
}

enum st serve_REMOVED_LIST(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	struct boxes boxes;
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = boxes_gather(c->store, DIR_REMOVED, NULL, &boxes, err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	for (size_t i = 0; i < boxes.n && st == ST_OK; i++)
		st = put_box(c, &rows, &boxes.at[i]);
	free(boxes.at);
	return call_rows_end(c, &rows, st, err);
}

/* ---- another owner, or the end ---- */

static enum st give_back(struct call *c, const char *name, struct err *err)
{
	struct directory *d = c->store->directory;
	struct user u;
	enum st st = directory_removed(d, plist_u64(&c->in, PR_MAILBOX_ID, 0), &u, err);

	if (st != ST_OK)
		return st;
	if (!*name)
		name = u.name;
	/* The domain may have gone since. */
	st = directory_has(d, DIR_DOMAIN, directory_domain_of(name), err);
	if (st == ST_NOTFOUND)
		return fail(err, ST_NOTFOUND, "the domain '%s' is not ours",
			    directory_domain_of(name));
	if (st == ST_OK)
		st = exds_name_is_free(d, name, err);
	if (st == ST_OK)
		st = removed_give_back(d, &u, name, err);
	if (st == ST_OK)
		pw_str(call_reply(c, 1), PR_USER, u.name);
	return st;
}

enum st serve_REMOVED_RECONNECT(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1] = "";
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK && plist_has(&c->in, PR_USER))
		st = directory_name(plist_span(&c->in, PR_USER), name, err);
	if (st != ST_OK)
		return st;
	fiber_lock(&d->lock);
	st = give_back(c, name, err);
	fiber_unlock(&d->lock);
	return st;
}

enum st serve_REMOVED_PURGE(struct call *c, struct err *err)
{
	struct user u;
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = directory_removed(c->store->directory, plist_u64(&c->in, PR_MAILBOX_ID, 0), &u,
				       err);
	return st == ST_OK ? removed_take(c->store->directory, &u, false, err) : st;
}
