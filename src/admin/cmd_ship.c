/* cmd_ship.c - `mailroot ese ship`: send the log to a standby, for as long as it is wanted; see ship.h.
 *
 * The happy path: ask the store, reach the target, then read, hand over and take acknowledgements until SIGTERM.
 * Possible failures: the target goes away (tried again, more and more seldom), the store goes away (what is durable is
 * still shipped; it comes back by itself), the two logs do not fit or a file is gone (the end, with the reason). */
#include "admin/ship.h"
#include "admin/progress.h"
#include "admin/storelink.h"
#include "base/crc32c.h"
#include "base/timetext.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define AGAIN_FIRST_NS NS_PER_SEC
#define AGAIN_MOST_NS  (30 * NS_PER_SEC)
#define TICK_NS        NS_PER_SEC
#define ANSWER_MAX     (1024u * 1024)

/* ---- what is told ---- */

static void put_log(struct report *r, const struct ship_log *log, int64_t now)
{
	char text[TIME_TEXT];

	report_row(r);
	report_str(r, "group", log->name);
	report_num(r, "durable_position", log->durable);
	report_num(r, "shipped_position", log->acked);
	report_num(r, "applied_position", log->applied);
	report_num(r, "lag_bytes", ship_distance(log, log->acked, log->durable));
	report_num(r, "lag_ms", (uint64_t)(ship_lag_ns(log, now) / NS_PER_MS));
	report_str(r, "shipped_until",
		   log->acked_time ? time_write(text, (int64_t)log->acked_time, 3) : "");
}

/* One report: the answer at the end, and with --json a line of it each second. */
static void put_report(struct ship *s)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	int64_t now = clock_real();
	struct report r;

	report_open(&r, &text, s->cli->json);
	report_table(&r, "ship", true);
	report_row(&r);
	report_str(&r, "to", s->to);
	report_bool(&r, "connected", s->connected);
	report_num(&r, "bytes", s->shipped);
	report_table(&r, "groups", false);
	for (unsigned i = 0; i < s->nlogs; i++)
		put_log(&r, s->logs[i], now);
	report_close(&r);
	cli_print(&text);
	fflush(stdout);
}

static void tell(struct ship *s, struct progress *p)
{
	int64_t now = clock_mono();
	uint64_t behind = 0, total = 0;

	if (now - s->told_at < TICK_NS)
		return;
	s->told_at = now;
	if (s->cli->json && !s->once)
		put_report(s);
	for (unsigned i = 0; i < s->nlogs; i++)
		if (s->logs[i]->tail)
			behind += ship_distance(s->logs[i], s->logs[i]->acked, s->logs[i]->durable);
	total = s->shipped + behind;
	progress_bytes(p, behind ? "shipping" : "shipped, nothing is waiting", s->shipped, total);
}

