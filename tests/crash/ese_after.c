/* ese_after.c - what is left after the crash is compared with the model. */
#include "base/byteorder.h"
#include "ese/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ese_crash.h"

/* ---- the check ---- */

static uint64_t found_seq(struct worker *w)
{
	struct ese_value v;
	struct err err = { 0 };
	enum st st = ese_get(w->db, SPAN("seq"), &v, &err);
	uint64_t seq;

	if (st == ST_NOTFOUND)
		return 0;
	if (st != ST_OK)
		violation("read seq: %s", err.text);
	seq = le64_get(v.bytes.at);
	ese_value_free(&v);
	return seq;
}

static void check_slot_body(struct worker *w, uint32_t n, struct slot *s, struct span row)
{
	char *want = malloc(s->len + 1), *got = malloc(s->len + 1);
	struct err err = { 0 };

	if (row.len != 24 || le64_get(row.at + 8) != s->origin || le64_get(row.at + 16) != s->len)
		violation("slot %u is not what batch %llu put", n, (unsigned long long)s->changed);
	s->id = le64_get(row.at);
	body_bytes(want, s->len, w->seed, s->origin);
	if (ese_body_read(w->db, s->id, 0, got, s->len, &err) != ST_OK)
		violation("body of slot %u: %s", n, err.text);
	if (memcmp(want, got, s->len) != 0)
		violation("body of slot %u has other bytes", n);
	free(want);
	free(got);
}

static void check_row(struct worker *w, struct span key, struct span value, uint64_t *seen)
{
	char want[400];
	unsigned n = 0;

	if (span_eq(key, SPAN("seq")))
		return;
	if (key.len != 3 || sscanf(key.at + 1, "%2u", &n) != 1)
		violation("row '" SPAN_FMT "' is nobody's", SPAN_ARG(key));
	if (key.at[0] == 'r' && n < ROWS) {
		size_t len = row_value(want, n, w->m.rows[n]);

		if (w->m.rows[n] == 0 || value.len != len || memcmp(value.at, want, len) != 0)
			violation("row r%02u is not what batch %llu put", n,
				  (unsigned long long)w->m.rows[n]);
	} else if (key.at[0] == 'b' && n < SLOTS && w->m.slots[n].used) {
		check_slot_body(w, n, &w->m.slots[n], value);
	} else {
		violation("row '" SPAN_FMT "' should not be there", SPAN_ARG(key));
	}
	++*seen;
}

static void check_rows(struct worker *w)
{
	uint64_t seen = 0, want = 0;
	struct span key, value;
	struct err err = { 0 };
	struct ese_iter *it;
	enum st st;

	if (ese_iter_new(w->db, SPAN("\x10"), SPAN("\xff"), &it, &err) != ST_OK)
		violation("list rows: %s", err.text);
	while ((st = ese_iter_next(it, &key, &value, &err)) == ST_OK)
		check_row(w, key, value, &seen);
	if (st != ST_EOF)
		violation("list rows: %s", err.text);
	ese_iter_free(it);
	for (uint32_t i = 0; i < ROWS; i++)
		want += w->m.rows[i] != 0;
	for (uint32_t i = 0; i < SLOTS; i++)
		want += w->m.slots[i].used;
	if (seen != want)
		violation("%llu rows of %llu", (unsigned long long)seen, (unsigned long long)want);
}

/* Pages belong to the bodies that slots name, each once, and to nobody else. */
static void check_space(struct worker *w)
{
	uint64_t pages = 0, bodies = 0;
	struct ese_stats s;

	for (uint32_t i = 0; i < SLOTS; i++) {
		bool first = w->m.slots[i].used;

		for (uint32_t k = 0; k < i; k++)
			if (w->m.slots[k].used && w->m.slots[k].origin == w->m.slots[i].origin)
				first = false;
		bodies += first;
		pages += first ? (w->m.slots[i].len + ESE_PAGE - 1) / ESE_PAGE : 0;
	}
	do { /* what it queues for itself is behind us when ours is done */
		commit(w, new_batch(w, w->db), 0);
		wait_done(w, 0);
		ese_stats(w->g, &s);
	} while (s.queue_bytes > 0);
	if (s.bodies != bodies || s.pages_reserved != 0 || s.pages_total - s.pages_free != pages)
		violation("%llu bodies in %llu pages and %llu reserved, not %llu in %llu",
			  (unsigned long long)s.bodies,
			  (unsigned long long)(s.pages_total - s.pages_free),
			  (unsigned long long)s.pages_reserved, (unsigned long long)bodies,
			  (unsigned long long)pages);
}

