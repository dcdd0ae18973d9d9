/* aq_event.c - sinks by event and priority, and raising an event; see aq.h. */
#include "transport/aq_private.h"

enum st aq_sink_add(struct aq *aq, const struct aq_sink *sink, struct err *err)
{
	struct aq_sink *list = aq->sinks[sink->event];
	size_t *n = &aq->nsinks[sink->event], at = *n;

	if (*n == AQ_SINKS)
		return fail(err, ST_TOOBIG, "sink %s: the event has %d already", sink->name,
			    AQ_SINKS);
	/* Behind those of the same priority. */
	while (at && list[at - 1].priority > sink->priority)
		at--;
	memmove(&list[at + 1], &list[at], (*n - at) * sizeof(*list));
	list[at] = *sink;
	++*n;
	return ST_OK;
}

void aq_sink_done(struct aq_msg *m, enum aq_result result)
{
	m->answer = result;
	m->answered = true;
	if (m->pending)
		fiber_wake(m->pending);
}

static enum aq_result call(const struct aq_sink *sink, struct aq_msg *m)
{
	enum aq_result result;

	m->answered = false;
	result = sink->fn(sink->arg, m);
	if (result != SINK_PENDING)
		return result;
	m->pending = fiber_self();
	while (!m->answered)
		fiber_park(NO_DEADLINE);
	m->pending = NULL;
	return m->answer;
}

void event_raise(struct aq_msg *m, enum aq_event event)
{
	for (size_t i = 0; i < m->aq->nsinks[event]; i++)
		if (call(&m->aq->sinks[event][i], m) == SINK_CONSUMED)
			return;
}

enum aq_result aq_trouble(struct aq_msg *m, enum st st, const struct err *why)
{
	m->trouble = st;
	m->why = *why;
	return SINK_CONSUMED;
}

void aq_track(struct aq_msg *m, enum aq_track_event event, const struct aq_rcpt *r)
{
	m->track = event;
	m->track_rcpt = r;
	event_raise(m, AQ_TRACK);
}

void aq_rcpt_failed(struct aq_msg *m, struct aq_rcpt *r, enum st st, uint32_t context,
		    const char *code, const char *words)
{
	char *text = pool_printf(m->pool, "%s %s", code, words);

	r->flags |= RP_FAILED | context;
	r->error = st;
	r->text = text ? span_str(text) : SPAN("5.0.0 failed");
	m->aq->stats.failed_recipients++;
	aq_track(m, TRACK_FAILED, r);
}
