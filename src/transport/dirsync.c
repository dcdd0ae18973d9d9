/* dirsync.c - shared folder syncs; see dirsync.h. */
#include "transport/dirsync.h"

#include <errno.h>

void dirsync_init(struct dirsync *s, int fd, int (*sync)(void *arg, int fd), void *arg)
{
	*s = (struct dirsync){ .fd = fd, .sync = sync, .arg = arg, .last = &s->first };
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->quiet, NULL);
}

void dirsync_end(struct dirsync *s)
{
	/* A leader is here a moment longer than those whom it woke. */
	pthread_mutex_lock(&s->lock);
	while (s->leading || s->users)
		pthread_cond_wait(&s->quiet, &s->lock);
	pthread_mutex_unlock(&s->lock);
	pthread_cond_destroy(&s->quiet);
	pthread_mutex_destroy(&s->lock);
}

void dirsync_use(struct dirsync *s)
{
	pthread_mutex_lock(&s->lock);
	s->users++;
	pthread_mutex_unlock(&s->lock);
}

void dirsync_unuse(struct dirsync *s)
{
	pthread_mutex_lock(&s->lock);
	s->users--;
	pthread_cond_broadcast(&s->quiet);
	pthread_mutex_unlock(&s->lock);
}

void dirsync_prepare(struct dirsync_waiter *w, struct err *err)
{
	*w = (struct dirsync_waiter){ .loop = loop_self(), .fiber = fiber_self(), .err = err };
}

enum st dirsync_wait(struct dirsync_waiter *w)
{
	while (!w->done)
		fiber_park(NO_DEADLINE);
	return w->st;
}

static void wake(void *arg)
{
	struct dirsync_waiter *w = arg;

	w->done = true;
	fiber_wake(w->fiber);
}

void dirsync_finish(struct dirsync_waiter *w, enum st st)
{
	w->st = st;
	loop_post(w->loop, wake, w);
}

/* Everybody who waits, as one batch; NULL and no longer leading when nobody does. */
static struct dirsync_waiter *take_batch(struct dirsync *s)
{
	struct dirsync_waiter *batch;

	pthread_mutex_lock(&s->lock);
	batch = s->first;
	s->first = NULL;
	s->last = &s->first;
	s->leading = batch != NULL;
	if (!batch)
		pthread_cond_broadcast(&s->quiet);
	pthread_mutex_unlock(&s->lock);
	return batch;
}

static void sync_batch(struct dirsync *s, struct dirsync_waiter *batch)
{
	/* Only the leader reads and writes `broken`; leadership passes under the lock. */
	int failed = s->broken ? EIO : s->sync(s->arg, s->fd) == 0 ? 0 : errno;

	atomic_fetch_add(&s->syncs, 1);
	s->broken |= failed != 0;
	for (struct dirsync_waiter *w = batch, *next; w; w = next) {
		next = w->next; /* w is gone once it was woken */
		errno = failed;
		dirsync_finish(w, failed ? fail_errno(w->err, "queue folder: sync") : ST_OK);
	}
}

void dirsync_join(struct dirsync *s, struct dirsync_waiter *w)
{
	struct dirsync_waiter *batch;
	bool lead;

	pthread_mutex_lock(&s->lock);
	w->next = NULL;
	*s->last = w;
	s->last = &w->next;
	lead = !s->leading;
	s->leading = true;
	pthread_mutex_unlock(&s->lock);
	if (!lead)
		return;
	while ((batch = take_batch(s)))
		sync_batch(s, batch);
}
