/* standby.h - a group whose log comes from elsewhere (decision 0017).
 *
 * Its folder has the form of its source's after a crash: databases, a checkpoint, and log files with the source's own bytes.
 * Opening it is the replay of every start; what is taken in goes through the same rounds.  One thread; every call may
 * wait for the disk.  Memory: one log file.
 *
 * After ST_IO, ST_NOSPACE or ST_CORRUPT from any call but the opening only ese_standby_close may follow: what is durable is
 * found by the next opening. */
#ifndef ESE_STANDBY_H
#define ESE_STANDBY_H

#include "ese/ese.h"
#include "ese/seg.h"

struct ese_standby;

/* A folder that has nothing yet is begun with the source's generation 1.  ST_BUSY: open elsewhere; ST_CORRUPT: as ese_open,
 * and also when a single database can't be opened or replayed: a standby is whole or is none. */
enum st ese_standby_open(const char *dir, const struct ese_options *o, struct ese_standby **out,
			 struct err *err);
/* A checkpoint, unless something failed before; closes whatever comes.  NULL is fine. */
enum st ese_standby_close(struct ese_standby *s, struct err *err);

struct ese_standby_info {
	unsigned char signature[LOG_SIGNATURE]; /* zeros: nothing is there yet */
	uint64_t
		received; /* the log is here, durably, up to this position; offset 0: its file is to come */
	uint64_t created;    /* of the file that it lies in; 0: that one is to come */
	uint64_t durable;    /* end of what is durable; `received`, unless that is the next file */
	uint64_t applied;    /* and is in the databases up to this one */
	uint32_t file_bytes; /* size of a log file; 0: not known */
	uint64_t number, time; /* of the newest group received; 0: not known */
};
void ese_standby_look(const struct ese_standby *s, struct ese_standby_info *out);

/* The source's next log file begins.  What was taken before is synced and applied.  ST_BAD: it does not follow. */
enum st ese_standby_begin(struct ese_standby *s, const struct seg_head *h, struct err *err);
/* A whole group of it, which stands at `pos`: written, not yet durable.  ST_BAD: not the next one; ST_CORRUPT: no
 * valid group. */
enum st ese_standby_take(struct ese_standby *s, uint64_t pos, struct span group, struct err *err);
/* What was taken is durable (and ese_standby_look says so). */
enum st ese_standby_sync(struct ese_standby *s, struct err *err);
/* What is durable is in the databases.  ST_BAD: the log says something that a standby can't follow; the sentence says
 * what to do. */
enum st ese_standby_apply(struct ese_standby *s, struct err *err);
/* No more will come: make the folder one that ese_open takes. */
enum st ese_standby_finish(struct ese_standby *s, struct err *err);

#endif
