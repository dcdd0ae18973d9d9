/* logline.h - one event, one line: logfmt (key=value), to standard error, or to the journal under
 * systemd (JOURNAL_STREAM names our stderr: then a "<N>" level prefix is used and no time).
 *
 * Any thread.  A line is one write(2) and is cut at 2 KiB.  Values are quoted where they hold
 * blanks, quotes, '=' or bytes below 0x20 (escaped): nothing a peer sends can forge a line.
 * Only the edges log (sessions, daemons, commands); libraries return errors. */
#ifndef BASE_LOGLINE_H
#define BASE_LOGLINE_H

#include "base/span.h"
#include "base/st.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARN, LOG_ERROR };

/* Program name for every line (mailroot-inet ...); minimum level.  Call once, before threads. */
void log_open(const char *program, enum log_level least);
bool log_wants(enum log_level level);

/* Fields: pairs of a literal key and a value made with one of these.
 *	log_event(LOG_INFO, "delivered", LS("mailbox", name), LU("uid", uid)); */
struct log_field {
	const char *key;
	enum { LF_END, LF_SPAN, LF_U64, LF_I64 } kind;
	struct span text;
	uint64_t num;
};
#define LS(k, s)                                                                                   \
	(struct log_field)                                                                         \
	{                                                                                          \
		k, LF_SPAN, (s), 0                                                                 \
	}
#define LC(k, s)                                                                                   \
	(struct log_field)                                                                         \
	{                                                                                          \
		k, LF_SPAN, span_str(s), 0                                                         \
	}
#define LU(k, n)                                                                                   \
	(struct log_field)                                                                         \
	{                                                                                          \
		k, LF_U64, SPAN_NONE, (uint64_t)(n)                                                \
	}
#define LI(k, n)                                                                                   \
	(struct log_field)                                                                         \
	{                                                                                          \
		k, LF_I64, SPAN_NONE, (uint64_t)(int64_t)(n)                                       \
	}
#define LE(e) LC("error", (e)->text)
#define log_event(level, event, ...)                                                               \
	log_fields(level, event, (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })
void log_fields(enum log_level level, const char *event, const struct log_field *fields);

#endif
