/* space.c - the page allocator; see space.h.
 *
 * First fit from a hint over chunks that count their free pages: full chunks cost one comparison.
 * Small bodies land side by side, which lets the apply thread write them with one call. */
#include "ese/space.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define GROW_MIN  256u   /* 1 MiB */
#define GROW_MAX  16384u /* 64 MiB */
#define LOOK_MAX  64u    /* chunks with free pages that are searched for a run long enough */
#define WORDS     (SPACE_CHUNK / 64)
#define PAGES_MAX (UINT32_MAX - SPACE_CHUNK)

struct chunk {
	uint64_t used[WORDS], committed[WORDS], verified[WORDS];
	uint64_t hole[WORDS]; /* no blocks on the disk */
	uint16_t free;
	bool dirty;
};

struct space {
	enum st (*grow)(void *arg, uint64_t pages, struct err *err);
	enum st (*fill)(void *arg, uint32_t page, uint32_t pages, struct err *err);
	void *arg;
	bool holes; /* some page may be one */
	pthread_mutex_t lock;
	pthread_mutex_t growing; /* one thread makes the file longer */
	struct chunk *chunks;
	uint32_t nchunks, cap;
	uint64_t total, free, committed;
	uint32_t hint; /* no chunk before it has a free page */
	uint32_t *dirty;
	uint32_t ndirty, cap_dirty;
};

struct space *space_new(enum st (*grow)(void *arg, uint64_t pages, struct err *err), void *arg)
{
	struct space *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->grow = grow;
	s->arg = arg;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->growing, NULL);
	return s;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->growing);
	pthread_mutex_destroy(&s->lock);
	free(s->dirty);
	free(s->chunks);
	free(s);
}

/* ---- bits ---- */

static bool bit(const uint64_t *words, uint32_t n)
{
	return words[n / 64] >> (n % 64) & 1;
}

static void bit_set(uint64_t *words, uint32_t n)
{
	words[n / 64] |= UINT64_C(1) << (n % 64);
}

static void bit_clear(uint64_t *words, uint32_t n)
{
	words[n / 64] &= ~(UINT64_C(1) << (n % 64));
}

static void use(struct space *s, uint32_t page)
{
	struct chunk *c = &s->chunks[page / SPACE_CHUNK];

	if (bit(c->used, page % SPACE_CHUNK))
		return;
	bit_set(c->used, page % SPACE_CHUNK);
	c->free--;
	s->free--;
}

static void unuse(struct space *s, uint32_t page)
{
	struct chunk *c = &s->chunks[page / SPACE_CHUNK];

	if (!bit(c->used, page % SPACE_CHUNK))
		return;
	bit_clear(c->used, page % SPACE_CHUNK);
	c->free++;
	s->free++;
	if (page / SPACE_CHUNK < s->hint)
		s->hint = page / SPACE_CHUNK;
}

/* ---- size ---- */

/* With the lock held: the table covers `pages` pages; new ones are free.  Page numbers behind `pages` in
 * the last chunk count as used, so that nothing can be reserved there. */
static enum st cover(struct space *s, uint64_t pages, struct err *err)
{
	uint32_t need;

	if (pages > PAGES_MAX)
		return fail(err, ST_NOSPACE, "the streaming file is at its largest");
	need = (uint32_t)((pages + SPACE_CHUNK - 1) / SPACE_CHUNK);
	if (need > s->cap) {
		uint32_t cap = need + need / 4 + 16;
		struct chunk *more = realloc(s->chunks, cap * sizeof(*more));

		if (!more)
			return fail(err, ST_NOMEM, "page table");
		s->chunks = more;
		s->cap = cap;
	}
	for (; s->nchunks < need; s->nchunks++) {
		struct chunk *c = &s->chunks[s->nchunks];

		*c = (struct chunk){ 0 };
		memset(c->used, 0xff, sizeof(c->used));
	}
	if (s->total < pages && s->total / SPACE_CHUNK < s->hint)
		s->hint = (uint32_t)(s->total / SPACE_CHUNK);
	while (s->total < pages) {
		struct chunk *c = &s->chunks[s->total / SPACE_CHUNK];

		bit_clear(c->used, (uint32_t)(s->total % SPACE_CHUNK));
		c->free++;
		s->free++;
		s->total++;
	}
	return ST_OK;
}

enum st space_extend(struct space *s, uint64_t pages, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&s->lock);
	st = cover(s, pages, err);
	pthread_mutex_unlock(&s->lock);
	return st;
}

