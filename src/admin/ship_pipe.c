/* ship_pipe.c - a command's standard input and output as the target of `mailroot ese ship`; see ship.h, and
 * docs/formats.md, "shipping stream". */
#include "admin/ship.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUT_ENOUGH (2u * 1024 * 1024) /* read no more log while so much waits for the pipe */
#define READ_BYTES 65536
#define HELLO_NS   (60 * NS_PER_SEC)
#define END_MS     10000

struct far_end {
	pid_t pid;
	int to, from;
	struct watch watch_to, watch_from;
	struct ship_reader in;
	struct buf out;
	size_t written; /* of out */
	int64_t beat_at, heard_at;
	bool eof;
};

/* ---- bytes ---- */

static void ready(void *arg, unsigned events)
{
	struct ship *s = arg;

	(void)events;
	fiber_wake(s->fiber);
}

static enum st write_out(struct far_end *f, bool *moved, struct err *err)
{
	while (f->written < f->out.len) {
		ssize_t n = write(f->to, f->out.at + f->written, f->out.len - f->written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return fail_errno(err, "the far end takes no more");
		f->written += (size_t)n;
		*moved = true;
	}
	if (f->written == f->out.len || f->written > OUT_ENOUGH) {
		buf_drop(&f->out, f->written);
		f->written = 0;
	}
	return f->out.failed ? fail(err, ST_NOMEM, "out of memory") : ST_OK;
}

static enum st read_in(struct far_end *f, struct err *err)
{
	static char bytes[READ_BYTES]; /* a fiber has a small stack */

	while (!f->eof) {
		ssize_t n = read(f->from, bytes, sizeof bytes);
		enum st st;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return ST_OK;
		if (n < 0)
			return fail_errno(err, "read from the far end");
		f->eof = n == 0;
		f->heard_at = clock_mono();
		st = ship_feed(&f->in, bytes, (size_t)n, err);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

/* ---- frames ---- */

static enum st stopped(struct ship *s, const struct ship_frame *f, struct err *err)
{
	if (f->group != 1)
		s->final = true;
	return fail(err, ST_BAD, "the far end: " SPAN_FMT, SPAN_ARG(f->payload));
}

static enum st take_ack(struct ship *s, const struct ship_frame *f, struct err *err)
{
	struct ship_log *log = f->group < s->nlogs ? s->logs[f->group] : NULL;

	if (!log || !log->tail || f->payload.len != 8 || f->pos > log->sent)
		return fail(err, ST_CORRUPT, "the far end acknowledges what it was not sent");
	if (f->pos > log->acked || le64_get(f->payload.at) != log->applied)
		ship_acknowledged(log, f->pos, le64_get(f->payload.at));
	return ST_OK;
}

static enum st take_frames(struct ship *s, bool *moved, struct err *err)
{
	struct far_end *f = s->link;
	struct ship_frame frame;
	enum st st;

	while ((st = ship_next(&f->in, &frame, err)) == ST_OK) {
		*moved = true;
		if (frame.kind == SHIP_STOP)
			return stopped(s, &frame, err);
		if (frame.kind != SHIP_ACK)
			return fail(err, ST_CORRUPT, "the far end says what only a sender says");
		st = take_ack(s, &frame, err);
		if (st != ST_OK)
			return st;
	}
	if (st == ST_MORE && f->eof)
		return fail(err, ST_IO, "the far end has ended");
	return st == ST_MORE ? ST_OK : st;
}

static void beat(struct ship *s)
{
	struct far_end *f = s->link;
	int64_t now = clock_mono();

	if (now - f->beat_at < SHIP_BEAT_NS)
		return;
	f->beat_at = now;
	for (unsigned i = 0; i < s->nlogs; i++)
		if (s->logs[i]->tail)
			ship_put(&f->out, &(struct ship_frame){ .kind = SHIP_BEAT,
								.group = (uint16_t)i,
								.pos = s->logs[i]->durable,
								.time = (uint64_t)clock_real() });
}

/* ---- the command ---- */

static enum st start_command(struct far_end *f, const char *command, struct err *err)
{
	char shell[] = "/bin/sh", dash_c[] = "-c", *args[4] = { shell, dash_c, NULL, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int to[2], from[2], e;

	if (pipe2(to, O_CLOEXEC) < 0)
		return fail_errno(err, "start the command");
	if (pipe2(from, O_CLOEXEC) < 0) {
		close(to[0]);
		close(to[1]);
		return fail_errno(err, "start the command");
	}
	args[2] = strdup(command);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to[0], 0);
	posix_spawn_file_actions_adddup2(&actions, from[1], 1);
	/* Our own wait for SIGTERM is no business of its. */
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	e = args[2] ? posix_spawn(&f->pid, shell, &actions, &attr, args, environ) : ENOMEM;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	free(args[2]);
	close(to[0]);
	close(from[1]);
	f->to = to[1];
	f->from = from[0];
	if (e != 0) {
		f->pid = 0;
		errno = e;
		return fail_errno(err, "start /bin/sh for '%s'", command);
	}
	fcntl(f->to, F_SETFL, O_NONBLOCK);
	fcntl(f->from, F_SETFL, O_NONBLOCK);
	return ST_OK;
}

/* Its input is closed: it ends by itself, or it is ended. */
static void wait_command(void *arg)
{
	struct far_end *f = arg;
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, f->pid, 0), .events = POLLIN };

