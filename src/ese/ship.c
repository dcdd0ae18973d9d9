/* ship.c - frames of the shipping stream; see ship.h. */
#include "ese/ship.h"

#include "base/byteorder.h"
#include "base/crc32c.h"
#include "ese/ese_int.h"

#include <stdio.h>

#define SHIP_MAGIC 0x4853524du /* "MRSH" */
/* Bytes that were used up are dropped when there are so many. */
#define DROP       (1024u * 1024)

void ship_put(struct buf *out, const struct ship_frame *f)
{
	char head[SHIP_HEAD] = { 0 };

	le32_put(head + 4, crc32c(0, f->payload.at, f->payload.len));
	le32_put(head + 8, SHIP_MAGIC);
	le32_put(head + 12, (uint32_t)f->payload.len);
	le16_put(head + 16, (uint16_t)f->kind);
	le16_put(head + 18, f->group);
	le64_put(head + 24, f->pos);
	le64_put(head + 32, f->time);
	le32_put(head, crc32c(0, head + 4, SHIP_HEAD - 4));
	buf_add(out, head, sizeof(head));
	buf_span(out, f->payload);
}

void ship_reader_open(struct ship_reader *r)
{
	*r = (struct ship_reader){ .bytes = BUF_MAX(SHIP_PAYLOAD_MAX + DROP + SHIP_HEAD +
						    1024u * 1024) };
}

void ship_reader_close(struct ship_reader *r)
{
	buf_free(&r->bytes);
	r->used = 0;
}

enum st ship_feed(struct ship_reader *r, const void *at, size_t len, struct err *err)
{
	if (r->used == r->bytes.len || r->used >= DROP) {
		buf_drop(&r->bytes, r->used);
		r->used = 0;
	}
	buf_add(&r->bytes, at, len);
	return r->bytes.failed ? fail(err, ST_NOMEM, "no memory for what is shipped") : ST_OK;
}

enum st ship_next(struct ship_reader *r, struct ship_frame *out, struct err *err)
{
	struct span rest = span_skip(buf_get(&r->bytes), r->used);
	const char *at = rest.at;
	uint32_t len;
	uint16_t kind;

	if (rest.len < SHIP_HEAD)
		return ST_MORE;
	len = le32_get(at + 12);
	kind = le16_get(at + 16);
	if (le32_get(at + 8) != SHIP_MAGIC || le32_get(at) != crc32c(0, at + 4, SHIP_HEAD - 4) ||
	    len > SHIP_PAYLOAD_MAX || kind < SHIP_HELLO || kind > SHIP_STOP ||
	    le32_get(at + 20) != 0)
		return fail(err, ST_CORRUPT,
			    "what comes through the pipe is no shipping stream, or it is damaged");
	if (rest.len - SHIP_HEAD < len)
		return ST_MORE;
	if (le32_get(at + 4) != crc32c(0, at + SHIP_HEAD, len))
		return fail(err, ST_CORRUPT, "the shipping stream is damaged");
	*out = (struct ship_frame){ .kind = (enum ship_kind)kind,
				    .group = le16_get(at + 18),
				    .pos = le64_get(at + 24),
				    .time = le64_get(at + 32),
				    .payload = span_of(at + SHIP_HEAD, len) };
	r->used += SHIP_HEAD + len;
	return ST_OK;
}

/* ---- payloads ---- */

void ship_put_hello(struct buf *out)
{
	char p[8];

	le32_put(p, SHIP_VERSION);
	le32_put(p + 4, ESE_FORMAT);
	ship_put(out, &(struct ship_frame){ .kind = SHIP_HELLO, .payload = span_of(p, sizeof(p)) });
}

enum st ship_check_hello(const struct ship_frame *f, struct err *err)
{
	uint32_t version, format;

	if (f->kind != SHIP_HELLO || f->payload.len != 8)
		return fail(err, ST_CORRUPT, "the other end does not begin as it must");
	version = le32_get(f->payload.at);
	format = le32_get(f->payload.at + 4);
	if (version != SHIP_VERSION || format != ESE_FORMAT)
		return fail(
			err, ST_BAD,
			"the other end speaks version %u of the stream and format %u, this one %u "
			"and %u: both ends must be of one release",
			version, format, SHIP_VERSION, ESE_FORMAT);
	return ST_OK;
}

bool ship_name_ok(struct span name)
{
	if (name.len == 0 || name.len > SHIP_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || c == ' '))
			return false;
	}
	return true;
}

static void put_named(struct buf *out, struct ship_frame f, const unsigned char *signature,
		      const void *middle, size_t len, const char *name)
{
	char p[LOG_SIGNATURE + 16 + SHIP_NAME_MAX];
	size_t n = strlen(name);

	memcpy(p, signature, LOG_SIGNATURE);
	if (len)
		memcpy(p + LOG_SIGNATURE, middle, len);
	memcpy(p + LOG_SIGNATURE + len, name, n);
	f.payload = span_of(p, LOG_SIGNATURE + len + n);
	ship_put(out, &f);
}

static enum st get_named(const struct ship_frame *f, size_t fixed, unsigned char *signature,
			 char name[SHIP_NAME_MAX + 1], struct err *err)
{
	struct span text = span_skip(f->payload, fixed);

	if (f->payload.len < fixed || !ship_name_ok(text))
		return fail(err, ST_CORRUPT, "the other end names a group that can't be");
	memcpy(signature, f->payload.at, LOG_SIGNATURE);
	memcpy(name, text.at, text.len);
	name[text.len] = '\0';
	return ST_OK;
}

void ship_put_stand(struct buf *out, const struct ship_stand *s)
{
	char middle[16];

	le64_put(middle, s->created);
	le64_put(middle + 8, s->number);
	put_named(out, (struct ship_frame){ .kind = SHIP_STAND, .pos = s->pos }, s->signature,
		  middle, sizeof(middle), s->name);
}

enum st ship_get_stand(const struct ship_frame *f, struct ship_stand *out, struct err *err)
{
	enum st st = get_named(f, LOG_SIGNATURE + 16, out->signature, out->name, err);

	if (st != ST_OK)
		return st;
	out->pos = f->pos;
	out->created = le64_get(f->payload.at + LOG_SIGNATURE);
	out->number = le64_get(f->payload.at + LOG_SIGNATURE + 8);
	return ST_OK;
}

void ship_put_group(struct buf *out, const struct ship_group *g)
{
	put_named(out, (struct ship_frame){ .kind = SHIP_GROUP, .group = g->index, .pos = g->pos },
		  g->signature, NULL, 0, g->name);
}

enum st ship_get_group(const struct ship_frame *f, struct ship_group *out, struct err *err)
{
	enum st st = get_named(f, LOG_SIGNATURE, out->signature, out->name, err);

	if (st != ST_OK)
		return st;
	out->pos = f->pos;
	out->index = f->group;
	return ST_OK;
}
