/* quota.c - limits on a mailbox's size; see quota.h. */
#include "store/quota.h"

#include "mime/date.h"
#include "store/directory.h"
#include "store/message.h"
#include "store/watch.h"

#include <inttypes.h>

#define WARN_EVERY  (24 * 60 * 60 * NS_PER_SEC)
#define WARNING_MAX 8192

void quota_limits(const struct store *s, const struct user *u, uint64_t out[static QUOTAS])
{
	for (unsigned i = 0; i < QUOTAS; i++)
		out[i] = u->quota[i] > 0 ? (uint64_t)u->quota[i] : u->quota[i] ? 0 : s->quota[i];
}

uint64_t quota_room(const struct mailbox *mb)
{
	uint64_t limit = mb->quota[QUOTA_RECEIVE];

	if (!limit)
		return UINT64_MAX;
	return limit > mb->size ? limit - mb->size : 0;
}

enum st quota_admit(const struct mailbox *mb, uint64_t octets, struct err *err)
{
	if (octets <= quota_room(mb))
		return ST_OK;
	return fail(err, ST_NOSPACE,
		    "the mailbox is full: it holds %" PRIu64 " of %" PRIu64 " octets", mb->size,
		    mb->quota[QUOTA_RECEIVE]);
}

/* ---- the warning ---- */

/* "1.5 GB" */
static void put_size(struct buf *out, uint64_t octets)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB" };
	uint64_t scale = 1000;
	unsigned u = 0;

	while (octets / scale >= 1000 && u < 3) {
		scale *= 1000;
		u++;
	}
	buf_printf(out, "%" PRIu64 ".%" PRIu64 " %s", octets / scale, octets % scale * 10 / scale,
		   units[u]);
}

static void put_limit(struct buf *out, const char *what, uint64_t limit)
{
	if (!limit)
		return;
	buf_str(out, what);
	put_size(out, limit);
	buf_str(out, "\r\n");
}

static const char *consequence(const struct mailbox *mb)
{
	if (quota_over(mb, QUOTA_RECEIVE))
		return "It can receive nothing more until there is room.";
	if (quota_over(mb, QUOTA_SEND))
		return "It can't send until there is room.";
	return "When it grows further it will not be able to send, or to receive.";
}

static void write_warning(const struct mailbox *mb, const char *owner, struct buf *out)
{
	const char *domain = directory_domain_of(owner);

	buf_printf(out,
		   "Return-Path: <>\r\n"
		   "From: System Administrator <postmaster@%s>\r\n"
		   "To: <%s>\r\n"
		   "Subject: Your mailbox is %s\r\nDate: ",
		   domain, owner,
		   quota_over(mb, QUOTA_SEND) || quota_over(mb, QUOTA_RECEIVE) ? "over its limit"
									       : "almost full");
	mime_date_format(clock_real() / NS_PER_SEC, 0, out);
	buf_printf(out,
		   "\r\nMessage-ID: <%016" PRIx64 ".quota@%s>\r\n"
		   "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
		   "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
		   "Your mailbox holds ",
		   random_u64(), domain);
	put_size(out, mb->size);
	buf_printf(out, ". %s\r\n\r\n", consequence(mb));
	put_limit(out, "You are told so from:     ", mb->quota[QUOTA_WARN]);
	put_limit(out, "It can't send from:       ", mb->quota[QUOTA_SEND]);
	put_limit(out, "It receives no more than: ", mb->quota[QUOTA_RECEIVE]);
	buf_str(out,
		"\r\nTo make room, delete messages that you do not need, large ones first, and\r\n"
		"empty the folder Deleted Items; or move them to a folder on your own disk.\r\n"
		"You get this message at most once a day.\r\n");
}

static enum st make_content(struct mailbox *mb, struct content **out, struct err *err)
{
	struct buf text = BUF_MAX(WARNING_MAX);
	struct vfile *v;
	struct user u;
	enum st st = directory_owner(mb->shard->store, mb->id, &u, err);

	if (st == ST_OK)
		st = vfile_new(mb->shard, 0, &mb->id, 1, &v, err);
	if (st != ST_OK)
		return st;
	write_warning(mb, u.name, &text);
	st = text.failed ? fail(err, ST_NOMEM, "out of memory")
			 : vfile_write(v, text.at, text.len, err);
	buf_free(&text);
	if (st == ST_OK)
		return vfile_finish(v, out, err);
	vfile_free(v);
	return st;
}

/* The day is noted in the commit that holds the message. */
static enum st deliver_warning(struct mailbox *mb, struct err *err)
{
	struct folder *inbox = folder_by_number(mb, FOLDER_INBOX);
	struct new_message m = { .date = clock_real() };
	struct change c;
	uint32_t uid;
	enum st st;

	if (!inbox)
		return fail(err, ST_CORRUPT, "the mailbox has no INBOX");
	st = make_content(mb, &m.content, err);
	if (st != ST_OK)
		return st;
	folder_ready(inbox);
	st = change_begin(&c, mb, err);
	if (st == ST_OK) {
		change_warned(&c, m.date);
		st = message_add(&c, inbox, &m, &uid, err);
	}
	if (st == ST_OK)
		change_wait(&c);
	content_drop(m.content);
	return st;
}

static void warn_run(void *arg)
{
	struct mailbox *mb = arg;
	struct store *s = mb->shard->store;
	struct err ignored; /* the next message that comes in tries again */

	(void)!deliver_warning(mb, &ignored);
	mb->warning = false;
	mailbox_put(mb);
	store_end(s);
}

static void warn(struct mailbox *mb)
{
	struct store *s = mb->shard->store;
	int64_t since = clock_real() - mb->kept.warned;

	/* A clock that was put back must not silence it for ever. */
	if (mb->warning || mb->disconnected || s->stopping || (since >= 0 && since < WARN_EVERY))
		return;
	mb->refs++;
	store_begin(s);
	mb->warning = true;
	if (fiber_spawn("quota warning", warn_run, mb, NULL) == ST_OK)
		return;
	mb->warning = false;
	mb->refs--;
	store_end(s);
}

/* ---- what moved ---- */

static void tell_directory(struct shard *sh, void *arg)
{
	(void)arg;
	watch_notify(sh, WATCH_DIRECTORY, ++sh->store->directory->changes);
}

void quota_moved(struct mailbox *mb, bool grew)
{
	bool no_send = quota_over(mb, QUOTA_SEND), full = quota_over(mb, QUOTA_RECEIVE);
	struct store *s = mb->shard->store;

	if ((no_send != mb->no_send || full != mb->full) && !s->stopping)
		shard_post(&s->shards[0], tell_directory, NULL);
	mb->no_send = no_send;
	mb->full = full;
	if (grew && quota_over(mb, QUOTA_WARN))
		warn(mb);
}
