/* channel.h - what client.c (binding), chan.c, call.c and heap_wait.c (a loop's channel) share; nobody else includes it.
 *
 * Threads: struct exipc_client and its state belong to loops[0]; a channel and its ends belong to their
 * loop; a client_binding is shared by the ends of all loops and counted.  They talk by loop_post(). */
#ifndef EXIPC_CHANNEL_H
#define EXIPC_CHANNEL_H

#include "exipc/bell.h"
#include "exipc/client_pair.h"
#include "exipc/handshake.h"

#include <pthread.h>

struct exipc_fd {
	atomic_uint refs;
	uint64_t tag;
	int fd;
	atomic_bool withdrawn;
};

/* What one answer of the store brought: lives until the last reply, section and call let it go. */
struct client_binding {
	atomic_uint refs;
	uint64_t epoch;
	unsigned client_loops, store_loops;
	struct area client, store;
	int client_bell[EXIPC_LOOPS_MAX];
	int store_bell[EXIPC_LOOPS_MAX];
	pthread_mutex_t
		lock; /* of what follows: any loop may look for a descriptor, and read what the store sent */
	int sock; /* a duplicate of the client's */
	struct exipc_fd **fd;
	unsigned nfds;
	unsigned announced; /* how many come with the binding */
};

/* A reply that arrived and was not asked for yet. */
struct arrival {
	struct arrival *next;
	uint32_t offset, len;
	uint16_t status;
	uint8_t flags;
};

struct exipc_call {
	struct chan_pair *pair;
	uint64_t id; /* slot in the low half; the high half counts its uses */
	struct exipc_entry request;
	bool sent;           /* else it waits for the ring, or for its block */
	bool done;           /* the last reply arrived */
	bool abandoned;      /* nobody takes replies any more */
	struct fiber *fiber; /* parked for a reply, or NULL */
	struct arrival *first, *last;
	int64_t made;
	struct exipc_call *older, *newer; /* of the pair's unanswered ones */
	struct exipc_call *next;          /* in the backlog, or among the spare */
};

/* A fiber that waits for heap: served in order. */
struct heap_wait {
	struct heap_wait *next;
	struct fiber *fiber;
	struct span payload; /* a block is wanted; else a section */
	uint32_t got;        /* offset or index */
	bool done;
	enum st st;
};

struct heap_waits {
	struct heap_wait *first, **end;
};

struct chan_pair {
	struct client_end *end;
	unsigned store_loop;
	struct client_pair p;
	struct bell bell; /* of the store loop */
	struct heap_waits blocks, sections;
	struct exipc_call *backlog, *backlog_end; /* wait for the ring */
	struct exipc_call *oldest, *newest;       /* unanswered */
	bool ask;        /* the store may sleep: entries were put, or a pinned block went back */
	bool ask_wanted; /* the same if it waits for room */
};

/* One client loop's part of a binding. */
struct client_end {
	struct client_binding *binding;
	struct exipc_chan *chan;
	struct client_end *next;        /* among the channel's old ones */
	struct watch watch;             /* our doorbell */
	struct exipc_loop_words *words; /* ours */
	bool gone;                      /* the store hung up */
	bool broken;                    /* what it wrote makes no sense */
	unsigned users; /* calls, sections and replies that are out: it lives as long */
	struct exipc_call **slot;
	uint32_t slots;
	struct exipc_call *spare_calls;
	struct arrival *spare_arrivals;
	struct chan_pair pair[EXIPC_LOOPS_MAX];
};

struct exipc_chan {
	struct exipc_client *client;
	struct loop *loop;
	unsigned index;
	struct poller poller;
	struct client_end *end;      /* NULL: not bound */
	struct client_end *old;      /* ended, still in use */
	struct client_end *next_end; /* on its way from loops[0] */
	struct fiber_queue waiters;  /* for the binding */
	bool denied, stopped;
	struct err why;
};

enum client_state {
	CLIENT_WAITING, /* for the timer, or to be started */
	CLIENT_GREETING,
	CLIENT_ATTACHING,
	CLIENT_BOUND,
	CLIENT_DETACHING,
	CLIENT_DENIED
};

struct exipc_client {
	struct exipc_client_options o;
	char path[108], name[16];
	struct loop *loops[EXIPC_LOOPS_MAX];
	struct exipc_chan chan[EXIPC_LOOPS_MAX];
	enum client_state state;
	int sock;
	struct watch watch;
	struct timer again;
	int again_ms;
	bool lost; /* hung up while attaching */
	bool stopping;
	bool told; /* the owner: that it is bound */
	int64_t bound_at;
	unsigned pending;              /* loops that have not reported yet */
	struct client_binding *coming; /* being read from the socket */
	struct client_binding *bound;  /* while the socket is its */
	atomic_bool freed;
	atomic_uint refs;
};

/* client.c */
void client_post(struct exipc_client *c, struct loop *loop, void (*fn)(void *arg), void *arg);
void client_lost(void *client); /* posted to loops[0]: the store makes no sense */
struct client_binding *binding_hold(struct client_binding *b);
/* Any loop: take the descriptors that the store sent meanwhile.  ST_MORE: there is no more now; anything else: the binding
 * is lost. */
enum st offers_take(struct client_binding *b);
void binding_let_go(struct client_binding *b);

/* Everything below: on the channel's loop. */

/* heap_wait.c */
/* Park until a block (w->payload) or a section (none) was got for w.  ST_OK, ST_TIMEOUT, ST_GONE. */
enum st heap_wait_for(struct chan_pair *cp, struct heap_waits *q, struct heap_wait *w,
		      int64_t deadline, struct err *err);
/* Some was freed: hand it out. */
void heap_serve_blocks(struct chan_pair *cp);
void heap_serve_sections(struct chan_pair *cp);
void heap_fail_waits(struct heap_waits *q); /* ST_GONE */

/* call.c */
/* The unanswered call that a reply names, or NULL. */
struct exipc_call *call_find(const struct client_end *e, const struct chan_pair *cp, uint64_t id);
/* Keep a reply until its fiber takes it; false: no memory. */
bool arrive(struct client_end *e, struct exipc_call *c, const struct exipc_entry *in);
/* It is answered, or will never be: what its request took is free. */
void call_answered(struct exipc_call *c);
/* Nobody takes its replies any more. */
void call_abandon(struct exipc_call *c);
void call_free(struct exipc_call *c);
void calls_free(struct client_end *e); /* all, with the end */
/* Return a reply's block, if it has one. */
void block_give_back(struct chan_pair *cp, uint32_t offset, uint32_t len, uint8_t flags);

/* chan.c */
void chan_start(void *chan);
struct client_end *end_new(struct exipc_chan *chan,
			   struct client_binding *b); /* any loop; NULL: no memory */
void end_forget(struct client_end *e);                /* never attached, or loops stopped */
void end_release(struct client_end *e); /* one user less: an ended one goes with its last */
void end_break(struct client_end *e);   /* what the store wrote makes no sense */
enum st chan_attach(struct exipc_chan *chan, struct client_end *e);
void chan_detach(struct exipc_chan *chan);
void chan_deny(struct exipc_chan *chan);
/* Bound no more: whoever waits for a binding gets ST_GONE. */
void chan_stop(struct exipc_chan *chan);

#endif
