#include "props/layout.h"

#include <assert.h>

/* ---- the one check ---- */

static enum st check_list(const uint8_t *at, size_t len, unsigned depth, size_t *own,
			  struct err *err);

/* A nested list must fill its bytes. */
static enum st check_nested(const uint8_t *at, size_t len, unsigned depth, struct err *err)
{
	size_t own;
	enum st st = check_list(at, len, depth + 1, &own, err);

	if (st == ST_OK && own != len)
		return fail(err, ST_BAD, "property list: %zu bytes behind a nested list",
			    len - own);
	return st;
}

/* u32 n, n ends, bytes: every element within, in order, and nothing left over. */
static enum st check_elements(uint32_t tag, const uint8_t *at, size_t len, unsigned depth,
			      struct err *err)
{
	uint64_t n = len >= 4 ? le32_get(at) : UINT32_MAX;
	const uint8_t *data;
	size_t data_len, from = 0;

	if (4 + 4 * n > len)
		return fail(err, ST_BAD, "property 0x%08x: elements over its end", tag);
	data = at + 4 + 4 * n;
	data_len = len - 4 - 4 * n;
	for (size_t i = 0; i < n; i++) {
		size_t to = le32_get(at + 4 + 4 * i);

		if (to < from || to > data_len)
			return fail(err, ST_BAD, "property 0x%08x: element %zu out of place", tag,
				    i);
		if (value_kind(tag) == VALUE_LISTS) {
			enum st st = check_nested(data + from, to - from, depth, err);

			if (st != ST_OK)
				return st;
		}
		from = to;
	}
	if (from != data_len)
		return fail(err, ST_BAD, "property 0x%08x: bytes behind the last element", tag);
	return ST_OK;
}

static enum st check_bytes(uint32_t tag, const uint8_t *at, size_t len, unsigned depth,
			   struct err *err)
{
	size_t each = 8;

	switch (value_kind(tag)) {
	case VALUE_LIST:
		return check_nested(at, len, depth, err);
	case VALUE_SPANS:
	case VALUE_LISTS:
		return check_elements(tag, at, len, depth, err);
	case VALUE_NUMS4:
		each = 4;
		[[fallthrough]];
	case VALUE_NUMS8:
		if (len < 4 || (len - 4) % each != 0 || (len - 4) / each != le32_get(at))
			return fail(err, ST_BAD, "property 0x%08x: wrong count of numbers", tag);
		return ST_OK;
	default:
		return ST_OK;
	}
}

/* One directory entry.  *room is what is left of the value area: values may not add up to more, so
 * that lists that share bytes can't make the check of nested ones grow without bound. */
static enum st check_entry(const uint8_t *list, size_t total, size_t values, const uint8_t *entry,
			   size_t *room, unsigned depth, struct err *err)
{
	uint32_t tag = le32_get(entry), v = le32_get(entry + 4);
	enum value_kind kind = value_kind(tag);
	size_t need = kind == VALUE_NUMBER ? 8 : 4, len = 0;

	if (kind == VALUE_UNKNOWN)
		return fail(err, ST_BAD, "property 0x%08x: unknown type", tag);
	if (kind == VALUE_INLINE) {
		if (PROP_TYPE(tag) == PT_BOOLEAN && v > 1)
			return fail(err, ST_BAD, "property 0x%08x: neither 0 nor 1", tag);
		return ST_OK;
	}
	if (v < values || v > total || total - v < need)
		return fail(err, ST_BAD, "property 0x%08x: value outside the list", tag);
	if (kind != VALUE_NUMBER) {
		len = le32_get(list + v);
		if (len > total - v - 4)
			return fail(err, ST_BAD, "property 0x%08x: value over the list's end", tag);
	}
	if (need + len > *room)
		return fail(err, ST_BAD, "property 0x%08x: values share bytes", tag);
	*room -= need + len;
	return check_bytes(tag, list + v + 4, len, depth, err);
}

static enum st check_list(const uint8_t *at, size_t len, unsigned depth, size_t *own,
			  struct err *err)
{
	size_t total, values, room;
	uint32_t count, before = 0;

	if (depth > PLIST_MAX_DEPTH)
		return fail(err, ST_BAD, "property list: nested over %d deep", PLIST_MAX_DEPTH);
	if (len < LIST_HEAD)
		return fail(err, ST_BAD, "property list: %zu bytes are no head", len);
	total = le32_get(at);
	count = le16_get(at + 4);
	if (at[6] != LIST_VERSION || at[7] != 0)
		return fail(err, ST_BAD, "property list: unknown version %d.%d", at[6], at[7]);
	values = LIST_HEAD + (size_t)count * LIST_ENTRY;
	if (total > len || total > PLIST_MAX_BYTES || count > PLIST_MAX_PROPS || values > total)
		return fail(err, ST_BAD, "property list: %zu bytes, %u properties in %zu bytes",
			    total, count, len);
	room = total - values;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = at + LIST_HEAD + (size_t)i * LIST_ENTRY;
		uint32_t tag = le32_get(entry);
		enum st st;

		if (i > 0 && tag <= before)
			return fail(err, ST_BAD, "property 0x%08x: out of order", tag);
		before = tag;
		st = check_entry(at, total, values, entry, &room, depth, err);
		if (st != ST_OK)
			return st;
	}
	*own = total;
	return ST_OK;
}

