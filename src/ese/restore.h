/* restore.h - from a backup to groups that a store can open, rolled forward through logs.
 *
 * docs/formats.md, "Engine: backup"; docs/crash-states.md, "Backup and restore".  One thread; blocks on the disks.
 * Nothing of the backup and of the logs is changed. */
#ifndef ESE_RESTORE_H
#define ESE_RESTORE_H

#include "ese/backup_copy.h"

struct restore_options {
	const char *dir;  /* the sequence's folder */
	const char *full; /* name of the full backup in it */
	const char *to;   /* folder of groups that is made; must not be there */
	const char *
		logs; /* more log files, NULL: none: a group's folder, or a home, or a folder of groups */
	uint64_t until; /* ns since 1970; 0: as far as the logs go */
	bool partial; /* go as far as the logs go even if there are later ones behind a gap, or damage */
	bool standby; /* keep signature and logs as they are, and do not replay: for ese_standby_open; no `until` and `only` */
	const char **only; /* "GROUP/NAME" of the wanted databases; NULL: all */
	size_t nonly;
	uint64_t rate;
	bool (*progress)(void *arg, const struct bk_progress *p);
	void (*found)(void *arg, const char *text); /* damage that was copied as it is */
	void *arg;
};

enum restored_state {
	RESTORED_GOOD,
	RESTORED_FAILED,   /* partial only: it is not usable, and why */
	RESTORED_UNWANTED, /* its group was replayed, it was left out */
	RESTORED_REMOVED,  /* somebody removed it after the backup, before the end of the logs */
};
struct restored_db {
	enum restored_state state;
	char group[128], name[256];
	uint64_t bodies, bytes;
	uint64_t backup_position, position; /* of the snapshot; where the log was left for it */
	char why[256];                      /* failed */
};
struct restored_group {
	char name[128];
	bool rolled;                   /* logs were replayed */
	uint32_t files;                /* of them */
	uint64_t commits, last_commit; /* replayed; time of the last one, 0: none */
	bool cut;                      /* there was a later commit than `until` */
	char gap[256];                 /* why it ends before the logs do, "" if it does not */
};
struct restored {
	struct restored_group *groups;
	struct restored_db *dbs;
	size_t ngroups, ndbs;
};

/* ST_OK; ST_EXISTS: `to` is there; ST_CORRUPT: the backup or the logs are damaged, or there is a gap, and partial was not
 * asked for; ST_BAD: `until` is before the backup's end of copying; ST_GONE: progress said stop.  On failure `to` may be
 * left behind, and must be removed (restore_clear) before another try. */
enum st restore_groups(const struct restore_options *o, struct restored *out, struct err *err);
void restored_free(struct restored *r);
/* Remove a folder with everything in it. */
enum st restore_clear(const char *path, struct err *err);

/* Which full backup of the sequence: the newest whose end is not behind `until` (0: the newest).  *name_out is seq's.
 * ST_NOTFOUND: there is none. */
enum st restore_choose(const char *dir, const struct bk_seq *seq, uint64_t until,
		       const char **name_out, struct err *err);

#endif