static void say(const struct ship *s, const char *what, const struct err *err)
{
	if (!s->once)
		fprintf(stderr, "mailroot: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
}

/* ---- one log, as far as there is room ---- */

struct advance {
	struct ship *ship;
	struct ship_log *log;
	uint64_t durable;
	struct err *err;
	enum st st;
	bool moved;
};

static enum st step(struct advance *a)
{
	struct ship_log *log = a->log;
	struct log_step step;
	enum st st = log_tail_next(log->tail, a->durable, &step, a->err);

	if (st == ST_OK)
		st = a->ship->target->put(a->ship, log, &step, a->err);
	else if (st != ST_EOF)
		a->ship->final = true;
	if (st != ST_OK)
		return st;
	a->moved = true;
	log->sent = log_tail_position(log->tail);
	if (step.begins) {
		log->file_bytes = step.head.size;
		return ST_OK;
	}
	log->flights[(log->first + log->count++) % SHIP_FLIGHTS] =
		(struct flight){ log->sent, step.group.head.time };
	a->ship->shipped += step.group.head.bytes;
	return ST_OK;
}

/* A thread of the pool. */
static void advance(void *arg)
{
	struct advance *a = arg;
	uint64_t until = a->ship->shipped + SHIP_STEP_BYTES;

	do
		a->st = step(a);
	while (a->st == ST_OK && a->ship->shipped < until && a->log->count < SHIP_FLIGHTS &&
	       a->ship->target->room(a->ship));
}

static bool may_advance(const struct ship *s, const struct ship_log *log)
{
	return log->tail && log->sent < log->durable && log->count < SHIP_FLIGHTS &&
	       ship_distance(log, log->acked, log->sent) < SHIP_WINDOW && s->target->room(s);
}

static enum st advance_all(struct ship *s, bool *moved, struct err *err)
{
	enum st st = ST_OK;

	for (unsigned i = 0; st == ST_OK && i < s->nlogs; i++) {
		struct ship_log *log = s->logs[i];
		struct advance a = { .ship = s, .log = log, .durable = log->durable, .err = err };

		if (!may_advance(s, log))
			continue;
		work_run(advance, &a);
		*moved = *moved || a.moved;
		st = a.st == ST_EOF ? ST_OK : a.st;
		log->waiting_since = log->sent == log->durable ? 0 : clock_real();
	}
	return st;
}

/* ---- a connection ---- */

static enum st begin_log(struct ship *s, struct ship_log *log, struct err *err)
{
	char dir[4400];
	enum st st;

	snprintf(dir, sizeof dir, "%s/groups/%s", s->cli->home, log->name);
	if (!log->known && log->oldest != 1) {
		fprintf(stderr,
			"mailroot: storage group %s is not on the standby, and its log does not go back to its "
			"beginning: it is left out; make the standby anew from a full backup that has it\n",
			log->name);
		s->left_out = true;
		return ST_OK;
	}
	if (log->stand > log->durable && pos_off(log->stand) != 0) {
		s->final = true;
		return fail(
			err, ST_BAD,
			"group %s: the standby has log up to %016llx, this server only to %016llx: they "
			"are not of one line; make the standby anew from a backup of this server",
			log->name, (unsigned long long)log->stand,
			(unsigned long long)log->durable);
	}
	/* A file that is to come may be one that this log has not begun yet. */
	if (log->stand > log->durable)
		return fail(err, ST_BUSY, "group %s: nothing is durable behind %016llx yet",
			    log->name, (unsigned long long)log->stand);
	st = log_tail_open(dir, log->stand, log->created, &log->tail, err);
	if (st == ST_NOTFOUND && err)
		snprintf(err->text + strlen(err->text), sizeof err->text - strlen(err->text),
			 " any more: the standby must begin again from a newer backup");
	s->final = s->final || (st != ST_OK && st != ST_IO);
	log->sent = log->acked = log->applied = log->stand;
	log->file_bytes = 5u * 1024 * 1024;
	return st;
}

static enum st begin_logs(struct ship *s, struct err *err)
{
	enum st st = ST_OK;

	for (unsigned i = 0; st == ST_OK && i < s->begun; i++)
		st = begin_log(s, s->logs[i], err);
	return st;
}

static void end_logs(struct ship *s)
{
	for (unsigned i = 0; i < s->nlogs; i++) {
		struct ship_log *log = s->logs[i];

		log_tail_close(log->tail);
		log->tail = NULL;
		log->first = log->count = 0;
		log->waiting_since = 0;
		log->known = false;
		log->created = 0;
	}
}

static bool all_there(const struct ship *s)
{
	for (unsigned i = 0; i < s->nlogs; i++)
		if (s->logs[i]->tail && (s->logs[i]->acked < s->logs[i]->goal ||
					 s->logs[i]->applied < s->logs[i]->goal))
			return false;
	return true;
}

static enum st check_circular(struct ship *s, struct err *err)
{
	for (unsigned i = 0; i < s->nlogs; i++)
		if (s->logs[i]->circular) {
			s->final = true;
			return fail(
				err, ST_BAD,
				"group %s has circular logging: bodies are missing in its log, so it can't be "
				"shipped; switch it off, make a full backup, and a standby from that",
				s->logs[i]->name);
		}
	return ST_OK;
}

/* Now and then, and when the store was lost.  A store that is not there changes nothing. */
static enum st ask_again(struct ship *s, struct err *err)
{
	enum st st;

	if (!s->bound || (!s->stale && clock_mono() - s->asked_at < SHIP_ASK_NS))
		return ST_OK;
	st = ship_source_ask(s, err);
	if (st == ST_GONE || st == ST_TIMEOUT)
		return ST_OK;
	return st == ST_OK ? check_circular(s, err) : st;
}

/* Until it is stopped, or something fails.  ST_MORE: a group has come, it is begun by a new connection. */
static enum st go_on(struct ship *s, struct progress *p, struct err *err)
{
	for (;;) {
		bool moved = false;
		enum st st = ask_again(s, err);

		if (st == ST_OK && s->nlogs > s->begun)
			return ST_MORE;
		if (st == ST_OK)
			st = advance_all(s, &moved, err);
		if (st == ST_OK)
			st = s->target->pump(s, &moved, err);
		if (st != ST_OK)
			return st;
		ship_source_hold(s, false);
		tell(s, p);
		if (s->stop)
			return ST_OK;
		if (s->once && all_there(s))
			return s->target->end(s, err);
		if (!moved)
			fiber_park(clock_mono() + TICK_NS);
	}
}

static enum st connection(struct ship *s, struct progress *p, struct err *err)
{
	struct err ignored;
	enum st st = ST_OK;

	if (s->stale || !s->nlogs)
		st = ship_source_ask(s, err);
	if (st == ST_OK)
		st = check_circular(s, err);
	s->begun = s->nlogs;
	if (st == ST_OK)
		st = s->target->open(s, err);
	/* What the standby has may be younger than what was asked before. */
	if (st == ST_OK && s->bound && ship_source_ask(s, &ignored) != ST_OK)
		s->stale = true;
	if (st == ST_OK)
		st = begin_logs(s, err);
	for (unsigned i = 0; i < s->nlogs; i++)
		s->logs[i]->goal = s->logs[i]->durable;
	if (st == ST_OK) {
		s->connected = true;
		say(s, "shipping", NULL);
		st = go_on(s, p, err);
	}
	ship_source_hold(s, true);
	s->connected = false;
	s->target->close(s);
	end_logs(s);
	return st;
}

/* ---- the whole ---- */

static void wait_before(struct ship *s, int64_t ns)
{
	int64_t until = clock_mono() + ns;

	while (!s->stop && clock_mono() < until)
		fiber_park(until);
}

static enum st ship_logs(struct ship *s, struct err *err)
{
	int64_t again = AGAIN_FIRST_NS;
	struct progress p;
	enum st st;

	progress_begin(&p, !s->cli->json);
	for (;;) {
		uint64_t before = s->shipped;

		st = connection(s, &p, err);
		if (s->shipped != before)
			again = AGAIN_FIRST_NS;
		if (st == ST_OK || s->stop || (s->once && st != ST_MORE) || s->final)
			break;
		if (st == ST_MORE)
			continue;
		say(s, "will try again", err);
		wait_before(s, again);
		again = again * 2 < AGAIN_MOST_NS ? again * 2 : AGAIN_MOST_NS;
	}
	progress_end(&p);
	return s->stop ? ST_OK : st;
}

struct ask {
	struct ship *ship;
	struct watch watch;
	int signals;
};

static void on_signal(void *arg, unsigned events)
{
	struct ask *a = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(a->signals, &info, sizeof info) > 0)
		a->ship->stop = true;
	if (a->ship->stop)
		fiber_wake(a->ship->fiber);
}

