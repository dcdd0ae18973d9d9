/* cmd_recovery.c - recovery stores: made from a backup, listed, looked through, removed. */
#include "admin/backup_words.h"
#include "admin/cli.h"
#include "admin/recovery.h"
#include "base/timetext.h"
#include "ese/restore.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (64u * 1024 * 1024)

struct listing {
	struct report report;
	struct buf text;
	struct offline *o;
	uint64_t damaged;
	bool with_place; /* a column for user and folder */
};

static void begin(struct listing *l, const struct cli *c, const char *table)
{
	*l = (struct listing){ .text = BUF_MAX(ANSWER_MAX) };
	report_open(&l->report, &l->text, c->json);
	report_table(&l->report, table, false);
}

static int finish(struct listing *l, enum st st, const struct err *err)
{
	int status;

	report_close(&l->report);
	offline_close(l->o);
	if (st != ST_OK) {
		buf_free(&l->text);
		return cli_fail(err);
	}
	status = cli_print(&l->text);
	if (l->damaged)
		fprintf(stderr,
			"mailroot: %llu places could not be read and are left out; 'mailroot ese check' "
			"names them\n",
			(unsigned long long)l->damaged);
	return status == CLI_DONE && l->damaged ? CLI_DAMAGE : status;
}

/* ---- which there are ---- */

static void store_row(struct listing *l, const char *home, const char *name)
{
	char path[RECOVERY_PATH_MAX];
	struct err err;
	struct stat info;

	if (recovery_path(home, name, path, &err) != ST_OK || stat(path, &info) != 0 ||
	    !S_ISDIR(info.st_mode))
		return;
	report_row(&l->report);
	report_str(&l->report, "name", name);
	report_time(&l->report, "mounted", (int64_t)info.st_mtime * NS_PER_SEC);
	report_str(&l->report, "folder", path);
}

static int list_stores(struct cli *c)
{
	char path[RECOVERY_PATH_MAX];
	struct dirent **names;
	struct listing l;
	int n;

	begin(&l, c, "recovery");
	snprintf(path, sizeof(path), "%s/recovery", c->home);
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.')
			store_row(&l, c->home, names[i]->d_name);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return finish(&l, ST_OK, NULL);
}

/* ---- what is in one ---- */

struct sums {
	uint64_t folders, messages, unread, bytes;
};

static void add_folder(struct sums *s, const struct offline_folder *f)
{
	s->folders++;
	s->messages += f->figures.count;
	s->unread += f->figures.unread;
	s->bytes += f->figures.size;
}

static enum st load_tree(struct listing *l, const struct offline_user *user,
			 struct offline_tree *tree, struct err *err)
{
	struct offline_db *db = offline_db_of(l->o, user->mailbox);
	enum st st;

	*tree = (struct offline_tree){ 0 };
	if (!db || !db->db)
		return ST_OK;
	st = offline_tree_load(db->db, user->mailbox, tree, err);
	l->damaged += tree->damaged;
	return st;
}

static enum st list_users(struct listing *l, struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < l->o->nusers; i++) {
		const struct offline_user *user = &l->o->users[i];
		struct offline_tree tree;
		struct sums s = { 0 };

		st = load_tree(l, user, &tree, err);
		for (size_t f = 0; f < tree.n; f++)
			add_folder(&s, &tree.folders[f]);
		offline_tree_free(&tree);
		report_row(&l->report);
		report_str(&l->report, "user", user->name);
		report_num(&l->report, "mailbox", user->mailbox);
		report_num(&l->report, "folders", s.folders);
		report_num(&l->report, "messages", s.messages);
		report_num(&l->report, "bytes", s.bytes);
	}
	return st;
}

static enum st list_folders(struct listing *l, const char *name, struct err *err)
{
	const struct offline_user *user = offline_user(l->o, name);
	struct offline_tree tree;
	enum st st;

	if (!user)
		return fail(err, ST_NOTFOUND, "there is no user '%s' in the recovery store", name);
	st = load_tree(l, user, &tree, err);
	for (size_t i = 0; i < tree.n; i++) {
		const struct offline_folder *f = &tree.folders[i];

		report_row(&l->report);
		report_str(&l->report, "folder", f->path);
		report_num(&l->report, "messages", f->figures.count);
		report_num(&l->report, "unread", f->figures.unread);
		report_num(&l->report, "bytes", f->figures.size);
		report_num(&l->report, "uidvalidity", f->uidvalidity);
	}
	offline_tree_free(&tree);
	return st;
}

static enum st message_row(void *arg, const struct recovery_found *found, struct err *err)
{
	const struct offline_message *m = found->message;
	struct listing *l = arg;

	(void)err;
	report_row(&l->report);
	if (l->with_place) {
		report_str(&l->report, "user", found->user->name);
		report_str(&l->report, "folder", found->folder->path);
	}
	report_num(&l->report, "uid", m->uid);
	report_time(&l->report, "date", m->entry.date);
	report_num(&l->report, "bytes", m->entry.size);
	report_bool(&l->report, "seen", m->entry.flags & MF_SEEN);
	report_span(&l->report, "from", m->from);
	report_span(&l->report, "subject", m->subject);
	return ST_OK;
}

