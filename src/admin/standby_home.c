/* standby_home.c - a standby's home; see standby_home.h. */
#include "admin/standby_home.h"

#include "base/clock.h"
#include "ese/rec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- locks ---- */

static enum st lock_file(const char *home, const char *name, int *fd_out, struct err *err)
{
	char path[4200];

	snprintf(path, sizeof path, "%s/run", home);
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return fail_errno(err, "make %s", path);
	snprintf(path, sizeof path, "%s/run/%s", home, name);
	*fd_out = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd_out < 0)
		return fail_errno(err, "open %s", path);
	if (flock(*fd_out, LOCK_EX | LOCK_NB) == 0)
		return ST_OK;
	close(*fd_out);
	*fd_out = -1;
	return fail(err, ST_BUSY, "another process works on the standby %s (it holds %s)", home,
		    path);
}

static enum st check_state(const struct standby *s, bool promoting, struct err *err)
{
	switch (s->mark.state) {
	case STANDBY_FOLLOWING:
		return ST_OK;
	case STANDBY_PROMOTING:
		return promoting
			       ? ST_OK
			       : fail(err, ST_DENIED,
				      "%s is being promoted and receives nothing any more; run mailroot "
				      "standby promote again",
				      s->home);
	case STANDBY_MAKING:
		break;
	}
	return fail(err, ST_DENIED,
		    "%s was not made to its end; remove it and run mailroot standby init again",
		    s->home);
}

/* ---- groups ---- */

struct standby_group *standby_group_named(const struct standby *s, const char *name)
{
	for (unsigned i = 0; i < s->ngroups; i++)
		if (!strcmp(s->groups[i]->name, name))
			return s->groups[i];
	return NULL;
}

enum st standby_group_add(struct standby *s, const char *name, struct standby_group **out,
			  struct err *err)
{
	struct ese_standby_info info;
	struct standby_group *g;
	enum st st;

	if (s->ngroups == STANDBY_GROUPS_MAX || !ship_name_ok(span_str(name)))
		return fail(err, ST_TOOBIG, "group '%s': a standby has at most %u groups", name,
			    STANDBY_GROUPS_MAX);
	g = calloc(1, sizeof *g);
	if (!g)
		return fail(err, ST_NOMEM, "out of memory");
	snprintf(g->name, sizeof g->name, "%s", name);
	snprintf(g->dir, sizeof g->dir, "%s/groups/%s", s->home, name);
	st = ese_standby_open(g->dir, &s->options, &g->ese, err);
	if (st != ST_OK) {
		free(g);
		return st;
	}
	ese_standby_look(g->ese, &info);
	g->acked = info.durable;
	g->acked_applied = info.applied;
	g->newest = info.time;
	s->groups[s->ngroups++] = g;
	if (out)
		*out = g;
	return ST_OK;
}

static enum st open_groups(struct standby *s, struct err *err)
{
	char path[4200];
	const struct dirent *e;
	enum st st = ST_OK;
	DIR *d;

	snprintf(path, sizeof path, "%s/groups", s->home);
	d = opendir(path);
	if (!d)
		return fail_errno(err, "open %s", path);
	while (st == ST_OK && (e = readdir(d)))
		if (e->d_name[0] != '.')
			st = standby_group_add(s, e->d_name, NULL, err);
	closedir(d);
	return st;
}

/* ---- life ---- */

static void read_options(struct standby *s)
{
	const struct config *c = s->config;

	s->options = (struct ese_options){
		.segment_bytes = (uint32_t)config_int(c, "log_segment_bytes") & ~4095u,
		.checkpoint_bytes = (uint64_t)config_int(c, "checkpoint_bytes"),
		.cache_bytes = (size_t)config_int(c, "cache_bytes"),
	};
}

enum st standby_open(const char *home, bool promoting, struct standby **out, struct err *err)
{
	struct standby *s = calloc(1, sizeof *s);
	enum st st;

