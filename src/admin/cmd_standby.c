/* cmd_standby.c - a standby: follow a folder, say how it stands, become a server. */
#include "admin/cli.h"
#include "admin/standby_folder.h"
#include "base/clock.h"
#include "base/timetext.h"
#include "ese/rec.h"

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

static enum st take_all(struct standby *s, const char *from, bool *more, struct err *err)
{
	enum st st = ST_OK;

	for (unsigned i = 0; st == ST_OK && i < s->ngroups; i++) {
		struct ese_standby_info info;
		char dir[4400];

		st = standby_folder_of(from, s->groups[i]->name, dir, err);
		if (st == ST_OK)
			st = standby_folder_take(s->groups[i], dir, more, err);
		ese_standby_look(s->groups[i]->ese, &info);
		s->groups[i]->source_pos = info.durable;
	}
	if (*more)
		s->heard_at = clock_real();
	return st;
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
		st = take_all(s, from, &more, err);
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
		fprintf(stderr, "mailroot: say what to follow: --from DIR\n");
		return 2;
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
	return st == ST_OK ? 0 : cli_fail(&err);
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

/* key=NUMBER in a line of the status; 0 when it is not there. */
static uint64_t number_in(struct span line, const char *key)
{
	while (line.len > 0) {
		struct span value, name = span_split(span_split(line, ' ', &line), '=', &value);
		uint64_t n;

		if (span_eq(name, span_str(key)) && span_u64(value, &n))
			return n;
	}
	return 0;
}

static struct span word_in(struct span line, const char *key)
{
	while (line.len > 0) {
		struct span value, name = span_split(span_split(line, ' ', &line), '=', &value);

		if (span_eq(name, span_str(key)))
			return value;
	}
	return SPAN("");
}

static uint64_t distance(uint64_t a, uint64_t b, uint64_t file)
{
	return b <= a ? 0 : (pos_gen(b) - pos_gen(a)) * file + pos_off(b) - pos_off(a);
}

static void put_time(struct report *r, const char *column, uint64_t ns)
{
	char text[TIME_TEXT];

	report_str(r, column, ns ? time_write(text, (int64_t)ns, 3) : "");
}

static void put_group(struct report *r, struct span line)
{
	uint64_t durable = number_in(line, "durable"), applied = number_in(line, "applied");
	uint64_t source = number_in(line, "source"), newest = number_in(line, "newest");
	uint64_t file = number_in(line, "file"), now = (uint64_t)clock_real();
	bool behind = source > applied;

	report_row(r);
	report_span(r, "group", word_in(line, "name"));
	report_num(r, "received_position", durable);
	report_num(r, "applied_position", applied);
	report_num(r, "source_position", source);
	report_num(r, "lag_bytes", distance(applied, source, file));
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
	put_time(r, "source_heard", number_in(first, "heard"));
	report_num(r, "silent_ms",
		   number_in(first, "heard")
			   ? ((uint64_t)clock_real() - number_in(first, "heard")) / NS_PER_MS
			   : 0);
	report_table(r, "groups", false);
	while (rest.len > 0)
		put_group(r, span_split(rest, '\n', &rest));
}

int cmd_standby_status(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	char path[4200], words[TEXT_MAX];
	struct standby_mark m;
	struct report r;
	struct err err;
	size_t n = 0;
	FILE *f;

	if (standby_mark_read(c->home, &m, &err) != ST_OK)
		return cli_fail(&err);
	snprintf(path, sizeof path, "%s/run/standby.status", c->home);
	f = fopen(path, "re");
	if (f) {
		n = fread(words, 1, sizeof words, f);
		fclose(f);
	}
	report_open(&r, &text, c->json);
	put_status(c, &m, span_of(words, n), &r);
	report_close(&r);
	return cli_print(&text);
}

/* ---- standby promote ---- */

struct promoted {
	char name[SHIP_NAME_MAX + 1], dir[4400];
	uint64_t position, newest, source;
	uint32_t file_bytes;
};

static enum st take_last_logs(struct standby *s, const char *logs, struct err *err)
{
	bool more = false;
	enum st st = take_all(s, logs, &more, err);

