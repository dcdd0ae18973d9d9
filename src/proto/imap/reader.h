/* reader.h - from the connection's unread octets to whole commands.
 *
 * One reader per connection, one thread; it holds no memory of its own (about 80 bytes), so an idle
 * connection costs nothing.  It leaves a command in the connection's input until it is whole and
 * takes it apart then; the input buffer must therefore be able to hold IMAP_INPUT_MAX octets.
 *
 * The order of calls:
 *
 *	imap_reader_init(&r, IMAP_EXT_SERVED);
 *	for (;;) {
 *		mark = pool_mark(pool);
 *		got = imap_read(&r, state, conn_input(c), pool, &res);
 *		conn_consume(c, res.used);              always, whatever it returned
 *		switch (got) {
 *		case IMAP_READ_MORE:     conn_fill(c, ...); break;
 *		case IMAP_READ_CONTINUE: write "+ OK\r\n", flush, conn_fill(c, ...); break;
 *		case IMAP_READ_COMMAND:  run res.cmd; break;
 *		case IMAP_READ_STREAM:   see below; break;
 *		case IMAP_READ_BAD:      imap_put_bad(&out, &res); write it;
 *		                         if (res.close) write BYE, conn_close(c);
 *		}
 *		pool_back(pool, mark);                  not after IMAP_READ_STREAM
 *	}
 *
 * IMAP_READ_STREAM is an APPEND that is whole up to its message.  The input now begins with the
 * first of cmd->append.size octets.  The session does one of two things:
 *  - takes it: writes "+ OK" if append.sync, reads exactly append.size octets from the connection,
 *    calls imap_reader_streamed(), and goes on with imap_read(): IMAP_READ_COMMAND (with the same cmd:
 *    commit, reply) or IMAP_READ_BAD (throw the message away, reply).  The pool keeps its place
 *    until then; the mark is the one from before IMAP_READ_STREAM.  Half-way through it may give up
 *    with imap_reader_abandon(), and writes a tagged NO.
 *  - refuses: calls imap_reader_refuse() and writes a tagged NO; if that returned false also BYE, and
 *    closes.  Octets that are already under way are thrown away by the next calls of imap_read().
 *
 * Between commands the session may read lines of its own from the same input (the "DONE" of IDLE, the
 * answers of AUTHENTICATE) with proto/line.h. */
#ifndef PROTO_IMAP_READER_H
#define PROTO_IMAP_READER_H

#include "base/pool.h"
#include "proto/imap/command.h"

/* What the connection's input buffer must hold, and a fair size for the pool of one command. */
#define IMAP_INPUT_MAX   (IMAP_LINE_MAX + IMAP_LITERALS_MAX + 1024)
#define IMAP_POOL_MAX    (1024u * 1024)
/* An unwanted literal longer than the one, a refused line longer than the other end the connection. */
#define IMAP_DISCARD_MAX (128u * 1024 * 1024)
#define IMAP_SKIP_MAX    (1024u * 1024)

enum imap_read {
	IMAP_READ_MORE,     /* nothing whole yet: call again when there is more input */
	IMAP_READ_CONTINUE, /* the client waits for "+" before it sends a literal; said once */
	IMAP_READ_COMMAND,  /* result.cmd */
	IMAP_READ_STREAM,   /* result.cmd: APPEND, its message comes next */
	IMAP_READ_BAD       /* result.tag, verb, text, close */
};

struct imap_result {
	size_t used; /* octets to consume before the next call */
	struct imap_command *cmd;
	/* IMAP_READ_BAD.  The reader throws away the rest of that command by itself. */
	struct span tag;              /* in the pool; "*" when none could be read */
	const struct imap_verb *verb; /* NULL: not known */
	const char *text;             /* what is wrong; constant */
	bool close;                   /* and nothing sensible can follow */
};

struct imap_reader {
	uint32_t exts; /* enum imap_ext switched on; may be changed between commands */
	uint32_t line_max,
		literals_max; /* may be lowered between commands (before authentication) */
	/* The rest belongs to the reader. */
	uint32_t phase;
	uint32_t segment; /* where in the input the text behind the last literal begins */
	uint32_t scanned; /* up to where there is nothing new; past the input inside a literal */
	uint32_t literals, nliterals; /* octets and number of gathered literals so far */
	uint64_t discard;             /* octets of an unwanted literal still to come */
	uint64_t skipped;             /* octets of a refused line so far */
	struct imap_command *open;    /* the APPEND between IMAP_READ_STREAM and its end */
};

/* `exts`: IMAP_EXT_SERVED, or what the configuration leaves of it. */
void imap_reader_init(struct imap_reader *r, uint32_t exts);

/* Look at `in`, ALL unread octets of the connection from the first one not consumed yet.  `state` gates
 * commands by their row.  Always fills *res.  On IMAP_READ_MORE and IMAP_READ_CONTINUE the pool is as it
 * was; on IMAP_READ_BAD it holds at most the tag.  A pool that is too small for a command
 * makes it BAD ("too complex").  Work is linear in the input. */
enum imap_read imap_read(struct imap_reader *r, enum imap_state state, struct span in,
			 struct pool *pool, struct imap_result *res);

/* The session has read the whole message of the APPEND. */
void imap_reader_streamed(struct imap_reader *r);
/* The session does not want it, and has neither said "+" nor read any of it.  false: it is on its way
 * and too long to be thrown away. */
bool imap_reader_refuse(struct imap_reader *r);
/* The session gives up in the middle, with `left` octets of the message still unread; they and the
 * end of the line are thrown away by the next calls.  No IMAP_READ_COMMAND follows.  false: as above. */
bool imap_reader_abandon(struct imap_reader *r, uint64_t left);

/* "tag BAD FETCH: text\r\n" */
void imap_put_bad(struct buf *out, const struct imap_result *res);

#endif
