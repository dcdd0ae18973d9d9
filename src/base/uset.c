/* uset.c - a set of numbers as sorted runs; see uset.h. */
#include "base/uset.h"

#include <assert.h>
#include <stdlib.h>

static uint32_t run_limit(const struct uset *s)
{
	return s->max_runs ? s->max_runs : USET_RUNS_MAX;
}

static uint32_t run_count(struct urun r)
{
	return r.last - r.first + 1;
}

/* Index of the first run that ends at n or behind it (nruns when there is none). */
static uint32_t find_run(const struct uset *s, uint32_t n)
{
	uint32_t low = 0, high = s->nruns;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->runs[mid].last < n)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static enum st reserve(struct uset *s, uint64_t nruns)
{
	if (nruns > run_limit(s))
		return ST_TOOBIG;
	if (nruns <= s->cap)
		return ST_OK;
	uint64_t cap = s->cap + s->cap / 2 + 2;
	if (cap < nruns)
		cap = nruns;
	if (cap > run_limit(s))
		cap = run_limit(s);
	struct urun *runs = realloc(s->runs, cap * sizeof(*runs));
	if (!runs)
		return ST_NOMEM;
	s->runs = runs;
	s->cap = (uint32_t)cap;
	return ST_OK;
}

/* Put `n` runs in the place of runs[from..to). */
static enum st splice(struct uset *s, uint32_t from, uint32_t to, const struct urun *with,
		      uint32_t n)
{
	enum st st = reserve(s, (uint64_t)s->nruns - (to - from) + n);

	if (st != ST_OK)
		return st;
	for (uint32_t i = from; i < to; i++)
		s->count -= run_count(s->runs[i]);
	if (s->nruns > to)
		memmove(s->runs + from + n, s->runs + to, (s->nruns - to) * sizeof(*s->runs));
	s->nruns = s->nruns - (to - from) + n;
	for (uint32_t i = 0; i < n; i++) {
		s->runs[from + i] = with[i];
		s->count += run_count(with[i]);
	}
	return ST_OK;
}

enum st uset_add(struct uset *s, uint32_t first, uint32_t last)
{
	assert(first >= 1 && first <= last);
	struct urun all = { first, last };
	/* The runs that touch or overlap become one; a neighbour touches when it ends at first - 1. */
	uint32_t from = find_run(s, first - 1), to = from;

	while (to < s->nruns && (last == UINT32_MAX || s->runs[to].first <= last + 1))
		to++;
	if (from < to) {
		if (s->runs[from].first < all.first)
			all.first = s->runs[from].first;
		if (s->runs[to - 1].last > all.last)
			all.last = s->runs[to - 1].last;
	}
	return splice(s, from, to, &all, 1);
}

enum st uset_remove(struct uset *s, uint32_t first, uint32_t last)
{
	assert(first >= 1 && first <= last);
	struct urun rest[2];
	uint32_t n = 0, from = find_run(s, first), to = from;

	while (to < s->nruns && s->runs[to].first <= last)
		to++;
	if (from == to)
		return ST_OK;
	if (s->runs[from].first < first)
		rest[n++] = (struct urun){ s->runs[from].first, first - 1 };
	if (s->runs[to - 1].last > last)
		rest[n++] = (struct urun){ last + 1, s->runs[to - 1].last };
	return splice(s, from, to, rest, n);
}

bool uset_has(const struct uset *s, uint32_t n)
{
	uint32_t i = find_run(s, n);

	return n && i < s->nruns && s->runs[i].first <= n;
}

uint32_t uset_count_upto(const struct uset *s, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->nruns && s->runs[i].first <= n; i++)
		count += s->runs[i].last <= n ? run_count(s->runs[i]) : n - s->runs[i].first + 1;
	return count;
}

uint32_t uset_rank(const struct uset *s, uint32_t n)
{
	return uset_has(s, n) ? uset_count_upto(s, n) : 0;
}

uint32_t uset_at(const struct uset *s, uint32_t rank)
{
	if (!rank || rank > s->count)
		return 0;
	for (uint32_t i = 0; i < s->nruns; i++) {
		if (rank <= run_count(s->runs[i]))
			return s->runs[i].first + rank - 1;
		rank -= run_count(s->runs[i]);
	}
	return 0;
}

uint32_t uset_max(const struct uset *s)
{
	return s->nruns ? s->runs[s->nruns - 1].last : 0;
}

uint32_t uset_next(const struct uset *s, uint32_t n)
{
	uint32_t i = find_run(s, n);

	if (i == s->nruns)
		return 0;
	return s->runs[i].first > n ? s->runs[i].first : n;
}

/* Add behind everything: what building in order needs. */
static enum st append(struct uset *s, uint32_t first, uint32_t last)
{
	struct urun run = { first, last };

	return splice(s, s->nruns, s->nruns, &run, 1);
}

static enum st or_empty(struct uset *out, enum st st)
{
	if (st != ST_OK)
		uset_free(out);
	return st;
}

enum st uset_and(const struct uset *a, const struct uset *b, struct uset *out)
{
	enum st st = ST_OK;

