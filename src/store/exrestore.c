/* exrestore.c - the administrator puts a message back that was taken out of a backup. */
#include "store/call.h"
#include "store/message.h"
#include "store/tree.h"

static enum st find_mailbox(struct call *c, struct err *err)
{
	uint64_t id = plist_u64(&c->in, PR_MAILBOX_ID, 0);

	if (shard_of(c->store, id) != c->shard)
		return fail(err, ST_BAD, "mailbox %llu belongs to another loop",
			    (unsigned long long)id);
	return mailbox_get(c->shard, id, &c->mb, err);
}

/* The folder of the path, made when it is not there. */
static enum st find_folder(struct call *c, struct err *err)
{
	struct span path = plist_span(&c->in, PR_FOLDER_PATH);
	struct folder *f = folder_by_path(c->mb, path, true);
	enum st st = ST_OK;

	if (!f)
		st = tree_create(c->mb, path, plist_span(&c->in, PR_SPECIAL_USE), &f, err);
	if (st == ST_EXISTS) /* somebody else was first */
		f = folder_by_path(c->mb, path, true);
	if (!f)
		return st == ST_EXISTS ? ST_NOTFOUND : st;
	c->folder = folder_hold(f);
	return ST_OK;
}

/* The UID that the message had is free when the numbers are the same ones (the folder's UIDVALIDITY, or a folder
 * that never had a message) and it was not yet given out: RFC 3501 2.3.1.1 lets UIDs only ascend. */
static uint32_t uid_wanted(const struct call *c, const struct folder *f)
{
	uint32_t uid = plist_u32(&c->in, PR_INTERNET_ARTICLE_NUMBER, 0);
	bool same = plist_u32(&c->in, PR_UIDVALIDITY, 0) == f->uidvalidity || f->now.uidnext == 1;

	return same && uid >= f->now.uidnext && uid < UINT32_MAX ? uid : 0;
}

static enum st add(struct call *c, struct content *content, struct err *err)
{
	struct folder *f = c->folder;
	struct new_message m = { .content = content,
				 .flags = plist_u32(&c->in, PR_IMAP_FLAGS, 0) & MF_ALL };
	struct change change;
	struct pw *w;
	uint32_t uid;
	enum st st;

	m.date = (int64_t)plist_u64(&c->in, PR_MESSAGE_DELIVERY_TIME, (uint64_t)clock_real());
	folder_ready(f);
	if (f->gone || f->noselect)
		return fail(err, ST_NOTFOUND, "the folder was deleted");
	m.uid = uid_wanted(c, f);
	st = keywords_learn(f, &c->in, &m.keywords, err);
	if (st == ST_OK)
		st = change_begin(&change, c->mb, err);
	if (st == ST_OK)
		st = message_add(&change, f, &m, &uid, err);
	if (st != ST_OK)
		return st;
	change_wait(&change);
	w = call_reply(c, 3);
	pw_u64(w, PR_FID, folder_fid(f));
	pw_u32(w, PR_UIDVALIDITY, f->uidvalidity);
	pw_u32(w, PR_INTERNET_ARTICLE_NUMBER, uid);
	return ST_OK;
}

enum st serve_ADM_RESTORE(struct call *c, struct err *err)
{
	struct content *content;
	enum st st = content_of_request(c->shard, c->rq, &c->in, &content, err);

	if (st != ST_OK)
		return st;
	st = find_mailbox(c, err);
	if (st == ST_OK)
		st = find_folder(c, err);
	if (st == ST_OK)
		st = add(c, content, err);
	content_drop(content);
	return st;
}
