/* logline.c - one event, one line, one write(2); see logline.h. */
#include "base/logline.h"

#include "base/clock.h"
#include "base/timetext.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
static const char cut_mark[] = " cut=true";

static struct {
	char program[32];
	enum log_level least;
	bool journal;
} self = { .program = "mailroot", .least = LOG_INFO };

static const struct {
	const char *name;
	char priority; /* syslog's, as sd-daemon(3) wants it */
} levels[] = {
	[LOG_DEBUG] = { "debug", '7' },   [LOG_INFO] = { "info", '6' },
	[LOG_NOTICE] = { "notice", '5' }, [LOG_WARN] = { "warn", '4' },
	[LOG_ERROR] = { "error", '3' },
};

/* systemd names the journal's socket by device and inode; a redirected stderr is another file. */
static bool stderr_is_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	struct stat st;
	char mine[64];

	if (!named || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(named, mine) == 0;
}

void log_open(const char *program, enum log_level least)
{
	snprintf(self.program, sizeof(self.program), "%s", program);
	self.least = least;
	self.journal = stderr_is_journal();
}

bool log_wants(enum log_level level)
{
	return level >= self.least;
}

struct line {
	char at[LINE_MAX_BYTES];
	size_t len, end; /* `end` leaves room for the closing quote, the cut mark and the newline */
	bool cut;
};

static bool put(struct line *l, struct span s)
{
	if (l->cut || s.len > l->end - l->len) {
		l->cut = true;
		return false;
	}
	memcpy(l->at + l->len, s.at, s.len);
	l->len += s.len;
	return true;
}

static bool needs_quotes(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];

		if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\')
			return true;
	}
	return s.len == 0;
}

/* One character of a quoted value; returns how many bytes of `s` it used. */
static size_t put_quoted_char(struct line *l, struct span s)
{
	char hex[5];
	size_t len = span_utf8(s);
	unsigned char c = (unsigned char)s.at[0];
	/* C1 controls (U+0080 to U+009F) can steer a terminal as well as C0 can. */
	bool control = c < ' ' || c == 0x7F || (c == 0xC2 && len == 2 && (s.at[1] & 0xE0) == 0x80);

	if (c == '"' || c == '\\') {
		char pair[2] = { '\\', (char)c };

		put(l, span_of(pair, 2));
		return 1;
	}
	if (len && !control) {
		put(l, span_cut(s, len));
		return len;
	}
	if (c == '\n' || c == '\r' || c == '\t') {
		put(l, c == '\n' ? SPAN("\\n") : c == '\r' ? SPAN("\\r") : SPAN("\\t"));
		return 1;
	}
	snprintf(hex, sizeof(hex), "\\x%02x", c);
	put(l, span_of(hex, 4));
	return 1;
}

static void put_value(struct line *l, struct span s)
{
	if (!needs_quotes(s)) {
		/* A bare value may be cut anywhere: it has no quote to close. */
		if (!put(l, s) && l->end > l->len) {
			size_t part = l->end - l->len;

			memcpy(l->at + l->len, s.at, part);
			l->len += part;
		}
		return;
	}
	if (!put(l, SPAN("\"")))
		return;
	while (s.len && !l->cut)
		s = span_skip(s, put_quoted_char(l, s));
	l->at[l->len++] = '"'; /* `end` kept its place */
}

static void put_text(struct line *l, const char *key, struct span value)
{
	/* Room for the key, '=' and an opening quote, or nothing of it. */
	if (l->cut || strlen(key) + 3 > l->end - l->len) {
		l->cut = true;
		return;
	}
	if (l->len)
		put(l, SPAN(" "));
	put(l, span_str(key));
	put(l, SPAN("="));
	put_value(l, value);
}

static void put_field(struct line *l, const struct log_field *f)
{
	char number[24];

	switch (f->kind) {
	case LF_SPAN:
		put_text(l, f->key, f->text);
		return;
	case LF_U64:
		snprintf(number, sizeof(number), "%" PRIu64, f->num);
		break;
	case LF_I64:
		snprintf(number, sizeof(number), "%" PRId64, (int64_t)f->num);
		break;
	case LF_END:
		return;
	}
	put_text(l, f->key, span_str(number));
}

static void put_time(struct line *l)
{
	char text[TIME_TEXT];

	put_text(l, "time", span_str(time_write(text, clock_real(), 3)));
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields)
{
	struct line l = { .end = LINE_MAX_BYTES - sizeof(cut_mark) - 4 };
	char prefix[4] = { '<', levels[level].priority, '>', 0 };

	if (!log_wants(level))
		return;
	if (!self.journal)
		put_time(&l);
	put_text(&l, "level", span_str(levels[level].name));
	put_text(&l, "program", span_str(self.program));
	put_text(&l, "event", span_str(event));
	for (; fields->kind != LF_END; fields++)
		put_field(&l, fields);
	if (l.cut) {
		memcpy(l.at + l.len, cut_mark, sizeof(cut_mark) - 1);
		l.len += sizeof(cut_mark) - 1;
	}
	l.at[l.len++] = '\n';
	if (self.journal) {
		memmove(l.at + 3, l.at, l.len);
		memcpy(l.at, prefix, 3);
		l.len += 3;
	}
	/* There is nowhere to tell that standard error takes no more. */
	if (write(STDERR_FILENO, l.at, l.len) < 0)
		return;
}
