/* eximap_append.c - a message that a client puts into a folder. */
#include "store/content.h"
#include "store/eximap.h"

static enum st append(struct call *c, struct folder *f, struct content *content, struct err *err)
{
	enum st st;

	folder_ready(f);
	if (f->gone || f->noselect)
		return fail(err, ST_NOTFOUND, "the folder was deleted");
	st = call_admit(c, content->size, err);
	return st == ST_OK ? call_put_message(c, f, content, 0, err) : st;
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
