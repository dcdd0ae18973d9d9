/* The queuing engine over a directory and a store that are tables. */
#include "world.h"

#include "base/logline.h"

#include <time.h>

const struct person people[] = {
	{ "alice@here", 1, NULL, false },
	{ "bob@here", 2, NULL, false },
	{ "carol@here", 3, NULL, false },
	{ "off@here", 4, NULL, true },
	{ "all@here", 0, "alice@here,bob@here,carol@here", false },
	{ "outer@here", 0, "all@here,alice@here", false },
	{ "loop@here", 0, "pool@here", false },
	{ "pool@here", 0, "loop@here", false },
	{ "loopout@here", 0, "loopout@here,bob@here", false },
	{ "dead@here", 0, "nobody@here", false },
	{ "away@here", 0, "x@elsewhere,bob@here", false },
	{ "Alias-Of-Alice@here", 0, "ALICE@HERE", false },
	{ NULL, 0, NULL, false },
};

/* ---- where messages go ---- */

static const struct {
	const char *name, *from, *to;
	unsigned got[4]; /* alice (also: reports), bob, carol, off */
	unsigned badmail;
} rows[] = {
	{ "to one", "alice@here", "bob@here", { 0, 1 }, 0 },
	{ "to oneself", "alice@here", "alice@here", { 1 }, 0 },
	{ "to three, one of them twice",
	  "x@y",
	  "alice@here,bob@here,carol@here,BOB@here",
	  { 1, 1, 1 },
	  0 },
	{ "through an alias", "x@y", "all@here", { 1, 1, 1 }, 0 },
	{ "through an alias of an alias, named again beside it",
	  "x@y",
	  "outer@here,bob@here",
	  { 1, 1, 1 },
	  0 },
	{ "case does not matter", "x@y", "alias-of-ALICE@here", { 1 }, 0 },
	{ "an alias that names itself and somebody", "x@y", "loopout@here", { 0, 1 }, 0 },
	{ "an alias whose targets somebody had already",
	  "x@y",
	  "alice@here,Alias-Of-Alice@here",
	  { 1 },
	  0 },
	{ "a loop of aliases: the sender is told", "alice@here", "loop@here", { 1 }, 0 },
	{ "a loop, and a sender who can't be told", "x@y", "loop@here", { 0 }, 1 },
	{ "no such address: told", "alice@here", "nobody@here", { 1 }, 0 },
	{ "one of two fails: told once", "alice@here", "nobody@here,bob@here", { 1, 1 }, 0 },
	{ "an alias to nobody", "alice@here", "dead@here", { 1 }, 0 },
	{ "one target elsewhere: no route, told", "alice@here", "away@here", { 1, 1 }, 0 },
	{ "disabled: told", "alice@here", "off@here", { 1 }, 0 },
	{ "a report that fails goes to Badmail", "", "nobody@here", { 0 }, 1 },
	{ "a report that arrives", "", "bob@here", { 0, 1 }, 0 },
};

static void rows_body(void *arg)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world w = { .through = *(bool *)arg };
		bool ok = true;

		world_home(&w);
		world_open(&w, NULL);
		world_submit(&w, rows[i].from, rows[i].to, "Subject: x\r\n\r\nbody\r\n");
		world_settle(&w);
		for (size_t b = 0; b < 4; b++)
			ok &= w.got[b + 1] == rows[i].got[b];
		ok &= world_files(&w, "Queue", "") == 0;
		ok &= world_files(&w, "Badmail", ".BAD") == rows[i].badmail;
		if (!ok) {
			fprintf(stderr, "%s: %u %u %u %u\n", rows[i].name, w.got[1], w.got[2],
				w.got[3], w.got[4]);
			abort();
		}
		world_close(&w);
		world_end(&w);
	}
}

static void every_message_goes_where_its_addresses_lead(void **state)
{
	bool through = false;

	(void)state;
	run_on_loop(rows_body, &through);
}

