/* cmd_quota.c - how large mailboxes are, and how large they may be. */
#include "admin/cli.h"
#include "admin/storelink.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX    (64u * 1024 * 1024)
#define AS_CONFIGURED UINT64_MAX

static const struct {
	const char *name;
	uint32_t tag;
} limits[] = {
	{ "warn", PR_QUOTA_WARN },
	{ "send", PR_QUOTA_SEND },
	{ "receive", PR_QUOTA_RECEIVE },
};
#define LIMITS (sizeof limits / sizeof limits[0])

struct errand {
	struct cli *cli;
	const char *user;
	bool set[LIMITS], any, over;
	uint64_t octets[LIMITS];
	struct report report;
};

/* ---- asking ---- */

static enum st set_limits(const struct errand *e, struct exipc_chan *chan, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1 + LIMITS);
	pw_str(&m.w, PR_USER, e->user);
	for (size_t i = 0; i < LIMITS; i++)
		if (e->set[i])
			pw_u64(&m.w, limits[i].tag, e->octets[i]);
	st = wire_send(&m, chan, 0, WIRE_QUOTA_SET, &a, err);
	wire_answer_free(&a);
	return st;
}

/* The worst that holds. */
static const char *state_of(const struct plist *row)
{
	static const char *const names[LIMITS] = { "warned", "may not send", "full" };
	uint64_t size = plist_u64(row, PR_FOLDER_SIZE, 0);
	const char *state = "ok";

	if (plist_bool(row, PR_DATABASE_DOWN, false))
		return "database down";
	for (size_t i = 0; i < LIMITS; i++) {
		uint64_t limit = plist_u64(row, limits[i].tag, 0);

		if (limit && size >= limit)
			state = names[i];
	}
	return state;
}

static void put_row(struct report *r, const struct plist *row)
{
	report_row(r);
	report_span(r, "user", plist_span(row, PR_USER));
	report_str(r, "state", state_of(row));
	report_num(r, "messages", plist_u32(row, PR_CONTENT_COUNT, 0));
	report_num(r, "bytes", plist_u64(row, PR_FOLDER_SIZE, 0));
	for (size_t i = 0; i < LIMITS; i++)
		report_num(r, limits[i].name, plist_u64(row, limits[i].tag, 0));
	report_num(r, "deleted_messages", plist_u64(row, PR_KEPT_COUNT, 0));
	report_num(r, "deleted_bytes", plist_u64(row, PR_KEPT_SIZE, 0));
}

static enum st ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct errand *e = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st = e->any ? set_limits(e, chan, err) : ST_OK;

	if (st != ST_OK)
		return st;
	wire_begin(&m, 1);
	m.deadline = NO_DEADLINE;
	if (e->user)
		pw_str(&m.w, PR_USER, e->user);
	st = wire_send(&m, chan, 0, WIRE_QUOTA_LIST, &a, err);
	while (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK)
		if (!e->over || !span_eq(span_str(state_of(&a.list)), SPAN("ok")))
			put_row(&e->report, &a.list);
	wire_answer_free(&a);
	return st == ST_EOF ? ST_OK : st;
}

static int run(struct errand *e)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct err err;
	enum st st;

	report_open(&e->report, &text, e->cli->json);
	report_table(&e->report, "quotas", false);
	st = storelink_run(e->cli->home, ask, e, &err);
	report_close(&e->report);
	if (st == ST_OK)
		return cli_print(&text);
	buf_free(&text);
	return cli_fail(&err);
}

/* ---- the commands ---- */

/* "500000", "500M", "2G", "none", "default". */
static bool read_limit(const char *text, uint64_t *octets)
{
	static const char units[] = "KMGT";
	struct span digits = span_str(text);
	uint64_t scale = 1;

	if (span_eq(digits, SPAN("default"))) {
		*octets = AS_CONFIGURED;
		return true;
	}
	if (span_eq(digits, SPAN("none"))) {
		*octets = 0;
		return true;
	}
	for (size_t i = 0; digits.len > 1 && units[i]; i++)
		if (toupper((unsigned char)digits.at[digits.len - 1]) == units[i]) {
			scale = (uint64_t)1 << (10 * (i + 1));
			digits.len--;
			break;
		}
	if (!span_u64(digits, octets) || *octets > ((uint64_t)1 << 60) / scale)
		return false;
	*octets *= scale;
	return true;
}

int cmd_user_quota(struct cli *c)
{
	struct errand e = { .cli = c, .user = c->args[0] };

	for (size_t i = 0; i < LIMITS; i++) {
		if (!c->options[i])
			continue;
		if (!read_limit(c->options[i], &e.octets[i])) {
			return cli_misuse(
				"--%s takes bytes (500000, 500M, 2G), none or default, not '%s'",
				limits[i].name, c->options[i]);
		}
		e.set[i] = e.any = true;
	}
	return run(&e);
}

int cmd_quota_list(struct cli *c)
{
	struct errand e = { .cli = c, .over = c->options[0] != NULL };

	return run(&e);
}
