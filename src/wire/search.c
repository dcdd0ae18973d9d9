/* search.c - search programs as bytes; see search.h.
 *
 * A node is its operation (one byte) and then what the operation has, in this order: u16 number of
 * kids, u64 num, u16 length and name, u32 length and text; its kids follow.  The operation
 * alone says what it has, so nothing can be left out or doubled. */
#include "base/byteorder.h"
#include "wire/search.h"

#define SEARCH_BYTES_MAX 65536

enum has { HAS_KIDS = 1, HAS_NUM = 2, HAS_NAME = 4, HAS_TEXT = 8 };

static const unsigned char op_has[S_OPS] = {
	[S_AND] = HAS_KIDS,        [S_OR] = HAS_KIDS,
	[S_NOT] = HAS_KIDS,        [S_UIDS] = HAS_TEXT,
	[S_FLAG] = HAS_NUM,        [S_KEYWORD] = HAS_TEXT,
	[S_SIZE_OVER] = HAS_NUM,   [S_SIZE_UNDER] = HAS_NUM,
	[S_DATE_BEFORE] = HAS_NUM, [S_DATE_ON] = HAS_NUM,
	[S_DATE_SINCE] = HAS_NUM,  [S_SENT_BEFORE] = HAS_NUM,
	[S_SENT_ON] = HAS_NUM,     [S_SENT_SINCE] = HAS_NUM,
	[S_FROM] = HAS_TEXT,       [S_TO] = HAS_TEXT,
	[S_CC] = HAS_TEXT,         [S_BCC] = HAS_TEXT,
	[S_SUBJECT] = HAS_TEXT,    [S_HEADER] = HAS_NAME | HAS_TEXT,
	[S_BODY] = HAS_TEXT,       [S_TEXT] = HAS_TEXT,
	[S_MODSEQ] = HAS_NUM,
};

static bool op_known(unsigned op)
{
	return op == S_ALL || (op < S_OPS && op_has[op]);
}

static bool kids_fit(unsigned op, size_t kids)
{
	return op == S_NOT ? kids == 1 : kids >= 1;
}

/* ---- writing ---- */

struct writer {
	struct buf *out;
	size_t nodes;
	struct err *err;
};

static void put_bytes(struct buf *out, size_t head, struct span s)
{
	char len[4];

	le32_put(len, (uint32_t)s.len);
	buf_add(out, len, head);
	buf_span(out, s);
}

static enum st write_node(struct writer *w, const struct search_node *n, unsigned depth)
{
	unsigned has = (unsigned)n->op < S_OPS ? op_has[n->op] : 0;
	size_t kids = 0;
	char num[8];

	if (!op_known(n->op))
		return fail(w->err, ST_BAD, "search: no operation %d", n->op);
	if (depth > SEARCH_DEPTH_MAX || ++w->nodes > SEARCH_NODES_MAX)
		return fail(w->err, ST_TOOBIG, "search: too many conditions");
	buf_char(w->out, (char)n->op);
	if (has & HAS_KIDS) {
		for (const struct search_node *kid = n->kids; kid; kid = kid->next)
			kids++;
		if (!kids_fit(n->op, kids))
			return fail(w->err, ST_BAD, "search: %zu conditions where others belong",
				    kids);
		if (kids > SEARCH_NODES_MAX)
			return fail(w->err, ST_TOOBIG, "search: too many conditions");
		le16_put(num, (uint16_t)kids);
		buf_add(w->out, num, 2);
	}
	if (has & HAS_NUM) {
		le64_put(num, n->num);
		buf_add(w->out, num, 8);
	}
	if (has & HAS_NAME) {
		if (n->name.len > UINT16_MAX)
			return fail(w->err, ST_TOOBIG, "search: field name of %zu bytes",
				    n->name.len);
		put_bytes(w->out, 2, n->name);
	}
	if (has & HAS_TEXT) {
		if (n->text.len > SEARCH_BYTES_MAX)
			return fail(w->err, ST_TOOBIG, "search: text of %zu bytes", n->text.len);
		put_bytes(w->out, 4, n->text);
	}
	for (const struct search_node *kid = n->kids; kid && (has & HAS_KIDS); kid = kid->next) {
		enum st st = write_node(w, kid, depth + 1);

		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

enum st search_write(const struct search_node *root, struct buf *out, struct err *err)
{
	struct writer w = { .out = out, .err = err };
	size_t start = out->len;
	enum st st = write_node(&w, root, 1);

	if (st == ST_OK && (out->failed || out->len - start > SEARCH_BYTES_MAX))
		st = fail(err, ST_TOOBIG, "search: program over %d bytes", SEARCH_BYTES_MAX);
	if (st != ST_OK)
		out->len = start;
	return st;
}

/* ---- reading ---- */

struct reader {
	struct span rest;
	struct search_node *nodes;
	size_t used, room;
	struct err *err;
};

/* Cut `len` bytes off the front. */
static bool cut(struct reader *r, size_t len, struct span *out)
{
	if (len > r->rest.len)
		return false;
	*out = span_cut(r->rest, len);
	r->rest = span_skip(r->rest, len);
	return true;
}

static bool cut_bytes(struct reader *r, size_t head, struct span *out)
{
	struct span len;

	if (!cut(r, head, &len))
		return false;
	return cut(r, head == 2 ? le16_get(len.at) : le32_get(len.at), out);
}

static bool read_parts(struct reader *r, struct search_node *n, size_t *kids)
{
	unsigned has = op_has[n->op];
	struct span s;

	if (has & HAS_KIDS) {
		if (!cut(r, 2, &s))
			return false;
		*kids = le16_get(s.at);
		if (!kids_fit(n->op, *kids))
			return false;
	}
	if (has & HAS_NUM) {
		if (!cut(r, 8, &s))
			return false;
		n->num = le64_get(s.at);
	}
	return (!(has & HAS_NAME) || cut_bytes(r, 2, &n->name)) &&
	       (!(has & HAS_TEXT) || cut_bytes(r, 4, &n->text));
}

static enum st read_node(struct reader *r, unsigned depth, struct search_node **out)
{
	struct search_node *n, **tail;
	size_t kids = 0;
	struct span op;

	if (depth > SEARCH_DEPTH_MAX || r->used == r->room || r->used == SEARCH_NODES_MAX)
		return fail(r->err, ST_TOOBIG, "search: too many conditions");
	if (!cut(r, 1, &op) || !op_known((unsigned char)op.at[0]))
		return fail(r->err, ST_BAD, "search: no such operation");
	n = &r->nodes[r->used++];
	*n = (struct search_node){ .op = (unsigned char)op.at[0] };
	if (!read_parts(r, n, &kids))
		return fail(r->err, ST_BAD, "search: the program ends early");
	tail = &n->kids;
	for (size_t i = 0; i < kids; i++) {
		enum st st = read_node(r, depth + 1, tail);

		if (st != ST_OK)
			return st;
		tail = &(*tail)->next;
	}
	*out = n;
	return ST_OK;
}

enum st search_read(struct span bytes, struct search_node *nodes, size_t room,
		    const struct search_node **root, struct err *err)
{
	struct reader r = { .rest = bytes, .nodes = nodes, .room = room, .err = err };
	struct search_node *n;
	enum st st;

	if (bytes.len > SEARCH_BYTES_MAX)
		return fail(err, ST_TOOBIG, "search: program over %d bytes", SEARCH_BYTES_MAX);
	st = read_node(&r, 1, &n);
	if (st != ST_OK)
		return st;
	if (r.rest.len)
		return fail(err, ST_BAD, "search: %zu bytes behind the program", r.rest.len);
	*root = n;
	return ST_OK;
}
