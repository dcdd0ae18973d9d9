/* threads.c - the loops of a daemon. */
#include "main/threads.h"

#include <sched.h>

#define DEFAULT_MAX 4

static unsigned count(const struct config *config)
{
	int64_t n = config_int(config, "loops");

	if (n == 0) {
		/* The cores we may run on, which a cpuset or taskset can make fewer than there are. */
		cpu_set_t ours;

		n = sched_getaffinity(0, sizeof ours, &ours) == 0 ? CPU_COUNT(&ours) : 1;
		n = n > DEFAULT_MAX ? DEFAULT_MAX : n;
	}
	return n > (int64_t)EXIPC_LOOPS_MAX ? EXIPC_LOOPS_MAX : (unsigned)n;
}

enum st threads_new(struct threads *t, const char *name, const struct config *config,
		    struct err *err)
{
	unsigned n = count(config);

	*t = (struct threads){ 0 };
	work_start((unsigned)config_int(config, "work_threads"));
	while (t->n < n) {
		enum st st = loop_new(name, &t->loops[t->n], err);

		if (st != ST_OK) {
			threads_free(t);
			return st;
		}
		t->n++;
	}
	return ST_OK;
}

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

void threads_run(struct threads *t)
{
	for (unsigned i = 1; i < t->n; i++) {
		int e = pthread_create(&t->ids[i], NULL, run, t->loops[i]);

		if (e != 0)
			panic("cannot start thread %u: error %d", i, e);
	}
	loop_run(t->loops[0]);
	for (unsigned i = 1; i < t->n; i++)
		pthread_join(t->ids[i], NULL);
}

void threads_stop(struct threads *t)
{
	for (unsigned i = 0; i < t->n; i++)
		loop_stop(t->loops[i]);
}

void threads_free(struct threads *t)
{
	work_stop();
	for (unsigned i = 0; i < t->n; i++)
		loop_free(t->loops[i]);
	t->n = 0;
}
