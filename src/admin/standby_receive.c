/* standby_receive.c - `mailroot standby receive`: the far end of `mailroot ese ship --via`, on standard input and output.
 *
 * Docs/formats.md, "shipping stream".  What has come is written and synced at once, acknowledged, applied, acknowledged.
 * Possible failures: the sender goes away (the end, in order), bytes that are no stream, a group that does not follow,
 * the disk: a word to the sender and the end; what is durable counts when it begins again. */
#include "admin/cli.h"
#include "admin/standby_home.h"
#include "base/byteorder.h"
#include "base/clock.h"
#include "ese/rec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define READ_BYTES  (256u * 1024)
#define ROUND_BYTES (4u * 1024 * 1024) /* taken before the next sync at most */
#define TICK_MS     1000
#define SILENCE_NS  (60 * NS_PER_SEC) /* of the sender, which beats every five seconds */
#define SENDER_MAX  64u               /* groups that a sender may number */

struct receiver {
	struct standby *home;
	struct ship_reader in;
	struct buf out;
	struct standby_group *groups[SENDER_MAX]; /* by the sender's number */
	bool hello, begun, ended, eof, stop;
	int64_t heard_at; /* clock_mono */
	size_t taken;     /* bytes since the last sync */
	struct err io;    /* writing to the sender failed */
};

/* ---- to the sender ---- */

static void send_out(struct receiver *r)
{
	size_t at = 0;

	while (at < r->out.len && r->io.st == ST_OK) {
		ssize_t n = write(STDOUT_FILENO, r->out.at + at, r->out.len - at);

		if (n > 0)
			at += (size_t)n;
		else if (errno != EINTR)
			fail_errno(&r->io, "the sender takes no more");
	}
	buf_clear(&r->out);
}

static void introduce(struct receiver *r)
{
	ship_put_hello(&r->out);
	for (unsigned i = 0; i < r->home->ngroups; i++) {
		const struct standby_group *g = r->home->groups[i];
		struct ese_standby_info info;
		struct ship_stand s;

		ese_standby_look(g->ese, &info);
		s = (struct ship_stand){ .pos = info.received,
					 .created = info.created,
					 .number = info.number };
		memcpy(s.signature, info.signature, LOG_SIGNATURE);
		memcpy(s.name, g->name, sizeof s.name);
		/* One that has nothing yet is as good as none. */
		if (pos_off(info.durable) != 0)
			ship_put_stand(&r->out, &s);
	}
	ship_put(&r->out, &(struct ship_frame){ .kind = SHIP_READY });
	send_out(r);
}

static void acknowledge(struct receiver *r, bool always)
{
	for (uint16_t i = 0; i < SENDER_MAX; i++) {
		struct standby_group *g = r->groups[i];
		struct ese_standby_info info;
		char applied[8];

		if (!g)
			continue;
		ese_standby_look(g->ese, &info);
		if (!always && info.durable == g->acked && info.applied == g->acked_applied)
			continue;
		g->acked = info.durable;
		g->acked_applied = info.applied;
		le64_put(applied, info.applied);
		ship_put(&r->out, &(struct ship_frame){ .kind = SHIP_ACK,
							.group = i,
							.pos = info.durable,
							.payload = span_of(applied, 8) });
	}
	send_out(r);
}

static void durable(void *arg)
{
	acknowledge(arg, false);
}

static enum st settle(struct receiver *r, struct err *err)
{
	enum st st = standby_settle(r->home, durable, r, err);

	r->taken = 0;
	if (st == ST_OK)
		acknowledge(r, false);
	return st;
}

/* ---- from the sender ---- */

static enum st take_group(struct receiver *r, const struct ship_frame *f, struct err *err)
{
	struct standby_group *g;
	struct ship_group announced;
	struct ese_standby_info info;
	enum st st = ship_get_group(f, &announced, err);

	if (st != ST_OK)
		return st;
	if (announced.index >= SENDER_MAX)
		return fail(err, ST_BAD, "the sender has more than %u groups", SENDER_MAX);
	g = standby_group_named(r->home, announced.name);
	if (!g)
		st = standby_group_add(r->home, announced.name, &g, err);
	if (st != ST_OK)
		return st;
	ese_standby_look(g->ese, &info);
	if (pos_off(info.durable) != 0 &&
	    memcmp(info.signature, announced.signature, LOG_SIGNATURE) != 0)
		return fail(err, ST_BAD, "group %s of the sender is not the one that is here",
			    g->name);
	r->groups[announced.index] = g;
	g->pending = true;
	return ST_OK;
}

static enum st group_of(const struct receiver *r, const struct ship_frame *f,
			struct standby_group **out, struct err *err)
{
	*out = f->group < SENDER_MAX ? r->groups[f->group] : NULL;
	return *out ? ST_OK : fail(err, ST_CORRUPT, "the sender means a group that it never named");
}

static enum st take_log(struct receiver *r, const struct ship_frame *f, struct err *err)
{
	struct standby_group *g;
	struct seg_head h;
	enum st st = group_of(r, f, &g, err);

