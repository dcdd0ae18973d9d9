/* exsmtp.c - delivery: one body into N mailboxes, once.
 *
 * Each mailbox gets its own commit on its own loop; all of them are queued before any is waited for.  A
 * second delivery of the same MSG_GUID to a mailbox finds the row of the first, or waits for it while
 * it is under way. */
#include "store/call.h"
#include "store/directory.h"
#include "store/message.h"
#include "store/quota.h"

#include <stdlib.h>

#define FORGET_QUEUED 100 /* commits of one request that nobody waited for */

/* A delivery that is queued and not yet durable; in the mailbox's list. */
struct guid_inflight {
	struct guid_inflight *next;
	const void *job;
	char guid[GUID_BYTES];
};

struct slot {
	uint64_t mailbox;
	size_t place;       /* in the request */
	struct mailbox *mb; /* held from queueing to the end */
	struct change change;
	struct guid_inflight inflight;
	enum st st;
	bool queued;
};

/* What one shard has to do. */
struct job {
	struct store *store;
	struct content *content;
	char guid[GUID_BYTES];
	int64_t date;
	struct slot *slots; /* of all shards, ascending by mailbox; a job looks at its own */
	size_t nslots;
};

static struct span guid_of(const struct job *j)
{
	return span_of(j->guid, sizeof j->guid);
}

/* ---- once ---- */

static struct guid_inflight *inflight_find(const struct mailbox *mb, const struct job *j)
{
	struct guid_inflight *g = mb->delivering;

	while (g && memcmp(g->guid, j->guid, sizeof g->guid) != 0)
		g = g->next;
	return g;
}

static void inflight_enter(struct slot *s, const struct job *j)
{
	s->inflight.job = j;
	memcpy(s->inflight.guid, j->guid, sizeof j->guid);
	s->inflight.next = s->mb->delivering;
	s->mb->delivering = &s->inflight;
}

static void inflight_leave(struct slot *s)
{
	struct guid_inflight **at = &s->mb->delivering;

	while (*at != &s->inflight)
		at = &(*at)->next;
	*at = s->inflight.next;
	fiber_queue_wake_all(&s->mb->wake);
}

/* ST_EXISTS: this mailbox has it; ST_NOTFOUND: it has not.  May park. */
static enum st already_there(struct mailbox *mb, const struct job *j, struct err *err)
{
	struct guid_inflight *g;
	struct ese_value row;
	struct key k;
	enum st st;

	while ((g = inflight_find(mb, j))) {
		if (g->job == j) /* the mailbox is named twice */
			return ST_EXISTS;
		fiber_queue_wait(&mb->wake, NO_DEADLINE);
	}
	st = ese_get(mb->db->ese, key_named(&k, mb->id, BOX_DELIVERED, guid_of(j)), &row, err);
	if (st != ST_OK)
		return st;
	ese_value_free(&row);
	return ST_EXISTS;
}

/* ---- one mailbox ---- */

static enum st slot_queue(struct slot *s, struct job *j, struct err *err)
{
	struct new_message m = { .content = j->content, .date = j->date, .guid = guid_of(j) };
	struct folder *inbox = folder_by_number(s->mb, FOLDER_INBOX);
	uint32_t uid;
	enum st st;

	if (!inbox)
		return fail(err, ST_CORRUPT, "the mailbox has no INBOX");
	do {
		folder_ready(inbox);
		st = already_there(s->mb, j, err);
		if (st == ST_EXISTS)
			return ST_OK;
		if (st != ST_NOTFOUND)
			return st;
	} while (inbox->loading); /* it may have parked */
	st = quota_admit(s->mb, j->content->size, err);
	if (st == ST_OK)
		st = change_begin(&s->change, s->mb, err);
	if (st == ST_OK)
		st = message_add(&s->change, inbox, &m, &uid, err);
	s->queued = st == ST_OK;
	if (s->queued)
		inflight_enter(s, j);
	return st;
}

static void slot_start(struct slot *s, struct job *j, struct shard *sh)
{
	struct err err;

	s->st = mailbox_get(sh, s->mailbox, &s->mb, &err);
	if (s->st == ST_OK && s->mb->disconnected)
		s->st = ST_NOTFOUND;
	if (s->st == ST_OK)
		s->st = slot_queue(s, j, &err);
}

static void slot_finish(struct slot *s)
{
	if (s->queued) {
		change_wait(&s->change);
		inflight_leave(s);
	}
	if (s->mb)
		mailbox_put(s->mb);
}

/* In a fiber of the shard. */
static void job_run(struct shard *sh, void *arg)
{
	struct job *j = arg;

	for (size_t i = 0; i < j->nslots; i++)
		if (shard_of(j->store, j->slots[i].mailbox) == sh)
			slot_start(&j->slots[i], j, sh);
	for (size_t i = 0; i < j->nslots; i++)
		if (shard_of(j->store, j->slots[i].mailbox) == sh)
			slot_finish(&j->slots[i]);
}

static bool shard_has_slots(const struct job *j, const struct shard *sh)
{
	for (size_t i = 0; i < j->nslots; i++)
		if (shard_of(j->store, j->slots[i].mailbox) == sh)
			return true;
	return false;
}

