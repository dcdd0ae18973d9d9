/* manager.h - what server.c (bindings) and serve.c (requests) share; nobody else includes it.
 *
 * Threads: bindings and their states belong to the manager's loop, loops[0]; a store_end and all under it
 * belong to its store loop.  They talk by loop_post() only. */
#ifndef EXIPC_MANAGER_H
#define EXIPC_MANAGER_H

#include "exipc/bell.h"
#include "exipc/handshake.h"
#include "exipc/store_pair.h"

#include <pthread.h>

struct request;
struct reply_wait;

/* One queue pair on its store loop. */
struct end_pair {
	struct store_end *end;
	struct store_pair p;
	struct bell bell; /* of the client loop */
	unsigned client_loop;
	unsigned running;                     /* request fibers */
	struct request *stuck;                /* taken, but no fiber was to be had */
	struct reply_wait *waits, *waits_end; /* replies that wait for room */
	enum st short_of; /* what the first of them waits for: ST_BUSY ring, ST_NOSPACE heap */
	bool ask;         /* the client may sleep: entries were put */
	bool ask_wanted;  /* the same if it waits for room: its ring was read */
};

/* One store loop's part of a binding. */
struct store_end {
	struct exipc_binding *binding;
	struct store_loop *at;
	struct store_end *next;         /* of the loop */
	struct watch watch;             /* our doorbell: an event is all there is to it */
	struct exipc_loop_words *words; /* ours */
	unsigned running;               /* request fibers of all pairs */
	bool attached, failed;
	bool broken; /* the client broke a rule: nothing more is read */
	bool gone;   /* the binding is over */
	bool finished;
	struct end_pair *pairs; /* one per client loop */
};

struct store_loop {
	struct exipc_server *server;
	struct loop *loop;
	unsigned index;
	struct poller poller;
	struct store_end *ends;
};

enum binding_state { BINDING_GREETING, BINDING_ATTACHING, BINDING_BOUND, BINDING_ENDING };

struct exipc_binding {
	struct exipc_server *server;
	struct exipc_binding *next;
	enum binding_state state;
	uint64_t id, epoch;
	int sock;
	struct watch watch;
	struct timer timer; /* greeting */
	char name[16];
	uint32_t uid, pid;
	void *data;
	unsigned client_loops;
	bool lost;        /* hung up while attaching */
	unsigned pending; /* loops that have not reported yet */
	struct area client, store;
	int client_bell[EXIPC_LOOPS_MAX];      /* our ends */
	int client_bell_peer[EXIPC_LOOPS_MAX]; /* theirs, until they are sent */
	int store_bell[EXIPC_LOOPS_MAX];
	struct store_end end[EXIPC_LOOPS_MAX];
};

struct exipc_offer {
	uint64_t tag;
	int fd;
};

struct exipc_server {
	struct exipc_server_options o;
	struct store_loop at[EXIPC_LOOPS_MAX];
	struct watch accepting;
	struct timer accept_again;
	struct exipc_binding *bindings;
	unsigned nbindings;
	uint64_t next_id;
	bool stopping;
	atomic_bool freed;
	atomic_uint refs; /* the owner's, and one for every post that is under way */
	_Atomic uint64_t bound, refused, rejected, unanswered;
	pthread_mutex_t offers_lock;
	struct exipc_offer *offers;
	unsigned noffers;
};

/* server.c */
/* Run fn(arg) on a loop unless the server was freed meanwhile. */
void server_post(struct exipc_server *s, struct loop *loop, void (*fn)(void *arg), void *arg);
void binding_rejected(void *binding); /* posted to loops[0] */
void binding_detached(void *end);     /* posted to loops[0] */

/* serve.c: all on the end's loop */
void store_loop_start(void *store_loop);
enum st end_attach(struct store_end *e);
void end_detach(struct store_end *e); /* binding_detached is posted when its last fiber ended */
void end_drop(struct store_end *e);   /* pins are let go; loops stopped, or no fiber left */

#endif
