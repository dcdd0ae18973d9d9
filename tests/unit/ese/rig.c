/* rig.c - see rig.h. */
#include "rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_broken(void *arg, const struct err *why)
{
	struct rig *r = arg;

	(void)why;
	r->broke++;
}

void rig_make(struct rig *r)
{
	const char *tmp = getenv("TMPDIR");

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s/ese-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	r->o = (struct ese_options){ .segment_bytes = 256 * 1024,
				     .checkpoint_bytes = 4 * 1024 * 1024,
				     .reserve_bytes = 1,
				     .broken = on_broken,
				     .arg = r };
}

enum st rig_try_open(struct rig *r, struct err *err)
{
	enum st st = ese_open(r->dir, &r->o, &r->g, err);

	if (st == ST_OK)
		st = ese_db_open(r->g, "mailbox/one", true, &r->db, err);
	return st;
}

void rig_open(struct rig *r)
{
	struct err err = { 0 };

	if (rig_try_open(r, &err) != ST_OK)
		fail_msg("open: %s", err.text);
}

void rig_close(struct rig *r)
{
	ese_close(r->g);
	r->g = NULL;
	r->db = NULL;
}

void rig_remove(struct rig *r)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
	assert_int_equal(system(cmd), 0);
}

/* RocksDB may be at work: only a copy during which no name, size or time changed is one moment's. */
void rig_fork(const struct rig *from, struct rig *copy)
{
	char cmd[2048];

	rig_make(copy);
	copy->o = from->o;
	copy->o.arg = copy;
	snprintf(cmd, sizeof(cmd),
		 "look() { ls -lR --time-style=full-iso '%s' | cksum; }; a=x; b=; "
		 "while [ \"$a\" != \"$b\" ]; do rm -rf '%s'; a=$(look); "
		 "cp -a --sparse=always '%s' '%s' 2>/dev/null; b=$(look); done",
		 from->dir, copy->dir, from->dir, copy->dir);
	assert_int_equal(system(cmd), 0);
}

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void commit_done(void *arg)
{
	struct waiting *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

enum st rig_commit(struct ese_batch *b, struct err *err)
{
	struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
	enum st st = ese_commit(b, commit_done, &w, err);

	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return ST_OK;
}

static struct ese_batch *batch(struct rig *r)
{
	struct ese_batch *b;

	assert_int_equal(ese_batch_new(r->db, 7, &b, NULL), ST_OK);
	return b;
}

void rig_put(struct rig *r, const char *key, const char *value)
{
	struct ese_batch *b = batch(r);

	ese_put(b, span_str(key), span_str(value));
	assert_int_equal(rig_commit(b, NULL), ST_OK);
}

const char *rig_get(struct rig *r, const char *key)
{
	static char text[4096];
	struct ese_value v;
	enum st st = ese_get(r->db, span_str(key), &v, NULL);

	text[0] = '\0';
	if (st == ST_NOTFOUND)
		return text;
	assert_int_equal(st, ST_OK);
	snprintf(text, sizeof(text), SPAN_FMT, SPAN_ARG(v.bytes));
	ese_value_free(&v);
	return text;
}

void rig_bytes(char *out, size_t len, unsigned seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		out[i] = (char)(x >> 24);
	}
}

static void room(void *arg)
{
	commit_done(arg);
}

void rig_wait_room(struct rig *r)
{
	struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

	ese_when_room(r->g, room, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
}

struct ese_body *rig_write(struct rig *r, size_t len, unsigned seed)
{
	char *bytes = malloc(len + 1);
	struct ese_body *body;
	size_t off = 0;

	rig_bytes(bytes, len, seed);
	assert_int_equal(ese_body_new(r->db, &body, NULL), ST_OK);
	while (off < len) {
		size_t n = len - off < 32768 ? len - off : 32768;
		struct err err = { 0 };
		enum st st = ese_body_write(body, bytes + off, n, &err);

		if (st == ST_BUSY) {
			rig_wait_room(r);
			continue;
		}
		if (st != ST_OK)
			fail_msg("body write: %s", err.text);
		off += n;
	}
	free(bytes);
	return body;
}

uint64_t rig_body(struct rig *r, size_t len, unsigned seed)
{
	struct ese_body *body = rig_write(r, len, seed);
	struct ese_batch *b = batch(r);
	uint64_t id = ese_body_id(body);
	char key[32];

	snprintf(key, sizeof(key), "b%llu", (unsigned long long)id);
	ese_link(b, body);
	ese_put(b, span_str(key), SPAN("body"));
	ese_body_drop(body);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	return id;
}

void rig_check_body(struct rig *r, uint64_t id, size_t len, unsigned seed)
{
	char *want = malloc(len + 1), *got = malloc(len + 1);
	struct ese_scatter s;
	struct err err = { 0 };

	rig_bytes(want, len, seed);
	if (ese_body_find(r->db, id, true, &s, &err) != ST_OK)
		fail_msg("find: %s", err.text);
	assert_int_equal(s.len, len);
	assert_int_equal(s.npages, (len + ESE_PAGE - 1) / ESE_PAGE);
	ese_scatter_free(&s);
	if (ese_body_read(r->db, id, 0, got, len, &err) != ST_OK)
		fail_msg("read: %s", err.text);
	assert_memory_equal(got, want, len);
	free(want);
	free(got);
}

void rig_settle(struct rig *r)
{
	/* What a batch sets off (a FREE) is queued before the batch counts as applied. */
	struct ese_stats s;

	do {
		assert_int_equal(rig_commit(batch(r), NULL), ST_OK);
		ese_stats(r->g, &s);
	} while (s.queue_bytes > 0);
}
