/* exipc.h - shared-memory queues between a client process and the store (seed "IIS Integration": ExIPC).
 *
 * A BINDING joins one client process to the store.  It is made over a Unix SOCK_SEQPACKET socket, where
 * the store's central queue manager listens: the client says name, protocol version and how many
 * loops it has; the store answers with ONE epoch (chosen by the store, sent once, carried by every
 * handle and checked), its own number of loops, two sealed memfds and event descriptors
 * (SCM_RIGHTS).  Credentials come from SO_PEERCRED.
 *
 * Memory has one writer: the CLIENT AREA is written by the client and mapped read-only by the store;
 * the STORE AREA is written by the store and sealed so that the client can map it only read-only.
 * For each (client loop, store loop) pair the client area holds the request ring (entries + tail),
 * the count of replies consumed, the client's sleep flag, and a heap of 32 KiB sections for requests;
 * the store area mirrors it for replies.  Rings are single producer, single consumer, with 64-bit
 * counters that only grow, on cache lines of their own.  Each side allocates only in its own area
 * and keeps the allocator's book in private memory: the peer can damage nothing but its own words.
 * What the store reads is hostile: an entry is copied once, checked, and only the copy is used.
 *
 * A block belongs to one side at a time: a request's blocks are the store's until the last reply to that
 * request; a reply's block is the client's until exipc_reply_free(), which is also the moment at which
 * the store drops what it had pinned for it.  A full ring or heap makes the calling fiber wait.
 *
 * When either side dies the other notices by the socket: the store drops the binding's requests,
 * blocks and pins (unbound callback); the client's calls end with ST_GONE, and it binds again by
 * itself (it connects and waits; no polling).  docs/exipc.md has the layout and the states. */
#ifndef EXIPC_EXIPC_H
#define EXIPC_EXIPC_H

#include "base/span.h"
#include "base/st.h"
#include "loop/loop.h"

#define EXIPC_SECTION       32768u
#define EXIPC_RING_ENTRIES  256u /* per direction and pair */
#define EXIPC_HEAP_SECTIONS 64u  /* per direction and pair: 2 MiB, touched as used */
#define EXIPC_BLOCK_MAX     (1024u * 1024u - 64u) /* one payload: contiguous sections */
#define EXIPC_BULK_MAX      8u                    /* sections that may ride on one request */
#define EXIPC_LOOPS_MAX     8u                    /* of either process */

/* ======================= the client's side (inet, fs, admin) ======================= */

struct exipc_client; /* the process's binding; made on, and bound by, its first loop */
struct exipc_chan;   /* one client loop's end of it: only on that loop */

struct exipc_client_options {
	const char *socket_path; /* HOME/run/exipc */
	const char *name;        /* "inet", "admin", ...: decides the role, with the credentials */
	uint32_t version;        /* WIRE_VERSION */
	struct loop **loops;     /* every loop that will call */
	unsigned nloops;
	/* On loops[0], after each (re)binding and after each loss; may be NULL.  bound: all channels are
	 * ready.  Not called from within exipc_client_new. */
	void (*state)(void *arg, bool bound);
	/* On the channel's loop: a notification (exipc_notify) arrived.  May be NULL. */
	void (*notify)(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value);
	void *arg;
};

/* Starts binding in the background and returns.  Call on loops[0]'s thread before or while it runs. */
enum st exipc_client_new(const struct exipc_client_options *o, struct exipc_client **out,
			 struct err *err);
/* End the binding, bind no more: calls end with ST_GONE, so that fibers can end before the loops stop.
 * Any thread. */
void exipc_client_stop(struct exipc_client *c);
void exipc_client_free(struct exipc_client *c); /* loops stopped, fibers ended, nothing held */
/* The channel of the calling loop. */
struct exipc_chan *exipc_chan(struct exipc_client *c);
/* Wait (fiber) until bound.  ST_OK, ST_TIMEOUT; ST_DENIED when the store refused this client for good
 * (wrong version or credentials), with its words; ST_GONE after exipc_client_stop(). */
