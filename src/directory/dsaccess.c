/* dsaccess.c - the cache of addresses, and one question for all who ask it; see dsaccess.h. */
#include "directory/dsaccess.h"
#include "directory/ds_private.h"

#include <stdlib.h>

#define TTL_S          60
#define NEGATIVE_TTL_S 5
#define TIMEOUT_MS     5000
#define ENTRIES_MAX    20000

/* One remembered answer, in one block: spans of `object` point behind the key. */
struct entry {
	struct entry *chain;         /* same bucket */
	struct entry *newer, *older; /* by last use */
	int64_t expires;
	enum st st; /* ST_OK or ST_NOTFOUND */
	struct ds_object object;
	size_t key_len;
	char key[]; /* lower case */
};

/* A question that is under way; those who ask the same meanwhile wait for its answer. */
struct flight {
	struct flight *next;
	struct span key;
	struct fiber_queue waiters;
	unsigned users;
	uint64_t flushes; /* when it was asked: after another flush its answer is old */
	bool landed;
	enum st st;
	struct err err;
	struct pool *pool;
	struct ds_object object;
};

void ds_options_config(struct ds_options *o, const struct config *c)
{
	o->ttl_s = (unsigned)config_int(c, "directory_ttl_s");
	o->negative_ttl_s = (unsigned)config_int(c, "directory_negative_ttl_s");
	o->entries_max = (unsigned)config_int(c, "directory_entries_max");
}

enum st ds_new(const struct ds_options *o, struct dsaccess **out, struct err *err)
{
	struct dsaccess *ds = calloc(1, sizeof(*ds));

	if (!ds)
		return fail(err, ST_NOMEM, "directory cache");
	ds->chan = o->chan;
	ds->source = o->source ? *o->source : (struct ds_source){ ds_ask_store, ds };
	ds->ttl_s = o->ttl_s ? o->ttl_s : TTL_S;
	ds->negative_ttl_s = o->negative_ttl_s ? o->negative_ttl_s : NEGATIVE_TTL_S;
	ds->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	ds->entries_max = o->entries_max ? o->entries_max : ENTRIES_MAX;
	ds->seed = random_u64();
	for (ds->nbuckets = 64; ds->nbuckets < ds->entries_max;)
		ds->nbuckets *= 2;
	ds->buckets = calloc(ds->nbuckets, sizeof(*ds->buckets));
	if (!ds->buckets) {
		free(ds);
		return fail(err, ST_NOMEM, "directory cache");
	}
	*out = ds;
	return ST_OK;
}

void ds_free(struct dsaccess *ds)
{
	if (!ds)
		return;
	ds_flush(ds);
	free(ds->buckets);
	free(ds);
}

/* ---- remembered answers ---- */

static struct entry **bucket(struct dsaccess *ds, struct span key)
{
	uint64_t h = ds->seed ^ 0xCBF29CE484222325u;

	for (size_t i = 0; i < key.len; i++) {
		h = (h ^ (unsigned char)key.at[i]) * 0x100000001B3u;
		h ^= h >> 29;
	}
	return &ds->buckets[(h ^ h >> 32) & (ds->nbuckets - 1)];
}

static void unlink_use(struct dsaccess *ds, struct entry *e)
{
	*(e->newer ? &e->newer->older : &ds->newest) = e->older;
	*(e->older ? &e->older->newer : &ds->oldest) = e->newer;
}

static void link_use(struct dsaccess *ds, struct entry *e)
{
	e->newer = NULL;
	e->older = ds->newest;
	*(ds->newest ? &ds->newest->newer : &ds->oldest) = e;
	ds->newest = e;
}

static void forget(struct dsaccess *ds, struct entry *e)
{
	struct entry **at = bucket(ds, span_of(e->key, e->key_len));

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	unlink_use(ds, e);
	ds->stats.entries--;
	free(e);
}

void ds_flush(struct dsaccess *ds)
{
	while (ds->oldest)
		forget(ds, ds->oldest);
	ds->flushes++;
}

static struct entry *recall(struct dsaccess *ds, struct span key)
{
	struct entry *e = *bucket(ds, key);

	while (e && !span_eq(span_of(e->key, e->key_len), key))
		e = e->chain;
	if (e && e->expires <= clock_mono()) {
		forget(ds, e);
		return NULL;
	}
	if (e) {
		unlink_use(ds, e);
		link_use(ds, e);
	}
	return e;
}

static struct span put_text(char **at, struct span text)
{
	struct span copy = { *at, text.len };

	if (text.len)
		memcpy(*at, text.at, text.len);
	*at += text.len;
	return copy;
}

static struct entry *make_entry(struct span key, enum st st, const struct ds_object *o)
{
	size_t head = (sizeof(struct entry) + key.len + _Alignof(struct span) - 1) &
		      ~(_Alignof(struct span) - 1);
	size_t size = head + o->ntargets * sizeof(struct span) + o->user.len;
	struct entry *e;
	char *text;

