/* look_rows.c - going over rows and around those that can't be read; see look.h.
 *
 * RocksDB checks a block before it gives a row of it, and a seek to where a damaged block would be asked
 * fails.  So behind a failure the first key whose seek succeeds is searched: a key is taken for a number
 * of KEY_BYTES bytes, a doubling step finds some place that can be read, halving the first one. */
#include "ese/look.h"

#include <stdlib.h>

#define KEY_BYTES 24 /* longer keys differ before that, or are few */

struct number {
	unsigned char at[KEY_BYTES];
};

struct look_rows {
	struct ese_db *db;
	struct ese_iter *it;
	struct buf from, to, last, next;
	bool over; /* the gap reaches to the end */
};

static void set(struct buf *b, struct span s)
{
	buf_clear(b);
	buf_span(b, s);
}

enum st look_rows_new(struct ese_db *db, struct span from, struct span to, struct look_rows **out,
		      struct err *err)
{
	struct look_rows *r = calloc(1, sizeof(*r));
	enum st st;

	if (!r)
		return fail(err, ST_NOMEM, "list rows");
	r->db = db;
	r->from = r->to = r->last = r->next = BUF_MAX(ESE_KEY_MAX + KEY_BYTES);
	set(&r->from, from);
	set(&r->to, to);
	st = r->from.failed || r->to.failed ? fail(err, ST_NOMEM, "list rows")
					    : ese_iter_new(db, from, to, &r->it, err);
	if (st != ST_OK) {
		look_rows_free(r);
		return st;
	}
	*out = r;
	return ST_OK;
}

void look_rows_free(struct look_rows *r)
{
	if (!r)
		return;
	if (r->it)
		ese_iter_free(r->it);
	buf_free(&r->from);
	buf_free(&r->to);
	buf_free(&r->last);
	buf_free(&r->next);
	free(r);
}

/* Damage, or a disk that does not give the bytes back. */
static bool unreadable(enum st st)
{
	return st == ST_CORRUPT || st == ST_IO;
}

/* ---- keys as numbers ---- */

static struct number number_of(struct span key)
{
	struct number n = { 0 };

	if (key.len)
		memcpy(n.at, key.at, key.len < KEY_BYTES ? key.len : KEY_BYTES);
	return n;
}

static struct span number_key(const struct number *n)
{
	return span_of(n->at, KEY_BYTES);
}

/* n + 2^bit; false: past the last number. */
static bool add_bit(struct number *n, unsigned bit)
{
	unsigned at = KEY_BYTES - 1 - bit / 8, carry = 1u << bit % 8;

	for (;; at--) {
		carry += n->at[at];
		n->at[at] = (unsigned char)carry;
		carry >>= 8;
		if (!carry)
			return true;
		if (at == 0)
			return false;
	}
}

/* Is there a readable row at or behind n?  ST_OK: its key is in r->next, r->it stands before it; ST_EOF: none is left. */
static enum st seek(struct look_rows *r, const struct number *n, struct err *err)
{
	struct span to = buf_get(&r->to), key, value;
	enum st st;

	if (to.len && span_cmp(number_key(n), to) >= 0)
		return ST_EOF;
	if (r->it)
		ese_iter_free(r->it);
	r->it = NULL;
	st = ese_iter_new(r->db, number_key(n), to, &r->it, err);
	if (st == ST_OK)
		st = ese_iter_next(r->it, &key, &value, err);
	if (st == ST_OK)
		set(&r->next, key);
	return st;
}

/* Between a place that can't be read and a higher one that can: the lowest that can, as far as halving finds it. */
static enum st halve(struct look_rows *r, struct number bad, unsigned bit, struct err *err)
{
	struct number good = bad, found;
	enum st st;

	(void)add_bit(&good, bit);
	found = good;
	while (bit-- > 0) {
		struct number mid = bad;

		(void)add_bit(&mid, bit);
		st = seek(r, &mid, err);
		if (st == ST_OK || st == ST_EOF)
			found = mid;
		else if (unreadable(st))
			bad = mid;
		else
			return st;
	}
	return seek(r, &found, err);
}

/* Put r->it behind the gap that begins behind r->last (or at r->from). */
static enum st go_around(struct look_rows *r, struct err *err)
{
	struct number start = number_of(buf_get(r->last.len ? &r->last : &r->from));
	enum st st = ST_CORRUPT;
	unsigned bit = 0;

	for (; bit < KEY_BYTES * 8 && unreadable(st); bit++) {
		struct number n = start;

		if (!add_bit(&n, bit))
			break;
		st = seek(r, &n, err);
	}
	if (st == ST_OK || st == ST_EOF)
		st = halve(r, start, bit - 1, err);
	if (st == ST_OK) {
		ese_iter_free(r->it);
		r->it = NULL;
		return ese_iter_new(r->db, buf_get(&r->next), buf_get(&r->to), &r->it, err);
	}
	r->over = true;
	buf_clear(&r->next);
	return st == ST_EOF || unreadable(st) ? ST_OK : st;
}

enum st look_rows_next(struct look_rows *r, struct span *key, struct span *value, struct err *err)
{
	struct err why = { 0 };
	enum st st;

	if (r->over)
		return ST_EOF;
	st = ese_iter_next(r->it, key, value, &why);
	if (st == ST_OK)
		set(&r->last, *key);
	if (st == ST_OK || st == ST_EOF)
		return st;
	if (!unreadable(st))
		return fail(err, st, "%s", why.text);
	st = go_around(r, err);
	return st == ST_OK ? fail(err, ST_CORRUPT, "%s", why.text) : st;
}

void look_rows_gap(const struct look_rows *r, struct span *last, struct span *next)
{
	*last = buf_get(&r->last);
	*next = buf_get(&r->next);
}
