/* structure.c - the tree as bytes: docs/formats.md, section "MIME structure". */
#include "mime/structure.h"

#define TREE_VERSION 1
#define TREE_DEPTH   64
#define PARTS_MAX    10000
#define OFFSET_MAX   (UINT64_C(1) << 48)
#define PART_BYTES   18 /* the least that a part takes */

/* ---- writing ---- */

static void put_num(struct buf *out, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		buf_char(out, (char)(n | 0x80));
	buf_char(out, (char)n);
}

/* 0 for an absent one, else length + 1 and the bytes. */
static void put_string(struct buf *out, struct span s)
{
	put_num(out, s.at ? s.len + 1 : 0);
	buf_span(out, s);
}

static void put_params(struct buf *out, const struct mime_param *params, uint32_t n)
{
	put_num(out, n);
	for (uint32_t i = 0; i < n; i++) {
		put_string(out, params[i].name);
		put_string(out, params[i].value);
	}
}

static void put_part(struct buf *out, const struct mime_part *p)
{
	buf_char(out, (char)p->kind);
	put_num(out, p->children);
	put_num(out, p->header_at);
	put_num(out, p->header_len);
	put_num(out, p->body_len);
	put_num(out, p->lines);
	put_string(out, p->type);
	put_string(out, p->subtype);
	put_params(out, p->params, p->nparams);
	put_string(out, p->encoding);
	put_string(out, p->id);
	put_string(out, p->description);
	put_string(out, p->md5);
	put_string(out, p->disposition);
	put_params(out, p->disposition_params, p->ndisposition_params);
	put_num(out, p->nlanguages);
	for (uint32_t i = 0; i < p->nlanguages; i++)
		put_string(out, p->languages[i]);
	put_string(out, p->location);
	put_string(out, p->envelope);
}

void mime_tree_write(const struct mime_tree *t, struct buf *out)
{
	buf_char(out, TREE_VERSION);
	put_num(out, t->count);
	for (size_t i = 0; i < t->count; i++)
		put_part(out, &t->parts[i]);
}

/* ---- reading: every take_ returns false on bad bytes ---- */

struct taking {
	struct span rest;
	struct pool *pool;
	bool full;
};

static bool take_num(struct taking *t, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 63; shift += 7) {
		unsigned char c;

		if (t->rest.len == 0)
			return false;
		c = (unsigned char)t->rest.at[0];
		t->rest = span_skip(t->rest, 1);
		v |= (uint64_t)(c & 0x7F) << shift;
		if (c < 0x80) {
			*out = v;
			return v <= max;
		}
	}
	return false;
}

