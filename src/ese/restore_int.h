/* restore_int.h - what the files of restoring share; nobody else includes it. */
#ifndef ESE_RESTORE_INT_H
#define ESE_RESTORE_INT_H

#include "ese/backup_run.h"
#include "ese/restore.h"

/* Where log files may be, in the order in which they are asked. */
struct log_source {
	char dir[SEG_PATH_MAX / 2];
	struct bk *m; /* a backup's: its files are those of the manifest; NULL: any file */
};
struct log_sources {
	struct log_source *at;
	size_t n;
};
void log_sources_clear(struct log_sources *s);

struct restore {
	const struct restore_options *o;
	struct bk *m;
	struct bk_run *run;
	struct restored *out;
	struct log_sources sources; /* of the group that is worked on */
	uint32_t given_last; /* generation of the last file, if it came from --logs; else 0 */
};

/* Bring the log files from `first` on into the group's folder, cut them where they are to end; dbs that come to be on the
 * way are made.  *end_out: no record is behind it. */
enum st restore_logs(struct restore *r, const struct bk_group *g, const char *folder,
		     uint32_t first, struct restored_group *rg, uint64_t *end_out, struct err *err);

#endif
