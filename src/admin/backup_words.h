/* backup_words.h - what the commands that make, look at and restore backups share. */
#ifndef ADMIN_BACKUP_WORDS_H
#define ADMIN_BACKUP_WORDS_H

#include "admin/progress.h"
#include "admin/report.h"
#include "ese/backup_copy.h"

/* ---- telling how far it is, and hearing that it should stop ---- */

struct told {
	struct progress line;
	const char *what;
	bool json; /* lines of JSON on standard error, about one a second */
	int64_t last;
};
/* Until told_end SIGINT and SIGTERM only ask to stop. */
void told_begin(struct told *t, bool json, const char *what);
void told_end(struct told *t);
bool told_progress(void *told, const struct bk_progress *p); /* false: stop */
bool told_stopped(void);

/* ---- words ---- */

/* MB/s, as 20 or 0.5.  False: it said what is wrong. */
bool backup_rate(const char *text, uint64_t *bytes_out);
/* The folder of a sequence; or of one backup, whose name goes to `one`, "" otherwise. */
void backup_split(const char *path, char *dir, size_t dir_room, char *one, size_t one_room);
uint64_t backup_bytes(const struct bk *m);
uint64_t backup_bodies(const struct bk *m);
/* Tables "findings" and "left_out", if there are any (in JSON always). */
void backup_put_findings(struct report *r, const struct bk *m);
/* The rows of directory and mailboxes in the snapshots: what does not fit becomes a finding.  (Pages were compared while
 * they were copied.) */
enum st backup_check_rows(struct bk_run *run, const struct bk_source *sources, size_t n,
			  struct err *err);
/* A finding more for each message whose body is damaged: whose it is, where, what. */
enum st backup_name_bodies(struct bk_run *run, const struct bk_source *sources, size_t n,
			   struct err *err);

#endif
