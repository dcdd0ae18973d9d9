/* The directory's cache: what is asked, what is remembered, and for how long. */
#include "../loop/run.h"
#include "directory/dsaccess.h"

#undef fail /* cmocka has one, too */

#include <time.h>

static int64_t shift;

static int64_t shifted_mono(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec + shift;
}

/* A directory of four names that counts its questions and can be away or slow. */
struct table {
	unsigned asked;
	bool away, slow;
	struct fiber_queue gate;
};

static enum st ask_table(void *arg, struct span address, struct pool *pool, struct ds_object *out,
			 struct err *err)
{
	struct table *t = arg;

	t->asked++;
	if (t->slow)
		fiber_queue_wait(&t->gate, NO_DEADLINE);
	if (t->away)
		return fail(err, ST_GONE, "the store is away");
	if (span_eq(address, SPAN("alice@mailroot.test"))) {
		*out = (struct ds_object){ .kind = OBJECT_MAILBOX,
					   .mailbox_id = 7,
					   .user = pool_span(pool, address),
					   .domain_local = true };
		return ST_OK;
	}
	if (span_eq(address, SPAN("all@mailroot.test"))) {
		struct span *targets = pool_get(pool, 2 * sizeof(*targets));

		targets[0] = pool_span(pool, SPAN("alice@mailroot.test"));
		targets[1] = pool_span(pool, SPAN("bob@mailroot.test"));
		*out = (struct ds_object){ .kind = OBJECT_ALIAS,
					   .targets = targets,
					   .ntargets = 2,
					   .domain_local = true };
		return ST_OK;
	}
	*out = (struct ds_object){ .domain_local =
					   memmem(address.at, address.len, "@mailroot.test", 14) };
	return fail(err, ST_NOTFOUND, "nobody");
}

struct ds_test {
	struct table table;
	struct ds_source source;
	struct dsaccess *ds;
	struct pool *pool;
};

static void begin(struct ds_test *t, unsigned entries_max)
{
	struct ds_options o = {
		.source = &t->source, .ttl_s = 60, .negative_ttl_s = 5, .entries_max = entries_max
	};
	struct err err;

	t->source = (struct ds_source){ ask_table, &t->table };
	must(ds_new(&o, &t->ds, &err) == ST_OK);
	t->pool = pool_new("test", DS_OBJECT_POOL);
}

static void end(struct ds_test *t)
{
	ds_free(t->ds);
	pool_free(t->pool);
	shift = 0;
}

static enum st ask(struct ds_test *t, const char *address, struct ds_object *out)
{
	struct err err;

	return ds_resolve(t->ds, span_str(address), t->pool, out, &err);
}

static void rows_body(void *arg)
{
	static const struct {
		const char *name, *address;
		enum st want;
		bool local;
		unsigned asked; /* in all, after this row */
		int64_t later_s;
	} rows[] = {
		{ "a mailbox is asked for", "alice@mailroot.test", ST_OK, true, 1, 0 },
		{ "once", "alice@mailroot.test", ST_OK, true, 1, 0 },
		{ "case does not matter", "Alice@MAILROOT.test", ST_OK, true, 1, 0 },
		{ "an alias", "all@mailroot.test", ST_OK, true, 2, 0 },
		{ "again", "all@mailroot.test", ST_OK, true, 2, 0 },
		{ "nobody here", "x@mailroot.test", ST_NOTFOUND, true, 3, 0 },
		{ "still nobody", "x@mailroot.test", ST_NOTFOUND, true, 3, 0 },
		{ "somewhere else", "x@example.org", ST_NOTFOUND, false, 4, 0 },
		{ "asked again when the short time is over", "x@mailroot.test", ST_NOTFOUND, true,
		  5, 6 },
		{ "a mailbox is remembered longer", "alice@mailroot.test", ST_OK, true, 5, 0 },
		{ "but not for ever", "alice@mailroot.test", ST_OK, true, 6, 60 },
		{ "no @", "alice", ST_BAD, false, 6, 0 },
		{ "nothing before the @", "@mailroot.test", ST_BAD, false, 6, 0 },
		{ "nothing behind the @", "alice@", ST_BAD, false, 6, 0 },
		{ "nothing at all", "", ST_BAD, false, 6, 0 },
	};
	struct ds_test t = { 0 };

	(void)arg;
	begin(&t, 100);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ds_object o = { 0 };
		enum st st;

		shift += rows[i].later_s * NS_PER_SEC;
		st = ask(&t, rows[i].address, &o);
		if (st != rows[i].want || o.domain_local != rows[i].local ||
		    t.table.asked != rows[i].asked) {
			fprintf(stderr, "%s: %s, %u asked\n", rows[i].name, st_name(st),
				t.table.asked);
			abort();
		}
		if (st == ST_OK && o.kind == OBJECT_MAILBOX)
			must(o.mailbox_id == 7 && span_eq(o.user, SPAN("alice@mailroot.test")));
		if (st == ST_OK && o.kind == OBJECT_ALIAS)
			must(o.ntargets == 2 && span_eq(o.targets[1], SPAN("bob@mailroot.test")));
		pool_back(t.pool, 0);
	}
	end(&t);
}