static void shard_failed(struct job *j, const struct shard *sh, enum st st)
{
	for (size_t i = 0; i < j->nslots; i++)
		if (shard_of(j->store, j->slots[i].mailbox) == sh)
			j->slots[i].st = st;
}

static void job_everywhere(struct job *j, struct shard *here)
{
	struct hop hops[EXIPC_LOOPS_MAX];
	struct store *s = j->store;

	for (unsigned i = 0; i < s->nshards; i++) {
		struct shard *sh = &s->shards[i];

		hops[i].to = NULL;
		if (sh != here && shard_has_slots(j, sh))
			hop_start(&hops[i], sh, job_run, j);
	}
	job_run(here, j);
	for (unsigned i = 0; i < s->nshards; i++)
		if (hops[i].to) {
			enum st st = hop_wait(&hops[i], NULL);

			if (st != ST_OK)
				shard_failed(j, hops[i].to, st);
		}
}

/* ---- the requests ---- */

static enum st read_guid(const struct call *c, char *guid, struct err *err)
{
	struct span s = plist_span(&c->in, PR_MSG_GUID);

	if (s.len != GUID_BYTES)
		return fail(err, ST_BAD, "MSG_GUID must be %d bytes", GUID_BYTES);
	memcpy(guid, s.at, GUID_BYTES);
	return ST_OK;
}

static enum st read_mailboxes(const struct call *c, size_t *n, struct err *err)
{
	*n = plist_mv_count(&c->in, PR_RECIPIENT_MAILBOXES);
	if (!*n || *n > RECIPIENTS_MAX)
		return fail(err, ST_BAD, "1 to %d mailboxes, not %zu", RECIPIENTS_MAX, *n);
	return ST_OK;
}

static enum st put_statuses(struct call *c, const struct job *j, struct err *err)
{
	uint64_t *st = calloc(j->nslots, sizeof *st);

	if (!st)
		return fail(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < j->nslots; i++)
		st[j->slots[i].place] = j->slots[i].st;
	pw_mv_num(call_reply(c, 1), PR_STATUSES, st, j->nslots);
	free(st);
	return ST_OK;
}

static int by_mailbox(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	if (x->mailbox != y->mailbox)
		return x->mailbox < y->mailbox ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* In the order of the mailboxes: two deliveries of one guid, each of which waits for mailboxes that the other has
 * entered, must not wait in a circle. */
static enum st make_slots(struct call *c, struct job *j, struct err *err)
{
	j->slots = calloc(j->nslots, sizeof *j->slots);
	if (!j->slots)
		return fail(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < j->nslots; i++) {
		j->slots[i].mailbox = plist_mv_num(&c->in, PR_RECIPIENT_MAILBOXES, i);
		j->slots[i].place = i;
	}
	qsort(j->slots, j->nslots, sizeof *j->slots, by_mailbox);
	return ST_OK;
}

enum st serve_SMTP_DELIVER(struct call *c, struct err *err)
{
	struct job j = { .store = c->store };
	size_t n;
	uint64_t *mailboxes = recipient_mailboxes(&c->in, RECIPIENTS_MAX, &n);
	enum st st = content_of_request(c->shard, c->rq, &c->in, mailboxes, n, &j.content, err);

	free(mailboxes);
	if (st != ST_OK)
		return st;
	j.date = (int64_t)plist_u64(&c->in, PR_MESSAGE_DELIVERY_TIME, (uint64_t)clock_real());
	st = read_guid(c, j.guid, err);
	if (st == ST_OK)
		st = read_mailboxes(c, &j.nslots, err);
	if (st == ST_OK)
		st = make_slots(c, &j, err);
	if (st == ST_OK) {
		job_everywhere(&j, c->shard);
		st = put_statuses(c, &j, err);
	}
	free(j.slots);
	content_drop(j.content);
	return st;
}

static void forgotten(void *arg)
{
	(void)arg;
}

/* Where the mailbox is not to be had its row stays until it is old. */
static enum st forget_one(struct store *s, uint64_t mailbox, const char *guid, bool wait,
			  struct err *err)
{
	struct database *db;
	struct ese_batch *b;
	struct key k;
	enum st st = database_of_mailbox(s, mailbox, &db, err);

	if (st == ST_NOTFOUND || st == ST_GONE)
		return ST_OK;
	if (st != ST_OK)
		return st;
	st = ese_batch_new(db->ese, mailbox, &b, err);
	if (st == ST_OK) {
		ese_delete(b, key_named(&k, mailbox, BOX_DELIVERED, span_of(guid, GUID_BYTES)));
		st = wait ? commit_wait(b, err) : ese_commit(b, forgotten, NULL, err);
	}
	database_release(db);
	return st;
}

/* Needs no mailbox in memory: nobody reads these rows but a delivery of the same guid, which the transport
 * has given up. */
enum st serve_SMTP_FORGET(struct call *c, struct err *err)
{
	char guid[GUID_BYTES];
	size_t n;
	enum st st = read_guid(c, guid, err);

	if (st == ST_OK)
		st = read_mailboxes(c, &n, err);
	for (size_t i = 0; st == ST_OK && i < n; i++)
		/* The queue of the log is memory: what comes in thousands waits for it now and then. */
		st = forget_one(c->store, plist_mv_num(&c->in, PR_RECIPIENT_MAILBOXES, i), guid,
				(i + 1) % FORGET_QUEUED == 0, err);
	return st;
}