	for (size_t i = 0; i < o->ntargets; i++)
		size += o->targets[i].len;
	e = malloc(size);
	if (!e)
		return NULL;
	*e = (struct entry){ .st = st, .object = *o, .key_len = key.len };
	memcpy(e->key, key.at, key.len);
	e->object.targets = (struct span *)(void *)((char *)e + head);
	text = (char *)(e->object.targets + o->ntargets);
	e->object.user = put_text(&text, o->user);
	for (size_t i = 0; i < o->ntargets; i++)
		e->object.targets[i] = put_text(&text, o->targets[i]);
	return e;
}

/* Without memory nothing is remembered, and nothing is wrong. */
static void remember(struct dsaccess *ds, struct span key, enum st st, const struct ds_object *o)
{
	struct entry *e = make_entry(key, st, o), **b;
	unsigned ttl = st == ST_OK ? ds->ttl_s : ds->negative_ttl_s;

	if (!e)
		return;
	if (ds->stats.entries >= ds->entries_max) {
		forget(ds, ds->oldest);
		ds->stats.evicted++;
	}
	e->expires = clock_mono() + ttl * NS_PER_SEC;
	b = bucket(ds, key);
	e->chain = *b;
	*b = e;
	link_use(ds, e);
	ds->stats.entries++;
}

/* ---- asking ---- */

static enum st copy_object(const struct ds_object *from, struct pool *pool, struct ds_object *out,
			   struct err *err)
{
	struct ds_object o = *from;

	o.targets = pool_get(pool, (from->ntargets ? from->ntargets : 1) * sizeof(*o.targets));
	o.user = from->user.len ? pool_span(pool, from->user) : SPAN("");
	for (size_t i = 0; o.targets && i < from->ntargets; i++) {
		o.targets[i] = pool_span(pool, from->targets[i]);
		if (!o.targets[i].at)
			o.targets = NULL;
	}
	if (!o.targets || !o.user.at)
		return fail(err, ST_TOOBIG, "directory: the answer does not fit");
	*out = o;
	return ST_OK;
}

static void leave(struct flight *f)
{
	if (--f->users)
		return;
	pool_free(f->pool);
	free(f);
}

static enum st take_answer(enum st st, const struct ds_object *o, const struct err *why,
			   struct pool *pool, struct ds_object *out, struct err *err)
{
	if (st == ST_OK)
		return copy_object(o, pool, out, err);
	if (st == ST_NOTFOUND) {
		*out = (struct ds_object){ .domain_local = o->domain_local };
		return fail(err, ST_NOTFOUND, "no such address");
	}
	if (err && why)
		*err = *why;
	return st;
}

static void take_off(struct dsaccess *ds, struct flight *f)
{
	f->next = ds->flights;
	ds->flights = f;
}

static void land(struct dsaccess *ds, struct flight *f)
{
	struct flight **at = &ds->flights;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	f->landed = true;
	fiber_queue_wake_all(&f->waiters);
}

static void fly(struct dsaccess *ds, struct flight *f, struct span key)
{
	f->flushes = ds->flushes;
	f->key = key;
	f->users++;
	take_off(ds, f);
	ds->stats.misses++;
	f->st = ds->source.resolve(ds->source.arg, key, f->pool, &f->object, &f->err);
	/* What was asked before a flush may be from before the change. */
	if ((f->st == ST_OK || f->st == ST_NOTFOUND) && f->flushes == ds->flushes)
		remember(ds, key, f->st, &f->object);
	land(ds, f);
}

static struct flight *find_flight(struct dsaccess *ds, struct span key)
{
	struct flight *f = ds->flights;

	while (f && (f->flushes != ds->flushes || !span_eq(f->key, key)))
		f = f->next;
	return f;
}

static struct flight *new_flight(void)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (f)
		f->pool = pool_new("directory answer", DS_OBJECT_POOL);
	if (f && !f->pool) {
		free(f);
		return NULL;
	}
	return f;
}

static bool make_key(struct span address, char out[static DS_ADDRESS_MAX], struct span *key)
{
	size_t at = 0;

	if (address.len > DS_ADDRESS_MAX || address.len < 3)
		return false;
	for (size_t i = 0; i < address.len; i++) {
		char c = address.at[i];

		if (c == '@')
			at = i;
		out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	*key = span_of(out, address.len);
	return at > 0 && at < address.len - 1;
}

enum st ds_resolve(struct dsaccess *ds, struct span address, struct pool *pool,
		   struct ds_object *out, struct err *err)
{
	char lower[DS_ADDRESS_MAX];
	struct span key;
	struct entry *e;
	struct flight *f;
	enum st st;

	if (!make_key(address, lower, &key))
		return fail(err, ST_BAD, "not an address");
	e = recall(ds, key);
	if (e) {
		ds->stats.hits++;
		return take_answer(e->st, &e->object, NULL, pool, out, err);
	}
	f = find_flight(ds, key);
	if (f) {
		ds->stats.joined++;
		f->users++;
		while (!f->landed)
			fiber_queue_wait(&f->waiters, NO_DEADLINE);
	} else {
		f = new_flight();
		if (!f)
			return fail(err, ST_NOMEM, "directory question");
		fly(ds, f, key);
	}
	st = take_answer(f->st, &f->object, &f->err, pool, out, err);
	leave(f);
	return st;
}

void ds_stats(const struct dsaccess *ds, struct ds_stats *out)
{
	*out = ds->stats;
}
