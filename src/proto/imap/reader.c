/* reader.c - from the connection's unread octets to whole commands; see reader.h.
 *
 * A command is lines joined by literals.  Each time a line ends, its beginning is known to be good or
 * bad: the parser runs over all there is so far and stops where a literal is announced, so a client
 * is told before it sends octets in vain.  That is done for the first few literals only, which keeps the
 * work linear; a command with more is looked at once it is whole. */
#include "proto/imap/reader.h"

#include <assert.h>

#include "proto/imap/parse.h"

#define EARLY_LOOKS  8
/* Of a refused line enough is kept in the input to see the literal that its end may announce, in no
 * more octets than the second; however the line came in, that is what is looked at. */
#define SKIP_TAIL    64
#define SKIP_LITERAL (SKIP_TAIL - 4)

enum phase {
	PHASE_COMMAND, /* gathering */
	PHASE_STREAM,  /* the session reads the message of `open` */
	PHASE_TAIL,    /* the line's end behind it */
	PHASE_SKIP     /* throwing away a refused command: `discard` octets, then a line */
};

static const char bare_lf[] = "a line ends in CR LF";

void imap_reader_init(struct imap_reader *r, uint32_t exts)
{
	*r = (struct imap_reader){ .exts = exts,
				   .line_max = IMAP_LINE_MAX,
				   .literals_max = IMAP_LITERALS_MAX };
}

static void enter(struct imap_reader *r, enum phase phase)
{
	r->phase = phase;
	r->segment = r->scanned = r->literals = r->nliterals = 0;
	r->discard = r->skipped = 0;
	r->open = NULL;
}

/* ---- one command, as far as it is here ---- */

static bool tag_char(char c)
{
	return c != '+' && (c == ']' || parse_atom_char((unsigned char)c));
}

/* The tag that `in` begins with; absent when there is none to answer to. */
static struct span find_tag(struct span in)
{
	size_t n = 0;

	while (n < in.len && tag_char(in.at[n]))
		n++;
	bool ends = n < in.len && (in.at[n] == ' ' || in.at[n] == '\r' || in.at[n] == '\n');
	return n && n <= IMAP_TAG_MAX && ends ? span_cut(in, n) : SPAN_NONE;
}

static const char *not_now(const struct imap_verb *v, enum imap_state state)
{
	if (state == IMAP_NOT_AUTH)
		return "log in first";
	if (v->states == IMAP_NOT_AUTH)
		return "already logged in";
	return v->states == IMAP_AUTH ? "not while a mailbox is selected"
				      : "select a mailbox first";
}

static bool parse_verb(struct imap_parse *p, enum imap_state state, struct imap_command *c)
{
	struct span name = parse_name(p);
	bool uid = span_ieq(name, SPAN("UID"));

	if (uid) {
		if (!parse_sp(p))
			return false;
		name = parse_name(p);
	}
	const struct imap_verb *v = imap_verb_find(name, uid);
	if (!v || (v->ext & ~p->exts))
		return parse_bad(p, "no such command");
	c->verb = v;
	return (v->states & state) || parse_bad(p, not_now(v, state));
}

static bool parse_command(struct imap_parse *p, enum imap_state state, struct imap_command *c)
{
	struct span tag = find_tag(span_of(p->at, (size_t)(p->end - p->at)));

	if (!tag.at)
		return parse_bad(p, "a tag is expected");
	p->at += tag.len;
	char *copy = parse_get(p, tag.len);
	if (!copy || !parse_sp(p))
		return false;
	memcpy(copy, tag.at, tag.len);
	c->tag = span_of(copy, tag.len);
	return parse_verb(p, state, c) && c->verb->parse(p, c);
}

/* Take `lines` apart into the pool.  Where that is not the end of it, the pool is as before. */
static enum imap_stop look(const struct imap_reader *r, enum imap_state state, struct span lines,
			   struct pool *pool, struct imap_result *res)
{
	size_t mark = pool_mark(pool);
	struct imap_parse p = {
		.at = lines.at, .end = lines.at + lines.len, .pool = pool, .exts = r->exts
	};
	struct imap_command *c = parse_get(&p, sizeof(*c));

