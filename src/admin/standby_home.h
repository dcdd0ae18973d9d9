/* standby_home.h - a standby's home, opened: its mark, its groups, how it stands.
 *
 * One thread, blocking.  HOME/run/standby.lock is held while it is open: one process follows. */
#ifndef ADMIN_STANDBY_HOME_H
#define ADMIN_STANDBY_HOME_H

#include "base/config.h"
#include "base/standby.h"
#include "ese/ship.h"
#include "ese/standby.h"

#define STANDBY_GROUPS_MAX 16u

struct standby_group {
	char name[SHIP_NAME_MAX + 1], dir[4400];
	struct ese_standby *ese;
	uint64_t acked, acked_applied; /* as the source was told */
	/* what the source said last: how far its log is durable, and when (its clock) */
	uint64_t source_pos, source_time;
	uint64_t newest; /* time of the newest commit that is here; 0: unknown */
	bool pending;    /* something was taken and is not synced */
};

struct standby {
	char home[4096];
	struct config *config;
	struct ese_options options;
	struct standby_mark mark;
	int lock_fd;
	struct standby_group *groups[STANDBY_GROUPS_MAX];
	unsigned ngroups;
	int64_t heard_at;   /* clock_real: the source's last word; 0: none */
	int64_t written_at; /* clock_mono: of the status */
};

/* `promoting`: also a home whose promotion was begun.  ST_NOTFOUND: no standby; ST_BUSY: somebody follows, or a server
 * runs; ST_DENIED: its state does not allow it; otherwise as ese_standby_open. */
enum st standby_open(const char *home, bool promoting, struct standby **out, struct err *err);
/* Checkpoints and closes; the first failure.  NULL is fine. */
enum st standby_close(struct standby *s, struct err *err);
struct standby_group *standby_group_named(const struct standby *s, const char *name);
/* A group that the source has and the standby has not: an empty folder that begins with generation 1. */
enum st standby_group_add(struct standby *s, const char *name, struct standby_group **out,
			  struct err *err);
/* Everything that was taken becomes durable, then applied.  between(arg) after the first part; may be NULL. */
enum st standby_settle(struct standby *s, void (*between)(void *arg), void *arg, struct err *err);
/* Write HOME/run/standby.status, at most once a second unless `now`. */
void standby_status_write(struct standby *s, bool now);

/* What stands in a line of that file: key=NUMBER, 0 when it is not there; key=WORD, "". */
uint64_t standby_number(struct span line, const char *key);
struct span standby_word(struct span line, const char *key);
/* The whole file; "" when nobody has followed yet. */
struct span standby_status_read(const char *home, char *words, size_t room);
/* Bytes of log from position a to b, with files of `file` bytes. */
uint64_t standby_distance(uint64_t a, uint64_t b, uint64_t file);

#endif