enum st space_load(struct space *s, uint32_t chunk, const unsigned char row[SPACE_ROW],
		   struct err *err)
{
	if (chunk >= PAGES_MAX / SPACE_CHUNK)
		return fail(err, ST_CORRUPT, "space row %u is out of range", chunk);
	for (uint32_t i = 0; i < SPACE_CHUNK; i++) {
		uint32_t page = chunk * SPACE_CHUNK + i;
		enum st st;

		if (!(row[i / 8] >> (i % 8) & 1))
			continue;
		st = space_extend(s, (uint64_t)page + 1, err);
		if (st != ST_OK)
			return st;
		bit_set(s->chunks[chunk].committed, i);
		use(s, page);
		s->committed++;
	}
	return ST_OK;
}

void space_begin(struct space *s)
{
	pthread_mutex_lock(&s->lock);
	s->free = 0;
	for (uint32_t i = 0; i < s->nchunks; i++) {
		struct chunk *c = &s->chunks[i];
		uint64_t inside = s->total - (uint64_t)i * SPACE_CHUNK;
		unsigned taken = 0;

		memcpy(c->used, c->committed, sizeof(c->used));
		for (uint64_t n = inside; n < SPACE_CHUNK; n++)
			bit_set(c->used, (uint32_t)n);
		for (unsigned w = 0; w < WORDS; w++)
			taken += (unsigned)__builtin_popcountll(c->used[w]);
		c->free = (uint16_t)(SPACE_CHUNK - taken);
		s->free += c->free;
	}
	s->hint = 0;
	pthread_mutex_unlock(&s->lock);
}

/* One thread grows the file, a step ahead of the need; the others that found no page wait for it. */
static enum st make_longer(struct space *s, struct err *err)
{
	enum st st = ST_OK;
	uint64_t total, step;
	bool needed;

	pthread_mutex_lock(&s->growing);
	pthread_mutex_lock(&s->lock);
	needed = s->free == 0;
	total = s->total;
	pthread_mutex_unlock(&s->lock);
	if (needed) {
		step = total / 8 / GROW_MIN * GROW_MIN;
		step = step < GROW_MIN ? GROW_MIN : step > GROW_MAX ? GROW_MAX : step;
		st = s->grow(s->arg, total + step, err);
		if (st == ST_OK)
			st = space_extend(s, total + step, err);
	}
	pthread_mutex_unlock(&s->growing);
	return st;
}

/* ---- finding ---- */

static uint32_t free_from(const struct chunk *c, uint32_t at, uint32_t want)
{
	uint32_t n = 0;

	while (n < want && at + n < SPACE_CHUNK && !bit(c->used, at + n))
		n++;
	return n;
}

/* The first run of `want`, or the longest, in one chunk. */
static uint32_t best_in(const struct chunk *c, uint32_t want, uint32_t *at_out)
{
	uint32_t best = 0;

	for (uint32_t at = 0; at < SPACE_CHUNK && best < want;) {
		uint32_t n;

		if (c->used[at / 64] == UINT64_MAX) {
			at = (at / 64 + 1) * 64;
			continue;
		}
		n = free_from(c, at, want);
		if (n > best) {
			best = n;
			*at_out = at;
		}
		at += n + 1;
	}
	return best;
}

/* With the lock held; false: no free page. */
static bool find(struct space *s, uint32_t want, struct run *out)
{
	uint32_t looked = 0, at = 0;

	out->pages = 0;
	while (s->hint < s->nchunks && s->chunks[s->hint].free == 0)
		s->hint++;
	for (uint32_t i = s->hint; i < s->nchunks && out->pages < want && looked < LOOK_MAX; i++) {
		uint32_t n;

		if (s->chunks[i].free == 0)
			continue;
		looked++;
		n = best_in(&s->chunks[i], want, &at);
		if (n > out->pages)
			*out = (struct run){ i * SPACE_CHUNK + at, n };
	}
	return out->pages > 0;
}

static bool take_near(struct space *s, uint32_t want, uint32_t near, struct run *out)
{
	if (near == 0 || near >= s->total)
		return false;
	out->page = near;
	out->pages = free_from(&s->chunks[near / SPACE_CHUNK], near % SPACE_CHUNK, want);
	return out->pages > 0;
}