static void straight_through_it_goes_there_as_well(void **state)
{
	bool through = true;

	(void)state;
	run_on_loop(rows_body, &through);
}

static void events_body(void *arg)
{
	struct world w = { 0 };

	(void)arg;
	world_home(&w);
	world_open(&w, NULL);
	world_submit(&w, "alice@here", "bob@here", "x\r\n");
	world_settle(&w);
	must(strcmp(w.order, "0 1 2 3 4 5 ") == 0);
	world_close(&w);
	world_end(&w);
}

static void events_come_in_their_order(void **state)
{
	(void)state;
	run_on_loop(events_body, NULL);
}

/* ---- the report ---- */

static void report_body(void *arg)
{
	static const char *const has[] = {
		"From: Mail Delivery System <postmaster@mx.here>\r\n",
		"To: <alice@here>\r\n",
		"Content-Type: multipart/report; report-type=delivery-status;\r\n",
		"Content-Type: message/delivery-status\r\n",
		"Reporting-MTA: dns; mx.here\r\n",
		"Final-Recipient: rfc822; nobody@here\r\n",
		"Action: failed\r\nStatus: 5.1.1\r\n",
		"Original-Recipient: rfc822; dead@here\r\n",
		"Content-Type: text/rfc822-headers\r\n\r\nSubject: lost\r\nX-A: b\r\n\r\n--",
	};
	struct world w = { 0 };

	(void)arg;
	world_home(&w);
	world_open(&w, NULL);
	world_submit(&w, "alice@here", "dead@here", "Subject: lost\r\nX-A: b\r\n\r\nsecret\r\n");
	world_settle(&w);
	must(w.got[1] == 1);
	for (size_t i = 0; i < sizeof(has) / sizeof(has[0]); i++)
		if (!memmem(w.last, w.last_len, has[i], strlen(has[i]))) {
			fprintf(stderr, "no %s in\n%.*s\n", has[i], (int)w.last_len, w.last);
			abort();
		}
	must(!memmem(w.last, w.last_len, "secret", 6));
	world_close(&w);
	world_end(&w);
}

static void a_failure_is_reported_as_rfc_3464_has_it(void **state)
{
	(void)state;
	run_on_loop(report_body, NULL);
}

/* ---- failing for now ---- */

static void later_body(void *arg)
{
	struct aq_options o = { .retry_first_s = 1, .retry_s = 1 };
	struct world w = { 0 };

	(void)arg;
	world_home(&w);
	world_open(&w, &o);
	w.says[2] = ST_NOSPACE;
	world_submit(&w, "x@y", "alice@here,bob@here,nobody@here", "x\r\n");
	world_settle(&w);
	must(w.got[1] == 1 && w.got[2] == 0 && w.attempts == 1);
	must(world_queue(&w, AQ_Q_RETRY) == 1 && world_files(&w, "Queue", ".eml") == 1);
	must(world_files(&w, "Badmail", "") == 0); /* not before bob's fate is known */
	w.says[2] = ST_OK;
	fiber_sleep(deadline_in_ms(1200));
	world_settle(&w);
	must(w.got[1] == 1 && w.got[2] == 1 && w.attempts == 2);
	must(world_files(&w, "Queue", "") == 0 && world_files(&w, "Badmail", ".BAD") == 1);
	must(w.events[AQ_SUBMISSION] == 1);
	world_close(&w);
	world_end(&w);
}

static void who_has_it_is_not_tried_again_and_the_rest_is(void **state)
{
	(void)state;
	run_on_loop(later_body, NULL);
}

