/* Calls from end to end: a store and a client in one process, talking through the real areas. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum op {
	OP_ECHO,   /* the payload comes back */
	OP_STREAM, /* payload: count, size, pinned (u32 each): so many replies of that size */
	OP_SUM,    /* the sum of the bytes of all sections, as u64 */
	OP_SILENT, /* does not answer */
	OP_LATE,   /* answers after 50 ms */
	OP_NOTIFY, /* payload: token and value (u64 each) */
	OP_FORGET, /* waits until the client is gone */
	OP_PIN,    /* an empty reply that pins */
};

static int64_t soon(void)
{
	return deadline_in_ms(20000);
}

static struct exipc_chan *bound_chan(struct rig *r)
{
	struct exipc_chan *chan = exipc_chan(r->client);
	struct err err;

	assert_int_equal(exipc_wait_bound(chan, soon(), &err), ST_OK);
	return chan;
}

/* ---- the store ---- */

static void released(void *arg)
{
	struct rig *r = arg;

	atomic_fetch_add(&r->releases, 1);
}

static void stream(struct rig *r, struct exipc_request *rq)
{
	uint32_t want[3];
	memcpy(want, rq->payload.at, sizeof(want));
	char *bytes = malloc(want[1] + 1);

	for (uint32_t i = 0; i < want[0]; i++) {
		memset(bytes, (int)(i & 0x7f), want[1]);
		if (exipc_reply(rq, ST_OK, span_of(bytes, want[1]), i + 1 < want[0],
				want[2] ? released : NULL, r))
			break;
	}
	free(bytes);
}

static void sum(struct exipc_request *rq)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < rq->nsections; i++)
		for (size_t k = 0; k < rq->sections[i].len; k++)
			n += (unsigned char)rq->sections[i].at[k];
	(void)exipc_reply(rq, ST_OK, span_of(&n, sizeof(n)), false, NULL, NULL);
}

static void on_op(void *arg, struct exipc_request *rq)
{
	struct rig *r = arg;
	uint64_t note[2];

	atomic_fetch_add(&r->handled, 1);
	switch ((enum op)rq->op) {
	case OP_STREAM:
		stream(r, rq);
		return;
	case OP_SUM:
		sum(rq);
		return;
	case OP_SILENT:
		return;
	case OP_LATE:
		fiber_sleep(deadline_in_ms(50));
		break;
	case OP_NOTIFY:
		memcpy(note, rq->payload.at, sizeof(note));
		exipc_notify(r->server, rq->binding_id, rq->client_loop, note[0], note[1]);
		break;
	case OP_FORGET:
		while (!exipc_request_gone(rq))
			fiber_sleep(deadline_in_ms(1));
		return;
	case OP_PIN:
		(void)exipc_reply(rq, ST_OK, SPAN_NONE, false, released, r);
		return;
	case OP_ECHO:
		break;
	}
	(void)exipc_reply(rq, ST_OK, rq->payload, false, NULL, NULL);
}

static void rig_up(struct rig *r, unsigned client_loops, unsigned store_loops)
{
	rig_init(r, client_loops, store_loops);
	r->so.request = on_op;
	rig_store(r);
	rig_client(r);
}

/* ---- one call ---- */

static void echo(struct exipc_chan *chan, unsigned store_loop, struct span payload)
{
	struct exipc_reply reply;
	struct err err;

	assert_int_equal(
		exipc_call(chan, store_loop, OP_ECHO, payload, NULL, NULL, 0, soon(), &reply, &err),
		ST_OK);
	assert_int_equal(reply.status, ST_OK);
	assert_false(reply.more);
	assert_true(span_eq(reply.payload, payload));
	exipc_reply_free(&reply);
	exipc_reply_free(&reply);
}

