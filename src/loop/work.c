/* work.c - the pool of threads for what blocks; see loop.h.
 *
 * One mutex, one condition, one queue for the process: what comes here takes microseconds at least. */
#include "loop/loop_private.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define THREADS_DEFAULT 4
#define THREADS_MAX     256

struct job {
	struct post post; /* back to the loop */
	struct job *next;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *head, *tail;
	pthread_t threads[THREADS_MAX];
	unsigned count;
	bool ending;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static struct job *next_job(void)
{
	while (!pool.head && !pool.ending)
		pthread_cond_wait(&pool.more, &pool.lock);
	struct job *job = pool.head;
	if (job) {
		pool.head = job->next;
		if (!pool.head)
			pool.tail = NULL;
	}
	return job;
}

static void *worker(void *arg)
{
	struct job *job;

	(void)arg;
	pthread_mutex_lock(&pool.lock);
	while ((job = next_job())) {
		pthread_mutex_unlock(&pool.lock);
		job->fn(job->arg);
		loop_post_node(job->loop, &job->post);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/* With the lock held. */
static void start_threads(unsigned threads)
{
	sigset_t all, old;

	/* Signals are for the threads that run loops. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (pool.count < threads && pool.count < THREADS_MAX) {
		if (pthread_create(&pool.threads[pool.count], NULL, worker, NULL) != 0)
			break;
		pool.count++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!pool.count)
		panic("work pool: no thread can be started");
}

void work_start(unsigned threads)
{
	pthread_mutex_lock(&pool.lock);
	if (!pool.count)
		start_threads(threads ? threads : 1);
	pthread_mutex_unlock(&pool.lock);
}

void work_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.ending = true;
	pthread_cond_broadcast(&pool.more);
	pthread_mutex_unlock(&pool.lock);
	/* Nobody starts threads now: work_stop() is for the end, when no loop runs. */
	for (unsigned i = 0; i < pool.count; i++)
		pthread_join(pool.threads[i], NULL);
	pool.count = 0;
	pool.ending = false;
}

static void queue_job(struct job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&pool.lock);
	if (!pool.count)
		start_threads(THREADS_DEFAULT);
	if (pool.tail)
		pool.tail->next = job;
	else
		pool.head = job;
	pool.tail = job;
	pthread_cond_signal(&pool.more);
	pthread_mutex_unlock(&pool.lock);
}

struct waited_job {
	struct job job;
	struct fiber *fiber;
	bool done;
};

static void wake_waiter(void *arg)
{
	struct waited_job *w = arg;

	w->done = true;
	fiber_wake(w->fiber);
}

void work_run(void (*fn)(void *arg), void *arg)
{
	struct waited_job w = { .fiber = fiber_self() };

	assert(w.fiber);
	w.job.post = (struct post){ NULL, wake_waiter, &w };
	w.job.loop = loop_here();
	w.job.fn = fn;
	w.job.arg = arg;
	queue_job(&w.job);
	/* Other wakes may come meanwhile; the job lies on this stack and must end first. */
	while (!w.done)
		fiber_park(NO_DEADLINE);
}

struct submitted_job {
	struct job job;
	void (*done)(void *arg);
};

static void submitted_done(void *arg)
{
	struct submitted_job s = *(struct submitted_job *)arg;

	free(arg);
	if (s.done)
		s.done(s.job.arg);
}

void work_submit(void (*fn)(void *arg), void *arg, void (*done)(void *arg))
{
	struct submitted_job *s = malloc(sizeof(*s));

	if (!s)
		panic("work pool: no memory for a job");
	s->job.post = (struct post){ NULL, submitted_done, s };
	s->job.loop = loop_here();
	s->job.fn = fn;
	s->job.arg = arg;
	s->done = done;
	queue_job(&s->job);
}
