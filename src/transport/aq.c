/* aq.c - the advanced queuing engine: its life, what comes in, and what it shows; see aq.h. */
#include "transport/aq_private.h"

#include <stdlib.h>

#define MESSAGES_MAX  1000000
#define FIBERS        256
#define RETRY_FIRST_S 60
#define RETRY_S       900
#define EXPIRE_S      172800

void aq_options_config(struct aq_options *o, const struct config *c)
{
	o->messages_max = (unsigned)config_int(c, "queue_messages_max");
	o->fibers_per_queue = (unsigned)config_int(c, "queue_fibers");
	o->retry_first_s = (unsigned)config_int(c, "queue_glitch_retry_s");
	o->retry_s = (unsigned)config_int(c, "queue_retry_s");
	o->expire_s = (unsigned)config_int(c, "queue_expire_s");
	o->through = config_bool(c, "through_delivery");
}

static void defaults(struct aq_options *o)
{
	o->messages_max = o->messages_max ? o->messages_max : MESSAGES_MAX;
	o->fibers_per_queue = o->fibers_per_queue ? o->fibers_per_queue : FIBERS;
	o->retry_first_s = o->retry_first_s ? o->retry_first_s : RETRY_FIRST_S;
	o->retry_s = o->retry_s ? o->retry_s : RETRY_S;
	o->expire_s = o->expire_s ? o->expire_s : EXPIRE_S;
}

static enum st add_built_in(struct aq *aq, struct err *err)
{
	const struct aq_sink sinks[] = {
		{ "categorizer", AQ_CATEGORIZE, AQ_PRIORITY_DEFAULT, categorizer, NULL },
		{ "router", AQ_ROUTE, AQ_PRIORITY_DEFAULT, router, NULL },
		{ "store driver", AQ_STORE_DRIVER, AQ_PRIORITY_DEFAULT, store_driver,
		  aq->store_driver },
		{ "message tracking", AQ_TRACK, AQ_PRIORITY_DEFAULT, track_to_log, NULL },
	};
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < sizeof(sinks) / sizeof(sinks[0]); i++)
		if (!(aq->o.without & 1u << sinks[i].event))
			st = aq_sink_add(aq, &sinks[i], err);
	return st;
}

enum st aq_new(const struct aq_options *o, struct aq **out, struct err *err)
{
	struct aq *aq = calloc(1, sizeof(*aq));
	enum st st;

	if (!aq)
		return fail(err, ST_NOMEM, "queuing engine");
	aq->o = *o;
	defaults(&aq->o);
	aq->loop = loop_self();
	aq->bound = !o->chan;
	atomic_store(&aq->up, aq->bound);
	queues_init(aq);
	aq->store_driver = store_driver_new();
	st = aq->store_driver ? add_built_in(aq, err) : fail(err, ST_NOMEM, "store driver");
	if (st != ST_OK) {
		aq_free(aq);
		return st;
	}
	*out = aq;
	return ST_OK;
}

/* ---- start: what is in the folder ---- */

static void found(void *arg, struct mailmsg_id id, uint64_t size)
{
	struct aq *aq = arg;
	struct aq_rec *r = rec_new(aq, id, size);

	if (!r)
		return;
	aq->stats.enumerated++;
	queue_put(aq, r, AQ_Q_SUBMISSION);
	queues_pump(aq);
}

static void enumerate(void *arg)
{
	struct aq *aq = arg;
	struct err err;

	if (fsdriver_enumerate(aq->o.driver, found, aq, &err) != ST_OK)
		log_event(LOG_ERROR, "queue folder could not be read", LE(&err));
	else if (aq->stats.enumerated)
		log_event(LOG_INFO, "queue folder read", LU("messages", aq->stats.enumerated));
	aq->workers--;
	if (aq->stopping && !aq->workers)
		fiber_queue_wake_all(&aq->idle);
}

enum st aq_start(struct aq *aq, struct err *err)
{
	enum st st = fiber_spawn("enumerate queue", enumerate, aq, err);

	if (st != ST_OK)
		return st;
	aq->workers++;
	aq->started = true;
	queues_pump(aq);
	return ST_OK;
}

