/* ship.h - what the files of `mailroot ese ship` share.
 *
 * One loop, one fiber that does it all: ask the store how far the logs are durable, read them up to there (on a thread of
 * the pool), hand the groups to the target, take its word for what is durable there, and tell the store.  The
 * target is the far end of a pipe (ship_pipe.c) or a folder (ship_dir.c). */
#ifndef ADMIN_SHIP_H
#define ADMIN_SHIP_H

#include "admin/cli.h"
#include "base/clock.h"
#include "ese/log_tail.h"
#include "ese/ship.h"
#include "wire/wire.h"

#define SHIP_LOGS_MAX   16u
#define SHIP_WINDOW     (16u * 1024 * 1024) /* bytes that may be unacknowledged, of each log */
#define SHIP_FLIGHTS    4096u               /* and groups */
#define SHIP_STEP_BYTES (1024u * 1024)      /* read in one go */
#define SHIP_ASK_NS                                                                                \
	(10 * NS_PER_SEC) /* the store is asked for new groups and for what was switched */
#define SHIP_BEAT_NS    (5 * NS_PER_SEC)
#define SHIP_SILENCE_NS (60 * NS_PER_SEC) /* of the far end, after which it is taken for gone */

/* A group that was handed over and is not yet durable there. */
struct flight {
	uint64_t end, time;
};

/* The log of one storage group. */
struct ship_log {
	char name[SHIP_NAME_MAX + 1];
	unsigned char signature[LOG_SIGNATURE];
	uint64_t durable; /* here */
	uint32_t oldest;
	bool circular;
	uint64_t goal; /* --once: it ends when this is durable there */

	/* at the far end */
	bool known; /* it has this group */
	uint64_t stand, created, number;
	uint64_t acked, applied, acked_time;

	/* on the way */
	struct log_tail *tail; /* NULL: not shipped */
	uint64_t sent;
	uint32_t file_bytes;
	struct flight flights[SHIP_FLIGHTS];
	uint32_t first, count;
	int64_t waiting_since; /* clock_real: since when there is more than was sent; 0: there is not */
	uint64_t held;         /* what the store was last told */
	void *target;          /* the target's own */
};

struct ship;

struct ship_target {
	/* Reach it, and fill in known, stand and created of each log.  Fiber. */
	enum st (*open)(struct ship *s, struct err *err);
	/* A step of a log: its bytes are valid until it returns.  On a thread of the pool, while the fiber waits. */
	enum st (*put)(struct ship *s, struct ship_log *log, const struct log_step *step,
		       struct err *err);
	/* No more for now: make it durable there, or push it on; take what came back.  *moved: something happened.
	 * Fiber. */
	enum st (*pump)(struct ship *s, bool *moved, struct err *err);
	/* May more be read now? */
	bool (*room)(const struct ship *s);
	/* --once: all is acknowledged; say so.  Fiber. */
	enum st (*end)(struct ship *s, struct err *err);
	void (*close)(struct ship *s);
};

struct ship {
	struct cli *cli;
	const char *to; /* the folder or the command */
	uint64_t id;    /* under which the store keeps log files for it: made of `to` */
	bool left_out;  /* a group that the standby does not have: said once for each connection */
	bool once, forget;
	bool final; /* what failed does not get better by trying again */
	const struct ship_target *target;
	void *link; /* the target's own */

	struct exipc_chan *chan;
	struct fiber *fiber;
	bool bound, stale; /* stale: the store was lost since it was asked */
	bool stop;
	struct ship_log *logs[SHIP_LOGS_MAX];
	unsigned nlogs;
	unsigned begun; /* logs that this connection began with */
	int64_t asked_at, held_at, told_at;
	bool connected;
	uint64_t shipped; /* bytes of groups, by this run */
};

extern const struct ship_target ship_pipe, ship_dir;

/* Ask the store for its logs and to be told when they grow.  Fiber. */
enum st ship_source_ask(struct ship *s, struct err *err);
/* It need keep nothing for this target any more.  Fiber. */
enum st ship_source_forget(struct ship *s, struct err *err);
/* Tell it what need not be kept any more, at most once a second.  Failures do not matter: it is told again. */
void ship_source_hold(struct ship *s, bool now);
struct ship_log *ship_log_named(const struct ship *s, const char *name); /* NULL: none */
/* Everything before `pos` is durable there, and in the databases up to `applied`. */
void ship_acknowledged(struct ship_log *log, uint64_t pos, uint64_t applied);

/* Bytes from a to b, about: files in between count as whole. */
uint64_t ship_distance(const struct ship_log *log, uint64_t a, uint64_t b);
/* Age of the oldest commit that is not durable there; 0: there is none. */
int64_t ship_lag_ns(const struct ship_log *log, int64_t now);

#endif
