/* cmd_standby.c - a standby: follow a folder, say how it stands. */
#include "admin/cli.h"
#include "admin/standby_folder.h"
#include "base/clock.h"
#include "base/timetext.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ANSWER_MAX (1024u * 1024)
#define TEXT_MAX   65536
/* A folder on another machine's disk tells nobody when it changes. */
#define LOOK_MS    2000

/* ---- standby run --from ---- */

static enum st watch_folders(const struct standby *s, const char *from, int fd, struct err *err)
{
	for (unsigned i = 0; i < s->ngroups; i++) {
		char dir[4400];
		enum st st = standby_folder_of(from, s->groups[i]->name, dir, err);

		if (st != ST_OK)
			return st;
		if (inotify_add_watch(fd, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
			return fail_errno(err, "watch %s", dir);
	}
	return ST_OK;
}

static enum st follow(struct standby *s, const char *from, bool once, int signals, struct err *err)
{
	int changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd p[2] = { { changes, POLLIN, 0 }, { signals, POLLIN, 0 } };
	char events[4096];
	enum st st = changes < 0 ? fail_errno(err, "watch folders")
				 : watch_folders(s, from, changes, err);

	while (st == ST_OK && !p[1].revents) {
		bool more = false;

		while (read(changes, events, sizeof events) > 0)
			;
		st = standby_folder_take_all(s, from, &more, err);
		/* What came before something that can't be taken counts. */
		if (st == ST_OK || more) {
			enum st settled = standby_settle(s, NULL, NULL, st == ST_OK ? err : NULL);

			st = st == ST_OK ? settled : st;
		}
		standby_status_write(s, false);
		if (once)
			break;
		if (st == ST_OK && poll(p, 2, LOOK_MS) < 0 && errno != EINTR)
			st = fail_errno(err, "wait for changes");
	}
	if (changes >= 0)
		close(changes);
	return st;
}

int cmd_standby_run(struct cli *c)
{
	struct standby *s = NULL;
	struct err err, closing;
	sigset_t set;
	enum st st, last;
	int signals;

	if (!c->options[0]) {
		return cli_misuse("say what to follow: --from DIR");
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	st = standby_open(c->home, false, &s, &err);
	if (st == ST_OK)
		st = follow(s, c->options[0], c->options[1], signals, &err);
	if (s)
		standby_status_write(s, true);
	last = standby_close(s, &closing);
	if (st == ST_OK && last != ST_OK) {
		st = last;
		err = closing;
	}
	close(signals);
	return st == ST_OK ? CLI_DONE : cli_fail(&err);
}

/* ---- standby status ---- */

static bool somebody_follows(const char *home)
{
	char path[4200];
	bool held;
	int fd;

	snprintf(path, sizeof path, "%s/run/standby.lock", home);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

static void put_time(struct report *r, const char *column, uint64_t ns)
{
	char text[TIME_TEXT];

	report_str(r, column, ns ? time_write(text, (int64_t)ns, 3) : "");
}

static void put_group(struct report *r, struct span line)
{
	uint64_t durable = standby_number(line, "durable"),
		 applied = standby_number(line, "applied");
	uint64_t source = standby_number(line, "source"), newest = standby_number(line, "newest");
	uint64_t file = standby_number(line, "file"), now = (uint64_t)clock_real();
	bool behind = source > applied;

	report_row(r);
	report_span(r, "group", standby_word(line, "name"));
	report_num(r, "received_position", durable);
	report_num(r, "applied_position", applied);
	report_num(r, "source_position", source);
	report_num(r, "lag_bytes", standby_distance(applied, source, file));
	report_num(r, "lag_ms",
		   behind && newest && newest < now ? (now - newest) / (uint64_t)NS_PER_MS : 0);
	put_time(r, "newest_commit", newest);
}

static void put_status(struct cli *c, const struct standby_mark *m, struct span text,
		       struct report *r)
{
	struct span rest, first = span_split(text, '\n', &rest);
	bool follows = somebody_follows(c->home);

	report_table(r, "standby", true);
	report_row(r);
	report_str(r, "state", standby_state_name(m->state));
	put_time(r, "since", m->since);
	report_str(r, "source", m->source);
	report_bool(r, "follows", follows);
	put_time(r, "source_heard", standby_number(first, "heard"));
	report_num(r, "silent_ms",
		   standby_number(first, "heard")
			   ? ((uint64_t)clock_real() - standby_number(first, "heard")) / NS_PER_MS
			   : 0);
	report_table(r, "groups", false);
	while (rest.len > 0)
		put_group(r, span_split(rest, '\n', &rest));
}

int cmd_standby_status(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	char words[TEXT_MAX];
	struct standby_mark m;
	struct report r;
	struct err err;

	if (standby_mark_read(c->home, &m, &err) != ST_OK)
		return cli_fail(&err);
	report_open(&r, &text, c->json);
	put_status(c, &m, standby_status_read(c->home, words, sizeof words), &r);
	report_close(&r);
	return cli_print(&text);
}