static void all_sizes(void *arg)
{
	static const size_t sizes[] = { 0,     1,     255,    256,    257,
					1024,  1025,  4096,   4097,   16384,
					16385, 32768, 100000, 524288, EXIPC_BLOCK_MAX };
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	struct exipc_reply reply;
	struct err err;
	char *bytes = malloc(EXIPC_BLOCK_MAX + 1);

	for (size_t i = 0; i <= EXIPC_BLOCK_MAX; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	for (unsigned s = 0; s < r->store_loops; s++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			echo(chan, s, span_of(bytes, sizes[i]));
	assert_int_equal(exipc_call(chan, 0, OP_ECHO, span_of(bytes, EXIPC_BLOCK_MAX + 1), NULL,
				    NULL, 0, soon(), &reply, &err),
			 ST_TOOBIG);
	assert_int_equal(exipc_call(chan, r->store_loops, OP_ECHO, SPAN("x"), NULL, NULL, 0, soon(),
				    &reply, &err),
			 ST_GONE);
	free(bytes);
}

static void payloads_of_all_sizes_come_back(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 2, 3);
	rig_run(&r, 0, all_sizes, &r);
	rig_run(&r, 1, all_sizes, &r);
	rig_done(&r);
	assert_int_equal(atomic_load(&r.unbounds), 3);
	assert_int_equal(atomic_load(&r.unbound_alls), 1);
}

/* ---- many at once ---- */

enum { CROWD = 2000, EACH = 20 };

struct crowd {
	struct rig *rig;
	struct exipc_chan *chan;
	unsigned started, left;
	struct fiber *waits;
};

static void crowd_fiber(void *arg)
{
	struct crowd *c = arg;
	unsigned me = c->started++;
	char bytes[3000];

	for (unsigned i = 0; i < EACH; i++) {
		size_t len = (me * 37 + i * 911) % sizeof(bytes);

		memset(bytes, (int)(me + i), len);
		echo(c->chan, (me + i) % c->rig->store_loops, span_of(bytes, len));
	}
	if (--c->left == 0)
		fiber_wake(c->waits);
}

static void make_crowd(void *arg)
{
	struct rig *r = arg;
	struct crowd c = { .rig = r, .chan = bound_chan(r), .left = CROWD, .waits = fiber_self() };
	struct err err;

	for (unsigned i = 0; i < CROWD; i++)
		assert_int_equal(fiber_spawn("crowd", crowd_fiber, &c, &err), ST_OK);
	while (c.left)
		fiber_park(NO_DEADLINE);
	assert_int_equal(atomic_load(&r->handled), CROWD * EACH);
	/* Blocks that come back wake nobody: the next request finds them. */
	echo(c.chan, 0, SPAN_NONE);
	echo(c.chan, 1, SPAN_NONE);
}

static uint64_t observed_ring_full, observed_heap_full;
static unsigned observed_rows;

static void observe_row(void *arg, const struct exipc_pair_view *v)
{
	(void)arg;
	assert_string_equal(v->client, "inet");
	assert_int_equal(v->pid, getpid());
	assert_int_equal(v->client_queue, 0);
	assert_int_equal(v->store_queue, 0);
	assert_int_equal(v->client_blocks, 0);
	assert_int_equal(v->store_blocks, 0);
	assert_int_equal(v->oldest_request_ns, 0);
	assert_int_equal(v->rejected, 0);
	assert_true(v->requests > 0 && v->requests == v->replies);
	observed_ring_full += v->ring_full;
	observed_heap_full += v->heap_full;
	observed_rows++;
}

static void a_crowd_waits_for_ring_and_heap_and_all_are_served(void **state)
{
	struct rig r;
	struct err err;

	(void)state;
	rig_up(&r, 1, 2);
	rig_run(&r, 0, make_crowd, &r);
	observed_rows = 0;
	assert_int_equal(exipc_observe(r.path, observe_row, NULL, &err), ST_OK);
	assert_int_equal(observed_rows, 2);
	assert_true(observed_ring_full + observed_heap_full > 0);
	rig_done(&r);
	assert_int_equal(exipc_observe(r.path, observe_row, NULL, &err), ST_NOTFOUND);
}

/* ---- replies that follow each other ---- */

static enum st call_stream(struct exipc_chan *chan, uint32_t count, uint32_t size, bool pinned,
			   struct exipc_reply *reply)
{
	uint32_t want[3] = { count, size, pinned };
	struct err err;

	return exipc_call(chan, 0, OP_STREAM, span_of(want, sizeof(want)), NULL, NULL, 0, soon(),
			  reply, &err);
}

static void read_streams(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	struct exipc_reply reply;
	struct err err;
	uint32_t n = 0;

	/* Ten times what the store's heap holds at once. */
	assert_int_equal(call_stream(chan, 700, 30000, true, &reply), ST_OK);
	for (;; n++) {
		assert_int_equal(reply.payload.len, 30000);
		assert_int_equal(reply.payload.at[0], n & 0x7f);
		assert_int_equal(reply.payload.at[29999], n & 0x7f);
		if (!reply.more)
			break;
		assert_int_equal(exipc_reply_next(&reply, soon(), &err), ST_OK);
	}
	exipc_reply_free(&reply);
	assert_int_equal(n, 699);

	/* One that is not read to its end: the rest goes back unseen. */
	assert_int_equal(call_stream(chan, 700, 30000, true, &reply), ST_OK);
	assert_true(reply.more);
	exipc_reply_free(&reply);
	echo(chan, 0, SPAN("still there"));
}

static void long_answers_are_read_and_abandoned(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, read_streams, &r);
	rig_reach(&r.releases, 1400); /* without any further call */
	rig_done(&r);
	assert_int_equal(atomic_load(&r.releases), 1400);
}

