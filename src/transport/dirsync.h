/* dirsync.h - one sync of a folder for everybody who changed a name in it before the sync began.
 *
 * A thread of the work pool that has renamed or removed a file joins; the first one that finds no sync under
 * way leads: it syncs for all who have joined so far, wakes them, and goes on while others have come meanwhile.
 * So n sessions that commit together cost one folder sync, not n, and nobody waits for a timer. */
#ifndef TRANSPORT_DIRSYNC_H
#define TRANSPORT_DIRSYNC_H

#include "loop/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* One fiber that waits for work on another thread and then for the sync; lives on its stack. */
struct dirsync_waiter {
	struct loop *loop;
	struct fiber *fiber;
	bool done; /* touched on the loop only */
	enum st st;
	struct err *err; /* the fiber's, or NULL */
	struct dirsync_waiter *next;
};

struct dirsync {
	pthread_mutex_t lock;
	pthread_cond_t quiet; /* no leader and no user any more */
	unsigned users;       /* threads that work in the folder without waiting for a sync */
	int fd;               /* the folder */
	int (*sync)(void *arg, int fd); /* fsync, or what a test puts there: 0, or -1 and errno */
	void *arg;
	bool leading;
	bool broken; /* a sync failed: what is on the disk is unknown, nothing more is promised */
	struct dirsync_waiter *first, **last;
	_Atomic uint64_t syncs;
};

void dirsync_init(struct dirsync *s, int fd, int (*sync)(void *arg, int fd), void *arg);
void dirsync_end(
	struct dirsync *s); /* waits for threads that are still in it; nobody may come any more */
/* Around background work that dirsync_end() has to wait for; any thread. */
void dirsync_use(struct dirsync *s);
void dirsync_unuse(struct dirsync *s);

/* F: prepare, hand *w to the other thread, then wait: ST_OK or what dirsync_finish() or the sync said. */
void dirsync_prepare(struct dirsync_waiter *w, struct err *err);
enum st dirsync_wait(struct dirsync_waiter *w);
/* On the other thread, one of the two, last: *w may be gone when they return. */
void dirsync_join(struct dirsync *s, struct dirsync_waiter *w);
void dirsync_finish(struct dirsync_waiter *w, enum st st);

#endif