enum st plist_open(struct plist *out, const void *bytes, size_t len, struct err *err)
{
	size_t own;
	enum st st = check_list(bytes, len, 1, &own, err);

	if (st == ST_OK)
		*out = (struct plist){ bytes, own };
	return st;
}

struct plist plist_trusted(const void *bytes, size_t len)
{
	assert(len >= LIST_HEAD && le32_get(bytes) <= len);
	return (struct plist){ bytes, le32_get(bytes) };
}

/* ---- reading ---- */

size_t plist_count(const struct plist *l)
{
	return l->len < LIST_HEAD ? 0 : le16_get(l->at + 4);
}

static const uint8_t *entry_at(const struct plist *l, size_t i)
{
	return l->at + LIST_HEAD + i * LIST_ENTRY;
}

static const uint8_t *entry_find(const struct plist *l, uint32_t tag)
{
	size_t low = 0, high = plist_count(l);

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const uint8_t *e = entry_at(l, mid);
		uint32_t have = le32_get(e);

		if (have == tag)
			return e;
		if (have < tag)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* The bytes of an entry's value, length word taken off. */
static struct span entry_value(const struct plist *l, const uint8_t *e)
{
	const uint8_t *at = l->at + le32_get(e + 4);

	switch (value_kind(le32_get(e))) {
	case VALUE_INLINE:
		return span_of(e + 4, 4);
	case VALUE_NUMBER:
		return span_of(at, 8);
	default:
		return span_of(at + 4, le32_get(at));
	}
}

static struct span value_find(const struct plist *l, uint32_t tag)
{
	const uint8_t *e = entry_find(l, tag);

	return e ? entry_value(l, e) : SPAN_NONE;
}

bool plist_has(const struct plist *l, uint32_t tag)
{
	return entry_find(l, tag) != NULL;
}

uint32_t plist_u32(const struct plist *l, uint32_t tag, uint32_t otherwise)
{
	const uint8_t *e = entry_find(l, tag);

	assert(PROP_TYPE(tag) == PT_LONG);
	return e ? le32_get(e + 4) : otherwise;
}

uint64_t plist_u64(const struct plist *l, uint32_t tag, uint64_t otherwise)
{
	struct span v = value_find(l, tag);

	assert(value_kind(tag) == VALUE_NUMBER);
	return v.at ? le64_get(v.at) : otherwise;
}

bool plist_bool(const struct plist *l, uint32_t tag, bool otherwise)
{
	const uint8_t *e = entry_find(l, tag);

	assert(PROP_TYPE(tag) == PT_BOOLEAN);
	return e ? le32_get(e + 4) != 0 : otherwise;
}

struct span plist_span(const struct plist *l, uint32_t tag)
{
	assert(value_kind(tag) == VALUE_BYTES);
	return value_find(l, tag);
}

bool plist_object(const struct plist *l, uint32_t tag, struct plist *out)
{
	struct span v = value_find(l, tag);

	assert(value_kind(tag) == VALUE_LIST);
	if (!v.at)
		return false;
	*out = (struct plist){ (const uint8_t *)v.at, v.len };
	return true;
}

size_t plist_mv_count(const struct plist *l, uint32_t tag)
{
	struct span v = value_find(l, tag);

	assert(value_kind(tag) >= VALUE_NUMS4);
	return v.at ? le32_get(v.at) : 0;
}

uint64_t plist_mv_num(const struct plist *l, uint32_t tag, size_t i)
{
	struct span v = value_find(l, tag);
	enum value_kind kind = value_kind(tag);

	assert(kind == VALUE_NUMS4 || kind == VALUE_NUMS8);
	if (!v.at || i >= le32_get(v.at))
		return 0;
	return kind == VALUE_NUMS4 ? le32_get(v.at + 4 + 4 * i) : le64_get(v.at + 4 + 8 * i);
}

static struct span element(struct span v, size_t i)
{
	size_t n = v.at ? le32_get(v.at) : 0, from;

	if (i >= n)
		return SPAN_NONE;
	from = i > 0 ? le32_get(v.at + 4 * i) : 0;
	return span_of(v.at + 4 + 4 * n + from, le32_get(v.at + 4 + 4 * i) - from);
}

struct span plist_mv_span(const struct plist *l, uint32_t tag, size_t i)
{
	assert(value_kind(tag) == VALUE_SPANS);
	return element(value_find(l, tag), i);
}

bool plist_mv_object(const struct plist *l, uint32_t tag, size_t i, struct plist *out)
{
	struct span v = element(value_find(l, tag), i);

	assert(value_kind(tag) == VALUE_LISTS);
	if (!v.at)
		return false;
	*out = (struct plist){ (const uint8_t *)v.at, v.len };
	return true;
}

bool plist_next(struct plist_iter *it, uint32_t *tag, struct span *raw_value)
{
	const uint8_t *e;

	if (it->i >= plist_count(&it->list))
		return false;
	e = entry_at(&it->list, it->i++);
	*tag = le32_get(e);
	*raw_value = entry_value(&it->list, e);
	return true;
}