	if (p.fd < 0 || poll(&p, 1, END_MS) != 1)
		kill(f->pid, SIGTERM);
	if (p.fd >= 0)
		close(p.fd);
	waitpid(f->pid, NULL, 0);
}

static void pipe_close(struct ship *s)
{
	struct far_end *f = s->link;

	if (!f)
		return;
	loop_unwatch(&f->watch_to);
	loop_unwatch(&f->watch_from);
	if (f->to >= 0)
		close(f->to);
	if (f->from >= 0)
		close(f->from);
	if (f->pid > 0)
		work_run(wait_command, f);
	ship_reader_close(&f->in);
	buf_free(&f->out);
	free(f);
	s->link = NULL;
}

/* ---- the beginning ---- */

static enum st take_stand(struct ship *s, const struct ship_frame *frame, struct err *err)
{
	struct ship_stand stand;
	struct ship_log *log;
	enum st st = ship_get_stand(frame, &stand, err);

	if (st != ST_OK)
		return st;
	log = ship_log_named(s, stand.name);
	if (!log || memcmp(log->signature, stand.signature, LOG_SIGNATURE) != 0) {
		s->final = true;
		return fail(
			err, ST_BAD,
			"the standby follows a storage group '%s' that %s; make it anew from a backup of "
			"this server",
			stand.name, log ? "is another one than ours" : "is not here");
	}
	log->known = true;
	log->stand = log->acked = log->applied = stand.pos;
	log->created = stand.created;
	return ST_OK;
}

/* HELLO, STAND ..., READY. */
static enum st greet(struct ship *s, struct err *err)
{
	struct far_end *f = s->link;
	int64_t until = clock_mono() + HELLO_NS;
	bool hello = false;

	for (;;) {
		struct ship_frame frame;
		enum st st = read_in(f, err);

		if (st == ST_OK)
			st = ship_next(&f->in, &frame, err);
		if (st == ST_MORE) {
			if (f->eof)
				return fail(err, ST_IO, "'%s' has ended without a word", s->to);
			if (s->stop)
				return fail(err, ST_GONE, "stopped");
			if (!fiber_park(until) && clock_mono() >= until)
				return fail(err, ST_TIMEOUT, "'%s' says nothing", s->to);
			continue;
		}
		if (st != ST_OK)
			return st;
		if (frame.kind == SHIP_STOP)
			return stopped(s, &frame, err);
		if (!hello) {
			st = ship_check_hello(&frame, err);
			s->final = st == ST_BAD;
			hello = true;
		} else if (frame.kind == SHIP_READY) {
			return ST_OK;
		} else if (frame.kind == SHIP_STAND) {
			st = take_stand(s, &frame, err);
		} else {
			st = fail(err, ST_CORRUPT, "the far end does not begin as it must");
		}
		if (st != ST_OK)
			return st;
	}
}

static void announce(struct ship *s)
{
	struct far_end *f = s->link;

	ship_put_hello(&f->out);
	for (unsigned i = 0; i < s->nlogs; i++) {
		struct ship_log *log = s->logs[i];
		struct ship_group g = { .index = (uint16_t)i };

		/* One that it has nothing of can only be begun at the beginning. */
		if (!log->known)
			log->stand = pos_of(1, 0);
		g.pos = log->stand;
		memcpy(g.signature, log->signature, LOG_SIGNATURE);
		memcpy(g.name, log->name, sizeof g.name);
		if (log->known || log->oldest == 1)
			ship_put_group(&f->out, &g);
	}
	ship_put(&f->out, &(struct ship_frame){ .kind = SHIP_READY });
}

static enum st pipe_open(struct ship *s, struct err *err)
{
	struct far_end *f = calloc(1, sizeof *f);
	enum st st;