enum st exipc_wait_bound(struct exipc_chan *chan, int64_t deadline, struct err *err);
bool exipc_is_bound(const struct exipc_chan *chan);
uint64_t exipc_epoch(const struct exipc_chan *chan);
unsigned exipc_store_loops(const struct exipc_chan *chan); /* 0 when not bound */
/* Read-only descriptors that the store offered, by tag: at the binding or since, always before a reply that
 * speaks of the tag.  Owned by the binding: closed when it ends, or the store withdrew it, AND every exipc_fd_hold was
 * dropped. */
struct exipc_fd;
struct exipc_fd *exipc_fd_hold(struct exipc_chan *chan, uint64_t tag); /* NULL: unknown tag */
int exipc_fd_get(const struct exipc_fd *h);
bool exipc_fd_withdrawn(const struct exipc_fd *h); /* what it shows is void; any loop */
void exipc_fd_drop(struct exipc_fd *h);            /* any loop */

/* One section of request memory for bulk data, to be filled in place (EXIPC_SECTION bytes).  Fiber;
 * waits while the heap is exhausted.  The fiber that got them is the one that holds them: it takes the
 * sections of one store loop at a time, and does not wait for a network peer while it holds any.
 * ST_GONE; ST_TIMEOUT; ST_TOOBIG: it holds EXIPC_BULK_MAX already. */
struct exipc_section {
	char *at;
	uint32_t index;
	unsigned store_loop;
	uint64_t epoch;
};
enum st exipc_section_get(struct exipc_chan *chan, unsigned store_loop, int64_t deadline,
			  struct exipc_section *out, struct err *err);
void exipc_section_put(struct exipc_chan *chan, struct exipc_section *s); /* unused: give it back */

struct exipc_reply {
	enum st status;      /* what the store answered */
	bool more;           /* another reply to the same request follows: exipc_reply_next */
	struct span payload; /* in the store area: valid until exipc_reply_free */
	/* private */
	struct exipc_chan *chan;
	struct exipc_call *call;
	uint64_t block;
	uint64_t epoch;
	unsigned store_loop;
	bool pinned;
};

/* Ask the store: fiber, parks until the first reply.  `payload` is copied into the heap.  `sections`
 * (filled, nsections <= EXIPC_BULK_MAX; used[i] bytes each) go along and belong to the call whatever the
 * outcome.  Returns ST_OK when a reply came (its own status is in out->status), else
 *   ST_GONE     not bound, or the store died before the last reply: the outcome is unknown
 *   ST_TIMEOUT  the deadline passed: the outcome is unknown; late replies are dropped
 *   ST_TOOBIG   payload over EXIPC_BLOCK_MAX */
enum st exipc_call(struct exipc_chan *chan, unsigned store_loop, uint16_t op, struct span payload,
		   const struct exipc_section *sections, const uint32_t *used, unsigned nsections,
		   int64_t deadline, struct exipc_reply *out, struct err *err);
/* Free *r's block and wait for the next reply of the same request (r->more was true). */
enum st exipc_reply_next(struct exipc_reply *r, int64_t deadline, struct err *err);
/* Give the block back.  Also ends interest in further replies.  Own loop, any context, once; a
 * zeroed or already freed reply is fine. */
void exipc_reply_free(struct exipc_reply *r);
/* Move the block out of *r: *out becomes a reply of its own without further replies, to be freed like any
 * other, any time; r keeps its payload span (valid until *out is freed) and its interest in further
 * replies, and no longer has a block.  False, and *out untouched, when r has none. */
bool exipc_reply_take(struct exipc_reply *r, struct exipc_reply *out);

/* ======================= the store's side ======================= */

struct exipc_server;
struct exipc_binding; /* one client process; opaque, compare by id */

struct exipc_request {
	uint64_t binding_id; /* never reused in this process */
	void *binding_data;  /* what bound() returned */
	unsigned client_loop;
	uint16_t op;
	struct span payload; /* a private copy, valid until the handler returned */
	unsigned nsections;  /* bulk data: HOSTILE memory that may change while it is read */
	struct span sections[EXIPC_BULK_MAX];
	/* private behind this */
};

