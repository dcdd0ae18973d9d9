/* rec.c - log records to and from bytes; see rec.h. */
#include "ese/rec.h"

#include "base/crc32c.h"
#include "ese/ese.h"
#include "ese/format.h"

void rec_head_put(char *at, const struct rec *r, uint32_t payload_crc, uint32_t mark)
{
	le32_put(at + 4, payload_crc);
	le32_put(at + 8, (uint32_t)r->payload.len);
	le16_put(at + 12, (uint16_t)r->kind);
	le16_put(at + 14, 0);
	le64_put(at + 16, r->pos);
	le32_put(at + 24, r->db);
	le32_put(at + 28, mark);
	le64_put(at + 32, r->partition);
	le32_put(at, crc32c(0, at + 4, REC_HEAD - 4));
}

enum st rec_get(struct span bytes, uint64_t pos, uint32_t mark, struct rec *out)
{
	const char *at = bytes.at;
	uint32_t len;
	uint16_t kind;

	if (bytes.len < REC_HEAD || le64_get(at + 16) != pos || le32_get(at + 28) != mark)
		return ST_CORRUPT;
	if (le32_get(at) != crc32c(0, at + 4, REC_HEAD - 4))
		return ST_CORRUPT;
	len = le32_get(at + 8);
	kind = le16_get(at + 12);
	if (kind < REC_GROUP || kind > REC_DETACH || le16_get(at + 14) != 0)
		return ST_CORRUPT;
	if (len > bytes.len - REC_HEAD || rec_size(len) > bytes.len)
		return ST_CORRUPT;
	if (le32_get(at + 4) != crc32c(0, at + REC_HEAD, len))
		return ST_CORRUPT;
	out->kind = (enum rec_kind)kind;
	out->pos = pos;
	out->db = le32_get(at + 24);
	out->partition = le64_get(at + 32);
	out->payload = span_of(at + REC_HEAD, len);
	return ST_OK;
}

void rec_group_put(char *payload, const struct rec_group *g)
{
	le64_put(payload, g->time);
	le64_put(payload + 8, g->number);
	le32_put(payload + 16, g->bytes);
	le32_put(payload + 20, g->records);
}

enum st rec_group_get(struct span payload, struct rec_group *out)
{
	if (payload.len != REC_GROUP_PAYLOAD)
		return ST_CORRUPT;
	out->time = le64_get(payload.at);
	out->number = le64_get(payload.at + 8);
	out->bytes = le32_get(payload.at + 16);
	out->records = le32_get(payload.at + 20);
	if (out->bytes < LOG_PAGE || out->bytes % LOG_PAGE != 0 || out->records == 0)
		return ST_CORRUPT;
	return ST_OK;
}

enum st rec_body_get(struct span payload, struct rec_body *out)
{
	if (payload.len <= REC_BODY_HEAD || payload.len > REC_BODY_HEAD + REC_BODY_BYTES)
		return ST_CORRUPT;
	out->id = le64_get(payload.at);
	out->body_off = le64_get(payload.at + 8);
	out->stm_off = le64_get(payload.at + 16);
	out->bytes = span_skip(payload, REC_BODY_HEAD);
	if (out->id == 0 || out->body_off > ESE_BODY_MAX ||
	    out->stm_off > (uint64_t)UINT32_MAX * ESE_PAGE)
		return ST_CORRUPT;
	return ST_OK;
}

void rec_attach_put(char *payload, const struct rec_attach *a)
{
	le64_put(payload, a->id);
	le64_put(payload + 8, a->created);
	le32_put(payload + 16, a->how);
	le32_put(payload + 20, 0);
}

enum st rec_attach_get(struct span payload, uint32_t format, struct rec_attach *out)
{
	size_t head = format == ESE_FORMAT_OLD ? 8 : REC_ATTACH_HEAD;

	if (payload.len <= head || payload.len > head + ESE_NAME_MAX)
		return ST_CORRUPT;
	*out = (struct rec_attach){ .id = le64_get(payload.at), .name = span_skip(payload, head) };
	if (format == ESE_FORMAT_OLD)
		return ST_OK;
	out->created = le64_get(payload.at + 8);
	out->how = le32_get(payload.at + 16);
	return out->how >= ATTACH_CREATED && out->how <= ATTACH_TAKEN ? ST_OK : ST_CORRUPT;
}

void rec_detach_put(char *payload, const struct rec_detach *d)
{
	le64_put(payload, d->id);
	le32_put(payload + 8, d->why);
	le32_put(payload + 12, 0);
}

enum st rec_detach_get(struct span payload, struct rec_detach *out)
{
	if (payload.len <= REC_DETACH_HEAD || payload.len > REC_DETACH_HEAD + ESE_NAME_MAX)
		return ST_CORRUPT;
	out->id = le64_get(payload.at);
	out->why = le32_get(payload.at + 8);
	out->name = span_skip(payload, REC_DETACH_HEAD);
	return out->why >= DETACH_DOWN && out->why <= DETACH_GIVEN ? ST_OK : ST_CORRUPT;
}