	if (c) {
		parse_command(&p, state, c);
		c->needs = p.needs;
		res->verb = c->verb;
	}
	if (p.stop == IMAP_STOP_NONE || p.stop == IMAP_STOP_STREAM) {
		res->cmd = c;
		return p.stop;
	}
	pool_back(pool, mark);
	res->text = p.why;
	return p.stop;
}

/* ---- refusing ---- */

/* Say BAD for the command that `in` begins with. */
static enum imap_read bad(struct span in, struct pool *pool, const char *why,
			  struct imap_result *res)
{
	struct span tag = find_tag(in);

	if (tag.at)
		tag = pool_span(pool, tag);
	res->tag = tag.at ? tag : SPAN("*");
	res->text = why;
	return IMAP_READ_BAD;
}

/* A refused line is over.  What follows is a new command, unless it announced a literal that comes
 * without being asked for.  false: that is too long to wait for its end. */
static bool line_over(struct imap_reader *r, struct span line)
{
	uint64_t octets;
	bool sync, more = imap_literal_at_end(line, &octets, &sync) && !sync;

	enter(r, more ? PHASE_SKIP : PHASE_COMMAND);
	if (more)
		r->discard = octets;
	return !more || octets <= IMAP_DISCARD_MAX;
}

/* Throw away.  true: done, or there was nothing to do; else *got is what to return. */
static bool skip(struct imap_reader *r, struct span in, struct imap_result *res,
		 enum imap_read *got)
{
	size_t n = r->discard < in.len ? (size_t)r->discard : in.len;

	r->discard -= n;
	res->used += n;
	in = span_skip(in, n);
	size_t lf = span_find(in, '\n');
	*got = IMAP_READ_MORE;
	if (r->discard || lf == SIZE_MAX) {
		n = r->discard || in.len <= SKIP_TAIL ? 0 : in.len - SKIP_TAIL;
		res->used += n;
		r->skipped += n;
		if (r->skipped > IMAP_SKIP_MAX) {
			*got = bad(SPAN_NONE, NULL, "the line has no end", res);
			res->close = true;
		}
		return false;
	}
	res->used += lf + 1;
	if (!lf || in.at[lf - 1] != '\r') {
		r->skipped += lf + 1;
		*got = bad(SPAN_NONE, NULL, bare_lf, res);
		return false;
	}
	struct span line = span_cut(in, lf - 1);
	if (line.len > SKIP_LITERAL)
		line = span_skip(line, line.len - SKIP_LITERAL);
	if (!line_over(r, line)) {
		*got = bad(SPAN_NONE, NULL, "the literal is too large", res);
		res->close = true;
		return false;
	}
	return true;
}

/* ---- gathering ---- */

/* The command so far, `lines`, ends with a line; `line` is its text without CR LF. */
static enum imap_read line_ends(struct imap_reader *r, enum imap_state state, struct span lines,
				struct span line, struct pool *pool, struct imap_result *res)
{
	uint64_t octets = 0;
	bool sync = false, literal = imap_literal_at_end(line, &octets, &sync);
	enum imap_stop stop = IMAP_STOP_LITERAL;

	if (!literal || r->nliterals < EARLY_LOOKS)
		stop = look(r, state, lines, pool, res);
	if (stop == IMAP_STOP_LITERAL && octets > r->literals_max - r->literals) {
		stop = IMAP_STOP_BAD;
		res->text = "the literals are too large";
	}
	if (stop == IMAP_STOP_LITERAL) {
		r->nliterals++;
		r->literals += (uint32_t)octets;
		r->segment = r->scanned = (uint32_t)(lines.len + octets);
		return sync ? IMAP_READ_CONTINUE : IMAP_READ_MORE;
	}
	res->used += lines.len;
	if (stop == IMAP_STOP_BAD) {
		res->close = !line_over(r, line);
		return bad(lines, pool, res->text, res);
	}
	enter(r, stop == IMAP_STOP_STREAM ? PHASE_STREAM : PHASE_COMMAND);
	if (stop == IMAP_STOP_NONE)
		return IMAP_READ_COMMAND;
	r->open = res->cmd;
	return IMAP_READ_STREAM;
}

