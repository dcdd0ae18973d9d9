/* upgrade.c - see upgrade.h. */
#include "ese/upgrade.h"

#include "ese/ese_int.h"
#include "ese/io.h"
#include "ese/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- what is there ---- */

static enum st survey_logs(const char *dir, struct ese_survey *out, struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(dir, &list, err);

	if (st != ST_OK)
		return st;
	for (uint32_t i = 0; st == ST_OK && i < list.ngens; i++) {
		struct seg_head h;

		st = log_head_read(dir, list.gens[i], &h, err);
		if (st != ST_OK)
			break;
		out->logs++;
		out->logs_old += h.format == ESE_FORMAT_OLD;
	}
	seg_list_free(&list);
	return st;
}

static enum st survey_checkpoint(const char *dir, struct ese_survey *out, struct err *err)
{
	struct checkpoint *cp = calloc(1, sizeof(*cp));
	enum st st = cp ? checkpoint_read(dir, cp, err) : fail(err, ST_NOMEM, "%s", dir);

	if (st == ST_OK) {
		out->checkpoint = cp->format;
		out->clean = cp->state == STATE_CLEAN;
	}
	free(cp);
	return st == ST_NOTFOUND ? ST_OK : st;
}

static enum st survey_db(void *arg, const struct look_entry *e, struct err *err)
{
	struct ese_survey *s = arg;
	struct look_head h;
	struct ese_db *db;
	enum st st;

	if (!e->has_edb)
		return ST_OK;
	st = look_open(e->name, e->edb, NULL, &db, err);
	if (st != ST_OK)
		return st;
	st = look_head(db, &h, err);
	look_close(db);
	s->databases++;
	s->databases_old += st == ST_OK && h.format == ESE_FORMAT_OLD;
	return st;
}

enum st ese_survey(const char *dir, struct ese_survey *out, struct err *err)
{
	int lock;
	enum st st = look_lock(dir, &lock, err);

	if (st != ST_OK)
		return st;
	*out = (struct ese_survey){ 0 };
	format_take_old(true);
	st = survey_checkpoint(dir, out, err);
	if (st == ST_OK)
		st = survey_logs(dir, out, err);
	if (st == ST_OK)
		st = look_list(dir, survey_db, out, err);
	format_take_old(false);
	look_unlock(lock);
	return st;
}

bool ese_is_old(const struct ese_survey *s)
{
	return s->logs_old || s->databases_old || s->checkpoint == ESE_FORMAT_OLD;
}

/* ---- upgrading ---- */

static void broke(void *arg, const struct err *why)
{
	struct err *first = arg;

	if (first->st == ST_OK)
		*first = *why;
}

enum st ese_upgrade(const char *dir, enum st (*then)(void *arg, struct ese *g, struct err *err),
		    void *arg, struct err *err)
{
	struct err why = { 0 };
	struct ese_options o = { .broken = broke, .arg = &why, .reserve_bytes = 1 };
	struct ese *g;
	enum st st;

	format_take_old(true);
	st = ese_open(dir, &o, &g, err);
	if (st == ST_OK) {
		st = then ? then(arg, g, err) : ST_OK;
		ese_close(g);
		if (st == ST_OK && why.st != ST_OK) {
			st = why.st;
			if (err)
				*err = why;
		}
	}
	format_take_old(false);
	return st;
}
