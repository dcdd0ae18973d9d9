/* restore_int.h - what the files of restoring share; nobody else includes it. */
#ifndef ESE_RESTORE_INT_H
#define ESE_RESTORE_INT_H

#include "ese/backup_run.h"
#include "ese/restore.h"

/* Where log files may be: folders, in the order in which they are asked. */
struct log_sources {
	char (*dirs)[SEG_PATH_MAX / 2];
	size_t n;
};

struct restore {
	const struct restore_options *o;
	struct bk *m;
	struct bk_run *run;
	struct restored *out;
	struct log_sources sources; /* of the group that is worked on */
	size_t ngiven;              /* from this one on they are those of --logs */
	bool given_last;            /* the last file came from there */
};

/* Bring the log files from `first` on into the group's folder, cut them where they are to end; dbs that come to be on the
 * way are made.  *end_out: no record is behind it. */
enum st restore_logs(struct restore *r, const struct bk_group *g, const char *folder,
		     uint32_t first, struct restored_group *rg, uint64_t *end_out, struct err *err);

#endif