	return st == ST_OK ? standby_settle(s, NULL, NULL, err) : st;
}

/* What the source said last of how far it was, from the last follower's words. */
static uint64_t said_by_source(const char *home, const char *group)
{
	char path[4200], words[TEXT_MAX];
	struct span rest;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/run/standby.status", home);
	f = fopen(path, "re");
	if (f) {
		n = fread(words, 1, sizeof words, f);
		fclose(f);
	}
	rest = span_of(words, n);
	while (rest.len > 0) {
		struct span line = span_split(rest, '\n', &rest);

		if (span_eq(word_in(line, "name"), span_str(group)))
			return number_in(line, "source");
	}
	return 0;
}

static enum st finish_groups(struct standby *s, struct promoted *out, struct err *err)
{
	enum st st = ST_OK;

	for (unsigned i = 0; st == ST_OK && i < s->ngroups; i++) {
		struct standby_group *g = s->groups[i];
		struct ese_standby_info info;

		ese_standby_look(g->ese, &info);
		out[i] = (struct promoted){ .position = info.durable,
					    .newest = info.time,
					    .file_bytes = info.file_bytes,
					    .source = said_by_source(s->home, g->name) };
		memcpy(out[i].name, g->name, sizeof out[i].name);
		memcpy(out[i].dir, g->dir, sizeof out[i].dir);
		st = ese_standby_finish(g->ese, err);
	}
	return st;
}

static void broken(void *arg, const struct err *why)
{
	(void)arg;
	fprintf(stderr, "mailroot: %s\n", why->text);
	_exit(1);
}

/* Each group is opened as a server opens it: its log goes on in a file of its own, which says where the old one ends. */
static enum st begin_lines(const struct promoted *groups, unsigned n, struct ese_options o,
			   struct err *err)
{
	enum st st = ST_OK;

	o.broken = broken;
	for (unsigned i = 0; st == ST_OK && i < n; i++) {
		struct ese *g;

		st = ese_open(groups[i].dir, &o, &g, err);
		if (st == ST_OK)
			ese_close(g);
	}
	return st;
}

static void put_promoted(struct report *r, const struct promoted *g, bool logs)
{
	report_row(r);
	report_str(r, "group", g->name);
	report_num(r, "position", g->position);
	put_time(r, "newest_commit", g->newest);
	report_num(r, "known_lost_bytes",
		   logs ? 0 : distance(g->position, g->source, g->file_bytes));
}

static int print_promoted(struct cli *c, const struct promoted *groups, unsigned n, bool logs)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report r;

	report_open(&r, &text, c->json);
	report_table(&r, "promoted", false);
	for (unsigned i = 0; i < n; i++)
		put_promoted(&r, &groups[i], logs);
	report_close(&r);
	if (!c->json)
		buf_printf(
			&text,
			"\n%s is a server's home now: start mailrootd on it.\n%s\nThe old server must not "
			"start again beside it; a standby of this one begins with a new backup.\n",
			c->home,
			logs ? "Everything that could be read in the old server's log files is in it."
			     : "What the old server acknowledged after the newest commit above is not in it.");
	return cli_print(&text);
}

static enum st promote(struct cli *c, struct promoted *groups, unsigned *n, struct err *err)
{
	struct ese_options o = { 0 };
	struct err closing;
	struct standby *s;
	enum st st = standby_open(c->home, true, &s, err), last;

	if (st != ST_OK)
		return st;
	if (c->options[0])
		st = take_last_logs(s, c->options[0], err);
	if (st == ST_OK) {
		s->mark.state = STANDBY_PROMOTING;
		st = standby_mark_write(c->home, &s->mark, err);
	}
	if (st == ST_OK)
		st = finish_groups(s, groups, err);
	o = s->options;
	*n = s->ngroups;
	last = standby_close(s, &closing);
	if (st == ST_OK && last != ST_OK) {
		*err = closing;
		st = last;
	}
	if (st == ST_OK)
		st = begin_lines(groups, *n, o, err);
	return st == ST_OK ? standby_mark_remove(c->home, err) : st;
}

int cmd_standby_promote(struct cli *c)
{
	struct promoted *groups = calloc(STANDBY_GROUPS_MAX, sizeof *groups);
	struct err err;
	unsigned n = 0;
	int status;

	if (!groups)
		return 1;
	if (promote(c, groups, &n, &err) == ST_OK)
		status = print_promoted(c, groups, n, c->options[0]);
	else
		status = cli_fail(&err);
	free(groups);
	return status;
}