	if (st != ST_OK)
		return st;
	g->pending = true;
	r->taken += f->payload.len;
	if (f->pos > g->source_pos)
		g->source_pos = f->pos;
	if (f->kind == SHIP_DATA)
		return ese_standby_take(g->ese, f->pos, f->payload, err);
	if (f->payload.len != SEG_HEAD)
		return fail(err, ST_CORRUPT, "the sender begins a log file without a header");
	st = seg_head_get(f->payload.at, &h, "of the sender", err);
	return st == ST_OK ? ese_standby_begin(g->ese, &h, err) : st;
}

static enum st take_beat(struct receiver *r, const struct ship_frame *f, struct err *err)
{
	struct standby_group *g;
	enum st st = group_of(r, f, &g, err);

	if (st != ST_OK)
		return st;
	g->source_pos = f->pos;
	g->source_time = f->time;
	acknowledge(r, true);
	return ST_OK;
}

static enum st take_frame(struct receiver *r, const struct ship_frame *f, struct err *err)
{
	if (!r->hello) {
		r->hello = true;
		return ship_check_hello(f, err);
	}
	if (f->kind == SHIP_STOP)
		return fail(err, ST_GONE, "the sender: " SPAN_FMT, SPAN_ARG(f->payload));
	if (!r->begun) {
		if (f->kind == SHIP_GROUP)
			return take_group(r, f, err);
		r->begun = f->kind == SHIP_READY;
		return r->begun ? ST_OK
				: fail(err, ST_CORRUPT, "the sender does not begin as it must");
	}
	switch (f->kind) {
	case SHIP_FILE:
	case SHIP_DATA:
		return take_log(r, f, err);
	case SHIP_BEAT:
		return take_beat(r, f, err);
	case SHIP_END:
		r->ended = true;
		return ST_OK;
	default:
		return fail(err, ST_CORRUPT, "the sender says what only a standby says");
	}
}

/* Every whole frame that is here; then what they brought becomes durable. */
static enum st take_frames(struct receiver *r, struct err *err)
{
	struct ship_frame f;
	enum st st;

	while ((st = ship_next(&r->in, &f, err)) == ST_OK && !r->ended) {
		st = take_frame(r, &f, err);
		if (st == ST_OK && r->taken > ROUND_BYTES)
			st = settle(r, err);
		if (st != ST_OK)
			return st;
	}
	if (st != ST_MORE && st != ST_OK)
		return st;
	return settle(r, err);
}

static enum st read_in(struct receiver *r, struct err *err)
{
	static char bytes[READ_BYTES];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);

	if (n < 0)
		return errno == EINTR ? ST_OK : fail_errno(err, "read from the sender");
	r->eof = n == 0;
	r->heard_at = clock_mono();
	r->home->heard_at = clock_real();
	return ship_feed(&r->in, bytes, (size_t)n, err);
}

/* ---- the whole ---- */

static enum st converse(struct receiver *r, int signals, struct err *err)
{
	struct pollfd p[2] = { { STDIN_FILENO, POLLIN, 0 }, { signals, POLLIN, 0 } };
	enum st st = ST_OK;

	introduce(r);
	r->heard_at = clock_mono();
	while (st == ST_OK && !r->eof && !r->ended && r->io.st == ST_OK) {
		standby_status_write(r->home, false);
		if (poll(p, 2, TICK_MS) < 0)
			continue;
		if (p[1].revents)
			return fail(err, ST_BUSY, "the standby was told to stop");
		if (!p[0].revents) {
			if (clock_mono() - r->heard_at > SILENCE_NS)
				return fail(err, ST_TIMEOUT, "the sender is silent");
			continue;
		}
		st = read_in(r, err);
		if (st == ST_OK)
			st = take_frames(r, err);
	}
	if (st == ST_OK && r->io.st != ST_OK) {
		*err = r->io;
		st = r->io.st;
	}
	return st;
}

static void say_stop(struct receiver *r, const struct err *err)
{
	bool again = err->st == ST_BUSY || err->st == ST_NOSPACE || err->st == ST_TIMEOUT;

	ship_put(&r->out, &(struct ship_frame){ .kind = SHIP_STOP,
						.group = again,
						.payload = span_str(err->text) });
	send_out(r);
}

static int wait_for_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cmd_standby_receive(struct cli *c)
{
	struct receiver r = { .out = BUF_MAX(1024 * 1024) };
	int signals = wait_for_signals();
	struct err err, closing;
	enum st st = standby_open(c->home, false, &r.home, &err), last;

	ship_reader_open(&r.in);
	if (st == ST_OK)
		st = converse(&r, signals, &err);
	if (st == ST_OK && (!r.begun || r.io.st != ST_OK))
		st = fail(&err, ST_GONE, "the sender went away before it had begun");
	if (st != ST_OK)
		say_stop(&r, &err);
	if (r.home)
		standby_status_write(r.home, true);
	last = standby_close(r.home, &closing);
	if (st == ST_OK && last != ST_OK) {
		st = last;
		err = closing;
	}
	ship_reader_close(&r.in);
	buf_free(&r.out);
	close(signals);
	/* Nobody asked for our own server: that the sender is gone is a failure. */
	if (st != ST_OK && err.st == ST_GONE)
		err.st = ST_IO;
	return st == ST_OK ? CLI_DONE : cli_fail(&err);
}