/* With the lock held: is there a page without blocks?  It is taken for filled from now on. */
static bool take_holes(struct space *s, const struct run *r)
{
	bool any = false;

	for (uint32_t i = r->page; s->holes && i < r->page + r->pages; i++) {
		struct chunk *c = &s->chunks[i / SPACE_CHUNK];

		any = any || bit(c->hole, i % SPACE_CHUNK);
		bit_clear(c->hole, i % SPACE_CHUNK);
	}
	return any;
}

/* A full disk is met here and not when the bytes are written. */
static enum st fill_holes(struct space *s, const struct run *r, struct err *err)
{
	enum st st = s->fill ? s->fill(s->arg, r->page, r->pages, err) : ST_OK;

	if (st != ST_OK) {
		space_punched(s, r->page, r->pages);
		space_release(s, r->page, r->pages);
	}
	return st;
}

void space_fill_with(struct space *s,
		     enum st (*fill)(void *arg, uint32_t page, uint32_t pages, struct err *err))
{
	s->fill = fill;
}

void space_punched(struct space *s, uint32_t page, uint32_t pages)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = page; i < page + pages && i < s->total; i++)
		bit_set(s->chunks[i / SPACE_CHUNK].hole, i % SPACE_CHUNK);
	s->holes = true;
	pthread_mutex_unlock(&s->lock);
}

enum st space_reserve(struct space *s, uint32_t want, uint32_t near, struct run *out,
		      struct err *err)
{
	for (;;) {
		struct run r;
		bool found, empty;
		enum st st;

		pthread_mutex_lock(&s->lock);
		found = take_near(s, want, near, &r) || find(s, want, &r);
		for (uint32_t i = 0; found && i < r.pages; i++)
			use(s, r.page + i);
		empty = found && take_holes(s, &r);
		pthread_mutex_unlock(&s->lock);
		if (found) {
			*out = r;
			return empty ? fill_holes(s, &r, err) : ST_OK;
		}
		st = make_longer(s, err);
		if (st != ST_OK)
			return st;
	}
}

void space_release(struct space *s, uint32_t page, uint32_t pages)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < pages; i++)
		unuse(s, page + i);
	pthread_mutex_unlock(&s->lock);
}

bool space_reserve_below(struct space *s, uint32_t want, uint32_t least, uint32_t below,
			 struct run *out)
{
	uint32_t at = 0, n;
	bool empty;

	out->pages = 0;
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = s->hint; i < s->nchunks && i * SPACE_CHUNK < below; i++) {
		if (s->chunks[i].free < least || out->pages >= want)
			continue;
		n = best_in(&s->chunks[i], want, &at);
		if (n && i * SPACE_CHUNK + at + n > below)
			n = i * SPACE_CHUNK + at < below ? below - i * SPACE_CHUNK - at : 0;
		if (n >= least && n > out->pages)
			*out = (struct run){ i * SPACE_CHUNK + at, n };
	}
	for (uint32_t i = 0; i < out->pages; i++)
		use(s, out->page + i);
	empty = take_holes(s, out);
	pthread_mutex_unlock(&s->lock);
	return out->pages > 0 && (!empty || fill_holes(s, out, NULL) == ST_OK);
}

bool space_reserve_hole(struct space *s, uint32_t from, uint32_t least, struct run *out)
{
	out->pages = 0;
	pthread_mutex_lock(&s->lock);
	while (from < s->total && out->pages == 0) {
		const struct chunk *c = &s->chunks[from / SPACE_CHUNK];
		uint32_t in = from % SPACE_CHUNK, n = free_from(c, in, SPACE_CHUNK - in);

		if (n >= least)
			*out = (struct run){ from, n };
		from += n + 1;
	}
	for (uint32_t i = 0; i < out->pages; i++)
		use(s, out->page + i);
	pthread_mutex_unlock(&s->lock);
	return out->pages > 0;
}

/* With the lock held: behind the last page that is used. */
static uint64_t used_end(const struct space *s)
{
	uint64_t end = s->total;

	while (end > 0 && !bit(s->chunks[(end - 1) / SPACE_CHUNK].used, (end - 1) % SPACE_CHUNK))
		end--;
	return end;
}

enum st space_trim(struct space *s, enum st (*cut)(void *arg, uint64_t pages, struct err *err),
		   void *arg, uint64_t *pages_out, struct err *err)
{
	uint64_t end, before;
	enum st st = ST_OK;

	pthread_mutex_lock(&s->growing);
	pthread_mutex_lock(&s->lock);
	before = s->total;
	end = used_end(s);
	while (s->total > end) {
		s->total--;
		use(s, (uint32_t)s->total);
	}
	pthread_mutex_unlock(&s->lock);
	if (end < before)
		st = cut(arg, end, err);
	pthread_mutex_unlock(&s->growing);
	*pages_out = end;
	return st;
}

