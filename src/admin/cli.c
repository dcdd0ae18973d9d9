/* cli.c - reading the administrator's command line. */
#include "admin/cli.h"

#include "base/config.h"
#include "base/timetext.h"
#include "admin/options.h"
#include "admin/version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char purpose[] = "the administrator's command line of a Mailroot server";

const char *const cli_exits[CLI_EXITS] = {
	[CLI_DONE] = "done",
	[CLI_FAILED] = "failed",
	[CLI_MISUSED] = "wrong usage",
	[CLI_NOT_RUNNING] = "the server is not running",
	[CLI_DAMAGE] =
		"done (or looked at), but damage was found or something was left out; the answer names it",
};

#define COMMAND_COLUMN 36
#define OPTION_COLUMN  24
#define TEXT_COLUMNS   100

static void print_left(FILE *to, int column, const char *left, const char *right)
{
	fprintf(to, "  %-*s %s\n", column, left, right);
}

/* The row is a command, and its first word this one (NULL: any). */
static bool is_among(const struct cli_command *m, const char *word)
{
	struct span rest;

	return m->words &&
	       (!word || span_eq(span_split(span_str(m->words), ' ', &rest), span_str(word)));
}

/* The commands with this first word (NULL: all) below their headlines; how many. */
static size_t print_table(FILE *to, const char *word)
{
	const char *headline = NULL;
	char left[128];
	size_t n = 0;

	for (size_t i = 0; i < cli_ncommands; i++) {
		const struct cli_command *m = &cli_commands[i];

		if (!m->words)
			headline = m->meaning;
		if (!is_among(m, word))
			continue;
		if (headline)
			fprintf(to, "%s%s\n", n ? "\n" : "", headline);
		headline = NULL;
		snprintf(left, sizeof left, "%s%s%s", m->words, m->args[0] ? " " : "", m->args);
		print_left(to, COMMAND_COLUMN, left, m->meaning);
		n++;
	}
	return n;
}

static void print_commands(FILE *to)
{
	fprintf(to, "mailroot: %s\n\nusage: mailroot [--home DIR] [--json] COMMAND ...\n\n",
		purpose);
	print_table(to, NULL);
	fprintf(to, "\nWith every command\n");
	print_left(to, COMMAND_COLUMN, "--home DIR",
		   "the server's home; default $MAILROOT_HOME, else /var/lib/mailroot");
	print_left(to, COMMAND_COLUMN, "--json", "answer in JSON");
	print_left(to, COMMAND_COLUMN, "--help", "more about the command, and its options");
	print_left(to, COMMAND_COLUMN, "--version, --man",
		   "without a command: the version; the manual page, in troff");
	fprintf(to, "\nExit status\n");
	for (int i = 0; i < CLI_EXITS; i++)
		fprintf(to, "  %d  %s\n", i, cli_exits[i]);
}

static void print_wrapped(const char *text)
{
	struct span rest = span_str(text);
	size_t column = 0;

	while (rest.at) {
		struct span word = span_split(rest, ' ', &rest);

		if (column && column + 1 + word.len > TEXT_COLUMNS) {
			printf("\n");
			column = 0;
		}
		column += (size_t)printf("%s" SPAN_FMT, column ? " " : "", SPAN_ARG(word));
	}
	printf("\n");
}

static void print_command(const struct cli_command *m)
{
	printf("usage: mailroot %s%s%s%s\n\n%s\n", m->words, m->args[0] ? " " : "", m->args,
	       m->options[0].name ? " [OPTION ...]" : "", m->meaning);
	if (m->details)
		print_wrapped(m->details);
	if (m->options[0].name)
		printf("\n");
	for (int i = 0; i < CLI_OPTIONS_MAX && m->options[i].name; i++) {
		char left[64];

		snprintf(left, sizeof left, "--%s %s", m->options[i].name,
			 m->options[i].value ? m->options[i].value : "");
		print_left(stdout, OPTION_COLUMN, left, m->options[i].meaning);
	}
}