/* A store that waits for room sleeps; it must be told when the client made some. */
static void read_slowly(void *arg)
{
	static const uint32_t rows[][2] = { { 200, 30000 }, { 2000, 0 }, { 3, EXIPC_BLOCK_MAX } };
	struct exipc_chan *chan = bound_chan(arg);
	struct exipc_reply reply;
	struct err err;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t n = 1;

		assert_int_equal(call_stream(chan, rows[i][0], rows[i][1], false, &reply), ST_OK);
		for (; reply.more; n++) {
			assert_int_equal(reply.payload.len, rows[i][1]);
			if (n % (rows[i][0] / 3) == 0)
				fiber_sleep(deadline_in_ms(5));
			assert_int_equal(exipc_reply_next(&reply, soon(), &err), ST_OK);
		}
		exipc_reply_free(&reply);
		assert_int_equal(n, rows[i][0]);
	}
}

static void a_store_that_waits_for_room_is_woken(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, read_slowly, &r);
	rig_done(&r);
}

struct held {
	struct rig *rig;
	struct exipc_reply reply[500];
};

static void hold_pins(void *arg)
{
	struct held *h = arg;
	struct exipc_chan *chan = bound_chan(h->rig);
	struct err err;

	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(exipc_call(chan, 0, OP_PIN, SPAN_NONE, NULL, NULL, 0, soon(),
					    &h->reply[i], &err),
				 ST_OK);
		assert_int_equal(h->reply[i].payload.len, 0);
	}
	assert_int_equal(atomic_load(&h->rig->releases), 0);
	for (unsigned i = 0; i < 250; i++)
		exipc_reply_free(&h->reply[i * 2]);
}

static void free_pins(void *arg)
{
	struct held *h = arg;

	for (unsigned i = 0; i < 500; i++)
		exipc_reply_free(&h->reply[i]);
}

static void a_pin_lasts_until_its_reply_is_freed_or_the_binding_ends(void **state)
{
	static struct held h;
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	h.rig = &r;
	rig_run(&r, 0, hold_pins, &h);
	rig_reach(&r.releases, 250);
	assert_int_equal(atomic_load(&r.releases), 250);
	exipc_server_stop(r.server);
	rig_reach(&r.unbound_alls, 1);
	assert_int_equal(atomic_load(&r.releases), 500);
	rig_reach(&r.states_lost, 1);
	rig_run(&r, 0, free_pins, &h); /* of a binding that is over */
	rig_done(&r);
}