enum st aq_stop(struct aq *aq, int64_t deadline, struct err *err)
{
	atomic_store(&aq->closed, true);
	aq->stopping = true;
	timer_clear(&aq->retry);
	through_stop(aq);
	while (aq->workers)
		if (!fiber_queue_wait(&aq->idle, deadline) && aq->workers)
			return fail(err, ST_TIMEOUT, "%u messages are still being handled",
				    aq->workers);
	return ST_OK;
}

void aq_free(struct aq *aq)
{
	if (!aq)
		return;
	for (int k = 0; k < AQ_QUEUE_KINDS; k++)
		for (struct aq_rec *r = aq->queues[k].head, *next; r; r = next) {
			next = r->next;
			rec_free(aq, r);
		}
	free(aq->store_driver);
	free(aq);
}

/* ---- what comes in ---- */

enum st aq_admit(struct aq *aq, struct err *err)
{
	if (atomic_load(&aq->closed))
		return fail(err, ST_GONE, "the server is stopping");
	if (atomic_load(&aq->waiting) >= aq->o.messages_max) {
		atomic_fetch_add(&aq->refused, 1);
		return fail(err, ST_BUSY, "too many messages are waiting");
	}
	return ST_OK;
}

struct submit {
	struct aq *aq;
	struct mailmsg *m;
};

/* On the engine's loop.  What can't be taken up is on the disk: the next start finds it. */
static void submitted(void *arg)
{
	struct submit s = *(struct submit *)arg;
	struct aq *aq = s.aq;
	struct aq_rec *r = aq->stopping ? NULL : rec_new(aq, mailmsg_id(s.m), mailmsg_size(s.m));

	free(arg);
	if (!r) {
		mailmsg_free(s.m);
		return;
	}
	r->m = s.m;
	aq->stats.submitted++;
	queue_put(aq, r, AQ_Q_SUBMISSION);
	queues_pump(aq);
}

void aq_submit(struct aq *aq, struct mailmsg *m)
{
	struct submit *s = malloc(sizeof(*s));

	if (!s) {
		mailmsg_free(m);
		return;
	}
	*s = (struct submit){ aq, m };
	if (loop_self() == aq->loop)
		submitted(s);
	else
		loop_post(aq->loop, submitted, s);
}

void aq_store_bound(struct aq *aq, bool bound)
{
	aq->bound = bound;
	atomic_store(&aq->up, bound);
	if (!bound) {
		through_store_gone(aq);
		return;
	}
	retry_store_back(aq);
	queues_pump(aq);
}

void aq_mailboxes_back(struct aq *aq)
{
	if (!aq->bound)
		return;
	retry_store_back(aq);
	queues_pump(aq);
}

/* ---- what is shown ---- */

static const char *state_of(const struct aq *aq, const struct aq_queue *q)
{
	if (q->kind == AQ_Q_RETRY || (q->needs_store && !aq->bound))
		return "retry";
	return q->active ? "active" : "ready";
}

void aq_queues(const struct aq *aq, void (*row)(void *arg, const struct aq_queue_view *v),
	       void *arg)
{
	for (int k = 0; k < AQ_QUEUE_KINDS; k++) {
		const struct aq_queue *q = &aq->queues[k];
		struct aq_queue_view v = { .kind = q->kind,
					   .name = q->name,
					   .state = state_of(aq, q),
					   .messages = q->waiting + q->active,
					   .active = q->active,
					   .bytes = q->bytes };

		if (q->head) {
			v.oldest = q->head->arrival;
			v.next_try = q->head->next_try;
		}
		row(arg, &v);
	}
}

void aq_messages(const struct aq *aq, size_t max,
		 void (*row)(void *arg, const struct aq_message_view *v), void *arg)
{
	for (int k = 0; k < AQ_QUEUE_KINDS; k++)
		for (const struct aq_rec *r = aq->queues[k].head; r && max; r = r->next, max--) {
			struct aq_message_view v = { .queue = (enum aq_queue_kind)k,
						     .size = r->size,
						     .arrival = r->arrival,
						     .next_try = r->next_try,
						     .attempts = r->attempts,
						     .error = r->error };

			mailmsg_id_name(r->id, v.name);
			row(arg, &v);
		}
}

void aq_stats(const struct aq *aq, struct aq_stats *out)
{
	*out = aq->stats;
	out->waiting = atomic_load(&aq->waiting);
	out->refused = atomic_load(&aq->refused);
	for (int k = 0; k < AQ_QUEUE_KINDS; k++)
		out->active += aq->queues[k].active;
}
