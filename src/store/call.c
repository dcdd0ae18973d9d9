/* call.c - from a request to its handler and back; see call.h. */
#include "store/call.h"

#include "store/quota.h"

#include <assert.h>

#define REPLY_MAX EXIPC_BLOCK_MAX

static const struct handler {
	enum st (*serve)(struct call *c, struct err *err);
	unsigned roles;
} handlers[WIRE_OP_MAX] = {
#define WIRE(name, number, stub, roles, in, out) [number] = { serve_##name, roles },
#include "wire/requests.def"
#undef WIRE
};

/* ---- what handlers use ---- */

struct pw *call_reply(struct call *c, size_t props)
{
	assert(!c->replying);
	c->replying = true;
	pw_begin(&c->w, &c->out, props + 1); /* one more for ERROR_TEXT */
	return &c->w;
}

enum st call_rows_end(struct call *c, struct wire_rows_out *rows, enum st st, const struct err *err)
{
	c->answered = true;
	return wire_rows_end(rows, st, err);
}

enum st call_mailbox(struct call *c, struct err *err)
{
	const struct logon *l;
	enum st st;

	c->logon = plist_u64(&c->in, PR_LOGON, 0);
	if (shard_of(c->store, c->logon) != c->shard)
		return fail(err, ST_DENIED, "not logged on");
	st = logon_find(c->shard, c->rq->binding_id, c->logon, &l, err);
	return st == ST_OK ? mailbox_get(c->shard, l->mailbox, &c->mb, err) : st;
}

enum st call_folder(struct call *c, unsigned rights, struct err *err)
{
	uint64_t fid = plist_u64(&c->in, PR_FID, 0);
	const struct logon *l;
	struct folder *f;
	enum st st = call_mailbox(c, err);

	if (st == ST_OK)
		st = logon_find(c->shard, c->rq->binding_id, c->logon, &l, err);
	if (st == ST_OK)
		st = rights_check(l, fid, rights, err);
	if (st != ST_OK)
		return st;
	f = folder_by_number(c->mb, (uint32_t)fid);
	if (!f || f->noselect)
		return fail(err, ST_NOTFOUND, "there is no such folder");
	c->folder = folder_hold(f);
	return ST_OK;
}

enum st call_index(struct call *c, unsigned rights, struct err *err)
{
	enum st st = call_folder(c, rights, err);

	return st == ST_OK ? index_get(c->folder, &c->ix, err) : st;
}

enum st call_uids(const struct call *c, uint32_t tag, struct uset *out, struct err *err)
{
	return uset_read(plist_span(&c->in, tag), out, err);
}

void put_uids(struct pw *w, uint32_t tag, const struct uset *s)
{
	struct buf bytes = BUF_MAX(EXIPC_BLOCK_MAX);

	uset_write(s, &bytes);
	if (bytes.failed)
		w->out->failed = true;
	else
		pw_span(w, tag, buf_get(&bytes));
	buf_free(&bytes);
}

enum st call_admit(struct call *c, uint64_t octets, struct err *err)
{
	enum st st = quota_admit(c->mb, octets, err);

	if (st == ST_NOSPACE)
		pw_bool(call_reply(c, 1), PR_OVER_QUOTA, true);
	return st;
}

void put_keywords(struct pw *w, const struct folder *f, uint64_t bits)
{
	struct span words[KEYWORDS_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < f->nkeywords; i++)
		if (bits >> i & 1)
			words[n++] = span_str(f->keywords[i]);
	pw_mv_span(w, PR_KEYWORDS, words, n);
}

/* ---- the way of a request ---- */

static enum st look_at(struct call *c, const struct handler **out, struct err *err)
{
	static const uint8_t nothing[8] = { 8, 0, 0, 0, 0, 0, 1, 0 };
	const struct client *client = c->rq->binding_data;
	struct span payload = c->rq->payload;
	const struct handler *h = c->rq->op < WIRE_OP_MAX ? &handlers[c->rq->op] : NULL;
	enum st st;

	if (!h || !h->serve)
		return fail(err, ST_BAD, "there is no request %u", c->rq->op);
	if (!(h->roles & client->roles))
		return fail(err, ST_DENIED, "'%s' may not send this request", client->name);
	if (!payload.len)
		payload = span_of(nothing, sizeof nothing);
	st = plist_open(&c->in, payload.at, payload.len, err);
	*out = h;
	return st;
}

static void answer(struct call *c, enum st st, const struct err *err)
{
	if (c->answered)
		return;
	if (c->replying) {
		if (st != ST_OK && st != ST_MORE)
			pw_str(&c->w, PR_ERROR_TEXT, err->text);
		pw_end(&c->w);
	}
	wire_reply(c->rq, st, c->replying ? &c->out : NULL, err);
}

static void count(struct shard *sh, uint16_t op, enum st st, int64_t since)
{
	struct op_figures *f;

	if (op >= WIRE_OP_MAX)
		return;
	f = &sh->ops[op];
	f->requests++;
	f->nanoseconds += (uint64_t)(clock_mono() - since);
	if (st != ST_OK && st != ST_MORE)
		f->failures++;
}

void serve_request(void *store, struct exipc_request *rq)
{
	struct call c = { .store = store, .rq = rq, .out = BUF_MAX(REPLY_MAX) };
	int64_t since = clock_mono();
	const struct handler *h = NULL;
	struct err err = { 0 };
	enum st st;

	c.shard = shard_here(store);
	st = look_at(&c, &h, &err);
	if (st == ST_OK)
		st = h->serve(&c, &err);
	answer(&c, st, &err);
	count(c.shard, rq->op, st, since);
	buf_free(&c.out);
	if (c.ix)
		index_put(c.ix);
	if (c.folder)
		folder_drop(c.folder);
	if (c.mb)
		mailbox_put(c.mb);
}
