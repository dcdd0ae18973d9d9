/* aq_private.h - the engine's inside, shared by its files; see aq.h.
 *
 * A record stands for every message and is in exactly one queue: waiting in its list, or active (in a
 * fiber's hands) and only counted.  A record has up to three sizes: alone (id and times), with its
 * MailMsg object (just submitted: envelope and small content are still in memory), with its aq_msg (between
 * stages).  What is over the memory budget shrinks to the first.
 *
 * A fiber is a worker: it takes a record through as many stages as it can, and when it must leave it in a
 * queue it takes another.  Every queue has its own limit of active records. */
#ifndef TRANSPORT_AQ_PRIVATE_H
#define TRANSPORT_AQ_PRIVATE_H

#include "base/logline.h"
#include "transport/aq.h"
#include "transport/aq_msg.h"
#include "transport/fsdriver.h"

#include <stdatomic.h>

#define AQ_MEMORY (64u * 1024 * 1024) /* of records that wait with their objects */
#define AQ_SINKS  16                  /* of one event */

struct aq_rec {
	struct aq_rec *prev, *next; /* in its queue's list */
	struct mailmsg_id id;
	uint64_t size;
	int64_t arrival, next_try;
	uint32_t attempts, memory; /* counted against AQ_MEMORY */
	uint8_t queue, error;
	bool active;
	bool submitted; /* AQ_SUBMISSION was raised in this process */
	struct mailmsg *m;
	struct aq_msg *msg;
	struct through *through; /* a session waits for it and it is not durable yet */
};

struct aq_queue {
	enum aq_queue_kind kind;
	const char *name;
	struct aq_rec *head, *tail;
	uint64_t waiting, active, bytes;
	bool needs_store; /* stands still while the store is away */
};

struct aq {
	struct aq_options o;
	struct loop *loop;
	struct aq_queue queues[AQ_QUEUE_KINDS];
	struct aq_sink sinks[AQ_EVENTS][AQ_SINKS];
	size_t nsinks[AQ_EVENTS];
	bool bound, started, stopping, enumerated;
	unsigned workers;
	size_t memory;
	struct fiber_queue idle; /* aq_stop() */
	struct timer retry;
	struct store_driver *store_driver;
	struct aq_stats stats;
	_Atomic uint64_t waiting, refused;
	_Atomic unsigned through; /* sessions in aq_accept() */
	_Atomic bool closed;      /* to aq_admit() */
	_Atomic bool up;          /* `bound`, for aq_accept() */
};

/* ---- aq_queue.c ---- */
void queues_init(struct aq *aq);
/* A new record into a queue; NULL: out of memory (the message stays on the disk until the next start). */
struct aq_rec *rec_new(struct aq *aq, struct mailmsg_id id, uint64_t size);
void rec_drop_memory(struct aq *aq, struct aq_rec *r); /* its MailMsg and aq_msg */
void rec_free(struct aq *aq, struct aq_rec *r);
void queue_put(struct aq *aq, struct aq_rec *r, enum aq_queue_kind kind); /* at the end */
void queue_cut(struct aq *aq, struct aq_rec *r); /* a waiting one out of its queue */
/* Start workers for what waits and may run. */
void queues_pump(struct aq *aq);
/* All that waits in retry because of the store goes on; what waits for its time does. */
void retry_store_back(struct aq *aq);

/* ---- aq_stage.c ---- */
/* A store that can't be asked: wait for it in this queue, or try later. */
enum aq_queue_kind stage_again(struct aq *aq, struct aq_rec *r);
/* The record's stage, in a worker.  Where it goes next, or AQ_DONE: the message is gone. */
#define AQ_DONE AQ_QUEUE_KINDS
enum aq_queue_kind stage_run(struct aq *aq, struct aq_rec *r);
void msg_free(struct aq_msg *m); /* with its MailMsg */

/* ---- aq_event.c ---- */
/* Calls the event's sinks in order. */
void event_raise(struct aq_msg *m, enum aq_event event);

/* ---- aq_end.c ---- */
/* After a delivery attempt: report, remove, or keep for later. */
enum aq_queue_kind end_attempt(struct aq *aq, struct aq_rec *r);
/* The whole message can't be handled and never will: Badmail. */
enum aq_queue_kind end_badmail(struct aq *aq, struct aq_rec *r, struct mailmsg *m, const char *why);
/* Not now: when again?  Sets next_try; AQ_Q_RETRY. */
enum aq_queue_kind end_retry(struct aq *aq, struct aq_rec *r, enum st st);

/* ---- aq_through.c ---- */
/* Tell the session that waits; no longer through. */
void through_answer(struct aq_rec *r, enum st st, const struct err *err);
/* The message can't go straight through: into the queue folder with it, and the session is told.  false: it could not
 * be kept, the session was told, the record is to end. */
bool through_keep(struct aq_rec *r);
/* The store is gone: what waits for it and is not durable goes on, to be kept. */
void through_store_gone(struct aq *aq);
void through_stop(struct aq *aq);

/* ---- the built-in sinks ---- */
enum aq_result categorizer(void *arg, struct aq_msg *m);
enum aq_result router(void *arg, struct aq_msg *m);
struct store_driver *store_driver_new(void); /* free() ends it; NULL: out of memory */
enum aq_result store_driver(void *driver, struct aq_msg *m);
void store_forget(
	struct aq_msg *m); /* the message is gone for good: drop what prevents a second delivery */
enum aq_result track_to_log(void *arg, struct aq_msg *m);

/* ---- report.c ---- */
/* A non-delivery report for the failed recipients that nobody was told of yet, committed. */
enum st report_make(struct aq_msg *m, struct mailmsg **out, struct err *err);
/* The same facts in words, for a .BDR file. */
void report_words(const struct aq_msg *m, struct buf *out);
bool report_wanted(const struct aq_rcpt *r);

#endif
