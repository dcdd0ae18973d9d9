/* aq.h - the advanced queuing engine: every message passes through it, also one that stays here.
 *
 *	submission -> pre-categorize -> categorize -> post-categorize -> route -> store driver
 *
 * Each step is an event; what happens is done by sinks that are registered for it, the built-in ones
 * (categorizer, router, store driver, message tracking) like any other.  Between the events a message
 * stands in a queue: see enum aq_queue_kind.
 *
 * The engine runs on one loop, the one aq_new() was called on; its sinks run in fibers of that loop, a
 * bounded number per queue.  aq_submit() and aq_admit() may be called from any loop; everything else on
 * its own loop.
 *
 * Memory: a message that waits is a record of under 200 bytes (its envelope is read again from the
 * queue folder when its turn comes); at most `messages_max` records, then aq_admit() says no and SMTP
 * answers 452.  Envelopes and small contents that are still in memory when a
 * message comes in stay there while all of them together are under 64 MiB.  Content files are open only in a
 * fiber's hands, and there are fewer fibers than the 10,000 files of the seed. */
#ifndef TRANSPORT_AQ_H
#define TRANSPORT_AQ_H

#include "base/buf.h"
#include "base/config.h"
#include "directory/dsaccess.h"
#include "transport/mailmsg.h"

struct aq;
struct aq_msg; /* one message in the engine's hands */

struct aq_options {
	struct mailmsg_driver
		*driver;     /* of the virtual server's queue folder; outlives the engine */
	struct dsaccess *ds; /* of this loop */
	struct exipc_chan
		*chan; /* of this loop; NULL only in tests with a store driver of their own */
	const char *hostname; /* our name, in reports */
	/* 0: the default in brackets */
	unsigned messages_max;     /* records in memory (1,000,000) */
	unsigned fibers_per_queue; /* categorizing, delivering at a time (256) */
	unsigned retry_first_s;    /* glitch retry: after the 1st to 3rd failure (60) */
	unsigned retry_s;          /* after that (900) */
	unsigned expire_s;         /* then it is reported as failed (172,800: two days) */
	bool through;              /* through delivery: see aq_accept() */
	/* A built-in sink can be left out, for tests: bits 1 << enum aq_event. */
	unsigned without;
};
/* The numbers from mailroot.conf; the pointers are left alone. */
void aq_options_config(struct aq_options *o, const struct config *c);

/* ST_NOMEM.  Registers the built-in sinks; nothing runs yet. */
[[nodiscard]] enum st aq_new(const struct aq_options *o, struct aq **out, struct err *err);
/* Enumerate the queue folder (in a fiber, in the background) and begin.  Messages may be submitted before
 * it is through. */
[[nodiscard]] enum st aq_start(struct aq *aq, struct err *err);
/* F: stop taking and handling messages, wait for those in a sink's hands (at most until the deadline);
 * what is queued stays on the disk.  ST_TIMEOUT: some sink still runs. */
[[nodiscard]] enum st aq_stop(struct aq *aq, int64_t deadline, struct err *err);
void aq_free(struct aq *aq); /* after aq_stop() gave ST_OK; NULL is fine */

/* May a session begin a message?  Any thread.  ST_OK; ST_BUSY: too many wait already; ST_GONE: stopping.
 * (A full disk shows at mailmsg_write and mailmsg_commit.) */
[[nodiscard]] enum st aq_admit(struct aq *aq, struct err *err);
/* F, in a fiber of any loop: take responsibility for a message whose content is complete.  After ST_OK it is durable,
 * in the mailboxes of all its recipients or in the queue folder, and is to be acknowledged.  m is gone whatever comes;
 * *env is filled as by mailmsg_commit().
 *
 * With `through` in the options, and while the store is bound, the message passes the events and queues first and the
 * queue folder is used only when something keeps it from being delivered at once to everybody (through
 * delivery); otherwise this is mailmsg_commit() and aq_submit().
 * Fails like mailmsg_commit(); ST_GONE: the server is stopping. */
[[nodiscard]] enum st aq_accept(struct aq *aq, struct mailmsg *m, struct mailmsg_envelope *env,
				struct err *err);
/* Take over a committed message: it stands in the pre-submission queue.  Any loop's thread, never blocks, can't
 * fail: the message is durable already.  m belongs to the engine from now on. */
