/* Calls from end to end: a store and a client in one process, talking through the real areas. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

static struct exipc_chan *bound_chan(struct rig *r)
{
	struct exipc_chan *chan = exipc_chan(r->client);
	struct err err;

	assert_int_equal(exipc_wait_bound(chan, deadline_in_ms(20000), &err), ST_OK);
	return chan;
}

static void one_call(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = bound_chan(r);
	struct exipc_reply reply;
	struct err err;

	for (unsigned s = 0; s < r->store_loops; s++) {
		assert_int_equal(exipc_call(chan, s, 1, SPAN("hello"), NULL, NULL, 0, NO_DEADLINE,
					    &reply, &err),
				 ST_OK);
		assert_int_equal(reply.status, ST_OK);
		assert_false(reply.more);
		assert_int_equal(reply.payload.len, 5);
		assert_memory_equal(reply.payload.at, "hello", 5);
		exipc_reply_free(&reply);
		exipc_reply_free(&reply);
	}
}

static void a_call_is_answered(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 2, 3);
	rig_store(&r);
	rig_client(&r);
	rig_run(&r, 0, one_call, &r);
	rig_run(&r, 1, one_call, &r);
	rig_done(&r);
	assert_int_equal(atomic_load(&r.handled), 6);
	assert_int_equal(atomic_load(&r.unbounds), 3);
	assert_int_equal(atomic_load(&r.unbound_alls), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
