/* aq_queue.c - records in queues, the workers that take them through, and the clock of those that wait; see
 * aq_private.h. */
#include "transport/aq_private.h"

#include <stdlib.h>

static const struct {
	const char *name;
	bool needs_store;
} kinds[AQ_QUEUE_KINDS] = {
	[AQ_Q_SUBMISSION] = { "Messages pending submission", false },
	[AQ_Q_CATEGORIZE] = { "Messages awaiting directory lookup", true },
	[AQ_Q_ROUTING] = { "Messages waiting to be routed", false },
	[AQ_Q_LOCAL] = { "Local delivery", true },
	[AQ_Q_LINK] = { "Remote delivery", false },
	[AQ_Q_DEFERRED] = { "Messages queued for deferred delivery", false },
	[AQ_Q_RETRY] = { "Failed message retry queue", false },
	[AQ_Q_UNREACHABLE] = { "Messages with an unreachable destination", false },
	[AQ_Q_DSN] = { "DSN messages pending submission", false },
};

void queues_init(struct aq *aq)
{
	for (int k = 0; k < AQ_QUEUE_KINDS; k++)
		aq->queues[k] = (struct aq_queue){ .kind = (enum aq_queue_kind)k,
						   .name = kinds[k].name,
						   .needs_store = kinds[k].needs_store };
}

/* ---- records ---- */

struct aq_rec *rec_new(struct aq *aq, struct mailmsg_id id, uint64_t size)
{
	struct aq_rec *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->id = id;
	r->size = size;
	r->arrival = (int64_t)id.time;
	atomic_fetch_add(&aq->waiting, 1);
	return r;
}

void rec_drop_memory(struct aq *aq, struct aq_rec *r)
{
	struct err err;

	if (r->through) {
		fail(&err, ST_IO, "the message was lost on its way");
		through_answer(r, ST_IO, &err);
	}
	aq->memory -= r->memory;
	r->memory = 0;
	if (r->msg)
		msg_free(r->msg);
	else
		mailmsg_free(r->m);
	r->msg = NULL;
	r->m = NULL;
}

void rec_free(struct aq *aq, struct aq_rec *r)
{
	rec_drop_memory(aq, r);
	atomic_fetch_sub(&aq->waiting, 1);
	free(r);
}

/* ---- a queue's list ---- */

static bool waits_for_time(enum aq_queue_kind kind)
{
	return kind == AQ_Q_RETRY || kind == AQ_Q_DEFERRED;
}

/* Where r stands: at the end; by next_try where a queue waits for the time (which nearly always is the end). */
static struct aq_rec *place(const struct aq_queue *q, const struct aq_rec *r)
{
	struct aq_rec *before = q->tail;

	while (waits_for_time(q->kind) && before && before->next_try > r->next_try)
		before = before->prev;
	return before;
}

static void link_after(struct aq_queue *q, struct aq_rec *before, struct aq_rec *r)
{
	r->prev = before;
	r->next = before ? before->next : q->head;
	*(r->prev ? &r->prev->next : &q->head) = r;
	*(r->next ? &r->next->prev : &q->tail) = r;
	q->waiting++;
}

static void cut(struct aq_queue *q, struct aq_rec *r)
{
	*(r->prev ? &r->prev->next : &q->head) = r->next;
	*(r->next ? &r->next->prev : &q->tail) = r->prev;
	r->prev = r->next = NULL;
	q->waiting--;
}

/* What a waiting record may keep in memory. */
static void account(struct aq *aq, struct aq_rec *r)
{
	size_t size;

	if (r->through) /* it is nowhere else; the session's limits bound it */
		return;
	size = r->msg ? mailmsg_memory(r->msg->m) + pool_used(r->msg->pool)
	       : r->m ? mailmsg_memory(r->m)
		      : 0;

	aq->memory += size - r->memory;
	r->memory = (uint32_t)size;
	if (aq->memory > AQ_MEMORY || waits_for_time(r->queue))
		rec_drop_memory(aq, r);
	else if (r->msg)
		mailmsg_close(r->msg->m);
}

static void set_clock(struct aq *aq);

void queue_put(struct aq *aq, struct aq_rec *r, enum aq_queue_kind kind)
{
	struct aq_queue *q = &aq->queues[kind];

	r->queue = kind;
	q->bytes += r->size;
	link_after(q, place(q, r), r);
	account(aq, r);
	if (waits_for_time(kind))
		set_clock(aq);
}

