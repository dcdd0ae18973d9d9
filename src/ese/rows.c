/* rows.c - the engine's own rows; see rows.h. */
#include "ese/rows.h"

#include "ese/ese.h"
#include "ese/format.h"
#include "ese/rec.h"

#define ROW_MAGIC  0x4244524du /* "MRDB" */
#define BODY_FIXED 24u

enum { KEY_HEADER, KEY_APPLIED, KEY_SPACE, KEY_BODY, KEY_CRC, KEY_ORPHAN, KEY_SCRUB };

struct row_key row_key_header(void)
{
	return (struct row_key){ .at = { KEY_HEADER }, .len = 1 };
}

struct row_key row_key_applied(void)
{
	return (struct row_key){ .at = { KEY_APPLIED }, .len = 1 };
}

struct row_key row_key_space(uint32_t chunk)
{
	struct row_key k = { .at = { KEY_SPACE }, .len = 5 };

	be32_put(k.at + 1, chunk);
	return k;
}

static struct row_key id_key(char kind, uint64_t id)
{
	struct row_key k = { .at = { kind }, .len = 9 };

	be64_put(k.at + 1, id);
	return k;
}

struct row_key row_key_body(uint64_t id)
{
	return id_key(KEY_BODY, id);
}

struct row_key row_key_crc(uint64_t id, uint32_t n)
{
	struct row_key k = id_key(KEY_CRC, id);

	be32_put(k.at + 9, n);
	k.len = 13;
	return k;
}

struct row_key row_key_scrub(void)
{
	return (struct row_key){ .at = { KEY_SCRUB }, .len = 1 };
}

struct row_key row_key_orphan(uint64_t id)
{
	return id_key(KEY_ORPHAN, id);
}

bool row_key_chunk(struct span key, uint32_t *out)
{
	if (key.len != 5 || key.at[0] != KEY_SPACE)
		return false;
	*out = be32_get(key.at + 1);
	return true;
}

bool row_key_id(struct span key, uint64_t *out)
{
	if (key.len != 9 || (key.at[0] != KEY_BODY && key.at[0] != KEY_ORPHAN))
		return false;
	*out = be64_get(key.at + 1);
	return true;
}

void row_header_put(char out[ROW_HEADER_BYTES], const struct row_header *h)
{
	le32_put(out, ROW_MAGIC);
	le32_put(out + 4, ESE_FORMAT);
	memcpy(out + 8, h->signature, LOG_SIGNATURE);
	le64_put(out + 24, h->id);
	le64_put(out + 32, h->created);
	le32_put(out + 40, h->state);
	le32_put(out + 44, 0);
	le64_put(out + 48, h->pos);
}

enum st row_header_get(struct span v, struct row_header *out, const char *name, struct err *err)
{
	enum st st;

	if (v.len < 8 || le32_get(v.at) != ROW_MAGIC)
		return fail(err, ST_CORRUPT, "database %s: its header row is damaged", name);
	st = format_check(le32_get(v.at + 4), name, err);
	if (st != ST_OK)
		return st;
	if (v.len != ROW_HEADER_BYTES)
		return fail(err, ST_CORRUPT, "database %s: its header row is damaged", name);
	memcpy(out->signature, v.at + 8, LOG_SIGNATURE);
	out->id = le64_get(v.at + 24);
	out->created = le64_get(v.at + 32);
	out->state = le32_get(v.at + 40);
	out->format = le32_get(v.at + 4);
	out->pos = le64_get(v.at + 48);
	return ST_OK;
}

void row_applied_put(char out[ROW_APPLIED_BYTES], const struct row_applied *a)
{
	le64_put(out, a->pos);
	le64_put(out + 8, a->ids);
	le64_put(out + 16, a->bodies);
}

enum st row_applied_get(struct span v, struct row_applied *out)
{
	if (v.len != ROW_APPLIED_BYTES)
		return ST_CORRUPT;
	*out = (struct row_applied){ le64_get(v.at), le64_get(v.at + 8), le64_get(v.at + 16) };
	return ST_OK;
}

void row_body_put(struct buf *out, const struct row_body *b)
{
	char fixed[BODY_FIXED];

	le32_put(fixed, b->refs);
	le32_put(fixed + 4, b->nruns);
	le64_put(fixed + 8, b->len);
	le32_put(fixed + 16, b->npages);
	le32_put(fixed + 20, b->ncrcs);
	buf_add(out, fixed, sizeof(fixed));
	buf_span(out, b->runs);
	if (b->ncrcs)
		buf_span(out, b->crcs);
}

enum st row_body_get(struct span v, struct row_body *out)
{
	uint64_t pages = 0;

	if (v.len < BODY_FIXED)
		return ST_CORRUPT;
	out->refs = le32_get(v.at);
	out->nruns = le32_get(v.at + 4);
	out->len = le64_get(v.at + 8);
	out->npages = le32_get(v.at + 16);
	out->ncrcs = le32_get(v.at + 20);
	if (v.len != BODY_FIXED + (size_t)out->nruns * 8 + (size_t)out->ncrcs * 4 ||
	    out->ncrcs != (out->npages <= CRC_INLINE ? out->npages : 0) ||
	    out->npages != (out->len + ESE_PAGE - 1) / ESE_PAGE)
		return ST_CORRUPT;
	out->runs = span_cut(span_skip(v, BODY_FIXED), (size_t)out->nruns * 8);
	out->crcs = span_skip(v, BODY_FIXED + (size_t)out->nruns * 8);
	for (uint32_t i = 0; i < out->nruns; i++)
		pages += run_pages(out->runs, i);
	return pages == out->npages ? ST_OK : ST_CORRUPT;
}