	if (!s)
		return fail(err, ST_NOMEM, "out of memory");
	s->lock_fd = -1;
	snprintf(s->home, sizeof s->home, "%s", home);
	st = standby_mark_read(home, &s->mark, err);
	if (st == ST_OK)
		st = check_state(s, promoting, err);
	if (st == ST_OK)
		st = lock_file(home, "standby.lock", &s->lock_fd, err);
	if (st == ST_OK)
		st = config_read(home, &s->config, err);
	if (st == ST_OK) {
		read_options(s);
		st = open_groups(s, err);
	}
	if (st != ST_OK) {
		standby_close(s, NULL);
		return st;
	}
	*out = s;
	return ST_OK;
}

enum st standby_close(struct standby *s, struct err *err)
{
	enum st st = ST_OK;

	if (!s)
		return ST_OK;
	for (unsigned i = 0; i < s->ngroups; i++) {
		enum st one = ese_standby_close(s->groups[i]->ese, st == ST_OK ? err : NULL);

		st = st == ST_OK ? one : st;
		free(s->groups[i]);
	}
	if (s->config)
		config_free(s->config);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
	return st;
}

enum st standby_settle(struct standby *s, void (*between)(void *arg), void *arg, struct err *err)
{
	enum st st = ST_OK;

	for (unsigned i = 0; st == ST_OK && i < s->ngroups; i++)
		if (s->groups[i]->pending)
			st = ese_standby_sync(s->groups[i]->ese, err);
	if (st == ST_OK && between)
		between(arg);
	for (unsigned i = 0; st == ST_OK && i < s->ngroups; i++) {
		struct standby_group *g = s->groups[i];
		struct ese_standby_info info;

		if (!g->pending)
			continue;
		st = ese_standby_apply(g->ese, err);
		g->pending = false;
		ese_standby_look(g->ese, &info);
		if (info.time)
			g->newest = info.time;
	}
	return st;
}

/* ---- how it stands ---- */

static void put_group(FILE *f, const struct standby_group *g)
{
	struct ese_standby_info info;

	ese_standby_look(g->ese, &info);
	fprintf(f,
		"group name=%s durable=%" PRIu64 " applied=%" PRIu64 " source=%" PRIu64
		" newest=%" PRIu64 " file=%u\n",
		g->name, info.durable, info.applied, g->source_pos, g->newest, info.file_bytes);
}

void standby_status_write(struct standby *s, bool now)
{
	char path[4200], fresh[4200];
	int64_t t = clock_mono();
	FILE *f;

	if (!now && t - s->written_at < NS_PER_SEC)
		return;
	s->written_at = t;
	snprintf(path, sizeof path, "%s/run/standby.status", s->home);
	snprintf(fresh, sizeof fresh, "%s/run/standby.status.new", s->home);
	f = fopen(fresh, "we");
	if (!f)
		return;
	fprintf(f, "standby pid=%d heard=%" PRId64 "\n", (int)getpid(), s->heard_at);
	for (unsigned i = 0; i < s->ngroups; i++)
		put_group(f, s->groups[i]);
	if (fclose(f) == 0)
		rename(fresh, path);
}

uint64_t standby_number(struct span line, const char *key)
{
	while (line.len > 0) {
		struct span value, name = span_split(span_split(line, ' ', &line), '=', &value);
		uint64_t n;

		if (span_eq(name, span_str(key)) && span_u64(value, &n))
			return n;
	}
	return 0;
}

struct span standby_word(struct span line, const char *key)
{
	while (line.len > 0) {
		struct span value, name = span_split(span_split(line, ' ', &line), '=', &value);

		if (span_eq(name, span_str(key)))
			return value;
	}
	return SPAN("");
}

uint64_t standby_distance(uint64_t a, uint64_t b, uint64_t file)
{
	return b <= a ? 0 : (pos_gen(b) - pos_gen(a)) * file + pos_off(b) - pos_off(a);
}

struct span standby_status_read(const char *home, char *words, size_t room)
{
	char path[4200];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/run/standby.status", home);
	f = fopen(path, "re");
	if (f) {
		n = fread(words, 1, room, f);
		fclose(f);
	}
	return span_of(words, n);
}