/* The second database holds its last batch, whether it is up or down; while it was made or removed it may be there or
 * not.  It goes on working. */
static void check_two(struct worker *w)
{
	uint64_t acked = w->acks->two_acked, submitted = w->acks->two_submitted, found = 0;
	bool changing = w->acks->two_changing;
	struct err err = { 0 };
	struct ese_value v;
	enum st st = ese_db_open(w->g, "mailbox/two", false, &w->two, &err);

	if (st == ST_GONE)
		st = ese_db_mount(w->two, &err);
	if (st == ST_NOTFOUND && (changing || acked == 0))
		return;
	if (st != ST_OK)
		violation("the second database: %s", err.text);
	st = ese_get(w->two, SPAN("two"), &v, &err);
	if (st == ST_OK) {
		found = le64_get(v.bytes.at);
		ese_value_free(&v);
	}
	if ((st != ST_OK && st != ST_NOTFOUND) || found > submitted || (found < acked && !changing))
		violation("the second database holds batch %llu of %llu to %llu: %s",
			  (unsigned long long)found, (unsigned long long)acked,
			  (unsigned long long)submitted, err.text);
	commit_two(w, submitted + 1);
	w->acks->two_changing = false;
}

static void compare(struct worker *w)
{
	uint64_t seq = found_seq(w);

	if (seq < w->acks->acked)
		violation("batch %llu was acknowledged, the last one found is %llu",
			  (unsigned long long)w->acks->acked, (unsigned long long)seq);
	if (seq > w->acks->submitted)
		violation("batch %llu was never handed in", (unsigned long long)seq);
	play_to(&w->m, w->seed, seq);
	check_rows(w);
	check_two(w);
	check_space(w);
	w->acks->acked = w->acks->submitted = seq;
}

/* ---- the files, as a stranger reads them ---- */

static void found(void *arg, const struct finding *f)
{
	(void)arg;
	if (finding_rows[f->kind].severity == FOUND_DAMAGE)
		violation("the check finds: %s", f->text);
}

static uint32_t links_of(const struct worker *w, uint64_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		n += w->m.slots[i].used && w->m.slots[i].id == id;
	return n;
}

/* Every page, every row of the engine's, every reference count; and the log. */
static void check_files(struct worker *w)
{
	char edb[4096], stm[4096], group[4096];
	struct check_db c = { .name = "mailbox/one", .found = found };
	struct check_log l = {
		.dir = group, .heads = &c.head, .names = &c.name, .nheads = 1, .found = found
	};
	struct err err = { 0 };

	snprintf(group, sizeof(group), "%s", w->dir);
	snprintf(edb, sizeof(edb), "%s/mailbox/one.edb", w->dir);
	snprintf(stm, sizeof(stm), "%s/mailbox/one.stm", w->dir);
	need(w, look_open(c.name, edb, stm, &c.db, &err), "look", &err);
	need(w, check_db(&c, &err), "check", &err);
	for (size_t i = 0; i < c.nbodies; i++)
		if (c.bodies[i].refs != links_of(w, c.bodies[i].id))
			violation("body %llu has %u references, not %u",
				  (unsigned long long)c.bodies[i].id, c.bodies[i].refs,
				  links_of(w, c.bodies[i].id));
	need(w, check_log(&l, &err), "check the log", &err);
	check_log_free(&l);
	check_db_free(&c);
	look_close(c.db);
}

/* What is left is whole, and goes on working: three more batches, closed, opened, compared again. */
int check(struct worker *w)
{
	open_group(w);
	compare(w);
	for (int i = 0; i < 3; i++) {
		uint64_t t = w->acks->acked + 1;
		struct step s = plan(&w->m, w->seed, t);

		run_batch(w, &s, t);
		wait_done(w, 0);
	}
	ese_close(w->g);
	open_group(w);
	compare(w);
	ese_close(w->g);
	check_files(w);
	return 0;
}