/* ---- verified pages ---- */

void space_verified(struct space *s, uint32_t page, uint32_t pages)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = page; i < page + pages && i < s->total; i++)
		bit_set(s->chunks[i / SPACE_CHUNK].verified, i % SPACE_CHUNK);
	pthread_mutex_unlock(&s->lock);
}

bool space_is_verified(struct space *s, uint32_t page, uint32_t pages)
{
	bool all = true;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = page; all && i < page + pages; i++)
		all = i < s->total && bit(s->chunks[i / SPACE_CHUNK].verified, i % SPACE_CHUNK);
	pthread_mutex_unlock(&s->lock);
	return all;
}

/* ---- the committed bits ---- */

static enum st mark_dirty(struct space *s, uint32_t chunk, struct err *err)
{
	if (s->chunks[chunk].dirty)
		return ST_OK;
	if (s->ndirty == s->cap_dirty) {
		uint32_t cap = s->cap_dirty ? s->cap_dirty * 2 : 64;
		uint32_t *more = realloc(s->dirty, cap * sizeof(*more));

		if (!more)
			return fail(err, ST_NOMEM, "page table");
		s->dirty = more;
		s->cap_dirty = cap;
	}
	s->chunks[chunk].dirty = true;
	s->dirty[s->ndirty++] = chunk;
	return ST_OK;
}

enum st space_commit(struct space *s, uint32_t page, uint32_t pages, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&s->lock);
	st = cover(s, (uint64_t)page + pages > s->total ? (uint64_t)page + pages : s->total, err);
	for (uint32_t i = page; st == ST_OK && i < page + pages; i++) {
		struct chunk *c = &s->chunks[i / SPACE_CHUNK];

		use(s, i);
		if (!bit(c->committed, i % SPACE_CHUNK))
			s->committed++;
		bit_set(c->committed, i % SPACE_CHUNK);
		bit_clear(c->verified, i % SPACE_CHUNK);
		st = mark_dirty(s, i / SPACE_CHUNK, err);
	}
	pthread_mutex_unlock(&s->lock);
	return st;
}

void space_delete(struct space *s, uint32_t page, uint32_t pages)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = page; i < page + pages && i < s->total; i++) {
		struct chunk *c = &s->chunks[i / SPACE_CHUNK];

		if (bit(c->committed, i % SPACE_CHUNK))
			s->committed--;
		bit_clear(c->committed, i % SPACE_CHUNK);
		if (mark_dirty(s, i / SPACE_CHUNK, NULL) != ST_OK)
			panic("out of memory for the page table");
	}
	pthread_mutex_unlock(&s->lock);
}

bool space_dirty(struct space *s, uint32_t *chunk_out, unsigned char row_out[SPACE_ROW])
{
	struct chunk *c;
	bool have;

	pthread_mutex_lock(&s->lock);
	have = s->ndirty > 0;
	if (have) {
		*chunk_out = s->dirty[--s->ndirty];
		c = &s->chunks[*chunk_out];
		c->dirty = false;
		for (uint32_t i = 0; i < SPACE_ROW; i++)
			row_out[i] = (unsigned char)(c->committed[i / 8] >> (i % 8 * 8));
	}
	pthread_mutex_unlock(&s->lock);
	return have;
}

void space_count(struct space *s, struct space_counts *out)
{
	pthread_mutex_lock(&s->lock);
	*out = (struct space_counts){ s->total, s->free, s->committed };
	pthread_mutex_unlock(&s->lock);
}

void space_free_runs(struct space *s, struct space_runs *out)
{
	uint64_t run = 0;

	*out = (struct space_runs){ 0 };
	pthread_mutex_lock(&s->lock);
	for (uint64_t i = 0; i < s->total; i++) {
		const struct chunk *c = &s->chunks[i / SPACE_CHUNK];

		if (i % SPACE_CHUNK == 0 && c->free == 0) {
			run = 0;
			i += SPACE_CHUNK - 1;
			continue;
		}
		run = bit(c->used, (uint32_t)(i % SPACE_CHUNK)) ? 0 : run + 1;
		out->runs += run == 1;
		out->longest = run > out->longest ? run : out->longest;
	}
	out->tail = s->total - used_end(s);
	pthread_mutex_unlock(&s->lock);
}