static void take_blocks(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	struct exipc_reply reply, kept[3], none = { 0 };
	struct err err;

	assert_false(exipc_reply_take(&none, &kept[0]));
	assert_int_equal(call_stream(chan, 3, 1000, true, &reply), ST_OK);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(exipc_reply_take(&reply, &kept[i]));
		assert_false(kept[i].more);
		assert_int_equal(reply.more, i < 2);
		if (reply.more)
			assert_int_equal(exipc_reply_next(&reply, soon(), &err), ST_OK);
	}
	exipc_reply_free(&reply);
	assert_int_equal(atomic_load(&r->releases), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(kept[i].payload.len, 1000);
		assert_int_equal(kept[i].payload.at[999], i);
		exipc_reply_free(&kept[i]);
	}
}

static void a_block_may_outlive_its_reply(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, take_blocks, &r);
	rig_reach(&r.releases, 3);
	rig_done(&r);
}

/* ---- bulk data ---- */

static void send_bulk(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	struct exipc_section s[EXIPC_BULK_MAX + 1];
	uint32_t used[EXIPC_BULK_MAX];
	struct exipc_reply reply;
	struct err err;

	for (unsigned n = 0; n <= EXIPC_BULK_MAX; n++) {
		uint64_t want = 0, got;

		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(exipc_section_get(chan, 1, soon(), &s[i], &err), ST_OK);
			used[i] = i == 2 ? 0 : EXIPC_SECTION - i;
			memset(s[i].at, (int)(i + n + 1), EXIPC_SECTION);
			want += (uint64_t)(i + n + 1) * used[i];
		}
		assert_int_equal(
			exipc_call(chan, 1, OP_SUM, SPAN("sum"), s, used, n, soon(), &reply, &err),
			ST_OK);
		assert_int_equal(reply.payload.len, sizeof(got));
		memcpy(&got, reply.payload.at, sizeof(got));
		assert_int_equal(got, want);
		exipc_reply_free(&reply);
	}
	for (unsigned i = 0; i < EXIPC_BULK_MAX; i++)
		assert_int_equal(exipc_section_get(chan, 1, soon(), &s[i], &err), ST_OK);
	assert_int_equal(exipc_section_get(chan, 1, soon(), &s[8], &err), ST_TOOBIG);
	for (unsigned i = 0; i < EXIPC_BULK_MAX; i++)
		exipc_section_put(chan, &s[i]);
}

static void bulk_data_rides_along(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 1, 2);
	rig_run(&r, 0, send_bulk, &r);
	rig_done(&r);
}

enum { FILLERS = 60 };

struct fillers {
	struct exipc_chan *chan;
	unsigned left;
	struct fiber *waits;
};

/* Takes up to eight sections one by one, with others in between. */
static void fill(void *arg)
{
	struct fillers *f = arg;
	unsigned me = f->left;
	struct exipc_section s[EXIPC_BULK_MAX];
	uint32_t used[EXIPC_BULK_MAX];
	struct exipc_reply reply;
	struct err err;

	for (unsigned round = 0; round < 20; round++) {
		unsigned n = 1 + (me + round) % EXIPC_BULK_MAX;
		uint64_t got;

		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(exipc_section_get(f->chan, 0, soon(), &s[i], &err), ST_OK);
			memset(s[i].at, 1, 100);
			used[i] = 100;
			fiber_yield();
		}
		assert_int_equal(exipc_call(f->chan, 0, OP_SUM, SPAN("sum"), s, used, n, soon(),
					    &reply, &err),
				 ST_OK);
		memcpy(&got, reply.payload.at, sizeof(got));
		assert_int_equal(got, 100 * n);
		exipc_reply_free(&reply);
	}
	if (--f->left == 0)
		fiber_wake(f->waits);
}

