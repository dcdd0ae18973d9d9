/* track.c - message tracking: a line in the log for what happens to a message; the built-in AQ_TRACK sink. */
#include "transport/aq_private.h"

static const struct {
	enum aq_track_event event;
	const char *name;
	enum log_level level;
} events[] = {
	{ TRACK_SUBMITTED, "submitted", LOG_INFO },
	{ TRACK_STARTED, "submission started", LOG_DEBUG },
	{ TRACK_TO_CATEGORIZER, "to the categorizer", LOG_DEBUG },
	{ TRACK_CATEGORIZED, "categorized", LOG_DEBUG },
	{ TRACK_CATEGORIZE_RETRY, "categorizing tried again later", LOG_INFO },
	{ TRACK_QUEUED_LOCAL, "queued for local delivery", LOG_DEBUG },
	{ TRACK_DELIVERED, "delivered", LOG_INFO },
	{ TRACK_LOCAL_RETRY, "delivery tried again later", LOG_INFO },
	{ TRACK_FAILED, "recipient failed", LOG_NOTICE },
	{ TRACK_REPORTED, "report sent", LOG_NOTICE },
	{ TRACK_BADMAIL, "set aside to Badmail", LOG_WARN },
};

static void log_track(const struct aq_msg *m, enum log_level level, const char *name)
{
	const struct aq_rcpt *r = m->track_rcpt;
	struct log_field fields[8];
	size_t n = 0;

	fields[n++] = LU("track", m->track);
	fields[n++] = LC("message", mailmsg_name(m->m));
	fields[n++] = LS("from", m->env.sender);
	fields[n++] = LU("size", m->env.size);
	if (r)
		fields[n++] = LS("to", r->address);
	else
		fields[n++] = LU("recipients", m->env.nrcpts);
	if (r && r->text.len)
		fields[n++] = LS("status", r->text);
	fields[n] = (struct log_field){ 0 };
	log_fields(level, name, fields);
}

enum aq_result track_to_log(void *arg, struct aq_msg *m)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i].event == m->track) {
			if (log_wants(events[i].level))
				log_track(m, events[i].level, events[i].name);
			break;
		}
	return SINK_OK;
}
