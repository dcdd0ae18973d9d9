/* backup.h - the engine's part of an online backup: it holds still what another process copies.
 *
 * Between begin and end, for every database that is up: a snapshot of its rows stands beside them (NAME.snap), and no
 * page that those rows name is used again (a pin).  Log files from the snapshot's position on stay.
 * docs/formats.md, "Engine: backup"; docs/crash-states.md, "Backup and restore".
 *
 * Any thread; every call but ese_logs blocks on the disk. */
#ifndef ESE_BACKUP_H
#define ESE_BACKUP_H

#include "ese/ese.h"

struct ese_backup;

struct ese_backup_db {
	const char *name; /* the backup's, as `why` */
	uint64_t id;
	uint64_t position;  /* the snapshot holds every record before it */
	uint64_t stm_bytes; /* length of the .stm; every page that the snapshot names lies in it */
	const char *why;    /* NULL, or why there is no snapshot of it: it is not in the backup */
};

struct ese_backup_info {
	unsigned char signature[16];
	bool circular;
	/* Log files from here on stay until the end: what rolls the snapshot forward, or, without a snapshot, what
	 * was logged since the last backup.  0: none (circular logging; no backup to go on from). */
	uint32_t first_gen;
	size_t ndbs;
	const struct ese_backup_db *dbs; /* the backup's */
};

/* `snapshot`: a full backup; else only log files are held.  ST_BUSY: another one is under way. */
enum st ese_backup_begin(struct ese *g, bool snapshot, struct ese_backup **out, struct err *err);
void ese_backup_info(const struct ese_backup *b, struct ese_backup_info *out);
/* Close the open log file: everything acknowledged before the call is in files below *next_out, which change no more.
 * 0 with circular logging, now or since the backup began.  ST_BAD: that, and the backup is an incremental one. */
enum st ese_backup_roll(struct ese_backup *b, uint32_t *next_out, struct err *err);
/* Let everything go; frees b.  `done`: the copy is durable: the checkpoint slot says so, and log files below the last
 * roll's *next_out are given away (which ST_OK means; the rest happens whatever comes). */
enum st ese_backup_end(struct ese_backup *b, bool done, struct err *err);

/* Can the next backup be an incremental one? */
enum ese_chain {
	CHAIN_NONE,   /* there was no backup yet: no log files are kept */
	CHAIN_WHOLE,  /* every log file since the last backup is there */
	CHAIN_BROKEN, /* they were given up: the disk ran low, or logging was circular meanwhile */
};
struct ese_logs {
	enum ese_chain chain;
	uint32_t files;    /* that recovery does not need */
	uint64_t bytes;    /* of these */
	uint32_t from_gen; /* the oldest log file there is */
	uint64_t
		backup_time; /* what was acknowledged before it is in the last backup: ns since 1970; 0: none */
	uint64_t full_time; /* of the last full one */
	bool backup_runs;
};
void ese_logs(struct ese *g, struct ese_logs *out);

#endif