enum st rec_free_get(struct span payload, uint64_t *id_out)
{
	if (payload.len != REC_FREE_PAYLOAD)
		return ST_CORRUPT;
	*id_out = le64_get(payload.at);
	return ST_OK;
}

enum st rec_end_get(struct span payload, uint32_t *next_gen_out)
{
	if (payload.len != REC_END_PAYLOAD)
		return ST_CORRUPT;
	*next_gen_out = le32_get(payload.at);
	return ST_OK;
}

enum st items_open(struct span payload, struct items *out)
{
	if (payload.len < REC_COMMIT_HEAD || le32_get(payload.at + 12) != 0)
		return ST_CORRUPT;
	out->time = le64_get(payload.at);
	out->left = le32_get(payload.at + 8);
	out->rest = span_skip(payload, REC_COMMIT_HEAD);
	return ST_OK;
}

/* Cut `len` bytes off the front; false when there are fewer. */
static bool take(struct span *rest, size_t len, struct span *out)
{
	if (len > rest->len)
		return false;
	*out = span_cut(*rest, len);
	*rest = span_skip(*rest, len);
	return true;
}

static bool key_ok(struct span key)
{
	return key.len >= 1 && key.len <= ESE_KEY_MAX &&
	       (unsigned char)key.at[0] >= ESE_USER_KEY_MIN;
}

static enum st row_item(struct span *rest, struct item *out)
{
	bool put = out->kind == ITEM_PUT;
	struct span head;
	uint32_t vlen;

	if (!take(rest, put ? 7 : 3, &head))
		return ST_CORRUPT;
	vlen = put ? le32_get(head.at + 3) : 0;
	if (vlen > ESE_VALUE_MAX || !take(rest, le16_get(head.at + 1), &out->key) ||
	    !take(rest, vlen, &out->value) || !key_ok(out->key))
		return ST_CORRUPT;
	return ST_OK;
}

/* The runs must cover exactly out->npages pages: what a row is made of is checked here, once. */
static enum st take_runs(struct span *rest, struct item *out)
{
	uint64_t sum = 0;

	if (out->nruns > out->npages || !take(rest, (size_t)out->nruns * 8, &out->runs))
		return ST_CORRUPT;
	for (uint32_t i = 0; i < out->nruns; i++) {
		uint64_t page = run_page(out->runs, i), pages = run_pages(out->runs, i);

		if (pages == 0 || page + pages > UINT32_MAX)
			return ST_CORRUPT;
		sum += pages;
	}
	return sum == out->npages ? ST_OK : ST_CORRUPT;
}

static enum st describe_item(struct span *rest, struct item *out)
{
	struct span head;
	enum st st;

	if (!take(rest, 25, &head))
		return ST_CORRUPT;
	out->body = le64_get(head.at + 1);
	out->len = le64_get(head.at + 9);
	out->nruns = le32_get(head.at + 17);
	out->npages = le32_get(head.at + 21);
	if (out->body == 0 || out->len > ESE_BODY_MAX ||
	    out->npages != (out->len + ESE_PAGE - 1) / ESE_PAGE)
		return ST_CORRUPT;
	st = take_runs(rest, out);
	if (st == ST_OK && !take(rest, (size_t)out->npages * 4, &out->crcs))
		st = ST_CORRUPT;
	return st;
}

static enum st move_item(struct span *rest, struct item *out)
{
	struct span head;

	if (!take(rest, 17, &head))
		return ST_CORRUPT;
	out->body = le64_get(head.at + 1);
	out->nruns = le32_get(head.at + 9);
	out->npages = le32_get(head.at + 13);
	return out->body != 0 ? take_runs(rest, out) : ST_CORRUPT;
}

static enum st link_item(struct span *rest, struct item *out)
{
	struct span head;

	if (!take(rest, 9, &head))
		return ST_CORRUPT;
	out->body = le64_get(head.at + 1);
	return out->body != 0 ? ST_OK : ST_CORRUPT;
}

enum st items_next(struct items *it, struct item *out)
{
	enum st st;

	if (it->left == 0)
		return it->rest.len == 0 ? ST_EOF : ST_CORRUPT;
	if (it->rest.len == 0)
		return ST_CORRUPT;
	*out = (struct item){ .kind = (enum item_kind)(unsigned char)it->rest.at[0] };
	switch (out->kind) {
	case ITEM_PUT:
	case ITEM_DELETE:
		st = row_item(&it->rest, out);
		break;
	case ITEM_DESCRIBE:
	case ITEM_DESCRIBE_DIRECT:
		st = describe_item(&it->rest, out);
		break;
	case ITEM_LINK:
	case ITEM_UNLINK:
		st = link_item(&it->rest, out);
		break;
	case ITEM_MOVE:
	case ITEM_MOVE_DIRECT:
		st = move_item(&it->rest, out);
		break;
	default:
		return ST_CORRUPT;
	}
	if (st == ST_OK)
		it->left--;
	return st;
}
