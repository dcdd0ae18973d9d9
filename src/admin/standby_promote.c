/* standby_promote.c - `mailroot standby promote`: a standby becomes a server.
 *
 * What is there is applied; what the dead server has beyond is taken in first, where it can still be read; then nothing is
 * received any more, each group is opened as a server opens it (its log goes on in a file that says where the old one
 * ends), and the mark goes away.  Cut anywhere, it goes on when it is asked for again. */
#include "admin/cli.h"
#include "admin/queue_copy.h"
#include "admin/standby_folder.h"
#include "base/timetext.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANSWER_MAX (1024u * 1024)
#define TEXT_MAX   65536

struct promoted {
	char name[SHIP_NAME_MAX + 1], dir[4400];
	uint64_t position, newest, source;
	uint32_t file_bytes;
};

/* The dead server's whole home may be there: then what is on its way in its queue is not lost either. */
static enum st take_queue(const char *home, const struct config *to, int *copied, struct err *err)
{
	struct config *from;
	unsigned n;
	enum st st;

	*copied = -1;
	if (config_read(home, &from, NULL) != ST_OK)
		return ST_OK;
	st = queue_copy(from, to, &n, err);
	config_free(from);
	if (st == ST_OK)
		*copied = (int)n;
	return st;
}

static enum st take_last_logs(struct standby *s, const char *logs, struct err *err)
{
	bool more = false;
	enum st st = standby_folder_take_all(s, logs, &more, err);

	return st == ST_OK ? standby_settle(s, NULL, NULL, err) : st;
}

/* How far the source said that it is, or the log here was, by the last follower's words. */
static uint64_t said_by_source(const char *home, const char *group)
{
	char words[TEXT_MAX];
	struct span rest = standby_status_read(home, words, sizeof words);

	while (rest.len > 0) {
		struct span line = span_split(rest, '\n', &rest);
		uint64_t said = standby_number(line, "source");
		uint64_t durable = standby_number(line, "durable");

		if (span_eq(standby_word(line, "name"), span_str(group)))
			return durable > said ? durable : said;
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
	char text[TIME_TEXT];

	report_row(r);
	report_str(r, "group", g->name);
	report_num(r, "position", g->position);
	report_str(r, "newest_commit", g->newest ? time_write(text, (int64_t)g->newest, 3) : "");
	report_num(r, "known_lost_bytes",
		   logs ? 0 : standby_distance(g->position, g->source, g->file_bytes));
}

static void put_words(struct buf *out, const char *home, bool logs, int queued)
{
	buf_printf(out, "\n%s is a server's home now: start mailrootd on it.\n", home);
	if (!logs)
		buf_str(out,
			"What the old server acknowledged after the newest commit above is not in it.\n");
	else
		buf_str(out,
			"Everything that could be read in the old server's log files is in it.\n");
	if (queued < 0)
		buf_str(out,
			"What was on its way in the old server's queue folder is not in it.\n");
	buf_str(out,
		"The old server must not start again beside it; a standby of this one begins with a new "
		"backup.\n");
}

static int print_promoted(struct cli *c, const struct promoted *groups, unsigned n, bool logs,
			  int queued)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report r;

	report_open(&r, &text, c->json);
	report_table(&r, "promoted", false);
	for (unsigned i = 0; i < n; i++)
		put_promoted(&r, &groups[i], logs);
	report_table(&r, "queue", true);
	report_row(&r);
	report_bool(&r, "taken", queued >= 0);
	report_num(&r, "messages", queued > 0 ? (uint64_t)queued : 0);
	report_close(&r);
	if (!c->json)
		put_words(&text, c->home, logs, queued);
	return cli_print(&text);
}

static enum st promote(struct cli *c, struct promoted *groups, unsigned *n, int *queued,
		       struct err *err)
{
	struct ese_options o = { 0 };
	struct err closing;
	struct standby *s;
	enum st st = standby_open(c->home, true, &s, err), last;

	if (st != ST_OK)
		return st;
	if (c->options[0])
		st = take_last_logs(s, c->options[0], err);
	if (st == ST_OK && c->options[0])
		st = take_queue(c->options[0], s->config, queued, err);
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
	int status, queued = -1;

	if (!groups)
		return CLI_FAILED;
	if (promote(c, groups, &n, &queued, &err) == ST_OK)
		status = print_promoted(c, groups, n, c->options[0], queued);
	else
		status = cli_fail(&err);
	free(groups);
	return status;
}
