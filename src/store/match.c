#include "store/match.h"

#include "base/uset.h"
#include "mime/date.h"
#include "mime/decode.h"
#include "mime/header.h"
#include "mime/structure.h"
#include "wire/wire.h"

#include <stdlib.h>

#define PIECE      65536
#define TESTS_MAX  100
#define HEADER_MAX (1024u * 1024) /* of a header block that is searched */

struct text_test {
	const struct search_node *node;
	struct mime_search *search; /* in the body's text; NULL for S_HEADER */
	bool hit;
};

/* ---- preparing ---- */

static size_t node_number(const struct match *m, const struct search_node *n)
{
	return (size_t)(n - m->nodes);
}

static bool is_text(enum search_op op)
{
	return op == S_HEADER || op == S_BODY || op == S_TEXT;
}

static enum st read_sets(struct match *m, struct err *err)
{
	for (size_t i = 0; i < m->nnodes; i++) {
		enum st st = ST_OK;

		if (m->nodes[i].op == S_UIDS)
			st = uset_read(m->nodes[i].text, &m->sets[i], err);
		if (st != ST_OK)
			return st;
		m->ntests += is_text(m->nodes[i].op);
	}
	if (m->ntests > TESTS_MAX)
		return fail(err, ST_TOOBIG, "at most %d conditions look into the text", TESTS_MAX);
	return ST_OK;
}

static enum st make_tests(struct match *m, struct err *err)
{
	size_t n = 0;

	m->tests = calloc(m->ntests ? m->ntests : 1, sizeof *m->tests);
	if (!m->tests)
		return fail(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < m->nnodes; i++)
		if (is_text(m->nodes[i].op))
			m->tests[n++].node = &m->nodes[i];
	return ST_OK;
}

enum st match_begin(struct match *m, const struct folder *f, struct span program, struct err *err)
{
	struct search_node *nodes = calloc(SEARCH_NODES_MAX, sizeof *nodes);
	enum st st;

	*m = (struct match){ .folder = f, .nodes = nodes };
	if (!nodes)
		return fail(err, ST_NOMEM, "out of memory");
	st = search_read(program, nodes, SEARCH_NODES_MAX, &m->root, err);
	if (st != ST_OK)
		return st;
	/* Operations begin with 1: behind the last node there are zeros. */
	while (m->nnodes < SEARCH_NODES_MAX && nodes[m->nnodes].op)
		m->nnodes++;
	m->sets = calloc(m->nnodes, sizeof *m->sets);
	if (!m->sets)
		return fail(err, ST_NOMEM, "out of memory");
	st = read_sets(m, err);
	return st == ST_OK ? make_tests(m, err) : st;
}

void match_end(struct match *m)
{
	struct search_node *nodes = NULL;

	for (size_t i = 0; m->sets && i < m->nnodes; i++)
		uset_free(&m->sets[i]);
	free(m->sets);
	free(m->tests);
	memcpy(&nodes, &m->nodes, sizeof nodes);
	free(nodes);
	*m = (struct match){ 0 };
}

/* ---- one condition ---- */

static enum verdict yes_if(bool yes)
{
	return yes ? MATCH_YES : MATCH_NO;
}

/* Floor, also before 1970. */
static int64_t seconds_of(int64_t ns)
{
	return ns / NS_PER_SEC - (ns % NS_PER_SEC < 0);
}

static enum verdict compare_day(enum search_op before, enum search_op op, int64_t day, uint64_t num)
{
	int64_t want = (int64_t)num;

	if (op == before)
		return yes_if(day < want);
	return yes_if(op == before + 1 ? day == want : day >= want);
}

static enum verdict on_entry(const struct match *m, const struct search_node *n,
			     const struct entry *e)
{
	unsigned at;

	switch (n->op) {
	case S_ALL:
		return MATCH_YES;
	case S_UIDS:
		return yes_if(uset_has(&m->sets[node_number(m, n)], e->uid));
	case S_FLAG:
		return yes_if((e->flags & n->num) == n->num);
	case S_KEYWORD:
		at = folder_keyword(m->folder, n->text);
		return yes_if(at < KEYWORDS_MAX && (e->keywords >> at & 1));
	case S_SIZE_OVER:
		return yes_if(e->size > n->num);
	case S_SIZE_UNDER:
		return yes_if(e->size < n->num);
	case S_DATE_BEFORE:
	case S_DATE_ON:
	case S_DATE_SINCE:
		return compare_day(S_DATE_BEFORE, n->op, mime_day(seconds_of(e->date), 0), n->num);
	case S_MODSEQ:
		return yes_if(e->cn >= n->num);
	default:
		return MATCH_OPEN;
	}
}

