/* Any octets as an IMAP client's stream: what the reader makes of it must not depend on how the octets come
 * in, and what was taken apart must be sound.  The first octet chooses state, extensions and limits. */
#include "proto/imap/match.h"
#include "proto/imap/reader.h"
#include "proto/imap/reply.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_set(const struct imap_set *set, struct buf *log)
{
	struct uset out = { 0 };

	for (uint32_t i = 0; i < set->n; i++) {
		struct imap_range r = set->ranges[i];
		assert(!r.last || (r.first && r.first <= r.last));
	}
	assert(imap_set_resolve(set, 1000, &out) == ST_OK);
	uset_text(&out, log);
	uset_free(&out);
}

static unsigned check_key(const struct imap_key *k, unsigned depth, struct buf *log)
{
	unsigned nodes = 1;

	assert(depth <= IMAP_DEPTH_MAX + 3);
	assert((k->op == IMAP_KEY_AND || k->op == IMAP_KEY_OR) == (k->kids && k->kids->next));
	assert((k->op == IMAP_KEY_NOT) == (k->kids && !k->kids->next));
	buf_printf(log, " %u=%llu", k->op, (unsigned long long)k->num);
	buf_span(log, k->name);
	buf_span(log, k->text);
	check_set(&k->set, log);
	for (const struct imap_key *kid = k->kids; kid; kid = kid->next)
		nodes += check_key(kid, depth + 1, log);
	return nodes;
}

static void check_arguments(const struct imap_command *c, struct buf *log)
{
	switch (c->verb->id) {
	case IMAP_LOGIN:
		imap_put_astring(log, c->login.user);
		imap_put_astring(log, c->login.password);
		break;
	case IMAP_SELECT:
		imap_put_mailbox(log, c->select.mailbox);
		break;
	case IMAP_RENAME:
		imap_put_mailbox(log, c->rename.from);
		imap_put_mailbox(log, c->rename.to);
		break;
	case IMAP_LIST:
		imap_put_mailbox(log, c->list.reference);
		for (uint32_t i = 0; i < c->list.npatterns; i++) {
			imap_put_mailbox(log, c->list.patterns[i]);
			imap_list_match(c->list.patterns[i], SPAN("INBOX/a b/c"), '/');
		}
		break;
	case IMAP_APPEND:
		imap_put_flags(log, c->append.flags.system, c->append.flags.keywords,
			       c->append.flags.nkeywords);
		imap_put_date_time(log, c->append.date, c->append.zone);
		break;
	case IMAP_ID:
		imap_put_id(log, c->id.pairs, c->id.n);
		break;
	case IMAP_SEARCH:
		assert(check_key(c->search.key, 0, log) <= IMAP_KEYS_MAX);
		break;
	case IMAP_FETCH:
		check_set(&c->fetch.set, log);
		for (uint32_t i = 0; i < c->fetch.nitems; i++)
			imap_put_item_name(log, &c->fetch.items[i]);
		break;
	case IMAP_STORE:
		check_set(&c->store.set, log);
		imap_put_flags(log, c->store.flags.system, c->store.flags.keywords,
			       c->store.flags.nkeywords);
		break;
	default:
		break;
	}
}

static void check_command(const struct imap_command *c, enum imap_state state, struct buf *log)
{
	assert(c->tag.len && (c->verb->states & state));
	buf_span(log, c->tag);
	buf_str(log, c->verb->name);
	check_arguments(c, log);
	buf_char(log, '\n');
}

struct session {
	struct imap_reader r;
	enum imap_state state;
	struct pool *pool;
	struct span in;
	size_t at, there, step;
	struct buf log;
};

static bool more(struct session *s)
{
	if (s->there == s->in.len)
		return false;
	s->there += s->step;
	if (s->there > s->in.len)
		s->there = s->in.len;
	return true;
}

static bool stream(struct session *s, uint64_t size)
{
	if (size > s->in.len - s->at)
		return false;
	s->at += (size_t)size;
	if (s->at > s->there)
		s->there = s->at;
	imap_reader_streamed(&s->r);
	return true;
}

static bool turn(struct session *s)
{
	struct imap_result res;
	size_t len = s->there - s->at;
	/* Memory of its own, so that looking past its end is seen. */
	char *block = malloc(len + !len);

	memcpy(block, s->in.at + s->at, len);
	enum imap_read got = imap_read(&s->r, s->state, span_of(block, len), s->pool, &res);
	free(block);
	assert(res.used <= len);
	s->at += res.used;
	switch (got) {
	case IMAP_READ_MORE:
		return more(s);
	case IMAP_READ_CONTINUE:
		buf_str(&s->log, "+\n");
		return true;
	case IMAP_READ_BAD:
		imap_put_bad(&s->log, &res);
		pool_back(s->pool, 0);
		return !res.close;
	case IMAP_READ_STREAM:
		check_command(res.cmd, s->state, &s->log);
		return stream(s, res.cmd->append.size);
	case IMAP_READ_COMMAND:
		check_command(res.cmd, s->state, &s->log);
		pool_back(s->pool, 0);
	}
	return true;
}

static struct buf run(struct span in, uint8_t mode, size_t step)
{
	static const enum imap_state states[] = { IMAP_NOT_AUTH, IMAP_AUTH, IMAP_SELECTED,
						  IMAP_SELECTED };
	struct session s = { .state = states[mode & 3],
			     .pool = pool_new("command", IMAP_POOL_MAX),
			     .in = in,
			     .step = step,
			     .log = BUF_MAX(64 * 1024 * 1024) };

	imap_reader_init(&s.r, mode & 4 ? ~0u : IMAP_EXT_SERVED);
	if (mode & 8)
		s.r.line_max = s.r.literals_max = 64;
	while (turn(&s))
		;
	pool_free(s.pool);
	assert(!s.log.failed);
	return s.log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct span in = span_of(data + 1, size - 1);
	struct buf whole = run(in, data[0], size), split = run(in, data[0], 1 + (data[0] >> 4));

	assert(span_eq(buf_get(&whole), buf_get(&split)));
	buf_free(&whole);
	buf_free(&split);
	return 0;
}