static void restart_body(void *arg)
{
	struct aq_options o = { .retry_first_s = 1, .retry_s = 1 };
	struct world w = { 0 };

	(void)arg;
	world_home(&w);
	world_open(&w, &o);
	w.says[2] = ST_NOSPACE;
	world_submit(&w, "alice@here", "carol@here,bob@here,nobody@here", "x\r\n");
	world_settle(&w);
	must(w.got[3] == 1 && w.got[1] == 1); /* carol has it, alice was told of nobody */
	world_close(&w);
	world_open(&w, &o);
	world_settle(&w);
	must(world_queue(&w, AQ_Q_RETRY) == 1 && w.attempts == 2); /* the report was the second */
	w.says[2] = ST_OK;
	fiber_sleep(deadline_in_ms(1200));
	world_settle(&w);
	must(w.got[3] == 1 && w.got[2] == 1 && w.got[1] == 1);
	must(world_files(&w, "Queue", "") == 0);
	world_close(&w);
	world_end(&w);
}

static void what_is_done_stays_done_over_a_restart_and_the_time_is_kept(void **state)
{
	(void)state;
	run_on_loop(restart_body, NULL);
}

static void away_body(void *arg)
{
	struct world w = { 0 };
	int directory;

	(void)arg;
	for (directory = 0; directory < 2; directory++) {
		memset(&w, 0, sizeof(w));
		world_home(&w);
		world_open(&w, NULL);
		w.trouble = directory ? ST_OK : ST_GONE;
		w.directory_away = directory;
		for (int i = 0; i < 100; i++)
			world_submit(&w, "alice@here", "bob@here", "x\r\n");
		world_settle(&w);
		must(w.got[2] == 0 && world_files(&w, "Queue", ".eml") == 100);
		aq_store_bound(w.aq, false);
		w.trouble = ST_OK;
		w.directory_away = false;
		world_submit(&w, "alice@here", "bob@here", "x\r\n");
		world_settle(&w);
		must(w.got[2] == 0);
		aq_store_bound(w.aq, true);
		world_settle(&w);
		must(w.got[2] == 101 && world_files(&w, "Queue", "") == 0);
		world_close(&w);
		world_end(&w);
	}
}

static void when_the_store_comes_back_all_goes_on_at_once(void **state)
{
	(void)state;
	run_on_loop(away_body, NULL);
}

static int64_t shift;
static int64_t shifted_real(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec + shift;
}

static void expiry_body(void *arg)
{
	static const struct clock_seam seam = { .real = shifted_real };
	struct world w = { 0 };

	(void)arg;
	clock_set_seam(&seam);
	world_home(&w);
	world_open(&w, NULL);
	w.says[2] = ST_NOSPACE;
	world_submit(&w, "alice@here", "bob@here", "x\r\n");
	world_settle(&w);
	must(world_queue(&w, AQ_Q_RETRY) == 1);
	world_close(&w);
	shift = 3 * 86400 * NS_PER_SEC;
	world_open(&w, NULL);
	world_settle(&w);
	must(w.got[2] == 0 && w.got[1] == 1 && world_files(&w, "Queue", "") == 0);
	must(memmem(w.last, w.last_len, "Status: 4.4.7\r\n", 15));
	world_close(&w);
	world_end(&w);
	shift = 0;
	clock_set_seam(NULL);
}

static void what_is_too_old_is_given_up_and_reported(void **state)
{
	(void)state;
	run_on_loop(expiry_body, NULL);
}

/* ---- straight through ---- */

static struct aq_msg *held;

static enum aq_result hold(void *arg, struct aq_msg *m)
{
	(void)arg;
	held = m;
	return SINK_PENDING;
}

static void no_file_body(void *arg)
{
	struct world w = { .through = true };
	struct fsdriver_stats files;
	struct aq_stats stats;
	char *large = malloc(300001);

	(void)arg;
	memset(large, 'x', 300000);
	large[300000] = 0;
	world_home(&w);
	world_open(&w, NULL);
	world_submit(&w, "alice@here", "bob@here,all@here", "x\r\n");
	must(w.got[1] == 1 && w.got[2] == 1 && w.got[3] == 1); /* before it is acknowledged */
	must(strcmp(w.order, "0 1 2 3 4 5 ") == 0);
	world_submit(&w, "alice@here", "bob@here", large);
	must(w.got[2] == 2);
	work_stop(); /* its temporary file is removed in the background */
	must(world_files(&w, "Queue", "") == 0);
	fsdriver_stats(w.driver, &files);
	must(files.committed == 0 && files.file_syncs == 0 && files.folder_syncs == 0);
	aq_stats(w.aq, &stats);
	must(stats.through == 2 && stats.delivered_messages == 2 && stats.waiting == 0);
	world_close(&w);
	world_end(&w);
	free(large);
}