static enum verdict on_text(const struct plist *item, uint32_t tag, struct span needle)
{
	struct span text = plist_span(item, tag);

	return yes_if(text.at && mime_casefold_contains(text, needle));
}

static enum verdict on_item(const struct search_node *n, const struct plist *item)
{
	switch (n->op) {
	case S_SENT_BEFORE:
	case S_SENT_ON:
	case S_SENT_SINCE:
		if (!plist_has(item, PR_CLIENT_SUBMIT_TIME))
			return MATCH_NO;
		return compare_day(
			S_SENT_BEFORE, n->op,
			mime_day(seconds_of((int64_t)plist_u64(item, PR_CLIENT_SUBMIT_TIME, 0)),
				 (int32_t)plist_u32(item, PR_CLIENT_SUBMIT_ZONE, 0)),
			n->num);
	case S_FROM:
		return on_text(item, PR_DISPLAY_FROM, n->text);
	case S_TO:
		return on_text(item, PR_DISPLAY_TO, n->text);
	case S_CC:
		return on_text(item, PR_DISPLAY_CC, n->text);
	case S_BCC:
		return on_text(item, PR_DISPLAY_BCC, n->text);
	case S_SUBJECT:
		return on_text(item, PR_SUBJECT, n->text);
	default:
		return MATCH_OPEN;
	}
}

static enum verdict on_tests(const struct match *m, const struct search_node *n)
{
	for (size_t i = 0; i < m->ntests; i++)
		if (m->tests[i].node == n)
			return yes_if(m->tests[i].hit);
	return MATCH_NO;
}

/* ---- the tree ---- */

struct view {
	const struct match *m;
	const struct entry *e;
	const struct plist *item; /* NULL: not read */
	bool tested;              /* the tests have their answers */
};

static enum verdict look(const struct view *v, const struct search_node *n);

/* AND ends at the first NO, OR at the first YES. */
static enum verdict look_kids(const struct view *v, const struct search_node *n,
			      enum verdict decides)
{
	enum verdict all = decides == MATCH_NO ? MATCH_YES : MATCH_NO;

	for (const struct search_node *kid = n->kids; kid; kid = kid->next) {
		enum verdict one = look(v, kid);

		if (one == decides)
			return decides;
		if (one == MATCH_OPEN)
			all = MATCH_OPEN;
	}
	return all;
}

static enum verdict look(const struct view *v, const struct search_node *n)
{
	enum verdict one;

	switch (n->op) {
	case S_AND:
		return look_kids(v, n, MATCH_NO);
	case S_OR:
		return look_kids(v, n, MATCH_YES);
	case S_NOT:
		one = look(v, n->kids);
		return one == MATCH_OPEN ? one : yes_if(one == MATCH_NO);
	default:
		break;
	}
	if (is_text(n->op))
		return v->tested ? on_tests(v->m, n) : MATCH_OPEN;
	one = on_entry(v->m, n, v->e);
	return one == MATCH_OPEN && v->item ? on_item(n, v->item) : one;
}

enum verdict match_entry(const struct match *m, const struct entry *e)
{
	struct view v = { .m = m, .e = e };

	return look(&v, m->root);
}

enum verdict match_item(const struct match *m, const struct entry *e, const struct plist *item)
{
	struct view v = { .m = m, .e = e, .item = item };

	return look(&v, m->root);
}

/* ---- the body ---- */

struct body {
	struct match *m;
	struct ese_db *db;
	uint64_t id, len;
	struct err *err;
	char *piece;
	struct buf text;
};

static bool field_matches(const struct search_node *n, struct span name, struct span text)
{
	return span_ieq(name, n->name) && (!n->text.len || mime_casefold_contains(text, n->text));
}

