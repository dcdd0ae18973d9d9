/* rig.h - a store and a client in one process, each loop on a thread of its own.
 *
 * The client's areas are mapped twice, once by each side, as between two processes. */
#ifndef TESTS_EXIPC_RIG_H
#define TESTS_EXIPC_RIG_H

#include "exipc/exipc.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* ours is base/st.h */

#define RIG_VERSION 7u

struct rig_thread {
	struct loop *loop;
	pthread_t thread;
};

struct rig {
	char path[100];
	/* set before rig_store(); a zeroed one gets the rig's own */
	struct exipc_server_options so;
	unsigned store_loops, client_loops;
	void (*notify)(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value);

	struct exipc_server *server;
	struct exipc_client *client;
	struct rig_thread store[EXIPC_LOOPS_MAX], inet[EXIPC_LOOPS_MAX];
	struct loop *store_loop[EXIPC_LOOPS_MAX], *client_loop[EXIPC_LOOPS_MAX];

	atomic_int binds, unbounds, unbound_alls, releases, handled, states_bound, states_lost;
	sem_t changed; /* posted at every state() and unbound_all() */
};

void rig_init(struct rig *r, unsigned client_loops, unsigned store_loops);
void rig_store(struct rig *r);  /* start listening and serving */
void rig_client(struct rig *r); /* start binding */
void rig_client_stop(struct rig *r);
void rig_store_stop(struct rig *r);
void rig_done(struct rig *r); /* stops what runs */

/* Run fn(arg) in a fiber of a client loop and wait for its end. */
void rig_run(struct rig *r, unsigned client_loop, void (*fn)(void *arg), void *arg);
/* Wait until *at is at least `want`; fails after 20 s. */
void rig_reach(const atomic_int *at, int want);

/* A listening socket at r->path. */
int rig_listen(const char *path);

#endif