void aq_submit(struct aq *aq, struct mailmsg *m);
/* The store was bound or lost (exipc_client_options.state): what waits for it goes on at once. */
void aq_store_bound(struct aq *aq, bool bound);
/* Mailboxes that could not be had may be there again (the directory changed): what waits for them is tried at once. */
void aq_mailboxes_back(struct aq *aq);

/* ---- events and sinks ---- */

enum aq_event {
	AQ_SUBMISSION,
	AQ_PRE_CATEGORIZE, /* sinks should not expand recipients */
	AQ_CATEGORIZE,
	AQ_POST_CATEGORIZE,
	AQ_ROUTE,
	AQ_STORE_DRIVER,
	AQ_TRACK, /* system event: something happened to a message; results are ignored */
	AQ_EVENTS
};
enum aq_result {
	SINK_OK,       /* go on with the next sink */
	SINK_CONSUMED, /* go on, but call no other sink of this event */
	SINK_PENDING   /* the sink finishes later with aq_sink_done(); the message waits */
};
#define AQ_PRIORITY_DEFAULT 24575 /* 0 to 32767, lower first */
struct aq_sink {
	const char *name;
	enum aq_event event;
	unsigned priority;
	/* In a fiber of the engine's loop, which it may park; m is loaded.  It changes m by the calls of
	 * transport/aq_msg.h. */
	enum aq_result (*fn)(void *arg, struct aq_msg *m);
	void *arg;
};
/* Copies *sink (name must last).  Before aq_start().  ST_NOMEM. */
[[nodiscard]] enum st aq_sink_add(struct aq *aq, const struct aq_sink *sink, struct err *err);
/* The end of a SINK_PENDING: SINK_OK or SINK_CONSUMED. */
void aq_sink_done(struct aq_msg *m, enum aq_result result);

/* ---- the queues, for the administrator ---- */

enum aq_queue_kind {
	AQ_Q_SUBMISSION,  /* "Messages pending submission" */
	AQ_Q_CATEGORIZE,  /* "Messages awaiting directory lookup" */
	AQ_Q_ROUTING,     /* "Messages waiting to be routed" */
	AQ_Q_LOCAL,       /* "Local delivery", one for each mailbox store */
	AQ_Q_LINK,        /* a next hop: none yet */
	AQ_Q_DEFERRED,    /* "Messages queued for deferred delivery" */
	AQ_Q_RETRY,       /* "Failed message retry queue" */
	AQ_Q_UNREACHABLE, /* "Messages with an unreachable destination" */
	AQ_Q_DSN,         /* "DSN messages pending submission" */
	AQ_QUEUE_KINDS
};
struct aq_queue_view {
	enum aq_queue_kind kind;
	const char *name;
	const char *state; /* "active", "ready", "retry" */
	uint64_t messages; /* with those being handled */
	uint64_t active;   /* being handled */
	uint64_t bytes;
	int64_t oldest;   /* clock_real of the oldest arrival, 0 when empty */
	int64_t next_try; /* clock_real, 0 when not waiting for a time */
};
/* Calls row() for every queue.  Own loop, any context; nothing waits. */
void aq_queues(const struct aq *aq, void (*row)(void *arg, const struct aq_queue_view *v),
	       void *arg);
struct aq_message_view {
	char name[MAILMSG_NAME_MAX];
	enum aq_queue_kind queue;
	uint64_t size;
	int64_t arrival, next_try;
	uint32_t attempts;
	enum st error; /* of the last attempt */
};
/* At most `max` waiting messages, in the order in which they stand in their queues; those in a sink's hands
 * are only counted (aq_queue_view.active). */
void aq_messages(const struct aq *aq, size_t max,
		 void (*row)(void *arg, const struct aq_message_view *v), void *arg);

struct aq_stats {
	uint64_t submitted, enumerated, delivered_messages, delivered_recipients, failed_recipients,
		retries, reports, badmail, refused;
	uint64_t through; /* of the delivered messages: without a queue file */
	uint64_t waiting; /* messages in all queues now */
	uint64_t active;  /* in the hands of sinks: no more content files are open than that */
};
void aq_stats(const struct aq *aq, struct aq_stats *out);

#endif
