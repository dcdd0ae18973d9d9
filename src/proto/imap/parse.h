/* parse.h - the cursor and the words of the IMAP grammar (RFC 3501 section 9); for this folder only.
 *
 * A parser is a function that takes from the cursor what it names and returns true, or returns false
 * with p->stop set.  The octets under the cursor end with the CR LF of the last line there is; they
 * are the whole command, or its beginning up to the announcement of a literal. */
#ifndef PROTO_IMAP_PARSE_H
#define PROTO_IMAP_PARSE_H

#include "base/pool.h"
#include "proto/imap/command.h"

enum imap_stop {
	IMAP_STOP_NONE,
	IMAP_STOP_BAD,     /* p->why */
	IMAP_STOP_LITERAL, /* a literal is announced where one may stand; its octets are not here */
	IMAP_STOP_STREAM   /* the message literal of APPEND is announced; the command is filled */
};

struct imap_parse {
	const char *at, *end;
	struct pool *pool;
	uint32_t exts;  /* switched on */
	uint32_t needs; /* used so far */
	unsigned depth, keys;
	enum imap_stop stop;
	const char *why; /* constant */
};

/* ---- failing ---- */

bool parse_bad(struct imap_parse *p, const char *why); /* always false; the first reason stays */
bool parse_need(struct imap_parse *p, uint32_t ext);   /* false when it is not switched on */
bool parse_deeper(struct imap_parse *p);               /* the caller takes p->depth back */
/* From the pool, or NULL with p->stop set. */
void *parse_get(struct imap_parse *p, size_t len);
/* Room for one more behind n items of `size` octets: `items` itself or a larger copy of it. */
void *parse_grow(struct imap_parse *p, void *items, size_t n, size_t size);

/* ---- looking (never fail) ---- */

bool parse_atom_char(unsigned char c);
int parse_peek(const struct imap_parse *p);    /* -1 at the end */
bool parse_take(struct imap_parse *p, char c); /* if it is next */
/* Take `word` if it is next, whatever the case, with no letter, digit or '.' behind it. */
bool parse_take_word(struct imap_parse *p, const char *word);
/* The letters, digits, '.' and '-' that come next, maybe none; inside the input. */
struct span parse_name(struct imap_parse *p);

/* ---- words ---- */

/* Rows end with a NULL name. */
struct imap_word {
	const char *name;
	uint32_t value;
	uint32_t ext; /* the extension it belongs to, or 0 */
};
/* The row of that name without case, or NULL. */
const struct imap_word *imap_word(const struct imap_word *words, struct span name);

bool parse_end(struct imap_parse *p); /* CR LF, and nothing behind */
bool parse_sp(struct imap_parse *p);
bool parse_char(struct imap_parse *p, char c); /* '(' or ')' */
/* After an item of a parenthesized list: true with *more when SP follows, true without when ')' did. */
bool parse_list_next(struct imap_parse *p, bool *more);
bool parse_atom(struct imap_parse *p, struct span *out); /* inside the input */
bool parse_number(struct imap_parse *p, uint32_t *out);
bool parse_nz_number(struct imap_parse *p, uint32_t *out);
bool parse_number64(struct imap_parse *p, uint64_t *out); /* up to 2^63 - 1 */
/* These copy into the pool. */
bool parse_string(struct imap_parse *p, struct span *out);
bool parse_astring(struct imap_parse *p, struct span *out);
bool parse_upper_atom(struct imap_parse *p, struct span *out);
bool parse_mailbox(struct imap_parse *p, struct span *out);
bool parse_list_mailbox(struct imap_parse *p, struct span *out);
bool parse_set(struct imap_parse *p, struct imap_set *out);
/* "(" flags ")", or without parentheses one flag and more (`bare`). */
bool parse_flags(struct imap_parse *p, bool bare, struct imap_flags *out);
bool parse_date(struct imap_parse *p, uint64_t *days);
bool parse_date_time(struct imap_parse *p, int64_t *seconds, int16_t *zone);
/* "{n}" or "{n+}" CR LF, with nothing said about where its octets are. */
bool parse_literal_head(struct imap_parse *p, uint64_t *octets, bool *sync);
bool parse_status_items(struct imap_parse *p, uint32_t *out);

/* What ends a line if it announces a literal: "{n}" or "{n+}".  Numbers too large to count are
 * UINT64_MAX. */
bool imap_literal_at_end(struct span line, uint64_t *octets, bool *sync);

/* ---- the rows' parsers ---- */

typedef bool imap_parse_fn(struct imap_parse *p, struct imap_command *c);
imap_parse_fn parse_nothing, parse_login, parse_authenticate, parse_id, parse_enable;
imap_parse_fn parse_select, parse_create, parse_one_mailbox, parse_rename, parse_list, parse_lsub;
imap_parse_fn parse_status, parse_append, parse_search, parse_fetch, parse_store, parse_copy;
imap_parse_fn parse_uid_expunge;

#endif
