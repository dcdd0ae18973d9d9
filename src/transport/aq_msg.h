/* aq_msg.h - a message in the hands of the sinks; see aq.h.
 *
 * A sink reads and changes the fields here; it runs on the engine's loop, one sink at a time for a
 * message.  What is in memory only: after a restart, and before another attempt, the events are
 * raised again from the beginning.  What must last (recipients that are done) is in the live properties
 * and put there by the engine. */
#ifndef TRANSPORT_AQ_MSG_H
#define TRANSPORT_AQ_MSG_H

#include "transport/aq.h"

/* Where a recipient goes; the router's decision. */
enum aq_route {
	AQ_ROUTE_NONE,  /* not decided yet */
	AQ_ROUTE_LOCAL, /* by the store driver */
	AQ_ROUTE_NOWHERE
};

/* A final recipient: what the envelope's recipients came to. */
struct aq_rcpt {
	struct span address;  /* in the message's pool, as are the others */
	struct span original; /* the envelope's address that led here (RP_DSN_PRE_CAT_ADDRESS) */
	struct span notify;   /* NOTIFY= of that one */
	uint64_t mailbox_id;  /* of a mailbox here, 0 for none */
	enum aq_route route;
	uint32_t
		flags; /* mailmsg_rcpt_flag bits; with RP_HANDLED nothing is done for it any more */
	enum st error; /* of the last attempt */
	struct span text; /* and in words, with its enhanced code: "5.1.1 no such mailbox" */
};

/* What an AQ_TRACK sink is told; the numbers are Exchange's. */
enum aq_track_event {
	TRACK_SUBMITTED = 1019, /* to the engine */
	TRACK_BADMAIL = 1021,
	TRACK_FAILED = 1022,    /* a recipient, for good */
	TRACK_DELIVERED = 1023, /* a recipient, into its mailbox */
	TRACK_TO_CATEGORIZER = 1024,
	TRACK_STARTED = 1025,
	TRACK_REPORTED = 1030, /* a non-delivery report was made */
	TRACK_CATEGORIZE_RETRY = 1032,
	TRACK_CATEGORIZED = 1033, /* and queued for routing */
	TRACK_QUEUED_LOCAL = 1036,
	TRACK_LOCAL_RETRY = 1037
};

struct aq_msg {
	struct aq *aq;
	struct mailmsg *m; /* loaded */
	struct pool *pool; /* lives as long as this; up to AQ_MSG_POOL */
	struct mailmsg_envelope env;
	struct mailmsg_live live; /* as of the last attempt */
	/* the categorizer's work */
	bool categorized, sender_local;
	struct aq_rcpt *rcpts;
	size_t nrcpts;
	/* What keeps the message from going on: set by a sink, then the engine puts it back and tries again
	 * later.  ST_OK: nothing does. */
	enum st trouble;
	struct err why;
	/* for AQ_TRACK */
	enum aq_track_event track;
	const struct aq_rcpt *track_rcpt; /* or NULL: the message */
	/* private to the engine */
	struct aq_rec *rec;
	struct fiber *pending;
	enum aq_result answer;
	bool answered, routed;
	bool hurried;   /* a session waits for it: short deadlines, and then again without them */
	uint64_t epoch; /* of the binding when the stage began */
};
#define AQ_MSG_POOL (256u * 1024 * 1024)

/* A sink can't do its work now: the message waits.  Returns SINK_CONSUMED, so that no other sink goes on. */
enum aq_result aq_trouble(struct aq_msg *m, enum st st, const struct err *why);
/* A recipient is done for good.  `code` is an enhanced status ("5.1.1"). */
void aq_rcpt_failed(struct aq_msg *m, struct aq_rcpt *r, enum st st, uint32_t context,
		    const char *code, const char *words);
/* Something happened: calls the AQ_TRACK sinks. */
void aq_track(struct aq_msg *m, enum aq_track_event event, const struct aq_rcpt *r);

#endif
