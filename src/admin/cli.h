/* cli.h - the administrator's command line: ONE table of commands (commands.c).
 *
 * `mailroot --help`, `mailroot COMMAND --help`, the manual page (`mailroot --man`), the argument counts and the
 * dispatch come from the rows.  A command prints its answer to standard output (text, or JSON with
 * --json), its errors to standard error, and returns the exit status, which is an enum cli_exit. */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

#include "admin/report.h"
#include "base/st.h"

#define CLI_OPTIONS_MAX 6

/* What the program ends with; one meaning for all commands, told by --help and the manual page (cli_exits). */
enum cli_exit {
	CLI_DONE,
	CLI_FAILED,
	CLI_MISUSED,
	CLI_NOT_RUNNING,
	CLI_DAMAGE, /* done or looked at, but damage was found or something was left out, which the answer names */
	CLI_EXITS
};
extern const char *const cli_exits[CLI_EXITS];

struct cli_command;

struct cli {
	const struct cli_command *command;
	const char *home; /* absolute */
	bool json;
	const char *options
		[CLI_OPTIONS_MAX]; /* values of the command's options by index in its row; NULL: not given */
	char **args;
	int nargs;
};

struct cli_option {
	const char *name;
	const char *value; /* NULL: a switch (its option's value is "" when given) */
	const char *meaning;
};

struct cli_command {
	const char
		*words; /* "user add"; NULL: not a command but a headline, `meaning` is its text */
	const char *args; /* "ADDRESS" */
	int args_min, args_max;
	const char *meaning; /* one sentence of at most 100 characters */
	const char *details; /* what the command's own help says besides; may be NULL */
	int (*run)(struct cli *c);
	struct cli_option options[CLI_OPTIONS_MAX];
};

extern const struct cli_command cli_commands[];
extern const size_t cli_ncommands;

/* The whole program. */
int cli_main(int argc, char **argv);

/* Print "mailroot: " and the sentence; returns the exit status for its code. */
int cli_fail(const struct err *err);
/* Print "mailroot: " and what is wrong with the words that were given; CLI_MISUSED. */
int cli_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Read the value of that option of the command as a time; 0 if it was not given.  CLI_DONE or CLI_MISUSED. */
int cli_time(const struct cli *c, int option, int64_t *time);
/* Print a finished report and free it. */
int cli_print(struct buf *text);

/* What `domain add` does, for a name that is not among the words. */
int cli_add_domain(struct cli *c, const char *name);

/* A finding as a line on standard output; as a row of the report's table. */
struct finding;
void cli_print_finding(const struct finding *f);
void cli_report_finding(struct report *r, const struct finding *f);
/* Check what is open and tell; the exit status of ese check. */
struct offline;
int cli_check(struct cli *c, struct offline *o, bool quick, bool no_logs);
/* The same for what a running store holds still meanwhile. */
int cli_check_online(struct cli *c, bool quick);

int cmd_init(struct cli *c);
int cmd_status(struct cli *c);
int cmd_ipc(struct cli *c);
int cmd_queue(struct cli *c);
int cmd_store(struct cli *c);
int cmd_recovery_mount(struct cli *c);
int cmd_recovery_unmount(struct cli *c);
int cmd_recovery_list(struct cli *c);
int cmd_recovery_find(struct cli *c);
int cmd_recovery_restore(struct cli *c);
int cmd_ese_ship(struct cli *c);
int cmd_standby_init(struct cli *c);
int cmd_standby_receive(struct cli *c);
int cmd_standby_run(struct cli *c);
int cmd_standby_status(struct cli *c);
int cmd_standby_promote(struct cli *c);
int cmd_ese_backup(struct cli *c);
int cmd_ese_backups(struct cli *c);
/* Places of its options, for who calls it on behalf of another command. */
enum {
	ESE_RESTORE_TO,
	ESE_RESTORE_LOGS,
	ESE_RESTORE_UNTIL,
	ESE_RESTORE_PARTIAL,
	ESE_RESTORE_DATABASE,
	ESE_RESTORE_RATE
};
int cmd_ese_restore(struct cli *c);
int cmd_ese_verify(struct cli *c);
int cmd_user_add(struct cli *c);
int cmd_user_list(struct cli *c);
int cmd_user_passwd(struct cli *c);
int cmd_user_disable(struct cli *c);
int cmd_user_enable(struct cli *c);
int cmd_user_remove(struct cli *c);
int cmd_user_move(struct cli *c);
int cmd_database_list(struct cli *c);
int cmd_database_create(struct cli *c);
int cmd_database_mount(struct cli *c);
int cmd_database_dismount(struct cli *c);
int cmd_database_remove(struct cli *c);
int cmd_database_move(struct cli *c);
int cmd_group_list(struct cli *c);
int cmd_ese_space(struct cli *c);
int cmd_group_create(struct cli *c);
int cmd_domain_add(struct cli *c);
int cmd_domain_list(struct cli *c);
int cmd_domain_remove(struct cli *c);
int cmd_alias_add(struct cli *c);
int cmd_alias_list(struct cli *c);
int cmd_alias_remove(struct cli *c);
int cmd_check(struct cli *c);
int cmd_repair(struct cli *c);
int cmd_upgrade(struct cli *c);
int cmd_dump_header(struct cli *c);
int cmd_dump_log(struct cli *c);
int cmd_dump_checkpoint(struct cli *c);
int cmd_dump_space(struct cli *c);
int cmd_dump_message(struct cli *c);
int cmd_dump_row(struct cli *c);
int cmd_deleted_list(struct cli *c);
int cmd_deleted_restore(struct cli *c);
int cmd_deleted_purge(struct cli *c);
int cmd_deleted_expire(struct cli *c);
int cmd_mailbox_removed(struct cli *c);
int cmd_mailbox_reconnect(struct cli *c);
int cmd_mailbox_purge(struct cli *c);
int cmd_group_circular(struct cli *c);
int cmd_ese_compact(struct cli *c);
int cmd_ese_scrub_start(struct cli *c);
int cmd_ese_scrub_status(struct cli *c);
int cmd_ese_scrub_stop(struct cli *c);
int cmd_user_quota(struct cli *c);
int cmd_quota_list(struct cli *c);

#endif