/* ---- workers ---- */

static bool may_run(const struct aq *aq, const struct aq_queue *q)
{
	return q->head && q->active < aq->o.fibers_per_queue && !waits_for_time(q->kind) &&
	       (aq->bound || !q->needs_store) && !aq->stopping;
}

static struct aq_rec *take(struct aq_queue *q)
{
	struct aq_rec *r = q->head;

	cut(q, r);
	q->active++;
	r->active = true;
	return r;
}

static void leave(struct aq *aq, struct aq_rec *r, enum aq_queue_kind next)
{
	struct aq_queue *q = &aq->queues[r->queue];

	q->active--;
	q->bytes -= r->size;
	r->active = false;
	if (next == AQ_DONE)
		rec_free(aq, r);
	else
		queue_put(aq, r, next);
}

static struct aq_rec *take_any(struct aq *aq)
{
	/* What is nearest to its end first: it frees memory and disk. */
	for (int k = AQ_Q_LOCAL; k >= 0; k--)
		if (may_run(aq, &aq->queues[k]))
			return take(&aq->queues[k]);
	return may_run(aq, &aq->queues[AQ_Q_DSN]) ? take(&aq->queues[AQ_Q_DSN]) : NULL;
}

struct start {
	struct aq *aq;
	struct aq_rec *r;
};

static void worker(void *arg)
{
	struct start s = *(struct start *)arg;
	struct aq *aq = s.aq;

	free(arg);
	while (s.r) {
		leave(aq, s.r, stage_run(aq, s.r));
		s.r = take_any(aq);
		queues_pump(aq);
	}
	aq->workers--;
	if (aq->stopping && !aq->workers)
		fiber_queue_wake_all(&aq->idle);
}

static bool start_worker(struct aq *aq, struct aq_rec *r)
{
	struct start *s = malloc(sizeof(*s));
	struct err ignored;

	if (s) {
		*s = (struct start){ aq, r };
		if (fiber_spawn("queue worker", worker, s, &ignored) == ST_OK) {
			aq->workers++;
			return true;
		}
		free(s);
	}
	/* Too many fibers: back to the front; the next one that ends takes it. */
	aq->queues[r->queue].active--;
	r->active = false;
	link_after(&aq->queues[r->queue], NULL, r);
	return false;
}

void queues_pump(struct aq *aq)
{
	struct aq_rec *r;

	while (aq->started && (r = take_any(aq)))
		if (!start_worker(aq, r))
			return;
}

/* ---- time ---- */

static void time_is_up(void *arg)
{
	struct aq *aq = arg;
	int64_t now = clock_real();

	for (int k = 0; k < AQ_QUEUE_KINDS; k++) {
		struct aq_queue *q = &aq->queues[k];

		while (waits_for_time(q->kind) && q->head && q->head->next_try <= now) {
			struct aq_rec *r = q->head;

			cut(q, r);
			q->bytes -= r->size;
			queue_put(aq, r, AQ_Q_SUBMISSION);
		}
	}
	set_clock(aq);
	queues_pump(aq);
}

static void set_clock(struct aq *aq)
{
	int64_t first = INT64_MAX, now = clock_real();

	for (int k = 0; k < AQ_QUEUE_KINDS; k++) {
		const struct aq_queue *q = &aq->queues[k];

		if (waits_for_time(q->kind) && q->head && q->head->next_try < first)
			first = q->head->next_try;
	}
	if (first == INT64_MAX || aq->stopping)
		timer_clear(&aq->retry);
	else
		timer_set(&aq->retry, clock_mono() + (first > now ? first - now : 0), time_is_up,
			  aq);
}

void queue_cut(struct aq *aq, struct aq_rec *r)
{
	struct aq_queue *q = &aq->queues[r->queue];

	cut(q, r);
	q->bytes -= r->size;
}

void retry_store_back(struct aq *aq)
{
	struct aq_queue *q = &aq->queues[AQ_Q_RETRY];

	for (struct aq_rec *r = q->head, *next; r; r = next) {
		next = r->next;
		if (r->error != ST_GONE && r->error != ST_TIMEOUT)
			continue;
		queue_cut(aq, r);
		queue_put(aq, r, AQ_Q_SUBMISSION);
	}
	set_clock(aq);
}