	if (!f)
		return fail(err, ST_NOMEM, "out of memory");
	s->link = f;
	f->to = f->from = -1;
	f->out = BUF_MAX(SHIP_PAYLOAD_MAX);
	ship_reader_open(&f->in);
	st = start_command(f, s->to, err);
	if (st == ST_OK)
		st = loop_watch(&f->watch_from, f->from, EPOLLIN, ready, s, err);
	if (st == ST_OK)
		st = loop_watch(&f->watch_to, f->to, EPOLLOUT, ready, s, err);
	if (st == ST_OK)
		st = greet(s, err);
	if (st != ST_OK)
		return st;
	f->heard_at = f->beat_at = clock_mono();
	announce(s);
	return ST_OK;
}

/* ---- going on ---- */

static enum st pipe_put(struct ship *s, struct ship_log *log, const struct log_step *step,
			struct err *err)
{
	struct far_end *f = s->link;
	struct ship_frame frame = { .kind = SHIP_DATA };
	char page[SEG_HEAD];

	while (s->logs[frame.group] != log)
		frame.group++;
	if (step->begins) {
		seg_head_put(page, &step->head);
		frame.kind = SHIP_FILE;
		frame.pos = pos_of(step->head.gen, 0);
		frame.payload = span_of(page, sizeof page);
	} else {
		frame.pos = step->group.pos;
		frame.time = step->group.head.time;
		frame.payload = step->group.bytes;
	}
	ship_put(&f->out, &frame);
	return f->out.failed ? fail(err, ST_NOMEM, "out of memory") : ST_OK;
}

static enum st pipe_pump(struct ship *s, bool *moved, struct err *err)
{
	struct far_end *f = s->link;
	enum st st;

	beat(s);
	st = read_in(f, err);
	if (st == ST_OK)
		st = take_frames(s, moved, err);
	if (st == ST_OK)
		st = write_out(f, moved, err);
	if (st == ST_IO) {
		/* Its last words say more than a broken pipe does. */
		struct err words;

		f->eof = false;
		if (read_in(f, &words) == ST_OK && take_frames(s, moved, &words) != ST_OK)
			*err = words;
	}
	if (st == ST_OK && clock_mono() - f->heard_at > SHIP_SILENCE_NS)
		st = fail(err, ST_TIMEOUT, "the far end is silent");
	return st;
}

static bool pipe_room(const struct ship *s)
{
	const struct far_end *f = s->link;

	return f->out.len - f->written < OUT_ENOUGH;
}

/* It ends when it has read that, and answers with its last acknowledgements before. */
static enum st pipe_end(struct ship *s, struct err *err)
{
	struct far_end *f = s->link;

	ship_put(&f->out, &(struct ship_frame){ .kind = SHIP_END });
	while (!f->eof) {
		bool moved = false;
		enum st st = read_in(f, err);

		if (st == ST_OK)
			st = write_out(f, &moved, err);
		if (st != ST_OK)
			return st;
		if (!f->eof && !fiber_park(f->heard_at + SHIP_SILENCE_NS) &&
		    clock_mono() - f->heard_at > SHIP_SILENCE_NS)
			return fail(err, ST_TIMEOUT, "the far end does not end");
	}
	return ST_OK;
}

const struct ship_target ship_pipe = {
	.open = pipe_open,
	.put = pipe_put,
	.pump = pipe_pump,
	.room = pipe_room,
	.end = pipe_end,
	.close = pipe_close,
};
