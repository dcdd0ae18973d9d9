#include "props/layout.h"

#include <assert.h>
#include <stdlib.h>

static char *dir_entry(const struct pw *w, size_t i)
{
	return w->out->at + w->start + LIST_HEAD + i * LIST_ENTRY;
}

void pw_begin(struct pw *w, struct buf *out, size_t props)
{
	size_t need = LIST_HEAD + props * LIST_ENTRY;
	char *room;

	*w = (struct pw){ .out = out, .start = out->len, .dir_cap = props };
	if (props > PLIST_MAX_PROPS) {
		out->failed = true;
		return;
	}
	room = buf_room(out, need);
	if (room) {
		memset(room, 0, need);
		out->len += need;
	}
}

/* One more entry: an inline value, or where its bytes will begin, which is the buffer's end. */
static void put_entry(struct pw *w, uint32_t tag, uint32_t v)
{
	char *e;

	if (w->out->failed)
		return;
	assert(!w->busy);
	assert(w->count < w->dir_cap);
	e = dir_entry(w, w->count++);
	le32_put(e, tag);
	le32_put(e + 4, v);
}

static void put_offset(struct pw *w, uint32_t tag)
{
	if (w->out->len - w->start > PLIST_MAX_BYTES)
		w->out->failed = true;
	put_entry(w, tag, (uint32_t)(w->out->len - w->start));
}

static void add_u32(struct pw *w, uint64_t v)
{
	char bytes[4];

	if (v > UINT32_MAX)
		w->out->failed = true;
	le32_put(bytes, (uint32_t)v);
	buf_add(w->out, bytes, sizeof bytes);
}

static void add_u64(struct pw *w, uint64_t v)
{
	char bytes[8];

	le64_put(bytes, v);
	buf_add(w->out, bytes, sizeof bytes);
}

static void put_bytes(struct pw *w, uint32_t tag, const void *bytes, size_t len)
{
	put_offset(w, tag);
	add_u32(w, len);
	if (len > 0)
		buf_add(w->out, bytes, len);
}

void pw_u32(struct pw *w, uint32_t tag, uint32_t v)
{
	assert(PROP_TYPE(tag) == PT_LONG);
	put_entry(w, tag, v);
}

void pw_bool(struct pw *w, uint32_t tag, bool v)
{
	assert(PROP_TYPE(tag) == PT_BOOLEAN);
	put_entry(w, tag, v);
}

void pw_u64(struct pw *w, uint32_t tag, uint64_t v)
{
	assert(value_kind(tag) == VALUE_NUMBER);
	put_offset(w, tag);
	add_u64(w, v);
}

void pw_span(struct pw *w, uint32_t tag, struct span v)
{
	assert(value_kind(tag) == VALUE_BYTES);
	put_bytes(w, tag, v.at, v.len);
}

void pw_str(struct pw *w, uint32_t tag, const char *v)
{
	pw_span(w, tag, span_str(v));
}

/* Elements: u32 n, then an end for each, then (by the caller) their bytes. */
static void begin_elements(struct pw *w, uint32_t tag, size_t n, uint64_t bytes)
{
	put_offset(w, tag);
	add_u32(w, 4 + 4 * (uint64_t)n + bytes);
	add_u32(w, n);
}

void pw_mv_span(struct pw *w, uint32_t tag, const struct span *v, size_t n)
{
	uint64_t end = 0;

	assert(value_kind(tag) == VALUE_SPANS);
	for (size_t i = 0; i < n; i++)
		end += v[i].len;
	begin_elements(w, tag, n, end);
	end = 0;
	for (size_t i = 0; i < n; i++)
		add_u32(w, end += v[i].len);
	for (size_t i = 0; i < n; i++)
		buf_span(w->out, v[i]);
}

void pw_mv_num(struct pw *w, uint32_t tag, const uint64_t *v, size_t n)
{
	enum value_kind kind = value_kind(tag);

	assert(kind == VALUE_NUMS4 || kind == VALUE_NUMS8);
	put_offset(w, tag);
	add_u32(w, 4 + (kind == VALUE_NUMS4 ? 4 : 8) * (uint64_t)n);
	add_u32(w, n);
	for (size_t i = 0; i < n; i++) {
		if (kind == VALUE_NUMS4)
			add_u32(w, v[i]);
		else
			add_u64(w, v[i]);
	}
}