static void print_man_command(const struct cli_command *m)
{
	if (!m->words) {
		printf(".SS %s\n", m->meaning);
		return;
	}
	printf(".TP\n\\fB%s\\fR %s\n%s\n", m->words, m->args, m->meaning);
	if (m->details)
		printf("%s\n", m->details);
	for (int o = 0; o < CLI_OPTIONS_MAX && m->options[o].name; o++)
		printf(".RS\n.TP\n\\fB\\-\\-%s\\fR %s\n%s\n.RE\n", m->options[o].name,
		       m->options[o].value ? m->options[o].value : "", m->options[o].meaning);
}

static void print_man(void)
{
	printf(".TH mailroot 8 \"\" \"Mailroot " MAILROOT_VERSION
	       "\"\n.SH NAME\nmailroot \\- %s\n.SH SYNOPSIS\n.B mailroot\n"
	       "[\\-\\-home DIR] [\\-\\-json] COMMAND ...\n.SH COMMANDS\n",
	       purpose);
	for (size_t i = 0; i < cli_ncommands; i++)
		print_man_command(&cli_commands[i]);
	printf(".SH EXIT STATUS\n");
	for (int i = 0; i < CLI_EXITS; i++)
		printf(".TP\n%d\n%s\n", i, cli_exits[i]);
	printf(".SH SEE ALSO\nmailrootd(8), mailroot\\-store(8), mailroot\\-inet(8)\n");
}

static int misuse(const char *what, const char *word)
{
	return cli_misuse("%s%s%s (see mailroot --help)", what, word ? ": " : "", word ? word : "");
}

int cli_misuse(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "mailroot: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	return CLI_MISUSED;
}

int cli_time(const struct cli *c, int option, int64_t *time)
{
	struct err err;

	*time = 0;
	if (!c->options[option] || time_read(span_str(c->options[option]), time, &err) == ST_OK)
		return CLI_DONE;
	return cli_misuse("--%s: %s", c->command->options[option].name, err.text);
}

int cli_fail(const struct err *err)
{
	fprintf(stderr, "mailroot: %s\n", err->text);
	return err->st == ST_GONE ? CLI_NOT_RUNNING : CLI_FAILED;
}

int cli_print(struct buf *text)
{
	bool whole;

	if (text->failed) {
		fprintf(stderr,
			"mailroot: the answer is too long to be printed; ask for less of it\n");
		buf_free(text);
		return CLI_FAILED;
	}
	whole = fwrite(text->at, 1, text->len, stdout) == text->len && fflush(stdout) == 0;

	if (!whole)
		fprintf(stderr, "mailroot: cannot write the answer to standard output\n");
	buf_free(text);
	return whole ? CLI_DONE : CLI_FAILED;
}

/* The row whose words begin the arguments; *used is how many they are. */
static const struct cli_command *find_command(char **args, int nargs, int *used)
{
	for (size_t i = 0; i < cli_ncommands; i++) {
		struct span rest = span_str(cli_commands[i].words);
		bool same = rest.at != NULL;
		int n = 0;

		while (same && rest.at) {
			same = n < nargs &&
			       span_eq(span_split(rest, ' ', &rest), span_str(args[n]));
			n++;
		}
		if (!same)
			continue;
		*used = n;
		return &cli_commands[i];
	}
	return NULL;
}

/* The first word of several commands alone: say which they are. */
static int unknown_command(char **args, int nargs)
{
	bool asked = !strcmp(args[nargs - 1], "--help"), any = false;
	FILE *to = asked ? stdout : stderr;

	for (size_t i = 0; i < cli_ncommands && !any; i++)
		any = is_among(&cli_commands[i], args[0]);
	if (!any)
		return misuse("unknown command", args[0]);
	if (!asked)
		fprintf(to, "mailroot: %s takes one of these words:\n\n", args[0]);
	print_table(to, args[0]);
	return asked ? CLI_DONE : CLI_MISUSED;
}