struct exipc_server_options {
	int listen_fd;    /* SOCK_SEQPACKET, listening; owned by the server from now on */
	uint32_t version; /* WIRE_VERSION */
	struct loop **loops;
	unsigned nloops;
	unsigned bindings_max; /* default 16 */
	unsigned
		fibers_max; /* request fibers per pair at a time (default 64): the rest waits in the ring */
	/* Decide about a client; on loops[0].  ST_OK sets *data for its requests.  ST_DENIED: refused with
	 * err's words. */
	enum st (*bind)(void *arg, uint64_t binding_id, const char *name, uint32_t uid,
			uint32_t pid, void **data, struct err *err);
	/* Handle one request, in a fiber on the store loop it was sent to.  Must answer exactly one final
	 * reply (more = false) before it returns; if not, ST_IO is answered for it and the server logs
	 * nothing but counts it. */
	void (*request)(void *arg, struct exipc_request *rq);
	/* The binding is over: on EVERY store loop once, after the last of its request fibers on that loop
	 * ended; then bound data is released by unbound_all on loops[0]. */
	void (*unbound)(void *arg, uint64_t binding_id, void *data);
	void (*unbound_all)(void *arg, uint64_t binding_id, void *data);
	void *arg;
};

/* Starts accepting on loops[0].  Also opens the observer side for `mailroot ipc` (for the store's own user
 * and root).  On failure listen_fd stays the caller's. */
enum st exipc_server_new(const struct exipc_server_options *o, struct exipc_server **out,
			 struct err *err);
/* Accept nobody any more and end every binding, so that request fibers can end: before the loops stop.
 * Any thread. */
void exipc_server_stop(struct exipc_server *s);
/* Loops stopped, request fibers ended.  What is still bound is unbound from here, on this thread. */
void exipc_server_free(struct exipc_server *s);
/* A descriptor for every client, those that are bound and those that will be: a client that gets a reply sent after this
 * returned finds it.  Duplicated here: the caller keeps fd.  A tag is offered once.  On loops[0], or before
 * anybody is bound. */
void exipc_server_offer_fd(struct exipc_server *s, uint64_t tag, int fd);
/* Take it back: clients find it no more, and those that hold it see exipc_fd_withdrawn().  On loops[0]. */
void exipc_server_withdraw_fd(struct exipc_server *s, uint64_t tag);

struct exipc_server_figures {
	uint64_t bound;      /* bindings made */
	uint64_t refused;    /* hellos answered with a refusal */
	uint64_t rejected;   /* bindings ended because the client broke a rule */
	uint64_t unanswered; /* requests whose handler did not answer */
};
void exipc_server_figures(const struct exipc_server *s,
			  struct exipc_server_figures *out); /* any thread */

/* Answer (own store loop; from the request's fiber).  Copies payload into the store area; waits while
 * ring or heap are full (a client that does not take its replies only stalls itself).  release(arg), if not
 * NULL, runs once on this loop when the client freed the block or its binding ended: pins.
 * ST_OK; ST_GONE: the client is gone (release has run or will run; the handler should end). */
enum st exipc_reply(struct exipc_request *rq, enum st status, struct span payload, bool more,
		    void (*release)(void *arg), void *arg);
bool exipc_request_gone(const struct exipc_request *rq); /* the client died: stop early */

/* Tell a client loop that (token) now stands at (value): level, not edge.  Never blocks, never lost while
 * the binding lives: per token only the newest value waits.  Store loop that owns the token. */
void exipc_notify(struct exipc_server *s, uint64_t binding_id, unsigned client_loop, uint64_t token,
		  uint64_t value);

/* ======================= counters ======================= */

/* Read by `mailroot ipc` from the shared header, without asking anyone: connect to the socket as an
 * observer; the manager hands over read-only descriptors of every binding's areas. */
struct exipc_pair_view {
	char client[16];
	uint32_t pid;
	uint64_t epoch;
	unsigned client_loop, store_loop;
	uint32_t client_queue,
		store_queue; /* entries waiting: "Client Out" / "Store Out Queue Length" */
	uint32_t client_blocks, store_blocks; /* "Blocks Allocated" */
	uint64_t requests, replies, notifications;
	uint64_t client_wakeups, store_wakeups, client_sleeps, store_sleeps;
	uint64_t oldest_request_ns; /* age, 0 when none */
	uint64_t ring_full, heap_full,
		rejected; /* back-pressure events; hostile or broken entries */
};
/* Calls row() for each pair.  ST_NOTFOUND: nobody listens at the path. */
enum st exipc_observe(const char *socket_path,
		      void (*row)(void *arg, const struct exipc_pair_view *v), void *arg,
		      struct err *err);

#endif