void pw_object(struct pw *w, uint32_t tag, struct plist v)
{
	assert(value_kind(tag) == VALUE_LIST && v.len >= LIST_HEAD);
	put_bytes(w, tag, v.at, v.len);
}

void pw_mv_object(struct pw *w, uint32_t tag, const struct plist *v, size_t n)
{
	uint64_t end = 0;

	assert(value_kind(tag) == VALUE_LISTS);
	for (size_t i = 0; i < n; i++)
		end += v[i].len;
	begin_elements(w, tag, n, end);
	end = 0;
	for (size_t i = 0; i < n; i++)
		add_u32(w, end += v[i].len);
	for (size_t i = 0; i < n; i++)
		buf_add(w->out, v[i].at, v[i].len);
}

void pw_begin_object(struct pw *w, uint32_t tag, struct pw *inner, size_t props)
{
	assert(value_kind(tag) == VALUE_LIST);
	put_offset(w, tag);
	add_u32(w, 0); /* pw_end(inner) sets it */
	pw_begin(inner, w->out, props);
	inner->parent = w;
	w->busy = true;
}

static void put_raw(struct pw *w, uint32_t tag, struct span raw)
{
	switch (value_kind(tag)) {
	case VALUE_INLINE:
		put_entry(w, tag, le32_get(raw.at));
		break;
	case VALUE_NUMBER:
		pw_u64(w, tag, le64_get(raw.at));
		break;
	default:
		put_bytes(w, tag, raw.at, raw.len);
		break;
	}
}

static bool was_put(const struct pw *w, uint32_t tag)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (le32_get(dir_entry(w, i)) == tag)
			return true;
	return false;
}

/* One pass that stops at the tag: lists are short and sorted. */
void pw_copy(struct pw *w, const struct plist *from, uint32_t tag)
{
	struct plist_iter it = plist_iter(from);
	struct span raw;
	uint32_t have;

	while (plist_next(&it, &have, &raw)) {
		if (have < tag)
			continue;
		if (have == tag)
			put_raw(w, tag, raw);
		return;
	}
}

void pw_merge(struct pw *w, const struct plist *from)
{
	struct plist_iter it = plist_iter(from);
	struct span raw;
	uint32_t tag;

	if (w->out->failed)
		return;
	while (plist_next(&it, &tag, &raw))
		if (!was_put(w, tag))
			put_raw(w, tag, raw);
}

static int by_tag(const void *a, const void *b)
{
	uint32_t x = le32_get(a), y = le32_get(b);

	return (x > y) - (x < y);
}

/* Close the gap between the entries and the values. */
static void drop_unused_entries(struct pw *w)
{
	size_t gap = (w->dir_cap - w->count) * LIST_ENTRY;
	char *end = w->out->at + w->out->len;
	char *values = dir_entry(w, w->dir_cap);

	if (gap == 0)
		return;
	memmove(values - gap, values, (size_t)(end - values));
	w->out->len -= gap;
	for (uint32_t i = 0; i < w->count; i++) {
		char *e = dir_entry(w, i);

		if (value_kind(le32_get(e)) != VALUE_INLINE)
			le32_put(e + 4, le32_get(e + 4) - (uint32_t)gap);
	}
}

static void sort_entries(struct pw *w)
{
	bool sorted = true;

	for (uint32_t i = 1; i < w->count && sorted; i++)
		sorted = le32_get(dir_entry(w, i - 1)) < le32_get(dir_entry(w, i));
	if (sorted)
		return;
	qsort(dir_entry(w, 0), w->count, LIST_ENTRY, by_tag);
	for (uint32_t i = 1; i < w->count; i++)
		assert(le32_get(dir_entry(w, i - 1)) != le32_get(dir_entry(w, i)));
}

void pw_end(struct pw *w)
{
	char *head;
	size_t total;

	if (w->parent)
		w->parent->busy = false;
	if (w->out->failed)
		return;
	assert(!w->busy);
	drop_unused_entries(w);
	sort_entries(w);
	total = w->out->len - w->start;
	if (total > PLIST_MAX_BYTES) {
		w->out->failed = true;
		return;
	}
	head = w->out->at + w->start;
	le32_put(head, (uint32_t)total);
	le16_put(head + 4, (uint16_t)w->count);
	head[6] = LIST_VERSION;
	head[7] = 0;
	if (w->parent)
		le32_put(head - 4, (uint32_t)total);
}
