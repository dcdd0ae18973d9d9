/* backup_copy.h - copy what a store holds still (backup.h) into a backup's folder, and look whether it is all there.
 *
 * For a process beside the store that may read its files.  One thread; blocks on the disks and, with a rate, on the
 * clock.  Damage is copied as it is, becomes a finding of the manifest, and stops nothing.
 *	bk_run_new	the folder: a new one, or the newest if it was not finished
 *	bk_run_rows	rows and pages of each group (full)
 *	bk_run_log	closed log files of each group, after the store closed the open one
 *	bk_run_extra	files that are no group's
 *	bk_run_end	all of it durable, then the manifest
 * Afterwards, and not before, the store may be told that the backup is done. */
#ifndef ESE_BACKUP_COPY_H
#define ESE_BACKUP_COPY_H

#include "ese/backup_manifest.h"

struct bk_source_db {
	const char *name;
	uint64_t id, position, stm_bytes;
	const char *why; /* NULL, or why it is not in the backup */
};

struct bk_source {
	const char *group, *path; /* its folder */
	unsigned char signature[LOG_SIGNATURE];
	bool circular;
	uint32_t first_gen; /* as ese_backup_info says */
	size_t ndbs;
	const struct bk_source_db *dbs;
};

struct bk_progress {
	const char *what;                    /* path that is worked on */
	uint64_t done, total;                /* bytes: looked at, and what there is */
	uint64_t copied, kept;               /* bytes written; bytes that were right already */
	uint64_t files, pages, findings, ns; /* ns: since the run began */
};

struct bk_options {
	const char *dir; /* of the sequence; made when absent */
	bool full;
	uint64_t rate; /* bytes a second, 0: as fast as it goes */
	/* Often; may be NULL.  False: stop, which gives ST_GONE. */
	bool (*progress)(void *arg, const struct bk_progress *p);
	void *arg;
};

struct bk_run;

/* ST_BAD: no incremental backup is possible, the sentence says that a full one is due.  What the options and the sources
 * point to must outlive the run. */
enum st bk_run_new(const struct bk_options *o, const struct bk_source *sources, size_t nsources,
		   struct bk_run **out, struct err *err);
void bk_run_free(struct bk_run *r); /* NULL is fine; what was copied stays */
enum st bk_run_rows(struct bk_run *r, struct err *err);
enum st bk_run_log(struct bk_run *r, const char *group, uint32_t next_gen, struct err *err);
/* `path` below `home`; one that is not there is fine, a folder is copied with the files in it. */
enum st bk_run_extra(struct bk_run *r, const char *home, const char *path, struct err *err);
enum st bk_run_end(struct bk_run *r, struct err *err);
const struct bk *bk_run_manifest(const struct bk_run *r);
const char *bk_run_folder(const struct bk_run *r);
void bk_run_progress(const struct bk_run *r, struct bk_progress *out);
/* Bodies that findings are about, the run's. */
struct bk_damaged {
	const char *group, *db;
	uint64_t body;
};
const struct bk_damaged *bk_run_damaged(const struct bk_run *r, size_t *n_out);
/* One finding more: who knows such a body by what. */
enum st bk_run_note(struct bk_run *r, const char *text, struct err *err);

/* ---- sequences ---- */

struct bk_seq {
	char **names; /* folders of backups, in the order of their times */
	size_t n;
};
/* ST_IO: the folder can't be read. */
enum st bk_seq_read(const char *dir, struct bk_seq *out, struct err *err);
void bk_seq_free(struct bk_seq *s);
/* When it began, as in a folder's name. */
void bk_time_name(uint64_t ns, char out[20]);

/* ---- looking at one ---- */

struct bk_look {
	bool (*progress)(void *arg, const struct bk_progress *p);
	void (*found)(void *arg, const char *text); /* what is missing or not as it was copied */
	void *arg;
};
/* Read all of a finished backup.  ST_OK: everything was read, damage went to found(); ST_CORRUPT, ST_NOTFOUND: it
 * has no manifest that can be read; ST_GONE: progress said stop. */
enum st bk_verify(const char *folder, const struct bk_look *l, struct err *err);

#endif
