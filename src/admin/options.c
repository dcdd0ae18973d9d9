/* options.c - the command line of the daemons. */
#include "admin/options.h"

#include "admin/version.h"

#include <fcntl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_help(const char *program, const char *purpose, const struct option_row *rows)
{
	printf("%s: %s\n\nusage: %s [options]", program, purpose, program);
	for (const struct option_row *r = rows; r->kind != OPT_END; r++)
		if (!r->name)
			printf(" %s", r->value);
	printf("\n\n");
	for (const struct option_row *r = rows; r->kind != OPT_END; r++) {
		char left[64];

		snprintf(left, sizeof left, "%s%s %s", r->name ? "--" : "", r->name ? r->name : "",
			 r->value ? r->value : "");
		printf("  %-18s %s\n", left, r->meaning);
	}
	printf("  %-18s %s\n  %-18s %s\n  %-18s %s\n", "--help", "this text", "--version",
	       "the version", "--man", "the manual page, in troff");
}

static void print_man(const char *program, const char *purpose, const struct option_row *rows)
{
	struct buf settings = BUF_MAX(1024 * 1024);

	printf(".TH %s 8 \"\" \"Mailroot " MAILROOT_VERSION
	       "\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n[options]",
	       program, program, purpose, program);
	for (const struct option_row *r = rows; r->kind != OPT_END; r++)
		if (!r->name)
			printf(" %s", r->value);
	printf("\n.SH OPTIONS\n");
	for (const struct option_row *r = rows; r->kind != OPT_END; r++)
		printf(".TP\n.B %s%s %s\n%s\n", r->name ? "\\-\\-" : "", r->name ? r->name : "",
		       r->value ? r->value : "", r->meaning);
	config_man(&settings);
	printf("%.*s.SH SEE ALSO\nmailroot(8), mailrootd(8), mailroot\\-store(8), mailroot\\-inet(8)\n",
	       (int)settings.len, settings.at ? settings.at : "");
	buf_free(&settings);
}

static const struct option_row *find(const struct option_row *rows, struct span name)
{
	for (const struct option_row *r = rows; r->kind != OPT_END; r++)
		if (r->name && span_eq(name, span_str(r->name)))
			return r;
	return NULL;
}

__attribute__((noreturn)) static void refuse(const char *program, const char *what,
					     const char *word)
{
	fprintf(stderr, "%s: %s: %s (see %s --help)\n", program, what, word, program);
	exit(2);
}

static int read_fd(const char *program, const char *text)
{
	uint32_t n;

	if (!span_u32(span_str(text), &n) || n > 65535)
		refuse(program, "not a descriptor number", text);
	/* It is for this program, not for those that it starts. */
	if (fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		refuse(program, "not an open descriptor", text);
	return (int)n;
}

void program_beside(char *path, size_t room, const char *program)
{
	ssize_t len = readlink("/proc/self/exe", path, room - 64);

	if (len < 0)
		len = 0;
	while (len > 0 && path[len - 1] != '/')
		len--;
	strcpy(path + len, program);
}

bool options_home(const char *given, char *out, size_t room)
{
	const char *home = given ? given : getenv("MAILROOT_HOME");
	char here[4096] = "";
	int n;

	if (!home || !home[0])
		home = "/var/lib/mailroot";
	if (home[0] != '/' && !getcwd(here, sizeof here - 1))
		return false;
	n = snprintf(out, room, "%s%s%s", here, here[0] ? "/" : "", home);
	return n > 0 && (size_t)n < room;
}

static void take_option(struct options *o, const char *program, const struct option_row *row,
			const char *value, const char **home)
{
	switch (row->kind) {
	case OPT_HOME:
		*home = value;
		break;
	case OPT_READY_FD:
		o->ready_fd = read_fd(program, value);
		break;
	case OPT_LISTEN_FD:
		o->listen_fd = read_fd(program, value);
		break;
	case OPT_QUIET:
		o->quiet = true;
		break;
	default:
		break;
	}
}

/* --help, --version and --man end the process. */
static void take_question(const char *word, const char *program, const char *purpose,
			  const struct option_row *rows)
{
	if (!strcmp(word, "--help"))
		print_help(program, purpose, rows);
	else if (!strcmp(word, "--version"))
		printf("%s " MAILROOT_VERSION "\n", program);
	else if (!strcmp(word, "--man"))
		print_man(program, purpose, rows);
	else
		return;
	exit(0);
}

void options_read(struct options *o, const char *program, const char *purpose,
		  const struct option_row *rows, int argc, char **argv)
{
	const char *home = NULL;
	int i;

	*o = (struct options){ .ready_fd = -1, .listen_fd = -1 };
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		struct span value, name = span_split(span_skip(span_str(argv[i]), 2), '=', &value);
		const struct option_row *row = argv[i][1] == '-' ? find(rows, name) : NULL;
		const char *text = value.at;

		take_question(argv[i], program, purpose, rows);
		if (!row)
			refuse(program, "unknown option", argv[i]);
		if (!row->value && text)
			refuse(program, "the option takes no value", argv[i]);
		if (row->value && !text && !(text = argv[++i]))
			refuse(program, "the option needs a value", argv[i - 1]);
		take_option(o, program, row, text, &home);
	}
	o->sockets = argv + i;
	o->nsockets = argc - i;
	if (o->nsockets > 0) {
		const struct option_row *r = rows;

		while (r->kind != OPT_END && r->kind != OPT_SOCKETS)
			r++;
		if (r->kind == OPT_END)
			refuse(program, "unexpected word", argv[i]);
	}
	if (!options_home(home, o->home, sizeof o->home))
		refuse(program, "the home's path is too long", home ? home : "$MAILROOT_HOME");
}

enum log_level options_log_level(const struct options *o, const struct config *c)
{
	static const char *const names[] = { "debug", "info", "notice", "warn", "error" };
	const char *wanted = config_str(c, "log_level");
	enum log_level level = LOG_INFO;

	for (int i = 0; i < 5; i++)
		if (!strcmp(wanted, names[i]))
			level = (enum log_level)i;
	return o->quiet && level < LOG_WARN ? LOG_WARN : level;
}

void options_tell_ready(struct options *o)
{
	if (o->ready_fd < 0)
		return;
	if (write(o->ready_fd, "1", 1) < 0)
		log_event(LOG_WARN, "nobody reads the ready descriptor");
	close(o->ready_fd);
	o->ready_fd = -1;
}