static void what_goes_straight_through_leaves_no_file(void **state)
{
	(void)state;
	run_on_loop(no_file_body, NULL);
}

static const struct {
	const char *name, *to;
	enum st trouble, says; /* of the store; of bob's mailbox */
	bool directory_away;
	unsigned files, got_bob, reports;
} kept[] = {
	{ "the store is gone", "bob@here", ST_GONE, ST_OK, false, 1, 0, 0 },
	{ "the store has no room", "bob@here", ST_NOSPACE, ST_OK, false, 1, 0, 0 },
	{ "the directory can't answer", "bob@here", ST_OK, ST_OK, true, 1, 0, 0 },
	{ "one mailbox is full", "bob@here,carol@here", ST_OK, ST_NOSPACE, false, 1, 0, 0 },
	{ "one address is wrong", "bob@here,nobody@here", ST_OK, ST_OK, false, 0, 1, 1 },
	{ "the mailbox vanished", "bob@here", ST_OK, ST_NOTFOUND, false, 0, 0, 1 },
};

static void kept_body(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		struct world w = { .through = true,
				   .trouble = kept[i].trouble,
				   .directory_away = kept[i].directory_away };
		struct fsdriver_stats files;

		w.says[2] = kept[i].says;
		world_home(&w);
		world_open(&w, NULL);
		world_submit(&w, "alice@here", kept[i].to, "x\r\n");
		fsdriver_stats(w.driver, &files);
		must(files.committed >= 1); /* when it is acknowledged */
		world_settle(&w);
		if (world_files(&w, "Queue", ".eml") != kept[i].files ||
		    w.got[2] != kept[i].got_bob || w.got[1] != kept[i].reports) {
			fprintf(stderr, "%s: %u %u\n", kept[i].name, w.got[1], w.got[2]);
			abort();
		}
		w.trouble = ST_OK;
		w.directory_away = false;
		memset(w.says, 0, sizeof(w.says));
		world_close(&w);
		world_end(&w);
	}
}

static void what_cannot_go_straight_through_is_kept_before_it_is_acknowledged(void **state)
{
	(void)state;
	run_on_loop(kept_body, NULL);
}

struct sender {
	struct world *w;
	unsigned *left;
	struct fiber *waiter;
	enum st want;
};

static void sending(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < 20; i++) {
		world_submit(s->w, "alice@here", "bob@here", "x\r\n");
		fiber_yield();
	}
	if (--*s->left == 0)
		fiber_wake(s->waiter);
}

static void crowd_through_body(void *arg)
{
	struct world w = { .through = true };
	unsigned left = 200, turns = 0;
	struct sender s = { &w, &left, fiber_self(), ST_OK };
	struct aq_stats stats;
	struct err err;

	(void)arg;
	world_home(&w);
	world_open(&w, NULL);
	for (int i = 0; i < 200; i++)
		must(fiber_spawn("sending", sending, &s, &err) == ST_OK);
	while (left) {
		w.trouble = ++turns % 2 ? ST_GONE : ST_OK;
		aq_store_bound(w.aq, turns % 2 == 0);
		fiber_park(deadline_in_ms(3));
	}
	w.trouble = ST_OK;
	aq_store_bound(w.aq, true);
	world_settle(&w);
	aq_stats(w.aq, &stats);
	must(w.got[2] == 4000 && stats.delivered_messages == 4000);
	must(world_files(&w, "Queue", "") == 0);
	world_close(&w);
	world_end(&w);
}

