/* run.h - run a test's body in a fiber on a loop of its own, on this thread. */
#ifndef TESTS_LOOP_RUN_H
#define TESTS_LOOP_RUN_H

#include "loop/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

struct run {
	struct loop *loop;
	void (*body)(void *arg);
	void *arg;
};

static inline void run_body(void *arg)
{
	struct run *run = arg;

	run->body(run->arg);
	loop_stop(run->loop);
}

/* cmocka's longjmp cannot leave a fiber's stack: what is checked inside one ends the program. */
#define must(condition) ((condition) ? (void)0 : must_fail(__FILE__, __LINE__, #condition))
static inline void must_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
	abort();
}

static inline void run_on_loop(void (*body)(void *arg), void *arg)
{
	struct run run = { .body = body, .arg = arg };
	struct err err;

	assert_int_equal(loop_new("test", &run.loop, &err), ST_OK);
	loop_enter(run.loop);
	assert_int_equal(fiber_spawn("body", run_body, &run, &err), ST_OK);
	loop_run(run.loop);
	work_stop();
	loop_free(run.loop);
}

#endif