static const char *const tables[] = { "mailboxes", "folders", "messages" };

int cmd_recovery_list(struct cli *c)
{
	struct recovery_filter filter = { 0 };
	struct listing l;
	struct err err;
	enum st st;

	if (c->nargs == 0)
		return list_stores(c);
	begin(&l, c, tables[c->nargs - 1]);
	st = recovery_open(c->home, c->args[0], &l.o, &err);
	if (st == ST_OK && c->nargs == 1)
		st = list_users(&l, &err);
	if (st == ST_OK && c->nargs == 2)
		st = list_folders(&l, c->args[1], &err);
	if (st == ST_OK && c->nargs == 3) {
		filter.user = c->args[1];
		filter.folder = c->args[2];
		st = recovery_each(l.o, &filter, message_row, &l, &l.damaged, &err);
	}
	return finish(&l, st, &err);
}

enum { FIND_USER, FIND_FOLDER, FIND_FROM, FIND_SUBJECT, FIND_MESSAGE_ID, FIND_SINCE };

int cmd_recovery_find(struct cli *c)
{
	struct recovery_filter filter = { .user = c->options[FIND_USER],
					  .folder = c->options[FIND_FOLDER],
					  .from = c->options[FIND_FROM],
					  .subject = c->options[FIND_SUBJECT],
					  .message_id = c->options[FIND_MESSAGE_ID] };
	struct listing l;
	struct err err;
	enum st st;
	int status = cli_time(c, FIND_SINCE, &filter.since);

	if (status != CLI_DONE)
		return status;
	begin(&l, c, "messages");
	l.with_place = true;
	st = recovery_open(c->home, c->args[0], &l.o, &err);
	if (st == ST_OK)
		st = recovery_each(l.o, &filter, message_row, &l, &l.damaged, &err);
	return finish(&l, st, &err);
}

/* ---- made and removed ---- */

enum { MOUNT_NAME, MOUNT_LOGS, MOUNT_UNTIL, MOUNT_PARTIAL };

static enum st folder_for(const char *home, const char *name, char path[RECOVERY_PATH_MAX],
			  struct err *err)
{
	char parent[RECOVERY_PATH_MAX];
	enum st st = strchr(name, '/')
			     ? fail(err, ST_BAD, "'%s': a recovery store's name has no '/'", name)
			     : recovery_path(home, name, path, err);

	if (st != ST_OK)
		return st;
	snprintf(parent, sizeof(parent), "%s/recovery", home);
	return mkdir(parent, 0700) == 0 || errno == EEXIST
		       ? ST_OK
		       : fail_errno(err, "make the folder %s", parent);
}

/* A restore beside the live store: its own home below ours. */
int cmd_recovery_mount(struct cli *c)
{
	char path[RECOVERY_PATH_MAX], now[20];
	const char *name = c->options[MOUNT_NAME];
	struct cli restore = *c;
	struct err err;
	int status;

	bk_time_name((uint64_t)clock_real(), now);
	if (!name)
		name = now;
	if (folder_for(c->home, name, path, &err) != ST_OK)
		return cli_fail(&err);
	if (access(path, F_OK) == 0) {
		fail(&err, ST_EXISTS,
		     "there is a recovery store '%s' already; give another --name, or 'mailroot recovery "
		     "unmount %s' first",
		     name, name);
		return cli_fail(&err);
	}
	memcpy(restore.options,
	       ((const char *[CLI_OPTIONS_MAX]){ [ESE_RESTORE_TO] = path,
						 [ESE_RESTORE_LOGS] = c->options[MOUNT_LOGS],
						 [ESE_RESTORE_UNTIL] = c->options[MOUNT_UNTIL],
						 [ESE_RESTORE_PARTIAL] =
							 c->options[MOUNT_PARTIAL] }),
	       sizeof(restore.options));
	status = cmd_ese_restore(&restore);
	if (status != CLI_DONE && status != CLI_DAMAGE)
		(void)restore_clear(path, &err);
	else if (!c->json)
		printf("\nmounted as '%s': look with 'mailroot recovery list %s', remove it with 'mailroot "
		       "recovery unmount %s'\n",
		       name, name, name);
	return status;
}

int cmd_recovery_unmount(struct cli *c)
{
	char path[RECOVERY_PATH_MAX];
	struct offline *o;
	struct err err;
	enum st st = folder_for(c->home, c->args[0], path, &err);

	if (st == ST_OK)
		st = recovery_open(c->home, c->args[0], &o, &err);
	if (st == ST_OK) {
		offline_close(o);
		st = restore_clear(path, &err);
	}
	return st == ST_OK ? CLI_DONE : cli_fail(&err);
}