static void a_crowd_goes_straight_through_while_the_store_comes_and_goes(void **state)
{
	(void)state;
	run_on_loop(crowd_through_body, NULL);
}

static void one_sender(void *arg)
{
	struct mailmsg_rcpt to = { .address = SPAN("bob@here") };
	struct mailmsg_envelope env = { .sender = SPAN("x@y"), .rcpts = &to, .nrcpts = 1 };
	struct sender *s = arg;
	struct mailmsg *m;
	struct err err;

	must(mailmsg_create(s->w->driver, &m, &err) == ST_OK);
	must(mailmsg_write(m, "x\r\n", 3, &err) == ST_OK);
	must(aq_accept(s->w->aq, m, &env, &err) == s->want);
	--*s->left;
	fiber_wake(s->waiter);
}

static void stop_body(void *arg)
{
	struct world w = { .through = true };
	struct aq_sink pending = { "hold", AQ_PRE_CATEGORIZE, 5, hold, NULL };
	unsigned left = 2;
	struct sender first = { &w, &left, fiber_self(), ST_OK };
	struct sender second = { &w, &left, fiber_self(), ST_GONE };
	struct err err;

	(void)arg;
	world_home(&w);
	world_open(&w, NULL);
	must(aq_sink_add(w.aq, &pending, &err) == ST_OK);
	must(fiber_spawn("sender", one_sender, &first, &err) == ST_OK);
	fiber_sleep(deadline_in_ms(20)); /* it is in the sink's hands */
	must(aq_stop(w.aq, deadline_in_ms(10), &err) == ST_TIMEOUT);
	must(fiber_spawn("sender", one_sender, &second, &err) == ST_OK);
	while (left > 1)
		fiber_park(NO_DEADLINE);
	aq_sink_done(held, SINK_OK);
	while (left)
		fiber_park(NO_DEADLINE);
	must(world_files(&w, "Queue", ".eml") == 1); /* kept: it was acknowledged */
	world_close(&w);
	world_end(&w);
}

static void who_waits_at_the_stop_is_told(void **state)
{
	(void)state;
	run_on_loop(stop_body, NULL);
}

/* ---- limits ---- */

static void bound_body(void *arg)
{
	struct aq_options o = { .messages_max = 10 };
	struct world w = { 0 };
	struct err err;

	(void)arg;
	world_home(&w);
	world_open(&w, &o);
	aq_store_bound(w.aq, false);
	for (int i = 0; i < 10; i++)
		world_submit(&w, "alice@here", "bob@here", "x\r\n");
	must(aq_admit(w.aq, &err) == ST_BUSY);
	aq_store_bound(w.aq, true);
	world_settle(&w);
	must(aq_admit(w.aq, &err) == ST_OK);
	must(aq_stop(w.aq, NO_DEADLINE, &err) == ST_OK);
	must(aq_admit(w.aq, &err) == ST_GONE);
	world_close(&w);
	world_end(&w);
}

static void a_full_queue_says_so_before_a_message_is_taken(void **state)
{
	(void)state;
	run_on_loop(bound_body, NULL);
}

static void damage_body(void *arg)
{
	char command[300];
	struct world w = { 0 };

	(void)arg;
	world_home(&w);
	world_open(&w, NULL);
	aq_store_bound(w.aq, false);
	world_submit(&w, "alice@here", "bob@here", "one\r\n");
	world_submit(&w, "alice@here", "carol@here", "two\r\n");
	world_close(&w);
	snprintf(command, sizeof(command),
		 "cd '%s/Queue' && set -- *.eml && echo more >> \"$1\" && touch "
		 "MR_00000000000000010000000A.eml",
		 w.home);
	must(system(command) == 0);
	world_open(&w, NULL);
	world_settle(&w);
	must(w.got[2] + w.got[3] == 1 && world_files(&w, "Queue", "") == 0);
	must(world_files(&w, "Badmail", ".BAD") == 2);
	world_close(&w);
	world_end(&w);
}