static void on_state(void *arg, bool bound)
{
	struct ask *a = arg;

	a->ship->bound = bound;
	if (!bound)
		a->ship->stale = true;
	if (a->ship->fiber)
		fiber_wake(a->ship->fiber);
}

static void on_grown(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value)
{
	struct ask *a = arg;
	struct ship *s = a->ship;

	(void)chan;
	if (token == 0 || token > s->nlogs)
		return;
	if (value > s->logs[token - 1]->durable)
		s->logs[token - 1]->durable = value;
	fiber_wake(s->fiber);
}

static enum st ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct ask *a = arg;
	struct ship *s = a->ship;
	enum st st = loop_watch(&a->watch, a->signals, EPOLLIN, on_signal, a, err);

	s->chan = chan;
	s->fiber = fiber_self();
	while (st == ST_OK && !s->stop) {
		st = exipc_wait_bound(chan, deadline_in_ms(1000), err);
		if (st != ST_TIMEOUT)
			break;
		st = ST_OK;
	}
	if (st == ST_OK && !s->stop)
		st = s->forget ? ship_source_forget(s, err) : ship_logs(s, err);
	loop_unwatch(&a->watch);
	return st;
}

static enum st run(struct ship *s, struct err *err)
{
	struct ask a = { .ship = s };
	struct storelink_follow f = {
		.ask = ask, .notify = on_grown, .state = on_state, .arg = &a, .start = s->once
	};
	sigset_t set;
	enum st st;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	a.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a.signals < 0)
		return fail_errno(err, "wait for signals");
	st = storelink_follow(s->cli->home, &f, err);
	close(a.signals);
	work_stop();
	return st;
}

int cmd_ese_ship(struct cli *c)
{
	struct ship s = { .cli = c,
			  .once = c->options[2] || c->options[3],
			  .forget = c->options[3] };
	struct err err;
	enum st st;

	if (!c->options[0] == !c->options[1]) {
		return cli_misuse("say where to: --to DIR or --via COMMAND, one of them");
	}
	s.to = c->options[0] ? c->options[0] : c->options[1];
	s.target = c->options[0] ? &ship_dir : &ship_pipe;
	s.id = (uint64_t)1 << 32 | crc32c(0, s.to, strlen(s.to));
	st = run(&s, &err);
	if (st == ST_OK && !s.forget && (s.once || !c->json))
		put_report(&s);
	for (unsigned i = 0; i < s.nlogs; i++)
		free(s.logs[i]);
	if (st != ST_OK)
		return cli_fail(&err);
	return s.left_out ? CLI_DAMAGE : CLI_DONE;
}
