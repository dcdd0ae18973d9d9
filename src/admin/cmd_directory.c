/* cmd_directory.c - users, domains and aliases: each command is one request to the store. */
#include "admin/cli.h"
#include "admin/storelink.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_MAX 1024
#define ANSWER_MAX   (64u * 1024 * 1024)

struct question {
	enum wire_op op;
	void (*fill)(struct pw *w, const struct question *q);
	void (*row)(struct report *r,
		    const struct plist *row); /* NULL: the answer is only done or not */
	struct cli *cli;
	const char *domain;
	char password[PASSWORD_MAX];
	struct report report;
	struct buf text;
};

static enum st ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct question *q = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 4);
	if (q->fill)
		q->fill(&m.w, q);
	st = wire_send(&m, chan, 0, q->op, &a, err);
	if (st == ST_OK && q->row) {
		while ((st = wire_next_row(&a, err)) == ST_OK) {
			report_row(&q->report);
			q->row(&q->report, &a.list);
		}
		if (st == ST_EOF)
			st = ST_OK;
	}
	wire_answer_free(&a);
	return st;
}

static int run(struct question *q, const char *table)
{
	struct err err;
	enum st st;

	q->text = BUF_MAX(ANSWER_MAX);
	if (q->row) {
		report_open(&q->report, &q->text, q->cli->json);
		report_table(&q->report, table, false);
	}
	st = storelink_run(q->cli->home, ask, q, &err);
	if (q->row)
		report_close(&q->report);
	if (st != ST_OK) {
		buf_free(&q->text);
		return cli_fail(&err);
	}
	return cli_print(&q->text);
}

/* ---- passwords ---- */

static int read_password(struct cli *c, char *out)
{
	struct termios was, quiet;
	bool ask_terminal = !c->options[0] && tcgetattr(0, &was) == 0;
	char *line;

	if (!c->options[0] && !ask_terminal)
		return cli_misuse(
			"no terminal to ask for the password; give it with --password-stdin");
	if (ask_terminal) {
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		fprintf(stderr, "Password for %s: ", c->args[0]);
		tcsetattr(0, TCSAFLUSH, &quiet);
	}
	line = fgets(out, PASSWORD_MAX, stdin);
	if (ask_terminal) {
		tcsetattr(0, TCSAFLUSH, &was);
		fprintf(stderr, "\n");
	}
	if (line && strlen(out) == PASSWORD_MAX - 1 && out[PASSWORD_MAX - 2] != '\n') {
		return cli_misuse("the password is longer than %d bytes", PASSWORD_MAX - 2);
	}
	if (line)
		out[strcspn(out, "\r\n")] = '\0';
	if (!line || !out[0]) {
		return cli_misuse("the password is empty");
	}
	return 0;
}

/* ---- users ---- */

static void fill_user(struct pw *w, const struct question *q)
{
	pw_str(w, PR_USER, q->cli->args[0]);
	if (q->password[0])
		pw_str(w, PR_PASSWORD, q->password);
	if (q->op == WIRE_DS_USER_ADD && q->cli->options[1])
		pw_str(w, PR_DISPLAY_NAME, q->cli->options[1]);
	if (q->op == WIRE_DS_USER_ADD && q->cli->options[2])
		pw_str(w, PR_DATABASE, q->cli->options[2]);
}

static void fill_disabled(struct pw *w, const struct question *q)
{
	fill_user(w, q);
	pw_bool(w, PR_DISABLED, true);
}

static void fill_enabled(struct pw *w, const struct question *q)
{
	fill_user(w, q);
	pw_bool(w, PR_DISABLED, false);
}

static void user_row(struct report *r, const struct plist *row)
{
	report_span(r, "user", plist_span(row, PR_USER));
	report_span(r, "name", plist_span(row, PR_DISPLAY_NAME));
	report_bool(r, "disabled", plist_bool(row, PR_DISABLED, false));
	report_num(r, "mailbox", plist_u64(row, PR_MAILBOX_ID, 0));
	report_time(r, "created", (int64_t)plist_u64(row, PR_CREATION_TIME, 0));
}

