/* ship_source.c - the store's side of `mailroot ese ship`; see ship.h. */
#include "admin/ship.h"

#include <stdio.h>
#include <stdlib.h>

struct ship_log *ship_log_named(const struct ship *s, const char *name)
{
	for (unsigned i = 0; i < s->nlogs; i++)
		if (!strcmp(s->logs[i]->name, name))
			return s->logs[i];
	return NULL;
}

static enum st add_log(struct ship *s, struct span name, struct ship_log **out, struct err *err)
{
	struct ship_log *log;

	if (s->nlogs == SHIP_LOGS_MAX || !ship_name_ok(name))
		return fail(err, ST_TOOBIG,
			    "storage group '" SPAN_FMT
			    "': at most %u groups can be shipped, with names of "
			    "letters, digits, '-' and '_'",
			    SPAN_ARG(name), SHIP_LOGS_MAX);
	log = calloc(1, sizeof *log);
	if (!log)
		return fail(err, ST_NOMEM, "out of memory");
	memcpy(log->name, name.at, name.len);
	s->logs[s->nlogs++] = log;
	*out = log;
	return ST_OK;
}

static enum st take_row(struct ship *s, const struct plist *row, struct err *err)
{
	struct span name = plist_span(row, PR_LOG_GROUP);
	struct span signature = plist_span(row, PR_LOG_SIGNATURE);
	char text[SHIP_NAME_MAX + 1];
	struct ship_log *log;
	enum st st = ST_OK;

	snprintf(text, sizeof text, SPAN_FMT, SPAN_ARG(name));
	log = ship_log_named(s, text);
	if (!log)
		st = add_log(s, name, &log, err);
	if (st == ST_OK && signature.len != LOG_SIGNATURE)
		st = fail(err, ST_CORRUPT, "the store names no signature of group %s", text);
	if (st != ST_OK)
		return st;
	memcpy(log->signature, signature.at, LOG_SIGNATURE);
	log->durable = plist_u64(row, PR_LOG_POSITION, 0);
	log->oldest = plist_u32(row, PR_LOG_OLDEST, 0);
	log->circular = plist_bool(row, PR_LOG_CIRCULAR, false);
	return ST_OK;
}

static enum st ask_list(struct ship *s, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	st = wire_send(&m, s->chan, 0, WIRE_LOG_LIST, &a, err);
	while (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK)
		st = take_row(s, &a.list, err);
	wire_answer_free(&a);
	return st == ST_EOF ? ST_OK : st;
}

/* Answers with nothing but its status. */
static enum st say(struct ship *s, struct wire_msg *m, enum wire_op op, struct err *err)
{
	struct wire_answer a = { 0 };
	enum st st = wire_send(m, s->chan, 0, op, &a, err);

	wire_answer_free(&a);
	return st;
}

enum st ship_source_ask(struct ship *s, struct err *err)
{
	enum st st = ST_OK;

	s->stale = false;
	s->asked_at = clock_mono();
	/* Watched first: what comes after the list is notified. */
	for (int round = 0; st == ST_OK && round < 2; round++) {
		st = ask_list(s, err);
		for (unsigned i = 0; st == ST_OK && i < s->nlogs && round == 0; i++) {
			struct wire_msg m;

			wire_begin(&m, 2);
			pw_str(&m.w, PR_LOG_GROUP, s->logs[i]->name);
			pw_u64(&m.w, PR_WATCH_TOKEN, i + 1);
			st = say(s, &m, WIRE_LOG_WATCH, err);
		}
	}
	return st;
}

static enum st hold(struct ship *s, const struct ship_log *log, uint64_t pos, struct err *err)
{
	struct wire_msg m;

	wire_begin(&m, 3);
	pw_str(&m.w, PR_LOG_GROUP, log->name);
	pw_u64(&m.w, PR_SHIP_ID, s->id);
	pw_u64(&m.w, PR_LOG_POSITION, pos);
	return say(s, &m, WIRE_LOG_HOLD, err);
}

enum st ship_source_forget(struct ship *s, struct err *err)
{
	enum st st = ship_source_ask(s, err);

	for (unsigned i = 0; st == ST_OK && i < s->nlogs; i++)
		st = hold(s, s->logs[i], 0, err);
	return st;
}

void ship_source_hold(struct ship *s, bool now)
{
	int64_t t = clock_mono();

	if (!s->bound || s->stale || (!now && t - s->held_at < NS_PER_SEC))
		return;
	s->held_at = t;
	for (unsigned i = 0; i < s->nlogs; i++) {
		struct ship_log *log = s->logs[i];
		struct err err;

		if (log->acked && log->acked != log->held &&
		    hold(s, log, log->acked, &err) == ST_OK)
			log->held = log->acked;
	}
}

/* ---- how far ---- */

void ship_acknowledged(struct ship_log *log, uint64_t pos, uint64_t applied)
{
	if (pos > log->acked)
		log->acked = pos;
	log->applied = applied;
	while (log->count > 0 && log->flights[log->first].end <= pos) {
		log->acked_time = log->flights[log->first].time;
		log->first = (log->first + 1) % SHIP_FLIGHTS;
		log->count--;
	}
}

uint64_t ship_distance(const struct ship_log *log, uint64_t a, uint64_t b)
{
	uint64_t files = pos_gen(b) - pos_gen(a);

	if (b <= a)
		return 0;
	return files * log->file_bytes + pos_off(b) - pos_off(a);
}

int64_t ship_lag_ns(const struct ship_log *log, int64_t now)
{
	int64_t since =
		log->count > 0 ? (int64_t)log->flights[log->first].time : log->waiting_since;

	return since != 0 && since < now ? now - since : 0;
}
