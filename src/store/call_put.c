/* call_put.c - the message of a request into a folder, and what the request is told of it. */
#include "store/call.h"
#include "store/message.h"

enum st call_put_message(struct call *c, struct folder *f, struct content *content, uint32_t uid,
			 struct err *err)
{
	struct new_message m = { .content = content,
				 .flags = plist_u32(&c->in, PR_IMAP_FLAGS, 0) & MF_ALL,
				 .uid = uid };
	struct change change;
	struct pw *w;
	enum st st;

	m.date = (int64_t)plist_u64(&c->in, PR_MESSAGE_DELIVERY_TIME, (uint64_t)clock_real());
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
