/* heap.c - sections and their parts; see heap.h. */
#include "exipc/heap.h"

#include <stdlib.h>

/* Blocks of 256 bytes, 1, 4 and 16 KiB: sizes are powers of two, so that nothing divides. */
static unsigned class_shift(unsigned cls)
{
	return 8 + 2 * cls;
}

static uint32_t class_size(unsigned cls)
{
	return 1u << class_shift(cls);
}

void heap_init(struct heap *h, unsigned first, unsigned end)
{
	*h = (struct heap){ .first = first, .end = end, .free = end - first };
	for (unsigned cls = 0; cls < HEAP_CLASSES; cls++)
		h->hint[cls] = first;
}

static unsigned parts_of(const struct heap_section *s)
{
	return EXIPC_SECTION >> class_shift(s->cls);
}

static bool map_has(const struct heap_section *s, unsigned part)
{
	return s->map[part / 64] >> part % 64 & 1;
}

void heap_drop(struct heap *h, void (*out)(void *arg, void *cookie), void *arg)
{
	for (unsigned i = h->first; i < h->end; i++) {
		struct heap_section *s = &h->section[i];

		if (out && s->use == HEAP_RUN)
			out(arg, s->cookie[0]);
		for (unsigned p = 0; out && s->use == HEAP_PARTED && p < parts_of(s); p++)
			if (map_has(s, p))
				out(arg, s->cookie[p]);
		free(s->cookie);
	}
	*h = (struct heap){ 0 };
}

static bool section_book(struct heap_section *s)
{
	if (!s->cookie)
		s->cookie = calloc(HEAP_PARTS, sizeof(*s->cookie));
	return s->cookie != NULL;
}

static unsigned first_free_part(const struct heap_section *s)
{
	for (unsigned w = 0; w < HEAP_PARTS / 64; w++)
		if (~s->map[w])
			return w * 64 + (unsigned)__builtin_ctzll(~s->map[w]);
	return HEAP_PARTS;
}

static void part_take(struct heap *h, unsigned section, void *cookie, uint32_t *offset)
{
	struct heap_section *s = &h->section[section];
	unsigned part = first_free_part(s);

	assert(part < parts_of(s));
	s->map[part / 64] |= 1ULL << part % 64;
	s->cookie[part] = cookie;
	s->taken++;
	h->blocks++;
	*offset = section * EXIPC_SECTION + (part << class_shift(s->cls));
}

static bool has_part(const struct heap_section *s, unsigned cls)
{
	return s->use == HEAP_PARTED && s->cls == cls && s->taken < parts_of(s);
}

/* The section to take a part from: one with parts left, else a free one; h->end when there is none. */
static unsigned section_for(const struct heap *h, unsigned cls)
{
	unsigned last = h->hint[cls], fresh = h->end;

	if (h->section[last].use == HEAP_FREE || has_part(&h->section[last], cls))
		return last;
	for (unsigned i = h->first; i < h->end; i++) {
		if (has_part(&h->section[i], cls))
			return i;
		if (h->section[i].use == HEAP_FREE && fresh == h->end)
			fresh = i;
	}
	return fresh;
}

static enum st get_part(struct heap *h, unsigned cls, void *cookie, uint32_t *offset)
{
	unsigned at = section_for(h, cls);

	if (at == h->end)
		return ST_NOSPACE;
	struct heap_section *s = &h->section[at];
	if (s->use == HEAP_FREE) {
		if (!section_book(s))
			return ST_NOMEM;
		s->use = HEAP_PARTED;
		s->cls = (uint8_t)cls;
		s->taken = 0;
		memset(s->map, 0, sizeof(s->map));
		h->free--;
	}
	h->hint[cls] = at;
	part_take(h, at, cookie, offset);
	return ST_OK;
}

static enum st get_run(struct heap *h, unsigned want, void *cookie, uint32_t *offset)
{
	unsigned have = 0;

	for (unsigned i = h->first; i < h->end; i++) {
		have = h->section[i].use == HEAP_FREE ? have + 1 : 0;
		if (have < want)
			continue;
		unsigned at = i + 1 - want;
		if (!section_book(&h->section[at]))
			return ST_NOMEM;
		for (unsigned k = at; k <= i; k++)
			h->section[k].use = HEAP_REST;
		h->section[at].use = HEAP_RUN;
		h->section[at].run = (uint16_t)want;
		h->section[at].cookie[0] = cookie;
		h->free -= want;
		h->blocks++;
		*offset = at * EXIPC_SECTION;
		return ST_OK;
	}
	return ST_NOSPACE;
}

enum st heap_get(struct heap *h, size_t len, void *cookie, uint32_t *offset)
{
	if (len > (size_t)(h->end - h->first) * EXIPC_SECTION)
		return ST_TOOBIG;
	for (unsigned cls = 0; cls < HEAP_CLASSES; cls++)
		if (len <= class_size(cls))
			return get_part(h, cls, cookie, offset);
	return get_run(h, (unsigned)((len + EXIPC_SECTION - 1) / EXIPC_SECTION), cookie, offset);
}

static enum st put_run(struct heap *h, unsigned section, void **cookie)
{
	struct heap_section *s = &h->section[section];
	unsigned run = s->run;

	*cookie = s->cookie[0];
	for (unsigned k = 0; k < run; k++)
		h->section[section + k].use = HEAP_FREE;
	h->free += run;
	h->blocks--;
	return ST_OK;
}

static enum st put_part(struct heap *h, struct heap_section *s, uint32_t within, void **cookie)
{
	unsigned part = within >> class_shift(s->cls);

	if (within & (class_size(s->cls) - 1) || !map_has(s, part))
		return ST_BAD;
	s->map[part / 64] &= ~(1ULL << part % 64);
	*cookie = s->cookie[part];
	h->blocks--;
	if (--s->taken == 0) {
		s->use = HEAP_FREE;
		h->free++;
	}
	return ST_OK;
}

enum st heap_put(struct heap *h, uint32_t offset, void **cookie)
{
	uint32_t section = offset / EXIPC_SECTION, within = offset % EXIPC_SECTION;

	if (section < h->first || section >= h->end)
		return ST_BAD;
	struct heap_section *s = &h->section[section];
	if (s->use == HEAP_RUN && within == 0)
		return put_run(h, section, cookie);
	if (s->use == HEAP_PARTED)
		return put_part(h, s, within, cookie);
	return ST_BAD;
}
