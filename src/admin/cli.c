/* cli.c - reading the administrator's command line. */
#include "admin/cli.h"

#include "base/config.h"
#include "admin/options.h"
#include "admin/version.h"

#include <stdio.h>
#include <stdlib.h>

static const char purpose[] = "the administrator's command line of a Mailroot server";

static void print_left(const char *left, const char *right)
{
	printf("  %-28s %s\n", left, right);
}

static void print_commands(void)
{
	char left[128];

	printf("mailroot: %s\n\nusage: mailroot [--home DIR] [--json] COMMAND ...\n\n", purpose);
	for (size_t i = 0; i < cli_ncommands; i++) {
		snprintf(left, sizeof left, "%s %s", cli_commands[i].words, cli_commands[i].args);
		print_left(left, cli_commands[i].meaning);
	}
	printf("\n");
	print_left("--home DIR",
		   "the server's home; default $MAILROOT_HOME, else /var/lib/mailroot");
	print_left("--json", "answer in JSON");
	print_left("COMMAND --help", "a command's options");
	print_left("--version, --man", "the version; the manual page, in troff");
}

static void print_command(const struct cli_command *m)
{
	printf("usage: mailroot %s %s\n\n%s\n", m->words, m->args, m->meaning);
	for (int i = 0; i < CLI_OPTIONS_MAX && m->options[i].name; i++) {
		char left[64];

		snprintf(left, sizeof left, "--%s %s", m->options[i].name,
			 m->options[i].value ? m->options[i].value : "");
		print_left(left, m->options[i].meaning);
	}
}

static void print_man(void)
{
	printf(".TH mailroot 8 \"\" \"Mailroot " MAILROOT_VERSION
	       "\"\n.SH NAME\nmailroot \\- %s\n.SH SYNOPSIS\n.B mailroot\n"
	       "[\\-\\-home DIR] [\\-\\-json] COMMAND ...\n.SH COMMANDS\n",
	       purpose);
	for (size_t i = 0; i < cli_ncommands; i++) {
		const struct cli_command *m = &cli_commands[i];

		printf(".TP\n.B %s\n%s\n%s\n", m->words, m->args, m->meaning);
		for (int o = 0; o < CLI_OPTIONS_MAX && m->options[o].name; o++)
			printf(".RS\n.TP\n.B \\-\\-%s\n%s%s%s\n.RE\n", m->options[o].name,
			       m->options[o].value ? m->options[o].value : "",
			       m->options[o].value ? ": " : "", m->options[o].meaning);
	}
	printf(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 3 the server is not running, 4 done but damage was found.\n"
	       ".SH SEE ALSO\nmailrootd(8), mailroot\\-store(8), mailroot\\-inet(8)\n");
}

static int misuse(const char *what, const char *word)
{
	fprintf(stderr, "mailroot: %s%s%s (see mailroot --help)\n", what, word ? ": " : "",
		word ? word : "");
	return 2;
}

int cli_fail(const struct err *err)
{
	fprintf(stderr, "mailroot: %s\n", err->text);
	return err->st == ST_GONE ? 3 : 1;
}

int cli_print(struct buf *text)
{
	bool whole;

	if (text->failed) {
		fprintf(stderr,
			"mailroot: the answer is too long to be printed; ask for less of it\n");
		buf_free(text);
		return 1;
	}
	whole = fwrite(text->at, 1, text->len, stdout) == text->len && fflush(stdout) == 0;

	if (!whole)
		fprintf(stderr, "mailroot: cannot write the answer to standard output\n");
	buf_free(text);
	return whole ? 0 : 1;
}

/* The row whose words begin the arguments; *used is how many they are. */
static const struct cli_command *find_command(char **args, int nargs, int *used)
{
	for (size_t i = 0; i < cli_ncommands; i++) {
		struct span rest = span_str(cli_commands[i].words);
		bool same = true;
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
static int unknown_command(const char *word)
{
	bool any = false;

	for (size_t i = 0; i < cli_ncommands; i++) {
		struct span rest, first = span_split(span_str(cli_commands[i].words), ' ', &rest);

		if (!rest.at || !span_eq(first, span_str(word)))
			continue;
		if (!any)
			fprintf(stderr, "mailroot: %s takes one of: ", word);
		fprintf(stderr, "%s" SPAN_FMT, any ? ", " : "", SPAN_ARG(rest));
		any = true;
	}
	if (!any)
		return misuse("unknown command", word);
	fprintf(stderr, "\n");
	return 2;
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

/* One option; 0, or the exit status of a misuse. */
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
			return 0;
		}
		if (word[0] == '-' && word[1] == '-')
			status = take_option(w);
		else
			c->args[c->nargs++] = word;
		if (status)
			return status;
	}
	if (c->nargs < m->args_min || c->nargs > m->args_max) {
		fprintf(stderr, "usage: mailroot %s %s\n", m->words, m->args);
		return 2;
	}
	if (!options_home(w->home, home, sizeof home))
		return misuse("the home's path is too long", w->home);
	c->home = home;
	return m->run(c);
}

/* --help, --version, --man: true, and the answer is out. */
static bool take_question(const char *word)
{
	if (!strcmp(word, "--help"))
		print_commands();
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
		print_commands();
		return 2;
	}
	w.command = find_command(argv + w.next, argc - w.next, &used);
	if (!w.command)
		return unknown_command(argv[w.next]);
	w.next += used;
	c.args = calloc((size_t)argc, sizeof *c.args);
	if (!c.args)
		return misuse("out of memory", NULL);
	status = run_command(&w);
	free(c.args);
	return status;
}
