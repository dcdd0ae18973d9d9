/* exkeep.c - what the administrator does with deleted messages that are kept. */
#include "mime/decode.h"
#include "store/call.h"
#include "store/keep.h"

#include <stdlib.h>

#define IDS_MAX 100000
#define TURN    256 /* rows that are looked at before others may run */

static enum st box_of_request(struct call *c, struct err *err)
{
	uint64_t id = plist_u64(&c->in, PR_MAILBOX_ID, 0);

	if (shard_of(c->store, id) != c->shard)
		return fail(err, ST_BAD, "the request belongs to another loop");
	return mailbox_get(c->shard, id, &c->mb, err);
}

/* ---- the list ---- */

static bool has_words(const struct call *c, const struct kept *k, uint32_t tag)
{
	struct span words = plist_span(&c->in, tag);

	return !words.len || mime_casefold_contains(plist_span(&k->item, tag), words);
}

static bool is_wanted(const struct call *c, const struct kept *k)
{
	struct span path = plist_span(&c->in, PR_FOLDER_PATH);
	struct span was = plist_span(&k->row, PR_FOLDER_PATH);

	if (path.at && !span_eq(path, was) && !(span_eq(was, SPAN("INBOX")) && span_ieq(path, was)))
		return false;
	return k->deleted >= (int64_t)plist_u64(&c->in, PR_SINCE, 0) &&
	       has_words(c, k, PR_SUBJECT) && has_words(c, k, PR_DISPLAY_FROM);
}

static enum st put_kept(struct call *c, struct wire_rows_out *rows, const struct kept *k)
{
	struct pw w;

	wire_row_begin(rows, &w, 10);
	pw_u64(&w, PR_KEPT_ID, k->id);
	pw_u64(&w, PR_DELETED_ON, (uint64_t)k->deleted);
	if (!c->store->keep_until_backup)
		pw_u64(&w, PR_REMOVED_AFTER, (uint64_t)(k->deleted + c->store->keep_items_ns));
	pw_copy(&w, &k->row, PR_FOLDER_PATH);
	pw_copy(&w, &k->row, PR_INTERNET_ARTICLE_NUMBER);
	pw_u32(&w, PR_IMAP_FLAGS, k->entry.flags & MF_ALL);
	pw_u64(&w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)k->entry.date);
	pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, k->entry.size);
	pw_copy(&w, &k->item, PR_SUBJECT);
	pw_copy(&w, &k->item, PR_DISPLAY_FROM);
	return wire_row_end(rows, &w);
}

enum st serve_KEEP_LIST(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	unsigned n = 0;
	enum st st = box_of_request(c, err);

	if (st != ST_OK)
		return st;
	key_box(&to, c->mb->id, BOX_KEPT);
	st = ese_iter_new(c->mb->db->ese, key_box(&from, c->mb->id, BOX_KEPT), key_after(&to), &it,
			  err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	while (st == ST_OK && (st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		struct kept k;

		st = kept_read(key, value, &k, err);
		if (st == ST_OK && is_wanted(c, &k))
			st = put_kept(c, &rows, &k);
		if (++n % TURN == 0)
			fiber_yield();
	}
	ese_iter_free(it);
	return call_rows_end(c, &rows, st == ST_EOF ? ST_OK : st, err);
}

/* ---- which ones ---- */

static enum st find_wanted(struct call *c, struct kept_keys *out, struct err *err)
{
	size_t n = plist_mv_count(&c->in, PR_KEPT_IDS);
	uint64_t *ids = NULL;
	enum st st;

	if (n > IDS_MAX)
		return fail(err, ST_TOOBIG, "at most %d messages at a time", IDS_MAX);
	if (plist_has(&c->in, PR_KEPT_IDS)) {
		ids = malloc((n ? n : 1) * sizeof *ids);
		if (!ids)
			return fail(err, ST_NOMEM, "out of memory");
		for (size_t i = 0; i < n; i++)
			ids[i] = plist_mv_num(&c->in, PR_KEPT_IDS, i);
	}
	st = kept_find(c->mb, ids, n, out, err);
	free(ids);
	if (st == ST_OK && !out->n)
		st = fail(err, ST_NOTFOUND,
			  n ? "none of these messages is kept in the mailbox"
			    : "the mailbox keeps no deleted messages");
	return st;
}

static enum st tell_restored(void *arg, uint64_t id, const struct folder *f, uint32_t uid)
{
	struct buf path = BUF_MAX(PATH_BYTES_MAX * 2);
	struct wire_rows_out *rows = arg;
	struct pw w;

	folder_path(f, &path);
	wire_row_begin(rows, &w, 3);
	pw_u64(&w, PR_KEPT_ID, id);
	pw_span(&w, PR_FOLDER_PATH, buf_get(&path));
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, uid);
	buf_free(&path);
	return wire_row_end(rows, &w);
}

enum st serve_KEEP_RESTORE(struct call *c, struct err *err)
{
	struct kept_keys keys = { 0 };
	struct wire_rows_out rows;
	enum st st = box_of_request(c, err);

	if (st == ST_OK)
		st = find_wanted(c, &keys, err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	st = kept_restore(c->mb, &keys, plist_span(&c->in, PR_FOLDER_PATH), tell_restored, &rows,
			  err);
	kept_keys_free(&keys);
	return call_rows_end(c, &rows, st, err);
}

enum st serve_KEEP_PURGE(struct call *c, struct err *err)
{
	struct kept_keys keys = { 0 };
	uint64_t removed = 0;
	enum st st = box_of_request(c, err);

	if (st == ST_OK)
		st = find_wanted(c, &keys, err);
	if (st == ST_OK)
		st = kept_remove(c->mb, &keys, &removed, err);
	kept_keys_free(&keys);
	if (st == ST_OK)
		pw_u64(call_reply(c, 1), PR_KEPT_COUNT, removed);
	return st;
}

/* ---- the pass, now ---- */

struct pass {
	uint64_t removed;
	enum st st;
	struct err err;
};

static void pass_run(struct shard *sh, void *arg)
{
	struct pass *p = arg;

	p->st = expire_pass(sh, &p->removed, &p->err);
}

enum st serve_KEEP_EXPIRE(struct call *c, struct err *err)
{
	uint64_t removed = 0;
	enum st st = ST_OK;

	for (unsigned i = 0; i < c->store->nshards; i++) {
		struct pass p = { 0 };
		enum st one = shard_call(&c->store->shards[i], pass_run, &p, err);

		if (one == ST_OK && p.st != ST_OK)
			one = fail(err, p.st, "%s", p.err.text);
		if (one != ST_OK)
			st = one;
		removed += p.removed;
	}
	if (st == ST_OK)
		pw_u64(call_reply(c, 1), PR_KEPT_COUNT, removed);
	return st;
}
