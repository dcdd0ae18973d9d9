/* conn_private.h - what the files of the connection share.  Nobody outside src/loop includes it.
 *
 *	conn.c       life: events, the serving fiber, timeouts, closing
 *	conn_in.c    input
 *	conn_out.c   output: the queue and what empties it
 *	conn_range.c output: ranges of files
 *	conn_tls.c   handshake, and reading and writing through TLS
 *
 * Everything is edge-triggered: `readable` and `writable` stay true until the socket said EAGAIN. */
#ifndef LOOP_CONN_PRIVATE_H
#define LOOP_CONN_PRIVATE_H

#include "loop/conn.h"
#include "loop/loop_private.h"

#include <openssl/types.h>

enum conn_life {
	CONN_OPEN,
	CONN_LINGERING, /* our end is closed; what still comes is thrown away until the peer's is */
	CONN_DEAD,      /* the descriptor is closed; waits for its last call */
};

enum conn_wait {
	WAIT_NOTHING,
	WAIT_INPUT,
	WAIT_ROOM,  /* in the output queue */
	WAIT_EMPTY, /* output queue */
};

struct out_item {
	struct out_item *next;
	bool is_range;
};

struct out_bytes {
	struct out_item item;
	uint32_t at, end, cap;
	char bytes[];
};

struct out_range {
	struct out_item item;
	int fd;
	int64_t offset;
	size_t len;
};

/* conn_on_sent(): due when `sent` has come to `at`. */
struct out_call {
	struct out_call *next;
	struct post post;
	uint64_t at;
	void (*fn)(void *arg);
	void *arg;
};

struct conn {
	struct watch watch;
	struct timer timer; /* idle, write and linger timeouts; may be early, see conn_arm() */
	struct post post;   /* conn_continue() or the last call */
	void *owner;
	void (*gone)(void *owner);
	void (*fn)(void *owner);
	struct fiber *fiber; /* that serves, once it runs */
	SSL *ssl;
	struct conn_limits limits;
	int64_t idle_since;

	char *in;
	uint32_t in_at, in_end, in_cap; /* unread: in_at to in_end */
	uint32_t
		breath; /* bytes moved since the fiber last let others run, or thrown away lingering */

	struct out_item *out_head, *out_tail;
	struct out_call *calls, *last_call;
	struct range_job *job; /* reads the range at the head */
	uint64_t queued, sent; /* bytes, ever */
	uint64_t blocked_at;   /* `sent` when the socket took no more; UINT64_MAX: not yet */
	int64_t blocked_since;
	size_t out_bytes; /* copied bytes in the queue */
	uint32_t out_ranges;

	uint32_t peer_len, peer_ip_len;
	uint64_t received, by_sendfile;

	uint8_t life, wait, in_state, out_state; /* enums */
	bool readable, writable;
	bool hung_up; /* the end of the input (or an error) is in sight: a short read is not its end */
	bool serving;    /* from the spawn to the end of the fiber */
	bool closing;    /* conn_close() or conn_abort() was called */
	bool kicked;     /* run fn (once more) */
	bool starved;    /* no fiber could be had: try again at the timer */
	bool posted;     /* `post` is under way */
	bool in_hot;     /* the last read filled the buffer: a larger one pays */
	bool tls_ready;  /* the handshake is done */
	bool tls_broken; /* OpenSSL reported a fatal error: no close_notify */
	char text[];     /* peer, peer's address, own address, each with a NUL */
};

enum io {
	IO_DONE,
	IO_AGAIN, /* nothing now; readable or writable is false */
	IO_ENDED, /* in_state (reading) or out_state (writing) says how */
	IO_FULL,  /* the input buffer has no room */
};

/* conn.c */
void conn_step(struct conn *c);     /* after anything changed; outside any fiber */
void conn_arm(struct conn *c);      /* set the timer for what is next */
void conn_settle(struct conn *c);   /* a job is over: the last call may be due */
void conn_continue(struct conn *c); /* conn_step() at the next turn */
/* Both directions are over for reason `st`, unless they are over already; output is dropped. */
void conn_fail(struct conn *c, enum st st);
/* F: park until what is waited for may have come; false when the limit passed. */
bool conn_wait(struct conn *c, enum conn_wait wait, int64_t limit);
void conn_breathe(struct conn *c); /* F: let others run when this fiber moved much */

/* conn_in.c */
enum io conn_take_input(struct conn *c); /* once, into the buffer */
void conn_drop_input(struct conn *c);    /* the unread bytes and the buffer */
static inline size_t conn_unread(const struct conn *c)
{
	return c->in_end - c->in_at;
}

/* conn_out.c */
bool conn_has_output(const struct conn *c);
void conn_push(struct conn *c); /* send what the socket takes, within a budget */
void conn_drop_output(struct conn *c);
enum io conn_send_failed(struct conn *c); /* by errno */
void conn_blocked(struct conn *c);        /* the socket takes no more for now */
enum st conn_hold_back(struct conn *c);   /* F: wait while too much is queued */
void conn_append(struct conn *c, struct out_item *item);
void conn_prepend(struct conn *c, struct out_item *item);
struct out_bytes *conn_bytes_new(size_t cap);
/* The chunk at the tail with at least `len` bytes of room, made when need be; NULL: out of memory. */
struct out_bytes *conn_tail_room(struct conn *c, size_t len);
void conn_pop(struct conn *c); /* free the head */

/* conn_range.c */
enum io conn_push_range(struct conn *c, size_t *sent); /* the range at the head; *sent may be 0 */

/* conn_tls.c */
enum io conn_tls_read(struct conn *c, void *out, size_t len, size_t *got);
enum io conn_tls_write(struct conn *c, const void *bytes, size_t len, size_t *sent);
void conn_tls_goodbye(struct conn *c); /* close_notify, if it can be sent at once */
void conn_tls_free(struct conn *c);

#endif
