/* cli.h - the administrator's command line: ONE table of commands (commands.c).
 *
 * `mailroot --help`, `mailroot COMMAND --help`, the manual page (`mailroot --man`), the argument counts and the
 * dispatch come from the rows.  A command prints its answer to standard output (text, or JSON with
 * --json), its errors to standard error, and returns the exit status: 0 done, 1 failed, 2 wrong usage,
 * 3 the server is not running, 4 done, but damage was found, which is named. */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

#include "admin/report.h"
#include "base/st.h"

#define CLI_OPTIONS_MAX 6

struct cli {
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
	const char *words; /* "user add" */
	const char *args;  /* "ADDRESS" */
	int args_min, args_max;
	const char *meaning; /* one sentence */
	int (*run)(struct cli *c);
	struct cli_option options[CLI_OPTIONS_MAX];
};

extern const struct cli_command cli_commands[];
extern const size_t cli_ncommands;

/* The whole program. */
int cli_main(int argc, char **argv);

/* Print "mailroot: " and the sentence; returns the exit status for its code. */
int cli_fail(const struct err *err);
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