static void fill_together(void *arg)
{
	struct fillers f = { .chan = bound_chan(arg), .waits = fiber_self() };
	struct err err;

	for (unsigned i = 0; i < FILLERS; i++)
		assert_int_equal(fiber_spawn("fill", fill, &f, &err), ST_OK);
	f.left = FILLERS;
	while (f.left)
		fiber_park(NO_DEADLINE);
}

static void many_that_fill_sections_never_block_each_other(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, fill_together, &r);
	rig_done(&r);
}

/* ---- deadlines ---- */

static void run_late(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	struct exipc_reply reply;
	struct err err;

	assert_int_equal(exipc_call(chan, 0, OP_LATE, SPAN("x"), NULL, NULL, 0, deadline_in_ms(5),
				    &reply, &err),
			 ST_TIMEOUT);
	echo(chan, 0, SPAN("in between"));
	fiber_sleep(deadline_in_ms(80)); /* the late reply comes and is dropped */
	echo(chan, 0, SPAN("after"));
	assert_int_equal(
		exipc_call(chan, 0, OP_LATE, SPAN("x"), NULL, NULL, 0, soon(), &reply, &err),
		ST_OK);
	exipc_reply_free(&reply);
	assert_int_equal(
		exipc_call(chan, 0, OP_SILENT, SPAN("x"), NULL, NULL, 0, soon(), &reply, &err),
		ST_OK);
	assert_int_equal(reply.status, ST_IO);
	exipc_reply_free(&reply);
}

static void late_and_missing_answers(void **state)
{
	struct exipc_server_figures f;
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, run_late, &r);
	exipc_server_figures(r.server, &f);
	assert_int_equal(f.unanswered, 1);
	assert_int_equal(f.rejected, 0);
	rig_done(&r);
}

static void sleep_and_call(void *arg)
{
	struct exipc_chan *chan = bound_chan(arg);

	for (unsigned i = 0; i < 100; i++) {
		fiber_sleep(deadline_in_ms(1 + i % 3));
		echo(chan, 0, SPAN("wake up"));
	}
}

static void both_sides_wake_each_other(void **state)
{
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, sleep_and_call, &r);
	rig_done(&r);
}

static uint64_t turns_of(const struct rig *r)
{
	struct loop_stats inet, store;

	loop_stats(r->client_loop[0], &inet);
	loop_stats(r->store_loop[0], &store);
	return inet.turns + store.turns;
}

static void an_idle_binding_costs_nothing(void **state)
{
	struct timespec while_idle = { .tv_nsec = 100 * 1000 * 1000 };
	struct rig r;

	(void)state;
	rig_up(&r, 1, 1);
	rig_run(&r, 0, sleep_and_call, &r);
	nanosleep(&while_idle, NULL); /* what still spins comes to rest */
	uint64_t before = turns_of(&r);
	nanosleep(&while_idle, NULL);
	nanosleep(&while_idle, NULL);
	assert_int_equal(turns_of(&r), before);
	rig_done(&r);
}

/* ---- notifications ---- */

static _Atomic uint64_t last_value[64];
static atomic_int notes_seen;

static void on_note(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value)
{
	(void)arg;
	(void)chan;
	assert_true(token < 64);
	assert_true(value > atomic_load(&last_value[token]));
	atomic_store(&last_value[token], value);
	atomic_fetch_add(&notes_seen, 1);
}

static void ask_for_notes(void *arg)
{
	struct exipc_chan *chan = bound_chan(arg);
	struct exipc_reply reply;
	struct err err;

	for (uint64_t value = 1; value <= 50; value++)
		for (uint64_t token = 0; token < 64; token++) {
			uint64_t note[2] = { token, value };

			assert_int_equal(exipc_call(chan, 0, OP_NOTIFY, span_of(note, sizeof(note)),
						    NULL, NULL, 0, soon(), &reply, &err),
					 ST_OK);
			exipc_reply_free(&reply);
		}
}