static void damaged_files_are_set_aside_and_the_others_delivered(void **state)
{
	(void)state;
	run_on_loop(damage_body, NULL);
}

/* ---- sinks ---- */

static enum aq_result consume(void *arg, struct aq_msg *m)
{
	unsigned *calls = arg;

	(void)m;
	++*calls;
	return SINK_CONSUMED;
}

static void sinks_body(void *arg)
{
	struct aq_sink pending = { "hold", AQ_PRE_CATEGORIZE, 5, hold, NULL };
	unsigned first = 0, second = 0;
	struct aq_sink early = { "early", AQ_POST_CATEGORIZE, 1, consume, &first };
	struct aq_sink late = { "late", AQ_POST_CATEGORIZE, 2, consume, &second };
	struct world w = { 0 };
	struct err err;

	(void)arg;
	world_home(&w);
	world_open(&w, NULL);
	must(aq_sink_add(w.aq, &pending, &err) == ST_OK);
	must(aq_sink_add(w.aq, &late, &err) == ST_OK);
	must(aq_sink_add(w.aq, &early, &err) == ST_OK);
	world_submit(&w, "alice@here", "bob@here", "x\r\n");
	for (int i = 0; i < 5; i++)
		fiber_sleep(deadline_in_ms(2));
	must(held && w.events[AQ_CATEGORIZE] == 0);
	aq_sink_done(held, SINK_OK);
	world_settle(&w);
	must(first == 1 && second == 0 && w.got[2] == 1);
	world_close(&w);
	world_end(&w);
}

static void a_sink_may_finish_later_or_be_the_last(void **state)
{
	(void)state;
	run_on_loop(sinks_body, NULL);
}

static void crowd_body(void *arg)
{
	struct world w = { 0 };
	char content[2000];

	(void)arg;
	memset(content, 'x', sizeof(content) - 1);
	content[sizeof(content) - 1] = 0;
	world_home(&w);
	world_open(&w, NULL);
	for (int i = 0; i < 2000; i++)
		world_submit(&w, "alice@here", i % 2 ? "bob@here" : "all@here", content);
	world_settle(&w);
	must(w.got[1] == 1000 && w.got[2] == 2000 && w.got[3] == 1000);
	must(world_files(&w, "Queue", "") == 0);
	world_close(&w);
	world_end(&w);
}

static void two_thousand_messages_all_arrive_once(void **state)
{
	(void)state;
	run_on_loop(crowd_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_goes_where_its_addresses_lead),
		cmocka_unit_test(straight_through_it_goes_there_as_well),
		cmocka_unit_test(what_goes_straight_through_leaves_no_file),
		cmocka_unit_test(what_cannot_go_straight_through_is_kept_before_it_is_acknowledged),
		cmocka_unit_test(a_crowd_goes_straight_through_while_the_store_comes_and_goes),
		cmocka_unit_test(who_waits_at_the_stop_is_told),
		cmocka_unit_test(events_come_in_their_order),
		cmocka_unit_test(a_failure_is_reported_as_rfc_3464_has_it),
		cmocka_unit_test(who_has_it_is_not_tried_again_and_the_rest_is),
		cmocka_unit_test(what_is_done_stays_done_over_a_restart_and_the_time_is_kept),
		cmocka_unit_test(when_the_store_comes_back_all_goes_on_at_once),
		cmocka_unit_test(what_is_too_old_is_given_up_and_reported),
		cmocka_unit_test(a_full_queue_says_so_before_a_message_is_taken),
		cmocka_unit_test(damaged_files_are_set_aside_and_the_others_delivered),
		cmocka_unit_test(a_sink_may_finish_later_or_be_the_last),
		cmocka_unit_test(two_thousand_messages_all_arrive_once),
	};

	log_open("test_transport_aq", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
