/* options.h - the command line of the daemons: rows that give parsing, --help, --man and the checks. */
#ifndef ADMIN_OPTIONS_H
#define ADMIN_OPTIONS_H

#include "base/config.h"
#include "base/logline.h"

enum option_kind { OPT_END, OPT_HOME, OPT_READY_FD, OPT_LISTEN_FD, OPT_QUIET, OPT_SOCKETS };

struct option_row {
	enum option_kind kind;
	const char *name;  /* without the dashes; NULL: the words behind the options */
	const char *value; /* NULL: a switch */
	const char *meaning;
};
#define OPTION_HOME                                                                                \
	{                                                                                          \
		OPT_HOME, "home", "DIR",                                                           \
			"the server's home; default $MAILROOT_HOME, else /var/lib/mailroot"        \
	}
#define OPTION_READY_FD                                                                            \
	{                                                                                          \
		OPT_READY_FD, "ready-fd", "N",                                                     \
			"write one byte to this descriptor and close it once everything serves"    \
	}
#define OPTION_LISTEN_FD                                                                           \
	{                                                                                          \
		OPT_LISTEN_FD, "listen-fd", "N",                                                   \
			"the listening ExIPC socket, inherited; default: make HOME/run/exipc"      \
	}
#define OPTION_QUIET                                                                               \
	{                                                                                          \
		OPT_QUIET, "quiet", NULL, "log warnings and errors only"                           \
	}
#define OPTION_SOCKETS                                                                             \
	{                                                                                          \
		OPT_SOCKETS, NULL, "SERVICE=FD ...", "inherited listening sockets: smtp=5 imap=6"  \
	}
#define OPTION_END                                                                                 \
	{                                                                                          \
		OPT_END, NULL, NULL, NULL                                                          \
	}

struct options {
	char home[4096];         /* absolute */
	int ready_fd, listen_fd; /* -1: not given */
	bool quiet;
	char **sockets; /* the words behind the options */
	int nsockets;
};

/* Fills *o; handles --help, --version and --man (a manual page in troff) and ends the process for them, and with
 * status 2 and a sentence for what it does not understand. */
void options_read(struct options *o, const char *program, const char *purpose,
		  const struct option_row *rows, int argc, char **argv);
/* The path of a program that stands beside this one. */
void program_beside(char *path, size_t room, const char *program);
/* --home, else $MAILROOT_HOME, else /var/lib/mailroot, made absolute.  False: too long. */
bool options_home(const char *given, char *out, size_t room);
/* The setting log_level, or what --quiet makes of it. */
enum log_level options_log_level(const struct options *o, const struct config *c);
/* Tell --ready-fd (if any) that everything serves; closes it. */
void options_tell_ready(struct options *o);

#endif