static void the_newest_notification_always_arrives(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		atomic_store(&last_value[i], 0);
	rig_init(&r, 1, 1);
	r.so.request = on_op;
	r.notify = on_note;
	rig_store(&r);
	rig_client(&r);
	rig_run(&r, 0, ask_for_notes, &r);
	int64_t give_up = soon();
	for (unsigned i = 0; i < 64; i++)
		while (atomic_load(&last_value[i]) != 50)
			assert_true(clock_mono() < give_up);
	rig_done(&r);
}

/* ---- descriptors ---- */

static void use_fds(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	char text[32] = "";

	assert_null(exipc_fd_hold(chan, 7));
	for (uint64_t tag = 100; tag < 250; tag++) {
		struct exipc_fd *h = exipc_fd_hold(chan, tag);

		assert_non_null(h);
		snprintf(text, sizeof(text), "tag %d", (int)tag);
		char got[32] = "";
		assert_int_equal(pread(exipc_fd_get(h), got, sizeof(got) - 1, 0), strlen(text));
		assert_string_equal(got, text);
		assert_int_equal(write(exipc_fd_get(h), "x", 1), -1);
		exipc_fd_drop(h);
	}
}

static struct exipc_fd *kept;

static void keep_fd(void *arg)
{
	kept = exipc_fd_hold(bound_chan(arg), 101);
	assert_non_null(kept);
}

static void descriptors_come_with_the_binding(void **state)
{
	struct rig r;
	char path[120], text[32];

	(void)state;
	rig_init(&r, 1, 1);
	rig_store(&r);
	for (uint64_t tag = 100; tag < 250; tag++) {
		snprintf(path, sizeof(path), "%s.stm", r.path);
		int w = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		snprintf(text, sizeof(text), "tag %d", (int)tag);
		assert_int_equal(write(w, text, strlen(text)), strlen(text));
		exipc_server_offer_fd(r.server, tag, fd);
		close(w);
		close(fd);
		unlink(path);
	}
	rig_client(&r);
	rig_run(&r, 0, use_fds, &r);
	rig_run(&r, 0, keep_fd, &r);
	rig_client_stop(&r);
	char got[32] = "";
	assert_int_equal(pread(exipc_fd_get(kept), got, sizeof(got) - 1, 0), 7);
	exipc_fd_drop(kept);
	rig_done(&r);
}

struct late {
	struct rig *r;
	uint64_t tag;
	bool withdraw;
	sem_t done;
};

/* On the store's first loop. */
static void offer_late(void *arg)
{
	struct late *l = arg;
	char path[120];
	int fd;

	if (l->withdraw) {
		exipc_server_withdraw_fd(l->r->server, l->tag);
	} else {
		snprintf(path, sizeof(path), "%s.stm", l->r->path);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		exipc_server_offer_fd(l->r->server, l->tag, fd);
		close(fd);
		unlink(path);
	}
	sem_post(&l->done);
}

static void late(struct rig *r, uint64_t tag, bool withdraw)
{
	struct late l = { .r = r, .tag = tag, .withdraw = withdraw };

	sem_init(&l.done, 0, 0);
	loop_post(r->store_loop[0], offer_late, &l);
	sem_wait(&l.done);
	sem_destroy(&l.done);
}

static void bind_now(void *arg)
{
	(void)bound_chan(arg);
}

/* What the store did is known at once, on any loop. */
static void hold_late(void *arg)
{
	kept = exipc_fd_hold(bound_chan(arg), 7);
}

/* A client that looks for what it does not know hears of everything that was said before. */
static void look_again(void *arg)
{
	assert_null(exipc_fd_hold(bound_chan(arg), 999));
	assert_null(exipc_fd_hold(bound_chan(arg), 7));
	assert_true(exipc_fd_withdrawn(kept));
	struct exipc_fd *other = exipc_fd_hold(bound_chan(arg), 6);
	assert_non_null(other);
	exipc_fd_drop(other);
}