static int find_option(const struct cli_command *m, struct span name)
{
	for (int i = 0; i < CLI_OPTIONS_MAX && m->options[i].name; i++)
		if (span_eq(name, span_str(m->options[i].name)))
			return i;
	return -1;
}

/* ---- the words ---- */

struct words {
	struct cli *cli;
	const struct cli_command *command; /* NULL: in front of it */
	char **at;
	int n, next;
	const char *home;
};

/* The value of the option at w->next, in the word itself or in the one behind it; NULL: there is none. */
static const char *option_value(struct words *w, struct span in_word)
{
	if (in_word.at)
		return in_word.at;
	return w->next + 1 < w->n ? w->at[++w->next] : NULL;
}

/* One option; CLI_DONE, or the exit status of a misuse. */
static int take_option(struct words *w)
{
	const char *word = w->at[w->next], *text;
	struct span value, name = span_split(span_skip(span_str(word), 2), '=', &value);
	int o = w->command ? find_option(w->command, name) : -1;

	if (!strcmp(word, "--json")) {
		w->cli->json = true;
		return 0;
	}
	if (o >= 0 && !w->command->options[o].value) {
		w->cli->options[o] = "";
		return value.at ? misuse("the option takes no value", word) : 0;
	}
	if (o < 0 && !span_eq(name, SPAN("home")))
		return misuse("unknown option", word);
	text = option_value(w, value);
	if (!text)
		return misuse("the option needs a value", word);
	*(o < 0 ? &w->home : &w->cli->options[o]) = text;
	return 0;
}

static int run_command(struct words *w)
{
	static char home[4096];
	const struct cli_command *m = w->command;
	struct cli *c = w->cli;

	for (; w->next < w->n; w->next++) {
		char *word = w->at[w->next];
		int status = 0;

		if (!strcmp(word, "--help")) {
			print_command(m);
			return CLI_DONE;
		}
		if (word[0] == '-' && word[1] == '-')
			status = take_option(w);
		else
			c->args[c->nargs++] = word;
		if (status)
			return status;
	}
	if (c->nargs < m->args_min || c->nargs > m->args_max) {
		fprintf(stderr, "usage: mailroot %s %s (see mailroot %s --help)\n", m->words,
			m->args, m->words);
		return CLI_MISUSED;
	}
	if (!options_home(w->home, home, sizeof home))
		return misuse("the home's path is too long", w->home);
	c->home = home;
	c->command = m;
	return m->run(c);
}

/* --help, --version, --man: true, and the answer is out. */
static bool take_question(const char *word)
{
	if (!strcmp(word, "--help"))
		print_commands(stdout);
	else if (!strcmp(word, "--version"))
		printf("mailroot " MAILROOT_VERSION "\n");
	else if (!strcmp(word, "--man"))
		print_man();
	else
		return false;
	return true;
}

int cli_main(int argc, char **argv)
{
	struct cli c = { 0 };
	struct words w = { .cli = &c, .at = argv, .n = argc, .next = 1 };
	int used, status;

	for (; w.next < argc && argv[w.next][0] == '-'; w.next++) {
		if (take_question(argv[w.next]))
			return 0;
		status = take_option(&w);
		if (status)
			return status;
	}
	if (w.next == argc) {
		print_commands(stderr);
		return CLI_MISUSED;
	}
	w.command = find_command(argv + w.next, argc - w.next, &used);
	if (!w.command)
		return unknown_command(argv + w.next, argc - w.next);
	w.next += used;
	c.args = calloc((size_t)argc, sizeof *c.args);
	if (!c.args) {
		fprintf(stderr, "mailroot: out of memory\n");
		return CLI_FAILED;
	}
	status = run_command(&w);
	free(c.args);
	return status;
}