/* A line that never becomes a command: too long, or with an LF alone. */
static enum imap_read refuse_line(struct imap_reader *r, struct span in, size_t used,
				  struct pool *pool, const char *why, struct imap_result *res)
{
	enter(r, PHASE_SKIP);
	res->used += used;
	res->verb = NULL;
	return bad(in, pool, why, res);
}

static enum imap_read gather(struct imap_reader *r, enum imap_state state, struct span in,
			     struct pool *pool, struct imap_result *res)
{
	enum imap_read got = IMAP_READ_MORE;

	while (got == IMAP_READ_MORE && in.len > r->scanned) {
		size_t lf = span_find(span_skip(in, r->scanned), '\n');
		size_t end = lf == SIZE_MAX ? in.len : r->scanned + lf + 1;

		if (end - r->literals > r->line_max) {
			/* What was seen of this line is looked at again, to see how it ends. */
			size_t tail = end - r->segment;
			tail = tail < SKIP_TAIL ? tail : SKIP_TAIL;
			return refuse_line(r, span_cut(in, r->line_max), end - tail, pool,
					   "the line is too long", res);
		}
		if (lf == SIZE_MAX) {
			r->scanned = (uint32_t)end;
			return IMAP_READ_MORE;
		}
		if (end - r->segment < 2 || in.at[end - 2] != '\r')
			return refuse_line(r, in, end, pool, bare_lf, res);
		got = line_ends(r, state, span_cut(in, end),
				span_cut(span_skip(in, r->segment), end - 2 - r->segment), pool,
				res);
	}
	return got;
}

/* ---- behind the message of APPEND ---- */

static enum imap_read tail(struct imap_reader *r, struct span in, struct imap_result *res)
{
	struct imap_command *open = r->open;

	res->cmd = open;
	res->verb = open->verb;
	if (span_has_prefix(in, SPAN("\r\n"))) {
		enter(r, PHASE_COMMAND);
		res->used += 2;
		return IMAP_READ_COMMAND;
	}
	if (span_has_prefix(SPAN("\r\n"), in))
		return IMAP_READ_MORE;
	enter(r, PHASE_SKIP);
	res->tag = open->tag;
	res->text = "the end of the line is expected behind the message";
	return IMAP_READ_BAD;
}

enum imap_read imap_read(struct imap_reader *r, enum imap_state state, struct span in,
			 struct pool *pool, struct imap_result *res)
{
	enum imap_read got;

	assert(r->phase != PHASE_STREAM);
	*res = (struct imap_result){ 0 };
	if (r->phase == PHASE_TAIL)
		return tail(r, in, res);
	while (r->phase == PHASE_SKIP) {
		if (!skip(r, span_skip(in, res->used), res, &got))
			return got;
	}
	return gather(r, state, span_skip(in, res->used), pool, res);
}

void imap_reader_streamed(struct imap_reader *r)
{
	assert(r->phase == PHASE_STREAM);
	r->phase = PHASE_TAIL;
}

bool imap_reader_abandon(struct imap_reader *r, uint64_t left)
{
	assert(r->phase == PHASE_STREAM);
	enter(r, PHASE_SKIP);
	r->discard = left;
	return left <= IMAP_DISCARD_MAX;
}

bool imap_reader_refuse(struct imap_reader *r)
{
	assert(r->phase == PHASE_STREAM);
	if (!r->open->append.sync)
		return imap_reader_abandon(r, r->open->append.size);
	enter(r, PHASE_COMMAND);
	return true;
}

void imap_put_bad(struct buf *out, const struct imap_result *res)
{
	buf_span(out, res->tag);
	buf_str(out, " BAD ");
	if (res->verb) {
		buf_str(out, res->verb->name);
		buf_str(out, ": ");
	}
	buf_str(out, res->text);
	buf_str(out, "\r\n");
}