static void descriptors_come_and_go_later(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 2, 2);
	rig_store(&r);
	late(&r, 6, false);
	rig_client(&r);
	rig_run(&r, 0, bind_now, &r);
	for (unsigned i = 0; i < 20; i++) {
		rig_run(&r, i % 2, hold_late, &r);
		assert_null(kept);
		late(&r, 7, false);
		rig_run(&r, 1 - i % 2, hold_late, &r);
		assert_non_null(kept);
		assert_false(exipc_fd_withdrawn(kept));
		late(&r, 7, true);
		rig_run(&r, i % 2, look_again, &r);
		exipc_fd_drop(kept);
	}
	rig_done(&r);
}

/* ---- stopping ---- */

static void wait_in_vain(void *arg)
{
	struct rig *r = arg;
	struct err err;

	exipc_client_stop(r->client);
	assert_int_equal(exipc_wait_bound(exipc_chan(r->client), NO_DEADLINE, &err), ST_GONE);
}

static void a_stopped_client_lets_its_fibers_go(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 2, 1);
	rig_client(&r); /* nobody listens */
	rig_run(&r, 1, wait_in_vain, &r);
	rig_run(&r, 0, wait_in_vain, &r);
	rig_done(&r);
}

/* ---- refusals ---- */

struct refusal {
	const char *path, *name;
	uint32_t version;
	char words[64];
	struct exipc_client *client;
};

static void be_refused(void *arg)
{
	struct refusal *want = arg;
	struct loop *loop = loop_self();
	struct exipc_client_options o = { .socket_path = want->path,
					  .name = want->name,
					  .version = want->version,
					  .loops = &loop,
					  .nloops = 1 };
	struct err err;

	assert_int_equal(exipc_client_new(&o, &want->client, &err), ST_OK);
	struct exipc_chan *chan = exipc_chan(want->client);
	assert_int_equal(exipc_wait_bound(chan, soon(), &err), ST_DENIED);
	assert_non_null(strstr(err.text, want->words));
	assert_int_equal(exipc_wait_bound(chan, soon(), &err), ST_DENIED);
	loop_stop(loop);
}

static void strangers_and_old_versions_are_refused_with_words(void **state)
{
	static const struct refusal rows[] = {
		{ .name = "stranger", .version = RIG_VERSION, .words = "no strangers" },
		{ .name = "inet", .version = 6, .words = "version 6, the store speaks 7" },
	};
	struct rig r;

	(void)state;
	rig_init(&r, 1, 1);
	rig_store(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct refusal want = rows[i];
		struct loop *loop;
		struct err err;

		want.path = r.path;
		assert_int_equal(loop_new("refused", &loop, &err), ST_OK);
		loop_enter(loop);
		assert_int_equal(fiber_spawn("refused", be_refused, &want, &err), ST_OK);
		loop_run(loop);
		exipc_client_free(want.client);
		loop_free(loop);
	}
	assert_int_equal(atomic_load(&r.binds), 0);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payloads_of_all_sizes_come_back),
		cmocka_unit_test(a_crowd_waits_for_ring_and_heap_and_all_are_served),
		cmocka_unit_test(long_answers_are_read_and_abandoned),
		cmocka_unit_test(a_store_that_waits_for_room_is_woken),
		cmocka_unit_test(a_pin_lasts_until_its_reply_is_freed_or_the_binding_ends),
		cmocka_unit_test(a_block_may_outlive_its_reply),
		cmocka_unit_test(bulk_data_rides_along),
		cmocka_unit_test(many_that_fill_sections_never_block_each_other),
		cmocka_unit_test(late_and_missing_answers),
		cmocka_unit_test(both_sides_wake_each_other),
		cmocka_unit_test(an_idle_binding_costs_nothing),
		cmocka_unit_test(the_newest_notification_always_arrives),
		cmocka_unit_test(descriptors_come_with_the_binding),
		cmocka_unit_test(descriptors_come_and_go_later),
		cmocka_unit_test(a_stopped_client_lets_its_fibers_go),
		cmocka_unit_test(strangers_and_old_versions_are_refused_with_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