/* Header conditions, and for S_TEXT each field as a person sees it. */
static void test_header(struct body *b, struct span header)
{
	struct mime_fields it = mime_fields(header);
	struct buf text = BUF_MAX(HEADER_MAX);
	struct span name, raw;

	while (mime_field_next(&it, &name, &raw)) {
		size_t value_at;

		buf_clear(&text);
		buf_span(&text, name);
		buf_str(&text, ": ");
		value_at = text.len;
		mime_decode_text(raw, &text);
		for (size_t i = 0; i < b->m->ntests; i++) {
			struct text_test *t = &b->m->tests[i];

			if (t->hit || t->node->op == S_BODY)
				continue;
			t->hit = t->node->op == S_HEADER
					 ? field_matches(t->node, name,
							 span_skip(buf_get(&text), value_at))
					 : mime_casefold_contains(buf_get(&text), t->node->text);
		}
	}
	buf_free(&text);
}

static void feed_tests(struct body *b)
{
	for (size_t i = 0; i < b->m->ntests; i++)
		if (b->m->tests[i].search)
			b->m->tests[i].hit |=
				mime_search_feed(b->m->tests[i].search, buf_get(&b->text));
	buf_clear(&b->text);
}

static enum st test_part(struct body *b, const struct mime_part *p)
{
	struct mime_text *t = mime_text_new(p->encoding, mime_param(p, "charset"));
	uint64_t at = mime_body_at(p), end = at + p->body_len;
	enum st st = ST_OK;

	if (!t)
		return fail(b->err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < b->m->ntests; i++)
		if (b->m->tests[i].search)
			mime_search_restart(b->m->tests[i].search);
	if (end > b->len)
		end = b->len;
	while (at < end && st == ST_OK) {
		size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;

		st = ese_body_read(b->db, b->id, at, b->piece, n, b->err);
		if (st == ST_OK) {
			mime_text_feed(t, span_of(b->piece, n), &b->text);
			feed_tests(b);
		}
		at += n;
	}
	if (st == ST_OK) {
		mime_text_end(t, &b->text);
		feed_tests(b);
	}
	mime_text_free(t);
	return st;
}

static enum st test_parts(struct body *b, const struct plist *item)
{
	struct pool *pool = pool_new("search", 4 * 1024 * 1024);
	struct mime_tree tree;
	enum st st;

	if (!pool)
		return fail(b->err, ST_NOMEM, "out of memory");
	st = mime_tree_read(plist_span(item, PR_MIME_STRUCTURE), pool, &tree, b->err);
	for (size_t i = 0; st == ST_OK && i < tree.count; i++)
		if (tree.parts[i].kind == MIME_TEXT)
			st = test_part(b, &tree.parts[i]);
	pool_free(pool);
	return st;
}

static enum st read_header(struct body *b, const struct plist *item)
{
	uint64_t len = plist_u32(item, PR_HEADER_LENGTH, 0);
	char *header;
	enum st st;

	if (len > b->len)
		len = b->len;
	if (len > HEADER_MAX)
		len = HEADER_MAX;
	header = malloc(len ? len : 1);
	if (!header)
		return fail(b->err, ST_NOMEM, "out of memory");
	st = len ? ese_body_read(b->db, b->id, 0, header, len, b->err) : ST_OK;
	if (st == ST_OK)
		test_header(b, span_of(header, len));
	free(header);
	return st;
}

static enum st run_tests(struct body *b, const struct plist *item)
{
	bool in_header = false, in_body = false;
	enum st st = ST_OK;

	for (size_t i = 0; i < b->m->ntests; i++) {
		struct text_test *t = &b->m->tests[i];

		t->hit = false;
		in_header |= t->node->op != S_BODY;
		if (t->node->op == S_HEADER)
			continue;
		in_body = true;
		t->search = mime_search_new(t->node->text);
		if (!t->search)
			return fail(b->err, ST_NOMEM, "out of memory");
	}
	if (in_header)
		st = read_header(b, item);
	return st == ST_OK && in_body ? test_parts(b, item) : st;
}

enum st match_body(struct match *m, const struct entry *e, const struct plist *item,
		   struct ese_db *db, enum verdict *v, struct err *err)
{
	struct body b = { .m = m,
			  .db = db,
			  .id = plist_u64(item, PR_BODY_ID, 0),
			  .len = e->size,
			  .err = err,
			  .text = BUF_MAX(PIECE * 8) };
	struct view view = { .m = m, .e = e, .item = item, .tested = true };
	enum st st;

	b.piece = malloc(PIECE);
	st = b.piece ? run_tests(&b, item) : fail(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < m->ntests; i++) {
		mime_search_free(m->tests[i].search);
		m->tests[i].search = NULL;
	}
	free(b.piece);
	buf_free(&b.text);
	if (st == ST_OK)
		*v = look(&view, m->root);
	return st;
}