	for (uint32_t i = 0, k = 0; st == ST_OK && i < a->nruns && k < b->nruns;) {
		struct urun x = a->runs[i], y = b->runs[k];
		uint32_t first = x.first > y.first ? x.first : y.first;
		uint32_t last = x.last < y.last ? x.last : y.last;

		if (first <= last)
			st = append(out, first, last);
		if (x.last < y.last)
			i++;
		else
			k++;
	}
	return or_empty(out, st);
}

enum st uset_minus(const struct uset *a, const struct uset *b, struct uset *out)
{
	enum st st = ST_OK;
	uint32_t k = 0;

	for (uint32_t i = 0; st == ST_OK && i < a->nruns; i++) {
		/* 64 bits: a run that ends at UINT32_MAX leaves `first` one behind it. */
		uint64_t first = a->runs[i].first, last = a->runs[i].last;

		while (k < b->nruns && b->runs[k].last < first)
			k++;
		for (; st == ST_OK && k < b->nruns && b->runs[k].first <= last; k++) {
			if (b->runs[k].first > first)
				st = append(out, (uint32_t)first, b->runs[k].first - 1);
			first = (uint64_t)b->runs[k].last + 1;
			if (first > last)
				break; /* this run of b may reach into the next of a */
		}
		if (st == ST_OK && first <= last)
			st = append(out, (uint32_t)first, (uint32_t)last);
	}
	return or_empty(out, st);
}

enum st uset_or_into(struct uset *into, const struct uset *other)
{
	struct uset all = { .max_runs = into->max_runs };
	uint32_t i = 0, k = 0;
	enum st st = ST_OK;

	while (st == ST_OK && (i < into->nruns || k < other->nruns)) {
		bool mine = k == other->nruns ||
			    (i < into->nruns && into->runs[i].first <= other->runs[k].first);
		struct urun r = mine ? into->runs[i++] : other->runs[k++];

		st = uset_add(&all, r.first, r.last);
	}
	if (st != ST_OK)
		return or_empty(&all, st);
	free(into->runs);
	*into = all;
	return ST_OK;
}

enum st uset_copy(const struct uset *s, struct uset *out)
{
	if (s->nruns > run_limit(out))
		return ST_TOOBIG;
	if (!s->nruns)
		return ST_OK;
	struct urun *runs = malloc(s->nruns * sizeof(*runs));
	if (!runs)
		return ST_NOMEM;
	memcpy(runs, s->runs, s->nruns * sizeof(*runs));
	out->runs = runs;
	out->nruns = out->cap = s->nruns;
	out->count = s->count;
	return ST_OK;
}

void uset_free(struct uset *s)
{
	free(s->runs);
	*s = (struct uset){ .max_runs = s->max_runs };
}

static void write_leb(struct buf *out, uint32_t n)
{
	for (; n >= 0x80; n >>= 7)
		buf_char(out, (char)(n | 0x80));
	buf_char(out, (char)n);
}

void uset_write(const struct uset *s, struct buf *out)
{
	uint32_t previous = 0;

	for (uint32_t i = 0; i < s->nruns; i++) {
		write_leb(out, s->runs[i].first - previous - 1);
		write_leb(out, s->runs[i].last - s->runs[i].first);
		previous = s->runs[i].last;
	}
}

/* One LEB128 number of at most 32 bits, in its shortest form. */
static bool read_leb(struct span *bytes, uint32_t *out)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		if (!bytes->len)
			return false;
		unsigned char c = (unsigned char)bytes->at[0];
		*bytes = span_skip(*bytes, 1);
		n |= (uint64_t)(c & 0x7F) << shift;
		if (c & 0x80)
			continue;
		*out = (uint32_t)n;
		return n <= UINT32_MAX && (c || !shift);
	}
	return false;
}

enum st uset_read(struct span bytes, struct uset *out, struct err *err)
{
	uint64_t previous = 0;
	enum st st = ST_OK;

	for (bool head = true; bytes.len && st == ST_OK; head = false) {
		uint32_t gap, more;

		/* Runs that touch would be one run: a gap of 0 is only good at the head. */
		if (!read_leb(&bytes, &gap) || !read_leb(&bytes, &more) || (!gap && !head)) {
			st = ST_BAD;
			break;
		}
		uint64_t first = previous + gap + 1, last = first + more;
		if (last > UINT32_MAX) {
			st = ST_BAD;
			break;
		}
		st = append(out, (uint32_t)first, (uint32_t)last);
		previous = last;
	}
	if (st == ST_OK)
		return ST_OK;
	uset_free(out);
	return fail(err, st,
		    st == ST_BAD ? "not a serialized set of numbers"
				 : "set of numbers: too many runs or out of memory");
}

void uset_text(const struct uset *s, struct buf *out)
{
	for (uint32_t i = 0; i < s->nruns; i++) {
		if (i)
			buf_char(out, ',');
		buf_u64(out, s->runs[i].first);
		if (s->runs[i].last == s->runs[i].first)
			continue;
		buf_char(out, ':');
		buf_u64(out, s->runs[i].last);
	}
}
