/* categorizer.c - who the recipients really are: the built-in AQ_CATEGORIZE sink.
 *
 * Resolves the sender and every recipient through DSAccess, follows aliases (an alias may name aliases; what
 * was visited once is not visited again, so loops end), and marks those that do not exist.  One mailbox gets
 * one delivery however many addresses lead to it.  What the last attempt finished stays finished. */
#include "transport/aq_private.h"

#define DEPTH_MAX     20
#define EXPANSION_MAX 1000000

/* Byte strings that were seen, and in which round (recipient of the envelope), in the message's pool. */
struct seen {
	struct seen_slot {
		struct span key;
		size_t round;
	} * slots;
	size_t n, room; /* room: a power of two, 0 at first */
};

struct work {
	struct aq_msg *m;
	struct seen addresses, mailboxes;
	size_t room;    /* of m->rcpts */
	size_t live_at; /* where the last attempt's note of a recipient is likely to be */
	/* the envelope's recipient under way */
	size_t round;
	struct span original, notify;
	bool found; /* it led somewhere */
	enum st st;
	struct err err;
};

/* ---- what was seen ---- */

static size_t slot_of(const struct seen *s, struct span key)
{
	uint64_t h = 0xCBF29CE484222325u;
	size_t i;

	for (i = 0; i < key.len; i++)
		h = (h ^ (unsigned char)key.at[i]) * 0x100000001B3u;
	for (i = (h ^ h >> 32) & (s->room - 1);
	     s->slots[i].key.at && !span_eq(s->slots[i].key, key);)
		i = (i + 1) & (s->room - 1);
	return i;
}

static bool grow(struct seen *s, struct pool *pool)
{
	struct seen more = { .room = s->room ? 2 * s->room : 16, .n = s->n };

	more.slots = pool_get(pool, more.room * sizeof(*more.slots));
	if (!more.slots)
		return false;
	for (size_t i = 0; i < s->room; i++)
		if (s->slots[i].key.at)
			more.slots[slot_of(&more, s->slots[i].key)] = s->slots[i];
	*s = more;
	return true;
}

static enum st no_room(struct work *w)
{
	w->st = fail(&w->err, ST_TOOBIG, "the recipients do not fit into memory");
	return w->st;
}

/* True: new.  False: seen before, or no memory (w->st). */
static bool first_time(struct work *w, struct seen *s, struct span key)
{
	struct seen_slot *slot;

	if (2 * s->n >= s->room && !grow(s, w->m->pool)) {
		no_room(w);
		return false;
	}
	slot = &s->slots[slot_of(s, key)];
	if (slot->key.at) {
		/* Another recipient was led there; a loop stays within its own round. */
		w->found |= slot->round != w->round;
		return false;
	}
	*slot = (struct seen_slot){ pool_span(w->m->pool, key), w->round };
	if (!slot->key.at) {
		no_room(w);
		return false;
	}
	s->n++;
	return true;
}

/* ---- final recipients ---- */

/* What the last attempt noted of this address; the notes are in the order of the recipients then. */
static void apply_live(struct work *w, struct aq_rcpt *r)
{
	const struct mailmsg_live *live = &w->m->live;

	for (size_t i = 0; i < live->nrcpts; i++) {
		size_t at = (w->live_at + i) % live->nrcpts;
		const struct mailmsg_rcpt *done = &live->rcpts[at];

		if (!span_ieq(r->address, done->address))
			continue;
		r->flags = done->flags;
		r->error = done->error;
		r->text = done->error_text;
		w->live_at = at + 1;
		return;
	}
}

static struct aq_rcpt *add(struct work *w, struct span address)
{
	struct aq_msg *m = w->m;
	struct aq_rcpt *r;

	if (m->nrcpts == w->room) {
		size_t room = w->room ? 2 * w->room : 4;
		struct aq_rcpt *more =
			room <= EXPANSION_MAX * 2 ? pool_get(m->pool, room * sizeof(*more)) : NULL;

		if (!more) {
			no_room(w);
			return NULL;
		}
		if (m->nrcpts)
			memcpy(more, m->rcpts, m->nrcpts * sizeof(*more));
		m->rcpts = more;
		w->room = room;
	}
	r = &m->rcpts[m->nrcpts++];
	*r = (struct aq_rcpt){ .address = pool_span(m->pool, address),
			       .original = w->original,
			       .notify = w->notify };
	if (!r->address.at)
		no_room(w);
	apply_live(w, r);
	w->found = true;
	return r;
}