static bool take_u32(struct taking *t, uint32_t max, uint32_t *out)
{
	uint64_t v;

	if (!take_num(t, max, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool take_string(struct taking *t, struct span *out)
{
	uint64_t n;

	if (!take_num(t, (uint64_t)t->rest.len + 1, &n) || (n > 0 && n - 1 > t->rest.len))
		return false;
	*out = n > 0 ? span_cut(t->rest, n - 1) : SPAN_NONE;
	t->rest = span_skip(t->rest, out->len);
	return true;
}

static void *take_room(struct taking *t, size_t n, size_t each)
{
	void *room = pool_get(t->pool, n * each);

	t->full = t->full || !room;
	return room;
}

/* Two bytes at least for each: a count can't ask for more memory than its bytes pay for. */
static bool take_params(struct taking *t, const struct mime_param **params, uint32_t *n)
{
	struct mime_param *p;

	*params = NULL;
	if (!take_u32(t, UINT16_MAX, n) || *n > t->rest.len / 2)
		return false;
	if (*n == 0)
		return true;
	p = take_room(t, *n, sizeof *p);
	if (!p)
		return false;
	*params = p;
	for (uint32_t i = 0; i < *n; i++)
		if (!take_string(t, &p[i].name) || !take_string(t, &p[i].value) || !p[i].name.at ||
		    !p[i].value.at)
			return false;
	return true;
}

static bool take_languages(struct taking *t, struct mime_part *p)
{
	struct span *found;

	if (!take_u32(t, UINT16_MAX, &p->nlanguages) || p->nlanguages > t->rest.len)
		return false;
	if (p->nlanguages == 0)
		return true;
	found = take_room(t, p->nlanguages, sizeof *found);
	if (!found)
		return false;
	p->languages = found;
	for (uint32_t i = 0; i < p->nlanguages; i++)
		if (!take_string(t, &found[i]) || !found[i].at)
			return false;
	return true;
}

static bool take_part(struct taking *t, struct mime_part *p)
{
	uint32_t kind;

	*p = (struct mime_part){ .parent = MIME_NONE, .first_child = MIME_NONE, .next = MIME_NONE };
	if (!take_u32(t, MIME_MESSAGE, &kind) || !take_u32(t, PARTS_MAX, &p->children) ||
	    !take_num(t, OFFSET_MAX, &p->header_at) || !take_num(t, OFFSET_MAX, &p->header_len) ||
	    !take_num(t, OFFSET_MAX, &p->body_len) || !take_num(t, OFFSET_MAX, &p->lines) ||
	    !take_string(t, &p->type) || !take_string(t, &p->subtype) ||
	    !take_params(t, &p->params, &p->nparams) || !take_string(t, &p->encoding) ||
	    !take_string(t, &p->id) || !take_string(t, &p->description) ||
	    !take_string(t, &p->md5) || !take_string(t, &p->disposition) ||
	    !take_params(t, &p->disposition_params, &p->ndisposition_params) ||
	    !take_languages(t, p) || !take_string(t, &p->location) || !take_string(t, &p->envelope))
		return false;
	p->kind = (enum mime_kind)kind;
	if (!p->type.at || !p->subtype.at || !p->encoding.at)
		return false;
	if (p->kind == MIME_MESSAGE)
		return p->children == 1;
	return p->kind == MIME_MULTIPART || p->children == 0;
}

/* The parts come depth first, each with its number of children: link them up. */
static bool link_parts(struct mime_part *parts, uint32_t count)
{
	struct {
		uint32_t part, missing, last;
	} open[TREE_DEPTH];
	unsigned depth = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (i > 0) {
			while (depth > 0 && open[depth - 1].missing == 0)
				depth--;
			if (depth == 0)
				return false; /* a part that is nobody's */
			open[depth - 1].missing--;
			parts[i].parent = open[depth - 1].part;
			if (open[depth - 1].last == MIME_NONE)
				parts[parts[i].parent].first_child = i;
			else
				parts[open[depth - 1].last].next = i;
			open[depth - 1].last = i;
		}
		if (parts[i].children == 0)
			continue;
		if (depth == TREE_DEPTH)
			return false;
		open[depth].part = i;
		open[depth].missing = parts[i].children;
		open[depth++].last = MIME_NONE;
	}
	while (depth > 0)
		if (open[--depth].missing > 0)
			return false;
	return true;
}

enum st mime_tree_read(struct span bytes, struct pool *pool, struct mime_tree *out, struct err *err)
{
	struct taking t = { .rest = bytes, .pool = pool };
	struct mime_part *parts;
	uint32_t version, count;

	if (!take_u32(&t, TREE_VERSION, &version) || version != TREE_VERSION ||
	    !take_u32(&t, PARTS_MAX, &count) || count == 0 || count > t.rest.len / PART_BYTES)
		return fail(err, ST_BAD, "MIME structure: no head");
	parts = take_room(&t, count, sizeof *parts);
	for (uint32_t i = 0; !t.full && i < count; i++)
		if (!take_part(&t, &parts[i]) && !t.full)
			return fail(err, ST_BAD, "MIME structure: part %u is broken", i);
	if (t.full)
		return fail(err, ST_TOOBIG, "MIME structure: no room for %u parts", count);
	if (t.rest.len > 0 || !link_parts(parts, count))
		return fail(err, ST_BAD, "MIME structure: the parts are no tree");
	*out = (struct mime_tree){ parts, count };
	return ST_OK;
}
