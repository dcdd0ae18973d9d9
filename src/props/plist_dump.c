#include "props/layout.h"
#include "props/tags.h"

#include <stdio.h>

#define DUMP_BYTES_MAX 64

struct dump {
	struct buf *out;
	enum prop_space space;
	char prefix[256];
	size_t prefix_len;
};

static void dump_list(struct dump *d, const struct plist *l);

static void dump_hex(struct buf *out, struct span v)
{
	for (size_t i = 0; i < v.len && i < DUMP_BYTES_MAX; i++)
		buf_printf(out, "%02x", (unsigned char)v.at[i]);
	if (v.len > DUMP_BYTES_MAX)
		buf_printf(out, "... (%zu bytes)", v.len);
}

static void dump_bytes(struct buf *out, uint32_t type, struct span v)
{
	if (type == PT_UNICODE || type == PT_MV_UNICODE)
		buf_json(out, v);
	else
		dump_hex(out, v);
}

/* Write what is inside with `name` and a dot in front; too long a prefix is just cut. */
static void dump_inside(struct dump *d, const char *name, const struct plist *l)
{
	size_t before = d->prefix_len, room = sizeof d->prefix - before;
	struct buf add = BUF_MAX(sizeof d->prefix);

	buf_printf(&add, "%s.", name);
	if (!add.failed && add.len < room) {
		memcpy(d->prefix + before, add.at, add.len);
		d->prefix_len += add.len;
	}
	buf_free(&add);
	dump_list(d, l);
	d->prefix_len = before;
}

static void dump_elements(struct dump *d, const struct plist *l, uint32_t tag)
{
	enum value_kind kind = value_kind(tag);
	size_t n = plist_mv_count(l, tag);

	buf_char(d->out, '[');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_str(d->out, ", ");
		if (kind == VALUE_SPANS)
			dump_bytes(d->out, PROP_TYPE(tag), plist_mv_span(l, tag, i));
		else
			buf_u64(d->out, plist_mv_num(l, tag, i));
	}
	buf_char(d->out, ']');
}

static void dump_objects(struct dump *d, const struct plist *l, uint32_t tag, const char *name)
{
	struct plist inner;
	char with_index[96];

	if (value_kind(tag) == VALUE_LIST && plist_object(l, tag, &inner))
		dump_inside(d, name, &inner);
	if (value_kind(tag) != VALUE_LISTS)
		return;
	for (size_t i = 0; plist_mv_object(l, tag, i, &inner); i++) {
		snprintf(with_index, sizeof with_index, "%s[%zu]", name, i);
		dump_inside(d, with_index, &inner);
	}
}

static void dump_value(struct dump *d, const struct plist *l, uint32_t tag, struct span raw)
{
	switch (value_kind(tag)) {
	case VALUE_INLINE:
		buf_u64(d->out, le32_get(raw.at));
		break;
	case VALUE_NUMBER:
		buf_u64(d->out, le64_get(raw.at));
		break;
	case VALUE_BYTES:
		dump_bytes(d->out, PROP_TYPE(tag), raw);
		break;
	case VALUE_LIST:
		buf_str(d->out, "{}");
		break;
	case VALUE_LISTS:
		buf_printf(d->out, "{%zu}", plist_mv_count(l, tag));
		break;
	default:
		dump_elements(d, l, tag);
		break;
	}
}

static void dump_list(struct dump *d, const struct plist *l)
{
	struct plist_iter it = plist_iter(l);
	struct span raw;
	uint32_t tag;

	while (plist_next(&it, &tag, &raw)) {
		const struct prop_info *info = prop_find(d->space, tag);
		const char *name = info ? info->symbol : "?";

		buf_add(d->out, d->prefix, d->prefix_len);
		buf_printf(d->out, "%s(0x%08X)=", name, tag);
		dump_value(d, l, tag, raw);
		buf_char(d->out, '\n');
		dump_objects(d, l, tag, name);
	}
}

void plist_dump(const struct plist *l, struct buf *out)
{
	struct dump d = { .out = out, .space = PROP_MAPI };

	dump_list(&d, l);
}

void plist_dump_mailmsg(const struct plist *l, struct buf *out)
{
	struct dump d = { .out = out, .space = PROP_MAILMSG };

	dump_list(&d, l);
}