static void an_answer_is_remembered_for_its_time(void **state)
{
	(void)state;
	run_on_loop(rows_body, NULL);
}

static void away_body(void *arg)
{
	struct ds_test t = { 0 };
	struct ds_object o;

	(void)arg;
	begin(&t, 100);
	t.table.away = true;
	must(ask(&t, "alice@mailroot.test", &o) == ST_GONE);
	t.table.away = false;
	must(ask(&t, "alice@mailroot.test", &o) == ST_OK);
	t.table.away = true;
	must(ask(&t, "alice@mailroot.test", &o) == ST_OK);
	ds_flush(t.ds);
	must(ask(&t, "alice@mailroot.test", &o) == ST_GONE);
	end(&t);
}

static void a_failure_is_not_remembered(void **state)
{
	(void)state;
	run_on_loop(away_body, NULL);
}

static void many_body(void *arg)
{
	struct ds_test t = { 0 };
	struct ds_stats stats;
	struct ds_object o;
	char address[40];

	(void)arg;
	begin(&t, 100);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(address, sizeof(address), "n%u@example.org", i);
		must(ask(&t, address, &o) == ST_NOTFOUND);
		must(ask(&t, "alice@mailroot.test", &o) == ST_OK);
		pool_back(t.pool, 0);
	}
	ds_stats(t.ds, &stats);
	must(stats.entries == 100 && stats.evicted == 901);
	must(t.table.asked == 1001); /* alice was used all the time and stayed */
	end(&t);
}

static void memory_is_bounded_and_what_is_used_stays(void **state)
{
	(void)state;
	run_on_loop(many_body, NULL);
}

/* ---- many ask the same ---- */

struct asker {
	struct ds_test *t;
	unsigned *left;
	struct fiber *waiter;
	enum st want;
};

static void asking(void *arg)
{
	struct asker *a = arg;
	struct pool *pool = pool_new("asker", DS_OBJECT_POOL);
	struct ds_object o;
	struct err err;

	must(ds_resolve(a->t->ds, SPAN("alice@mailroot.test"), pool, &o, &err) == a->want);
	if (a->want == ST_OK)
		must(o.mailbox_id == 7 && span_eq(o.user, SPAN("alice@mailroot.test")));
	else
		must(strcmp(err.text, "the store is away") == 0);
	pool_free(pool);
	if (--*a->left == 0)
		fiber_wake(a->waiter);
}

static void joined_body(void *arg)
{
	for (int away = 0; away < 2; away++) {
		struct ds_test t = { .table = { .slow = true, .away = away } };
		unsigned left = 50;
		struct asker a = { &t, &left, fiber_self(), away ? ST_GONE : ST_OK };
		struct ds_stats stats;
		struct err err;

		(void)arg;
		begin(&t, 100);
		for (unsigned i = 0; i < 50; i++)
			must(fiber_spawn("asking", asking, &a, &err) == ST_OK);
		while (!t.table.gate.head)
			fiber_yield();
		fiber_yield();
		fiber_queue_wake_all(&t.table.gate);
		while (left)
			fiber_park(NO_DEADLINE);
		ds_stats(t.ds, &stats);
		must(t.table.asked == 1 && stats.joined == 49);
		end(&t);
	}
}

static void fifty_who_ask_the_same_ask_once(void **state)
{
	(void)state;
	run_on_loop(joined_body, NULL);
}

/* Who asks after a change must not get the answer to a question from before it. */
static void changed_body(void *arg)
{
	struct ds_test t = { .table = { .slow = true } };
	unsigned left = 1;
	struct asker a = { &t, &left, fiber_self(), ST_OK };
	struct ds_object o;
	struct err err;

	(void)arg;
	begin(&t, 100);
	must(fiber_spawn("asking", asking, &a, &err) == ST_OK);
	while (!t.table.gate.head)
		fiber_yield();
	ds_flush(t.ds);
	t.table.slow = false;
	must(ask(&t, "alice@mailroot.test", &o) == ST_OK && t.table.asked == 2);
	fiber_queue_wake_all(&t.table.gate);
	while (left)
		fiber_park(NO_DEADLINE);
	/* And the old answer, that comes last, is not what is remembered. */
	must(ask(&t, "alice@mailroot.test", &o) == ST_OK && t.table.asked == 2);
	end(&t);
}

static void a_change_is_seen_by_the_next_who_asks(void **state)
{
	(void)state;
	run_on_loop(changed_body, NULL);
}

static int with_clock(void **state)
{
	static const struct clock_seam seam = { .mono = shifted_mono };

	(void)state;
	clock_set_seam(&seam);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_remembered_for_its_time),
		cmocka_unit_test(a_failure_is_not_remembered),
		cmocka_unit_test(memory_is_bounded_and_what_is_used_stays),
		cmocka_unit_test(fifty_who_ask_the_same_ask_once),
		cmocka_unit_test(a_change_is_seen_by_the_next_who_asks),
	};

	return cmocka_run_group_tests(tests, with_clock, NULL);
}
