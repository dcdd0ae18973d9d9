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
	printf(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 3 the server is not running.\n"
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
	bool whole = fwrite(text->at, 1, text->len, stdout) == text->len && fflush(stdout) == 0;

	if (!whole)
		fprintf(stderr, "mailroot: cannot write the answer to standard output\n");
	buf_free(text);
	return whole ? 0 : 1;
}

/* The row whose words begin the arguments; *used is how many they are. */
static const struct cli_command *find_command(char **args, int nargs, int *used)
{
	for (size_t i = 0; i < cli_ncommands; i++) {
		struct span rest, first = span_split(span_str(cli_commands[i].words), ' ', &rest);

		if (nargs < 1 || !span_eq(first, span_str(args[0])))
			continue;
		*used = rest.at ? 2 : 1;
		if (!rest.at || (nargs > 1 && span_eq(rest, span_str(args[1]))))
			return &cli_commands[i];
	}
	return NULL;
}

static int find_option(const struct cli_command *m, struct span name)
{
	for (int i = 0; i < CLI_OPTIONS_MAX && m->options[i].name; i++)
		if (span_eq(name, span_str(m->options[i].name)))
			return i;
	return -1;
}

static int run_command(struct cli *c, const struct cli_command *m, char **args, int nargs)
{
	c->args = calloc((size_t)nargs + 1, sizeof *c->args);
	if (!c->args)
		return misuse("out of memory", NULL);
	for (int i = 0; i < nargs; i++) {
		struct span value, name;
		int o;

		if (args[i][0] != '-' || args[i][1] != '-') {
			c->args[c->nargs++] = args[i];
			continue;
		}
		if (!strcmp(args[i], "--help")) {
			print_command(m);
			return 0;
		}
		if (!strcmp(args[i], "--json")) {
			c->json = true;
			continue;
		}
		name = span_split(span_str(args[i] + 2), '=', &value);
		o = find_option(m, name);
		if (o < 0)
			return misuse("unknown option", args[i]);
		if (!m->options[o].value)
			c->options[o] = "";
		else if (value.at)
			c->options[o] = value.at;
		else if (i + 1 < nargs)
			c->options[o] = args[++i];
		else
			return misuse("the option needs a value", args[i]);
	}
	if (c->nargs < m->args_min || c->nargs > m->args_max) {
		fprintf(stderr, "usage: mailroot %s %s\n", m->words, m->args);
		return 2;
	}
	return m->run(c);
}

int cli_main(int argc, char **argv)
{
	static char home[4096];
	struct cli c = { 0 };
	const struct cli_command *m;
	const char *given = NULL;
	int i, used, status;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help")) {
			print_commands();
			return 0;
		}
		if (!strcmp(argv[i], "--version")) {
			printf("mailroot " MAILROOT_VERSION "\n");
			return 0;
		}
		if (!strcmp(argv[i], "--man")) {
			print_man();
			return 0;
		}
		if (!strcmp(argv[i], "--json"))
			c.json = true;
		else if (!strcmp(argv[i], "--home") && i + 1 < argc)
			given = argv[++i];
		else if (!strncmp(argv[i], "--home=", 7))
			given = argv[i] + 7;
		else
			return misuse("unknown option", argv[i]);
	}
	if (i == argc) {
		print_commands();
		return 2;
	}
	m = find_command(argv + i, argc - i, &used);
	if (!m)
		return misuse("unknown command", argv[i]);
	if (!options_home(given, home, sizeof home))
		return misuse("the home's path is too long", given);
	c.home = home;
	status = run_command(&c, m, argv + i + used, argc - i - used);
	free(c.args);
	return status;
}
