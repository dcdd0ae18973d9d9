/* exifs_stub.c - virtual files being written, for the client processes. */
#include "store/call.h"
#include "store/content.h"

#include <stdlib.h>

enum st serve_IFS_CREATE(struct call *c, struct err *err)
{
	struct vfile *v;
	uint64_t token, *mailboxes;
	size_t n;
	enum st st;

	mailboxes = recipient_mailboxes(&c->in, RECIPIENTS_MAX, &n);
	st = vfile_new(c->shard, c->rq->binding_id, mailboxes, n, &v, err);
	free(mailboxes);
	if (st != ST_OK)
		return st;
	st = vfile_offer(v, &token, err);
	if (st != ST_OK) {
		vfile_free(v);
		return st;
	}
	vfiles_sweep_start(c->shard);
	pw_u64(call_reply(c, 1), PR_BODY_TOKEN, token);
	return ST_OK;
}

enum st serve_IFS_WRITE(struct call *c, struct err *err)
{
	struct vfile *v;
	enum st st = vfile_use(c->shard, c->rq->binding_id, plist_u64(&c->in, PR_BODY_TOKEN, 0), &v,
			       err);

	if (st != ST_OK)
		return st;
	for (unsigned i = 0; i < c->rq->nsections && st == ST_OK; i++)
		st = vfile_write(v, c->rq->sections[i].at, c->rq->sections[i].len, err);
	vfile_release(v);
	return st;
}

enum st serve_IFS_CLOSE(struct call *c, struct err *err)
{
	struct vfile *v;
	enum st st = vfile_take(c->shard, c->rq->binding_id, plist_u64(&c->in, PR_BODY_TOKEN, 0),
				&v, err);

	if (st == ST_OK)
		vfile_free(v);
	return st;
}