static void add_failed(struct work *w, struct span address, enum st st, const char *code,
		       const char *words)
{
	struct aq_rcpt *r = add(w, address);

	if (!r || r->flags & RP_HANDLED)
		return;
	if (st == ST_NOTFOUND)
		r->flags |= RP_UNRESOLVED;
	aq_rcpt_failed(w->m, r, st, RP_ERROR_CONTEXT_CAT, code, words);
}

static void add_mailbox(struct work *w, struct span address, const struct ds_object *o)
{
	struct aq_rcpt *r;

	if (o->disabled) {
		add_failed(w, address, ST_DENIED, "5.2.1", "the mailbox is disabled");
		return;
	}
	w->found = true;
	if (!first_time(w, &w->mailboxes, span_of(&o->mailbox_id, sizeof(o->mailbox_id))))
		return;
	r = add(w, o->user.len ? o->user : address);
	if (r)
		r->mailbox_id = o->mailbox_id;
}

/* ---- following ---- */

static void follow(struct work *w, struct span address, unsigned depth);

static void follow_alias(struct work *w, const struct ds_object *o, unsigned depth)
{
	w->m->env.rcpts[w->round].flags |= RP_EXPANDED;
	for (size_t i = 0; w->st == ST_OK && i < o->ntargets; i++)
		follow(w, o->targets[i], depth + 1);
}

static bool same_address(char *lower, struct span address, struct span *key)
{
	if (address.len > DS_ADDRESS_MAX)
		return false;
	for (size_t i = 0; i < address.len; i++) {
		char c = address.at[i];

		lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	*key = span_of(lower, address.len);
	return true;
}

static void follow(struct work *w, struct span address, unsigned depth)
{
	char lower[DS_ADDRESS_MAX];
	struct ds_object o = { 0 };
	struct span key;
	enum st st;

	if (depth > DEPTH_MAX || !same_address(lower, address, &key) ||
	    !first_time(w, &w->addresses, key))
		return;
	st = ds_resolve(w->m->aq->o.ds, address, w->m->pool, &o, &w->err);
	if (st == ST_OK && o.kind == OBJECT_MAILBOX)
		add_mailbox(w, address, &o);
	else if (st == ST_OK)
		follow_alias(w, &o, depth);
	else if (st == ST_NOTFOUND && o.domain_local)
		add_failed(w, address, ST_NOTFOUND, "5.1.1", "there is no such address here");
	else if (st == ST_NOTFOUND)
		(void)!add(w, address); /* somewhere else: the router's */
	else if (st == ST_BAD)
		add_failed(w, address, ST_BAD, "5.1.3", "that is not an address");
	else
		w->st = st; /* the directory can't say now */
}

/* ---- the sink ---- */

static enum st resolve_sender(struct aq_msg *m, struct err *err)
{
	struct ds_object o = { 0 };
	enum st st;

	if (!m->env.sender.len)
		return ST_OK;
	st = ds_resolve(m->aq->o.ds, m->env.sender, m->pool, &o, err);
	m->sender_local = st == ST_OK;
	return st == ST_NOTFOUND || st == ST_BAD ? ST_OK : st;
}

enum aq_result categorizer(void *arg, struct aq_msg *m)
{
	struct work w = { .m = m };

	(void)arg;
	m->rcpts = NULL;
	m->nrcpts = 0;
	w.st = resolve_sender(m, &w.err);
	for (size_t i = 0; w.st == ST_OK && i < m->env.nrcpts; i++) {
		struct mailmsg_rcpt *r = &m->env.rcpts[i];

		w.round = i;
		w.original = r->address;
		w.notify = r->notify;
		w.found = false;
		follow(&w, r->address, 0);
		if (w.st == ST_OK && !w.found)
			add_failed(&w, w.original, ST_BAD, "5.4.6",
				   "the alias leads to nobody, or only to itself");
	}
	if (w.st != ST_OK)
		return aq_trouble(m, w.st, &w.err);
	return SINK_OK;
}

/* ---- routing: the built-in AQ_ROUTE sink ---- */

enum aq_result router(void *arg, struct aq_msg *m)
{
	(void)arg;
	for (size_t i = 0; i < m->nrcpts; i++) {
		struct aq_rcpt *r = &m->rcpts[i];

		if (r->flags & RP_HANDLED || r->route != AQ_ROUTE_NONE)
			continue;
		r->route = r->mailbox_id ? AQ_ROUTE_LOCAL : AQ_ROUTE_NOWHERE;
		if (r->route == AQ_ROUTE_NOWHERE)
			aq_rcpt_failed(m, r, ST_NOTFOUND, RP_ERROR_CONTEXT_MTA, "5.4.4",
				       "no route: this server does not send to other servers");
	}
	return SINK_OK;
}
