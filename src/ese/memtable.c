/* memtable.c - a skip list with versions; see memtable.h. */
#include "ese/memtable.h"

#include "base/byteorder.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HEIGHT_MAX 8
#define FINGERS    2048u
#define TAIL       4u /* bytes at a key's end that its neighbours do not share */
#define CHUNK      (256u * 1024)
#define ALIGNED(n) (((n) + 7) & ~(size_t)7)

struct version {
	struct version *older;
	uint64_t number;
	uint32_t len;
	bool deleted;
	char bytes[];
};

struct memtable_row {
	_Atomic(struct version *) newest;
	char *key; /* behind next[] */
	uint32_t key_len;
	uint32_t height;
	_Atomic(struct memtable_row *) next[];
};

/* Where a put was: at each height the last row before it.  Of use to the next put with the same beginning. */
struct finger {
	struct memtable_row *before[HEIGHT_MAX];
};

struct chunk {
	struct chunk *next;
	size_t used, size;
	char bytes[];
};

struct memtable {
	struct chunk *chunks; /* the first is the one being filled */
	_Atomic size_t bytes;
	uint32_t random;
	struct memtable_row *head; /* before all rows, HEIGHT_MAX high, no key */
	struct finger fingers[FINGERS];
};

/* ---- memory ---- */

static void *take(struct memtable *t, size_t n)
{
	struct chunk *c = t->chunks;
	size_t size = n > CHUNK / 4 ? n : CHUNK;
	void *at;

	n = ALIGNED(n);
	if (!c || c->size - c->used < n) {
		c = malloc(sizeof(*c) + ALIGNED(size));
		if (!c)
			return NULL;
		c->used = 0;
		c->size = ALIGNED(size);
		/* A chunk that one value fills goes behind, so that the rest of the first is still used. */
		if (t->chunks && size == n) {
			c->next = t->chunks->next;
			t->chunks->next = c;
		} else {
			c->next = t->chunks;
			t->chunks = c;
		}
		atomic_fetch_add_explicit(&t->bytes, sizeof(*c) + c->size, memory_order_relaxed);
	}
	at = c->bytes + c->used;
	c->used += n;
	return at;
}

static struct memtable_row *new_row(struct memtable *t, uint32_t height, struct span key)
{
	size_t links = height * sizeof(struct memtable_row *);
	struct memtable_row *r = take(t, sizeof(*r) + links + key.len);

	if (!r)
		return NULL;
	atomic_init(&r->newest, NULL);
	r->key = (char *)r + sizeof(*r) + links;
	r->key_len = (uint32_t)key.len;
	r->height = height;
	for (uint32_t i = 0; i < height; i++)
		atomic_init(&r->next[i], NULL);
	if (key.len)
		memcpy(r->key, key.at, key.len);
	return r;
}

struct memtable *memtable_new(void)
{
	struct memtable *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->random = 2463534242u;
	t->head = new_row(t, HEIGHT_MAX, SPAN_NONE);
	if (!t->head) {
		memtable_free(t);
		return NULL;
	}
	return t;
}

void memtable_free(struct memtable *t)
{
	if (!t)
		return;
	while (t->chunks) {
		struct chunk *c = t->chunks;

		t->chunks = c->next;
		free(c);
	}
	free(t);
}

size_t memtable_bytes(const struct memtable *t)
{
	return sizeof(*t) + atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

bool memtable_is_empty(const struct memtable *t)
{
	return !atomic_load_explicit(&t->head->next[0], memory_order_acquire);
}

/* ---- finding ---- */

static struct span row_key(const struct memtable_row *r)
{
	return span_of(r->key, r->key_len);
}

static struct memtable_row *follow(const struct memtable_row *r, uint32_t level)
{
	return atomic_load_explicit(&r->next[level], memory_order_acquire);
}

/* Keys are short and begin alike: words instead of a call. */
static bool is_before(const struct memtable_row *r, struct span key)
{
	size_t n = r->key_len < key.len ? r->key_len : key.len, i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t a = be64_get(r->key + i), b = be64_get(key.at + i);

		if (a != b)
			return a < b;
	}
	for (; i < n; i++)
		if (r->key[i] != key.at[i])
			return (unsigned char)r->key[i] < (unsigned char)key.at[i];
	return r->key_len < key.len;
}

/* The first row not below `key`, from a row before it; at each level the last one before goes into `before`. */
static struct memtable_row *descend(struct memtable_row *from, uint32_t level, struct span key,
				    struct memtable_row **before)
{
	for (;;) {
		struct memtable_row *n = follow(from, level);

		while (n && is_before(n, key)) {
			from = n;
			n = follow(from, level);
		}
		if (before)
			before[level] = from;
		if (level == 0)
			return n;
		level--;
	}
}

