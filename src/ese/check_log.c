/* check_log.c - the log of a group, and what it will still do to its databases; see check.h. */
#include "ese/check.h"

#include "ese/ese_int.h"
#include "ese/log_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct reading {
	struct check_log *c;
	uint64_t from; /* pages of records before it are in the .stm, durably */
};

static struct check_pending *pending_of(struct check_log *c, uint32_t number)
{
	for (size_t i = 0; i < c->nheads; i++)
		if (c->pending[i].number == number)
			return &c->pending[i];
	return NULL;
}

static void mark(struct check_pending *p, uint64_t page, uint64_t pages, bool taken)
{
	for (; pages && page < p->npages; page++, pages--) {
		if (taken)
			p->taken[page / 8] |= (unsigned char)(1u << page % 8);
		else
			p->taken[page / 8] &= (unsigned char)~(1u << page % 8);
	}
}

/* Pages written beside the log are synced before their record: once the rows know them they must be right. */
static void take_items(struct check_pending *p, const struct rec *r)
{
	struct items items;
	struct item it;

	if (items_open(r->payload, &items) != ST_OK)
		return;
	while (items_next(&items, &it) == ST_OK)
		if (item_is_direct(&it))
			for (uint32_t i = 0; i < it.nruns; i++)
				mark(p, run_page(it.runs, i), run_pages(it.runs, i),
				     r->pos >= p->applied);
}

static enum st take_group(void *arg, const struct log_group *g, struct err *err)
{
	struct reading *k = arg;
	struct log_cursor c;
	struct rec_body b;
	struct rec r;

	(void)err;
	if (g->pos + g->head.bytes <= k->from)
		return ST_OK;
	log_group_open(g, &c);
	while (log_group_next(&c, &r) == ST_OK) {
		struct check_pending *p = pending_of(k->c, r.db);

		if (!p || !p->taken || r.pos < k->from)
			continue;
		if (r.kind == REC_COMMIT)
			take_items(p, &r);
		if (r.kind == REC_BODY && rec_body_get(r.payload, &b) == ST_OK)
			mark(p, b.stm_off / ESE_PAGE,
			     (b.stm_off % ESE_PAGE + b.bytes.len + ESE_PAGE - 1) / ESE_PAGE, true);
	}
	return ST_OK;
}

static void found(void *arg, const struct finding *f)
{
	const struct reading *k = arg;

	k->c->found(k->c->arg, f);
}

static void progress(void *arg, uint64_t bytes)
{
	const struct reading *k = arg;

	if (k->c->progress)
		k->c->progress(k->c->arg, bytes);
}

static enum st make_pending(struct check_log *c, struct err *err)
{
	c->pending = calloc(c->nheads ? c->nheads : 1, sizeof(*c->pending));
	if (!c->pending)
		return fail(err, ST_NOMEM, "check the log of %s", c->dir);
	for (size_t i = 0; i < c->nheads; i++) {
		struct check_pending *p = &c->pending[i];

		*p = (struct check_pending){ .number = (uint32_t)c->heads[i].id,
					     .applied = c->heads[i].applied,
					     .npages = c->heads[i].pages };
		if (c->heads[i].clean_pos || !p->npages)
			continue;
		p->taken = calloc(1, p->npages / 8 + 1);
		if (!p->taken)
			return fail(err, ST_NOMEM, "check the log of %s", c->dir);
	}
	return ST_OK;
}

static void tell(struct check_log *c, enum finding_kind kind, const char *name, const char *text)
{
	struct finding f = { .kind = kind, .database = name };

	finding_tell(c->found, c->arg, &f, "%s", text);
}

static void judge(struct check_log *c, size_t i, const struct log_walk *w)
{
	const struct look_head *h = &c->heads[i];
	char text[300];

	if (w->signature && memcmp(h->signature, w->signature, LOG_SIGNATURE) != 0) {
		snprintf(text, sizeof(text), "database %s belongs to another group's log",
			 c->names[i]);
		tell(c, FOUND_DB_FOREIGN, c->names[i], text);
	} else if (h->applied > w->end) {
		snprintf(text, sizeof(text),
			 "database %s holds the log up to %016llx, but the log ends at %016llx",
			 c->names[i], (unsigned long long)h->applied, (unsigned long long)w->end);
		tell(c, FOUND_DB_AHEAD, c->names[i], text);
	} else if (w->first && h->applied < w->first && pos_gen(h->applied) < pos_gen(w->first)) {
		snprintf(text, sizeof(text),
			 "database %s holds the log up to %016llx, but the log begins at %016llx",
			 c->names[i], (unsigned long long)h->applied, (unsigned long long)w->first);
		tell(c, FOUND_DB_BEHIND, c->names[i], text);
	} else if (!h->clean_pos) {
		snprintf(text, sizeof(text),
			 "database %s was not closed in order: the log from %016llx to %016llx is "
			 "not in it yet",
			 c->names[i], (unsigned long long)h->applied, (unsigned long long)w->end);
		tell(c, FOUND_DB_OPEN, c->names[i], text);
	}
}

/* The lowest position that somebody needs; 0: not known. */
static uint64_t needed_from(const struct check_log *c, const struct checkpoint *cp)
{
	uint64_t from = cp->position ? cp->position : UINT64_MAX;

	for (size_t i = 0; i < c->nheads; i++)
		if (c->heads[i].applied < from)
			from = c->heads[i].applied;
	return from == UINT64_MAX ? 0 : from;
}

static bool is_there(const char *dir, const char *name)
{
	char path[SEG_PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) &&
	       access(path, F_OK) == 0;
}

enum st check_log(struct check_log *c, struct err *err)
{
	struct reading k = { .c = c };
	struct log_walk w = {
		.dir = c->dir, .group = take_group, .found = found, .progress = progress, .arg = &k
	};
	struct checkpoint cp = { 0 };
	struct seg_list list;
	enum st have = checkpoint_read(c->dir, &cp, err), st;

	if (have != ST_OK && have != ST_NOTFOUND)
		return have;
	st = seg_list(c->dir, &list, err);
	if (st != ST_OK)
		return st;
	/* A copy, as a backup makes it, was never a group at work. */
	w.unfinished =
		have == ST_NOTFOUND && !is_there(c->dir, "E00.chk") && !is_there(c->dir, "E00.lck");
	c->none = w.unfinished && !list.ngens;
	seg_list_free(&list);
	st = make_pending(c, err);
	if (st != ST_OK || c->none)
		return st;
	if (have == ST_NOTFOUND && !w.unfinished)
		tell(c, FOUND_CHECKPOINT, NULL,
		     is_there(c->dir, "E00.chk") ? "both halves of the checkpoint file are damaged"
						 : "the checkpoint file is missing");
	if (have == ST_OK)
		w.signature = cp.signature;
	else if (c->nheads)
		w.signature = c->heads[0].signature;
	k.from = have == ST_OK ? cp.position : 0;
	w.from = pos_gen(needed_from(c, &cp));
	st = log_walk(&w, err);
	for (size_t i = 0; st == ST_OK && i < c->nheads; i++)
		judge(c, i, &w);
	c->files = w.files;
	c->groups = w.groups;
	c->bytes = w.bytes;
	c->end = w.end;
	return st;
}

void check_log_free(struct check_log *c)
{
	for (size_t i = 0; c->pending && i < c->nheads; i++)
		free(c->pending[i].taken);
	free(c->pending);
	c->pending = NULL;
}
