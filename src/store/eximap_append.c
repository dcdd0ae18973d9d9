/* eximap_append.c - a message that a client puts into a folder. */
#include "store/eximap.h"
#include "store/message.h"

static enum st append(struct call *c, struct folder *f, struct content *content, struct err *err)
{
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
	st = call_admit(c, content->size, err);
	if (st == ST_OK)
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

enum st serve_IMAP_APPEND(struct call *c, struct err *err)
{
	struct content *content;
	struct folder *f;
	struct err why;
	/* What was written elsewhere is used up in any case. */
	enum st there = call_mailbox(c, &why);
	enum st st = content_of_request(c->shard, c->rq, &c->in, c->mb ? &c->mb->id : NULL,
					c->mb != NULL, &content, err);

	if (st != ST_OK)
		return st;
	if (there != ST_OK) {
		st = fail(err, there, "%s", why.text);
	} else {
		f = folder_by_path(c->mb, plist_span(&c->in, PR_FOLDER_PATH), true);
		if (f)
			c->folder = folder_hold(f);
		st = f ? append(c, f, content, err)
		       : fail(err, ST_NOTFOUND, "there is no such folder");
	}
	content_drop(content);
	return st;
}