static struct memtable_row *find(const struct memtable *t, struct span key)
{
	return descend(t->head, HEIGHT_MAX - 1, key, NULL);
}

static struct finger *finger_of(struct memtable *t, struct span key)
{
	size_t len = key.len > TAIL ? key.len - TAIL : 0;
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)key.at[i]) * 1099511628211u;
	return &t->fingers[(h ^ h >> 32) % FINGERS];
}

/* Does `before` at this level still stand right before `key`? */
static bool is_right_before(const struct memtable_row *before, uint32_t level, struct span key)
{
	const struct memtable_row *n;

	if (!before || !is_before(before, key))
		return false;
	n = follow(before, level);
	return !n || !is_before(n, key);
}

/* The first row not below `key`, from the lowest level at which the finger is right. */
static struct memtable_row *find_near(struct memtable *t, struct finger *f, struct span key)
{
	for (uint32_t level = 0; level < HEIGHT_MAX; level++)
		if (is_right_before(f->before[level], level, key))
			return descend(f->before[level], level, key, f->before);
	return descend(t->head, HEIGHT_MAX - 1, key, f->before);
}

/* ---- putting ---- */

static uint32_t random_height(struct memtable *t)
{
	uint32_t height = 1, x = t->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	t->random = x;
	while (height < HEIGHT_MAX && (x & 3) == 0) {
		height++;
		x >>= 2;
	}
	return height;
}

static void add_version(struct memtable_row *r, struct version *v)
{
	v->older = atomic_load_explicit(&r->newest, memory_order_relaxed);
	atomic_store_explicit(&r->newest, v, memory_order_release);
}

/* The search may have begun below the top: above that level the finger is right or everything is looked for again. */
static void link_row(struct memtable *t, struct finger *f, struct memtable_row *r)
{
	struct span key = row_key(r);

	for (uint32_t level = 1; level < r->height; level++)
		if (!is_right_before(f->before[level], level, key)) {
			descend(t->head, HEIGHT_MAX - 1, key, f->before);
			break;
		}
	for (uint32_t level = 0; level < r->height; level++) {
		struct memtable_row *b = f->before[level];

		atomic_store_explicit(&r->next[level], follow(b, level), memory_order_relaxed);
		atomic_store_explicit(&b->next[level], r, memory_order_release);
		f->before[level] = r;
	}
}

bool memtable_put(struct memtable *t, uint64_t number, struct span key,
		  const struct memtable_value *value)
{
	struct finger *f = finger_of(t, key);
	struct memtable_row *r = find_near(t, f, key);
	struct version *v = take(t, sizeof(*v) + value->bytes.len);
	bool is_new = !r || is_before(r, key) || r->key_len != key.len ||
		      memcmp(row_key(r).at, key.at, key.len) != 0;

	if (!v)
		return false;
	v->number = number;
	v->len = (uint32_t)value->bytes.len;
	v->deleted = value->deleted;
	if (v->len)
		memcpy(v->bytes, value->bytes.at, v->len);
	if (is_new) {
		r = new_row(t, random_height(t), key);
		if (!r)
			return false;
	}
	add_version(r, v);
	if (is_new)
		link_row(t, f, r);
	return true;
}

/* ---- reading ---- */

static bool as_of(const struct memtable_row *r, uint64_t number, struct memtable_value *out)
{
	const struct version *v = atomic_load_explicit(&r->newest, memory_order_acquire);

	while (v && v->number > number)
		v = v->older;
	if (!v)
		return false;
	*out = (struct memtable_value){ span_of(v->bytes, v->len), v->deleted };
	return true;
}

bool memtable_get(const struct memtable *t, uint64_t number, struct span key,
		  struct memtable_value *out)
{
	const struct memtable_row *r = find(t, key);

	return r && r->key_len == key.len && memcmp(row_key(r).at, key.at, key.len) == 0 &&
	       as_of(r, number, out);
}

/* The first row from `r` on that there is as of the cursor's batch. */
static void settle(struct memtable_cursor *c, const struct memtable_row *r)
{
	while (r && !as_of(r, c->number, &c->value))
		r = follow(r, 0);
	c->row = r;
	if (r)
		c->key = row_key(r);
}

void memtable_seek(struct memtable_cursor *c, const struct memtable *t, uint64_t number,
		   struct span key)
{
	*c = (struct memtable_cursor){ .t = t, .number = number };
	settle(c, key.len ? find(t, key) : follow(t->head, 0));
}

void memtable_next(struct memtable_cursor *c)
{
	settle(c, follow(c->row, 0));
}