int cmd_user_add(struct cli *c)
{
	struct question q = { .op = WIRE_DS_USER_ADD, .fill = fill_user, .cli = c };
	int status = read_password(c, q.password);

	return status ? status : run(&q, NULL);
}

int cmd_user_passwd(struct cli *c)
{
	struct question q = { .op = WIRE_DS_USER_PASSWD, .fill = fill_user, .cli = c };
	int status = read_password(c, q.password);

	return status ? status : run(&q, NULL);
}

int cmd_user_list(struct cli *c)
{
	struct question q = { .op = WIRE_DS_USER_LIST, .row = user_row, .cli = c };

	return run(&q, "users");
}

int cmd_user_disable(struct cli *c)
{
	struct question q = { .op = WIRE_DS_USER_DISABLE, .fill = fill_disabled, .cli = c };

	return run(&q, NULL);
}

int cmd_user_enable(struct cli *c)
{
	struct question q = { .op = WIRE_DS_USER_DISABLE, .fill = fill_enabled, .cli = c };

	return run(&q, NULL);
}

int cmd_user_remove(struct cli *c)
{
	struct question q = { .op = WIRE_DS_USER_REMOVE, .fill = fill_user, .cli = c };

	return run(&q, NULL);
}

/* ---- domains ---- */

static void fill_domain(struct pw *w, const struct question *q)
{
	pw_str(w, PR_DOMAIN, q->domain);
}

static void domain_row(struct report *r, const struct plist *row)
{
	report_span(r, "domain", plist_span(row, PR_DOMAIN));
}

int cli_add_domain(struct cli *c, const char *name)
{
	struct question q = {
		.op = WIRE_DS_DOMAIN_ADD, .fill = fill_domain, .cli = c, .domain = name
	};

	return run(&q, NULL);
}

int cmd_domain_add(struct cli *c)
{
	return cli_add_domain(c, c->args[0]);
}

int cmd_domain_list(struct cli *c)
{
	struct question q = { .op = WIRE_DS_DOMAIN_LIST, .row = domain_row, .cli = c };

	return run(&q, "domains");
}

int cmd_domain_remove(struct cli *c)
{
	struct question q = {
		.op = WIRE_DS_DOMAIN_REMOVE, .fill = fill_domain, .cli = c, .domain = c->args[0]
	};

	return run(&q, NULL);
}

/* ---- aliases ---- */

static void fill_alias(struct pw *w, const struct question *q)
{
	struct span targets[100];
	size_t n = 0;

	pw_str(w, PR_ADDRESS, q->cli->args[0]);
	for (int i = 1; i < q->cli->nargs && n < 100; i++)
		targets[n++] = span_str(q->cli->args[i]);
	if (n > 0)
		pw_mv_span(w, PR_TARGETS, targets, n);
}

static void alias_row(struct report *r, const struct plist *row)
{
	struct buf targets = BUF_MAX(1024 * 1024);

	for (size_t i = 0; i < plist_mv_count(row, PR_TARGETS); i++) {
		if (i > 0)
			buf_char(&targets, ' ');
		buf_span(&targets, plist_mv_span(row, PR_TARGETS, i));
	}
	report_span(r, "alias", plist_span(row, PR_ADDRESS));
	report_span(r, "targets", buf_get(&targets));
	buf_free(&targets);
}

int cmd_alias_add(struct cli *c)
{
	struct question q = { .op = WIRE_DS_ALIAS_ADD, .fill = fill_alias, .cli = c };

	return run(&q, NULL);
}

int cmd_alias_list(struct cli *c)
{
	struct question q = { .op = WIRE_DS_ALIAS_LIST, .row = alias_row, .cli = c };

	return run(&q, "aliases");
}

int cmd_alias_remove(struct cli *c)
{
	struct question q = { .op = WIRE_DS_ALIAS_REMOVE, .fill = fill_alias, .cli = c };

	return run(&q, NULL);
}
