/* config.c - reading and writing mailroot.conf; see config.h.  The settings are in settings.c. */
#include "base/config.h"

#include "base/settings.h"

#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_NAME "mailroot.conf"
#define FILE_MAX  (1024 * 1024)

struct config {
	char *home;
	union {
		char *text;
		int64_t number;
	} values[]; /* by row of the table */
};

/* libconfuse's callbacks carry nothing of ours: what they report on. */
static struct {
	const char *name;
	struct err *err;
	bool reported; /* the first complaint is the one to show */
} reading;

static bool is_text(const struct setting *s)
{
	return s->type == SET_STR || s->type == SET_PATH || s->type == SET_CHOICE;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < settings_count; i++)
		if (is_text(&settings[i]))
			free(c->values[i].text);
	free(c->home);
	free(c);
}

static bool is_choice(const struct setting *s, const char *value)
{
	struct span word, rest = span_str(s->choices);

	while (rest.at) {
		word = span_split(rest, ' ', &rest);
		if (span_eq(word, span_str(value)))
			return true;
	}
	return false;
}

/* ---- what libconfuse calls ---- */

static void __attribute__((format(printf, 2, 0))) complain(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char unknown[] = "no such option '%s'";
	char text[200];

	if (reading.reported)
		return;
	reading.reported = true;
	vsnprintf(text, sizeof(text), strcmp(fmt, unknown) == 0 ? "no setting is called '%s'" : fmt,
		  ap);
	fail(reading.err, ST_BAD, "%s:%d: %s", reading.name, cfg->line, text);
}

static const struct setting *setting_of(const char *key)
{
	for (size_t i = 0; i < settings_count; i++)
		if (settings[i].key && strcmp(settings[i].key, key) == 0)
			return &settings[i];
	return NULL;
}

static int check_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct setting *s = setting_of(cfg_opt_name(opt));

	if (s->type == SET_INT) {
		int64_t n = cfg_opt_getnint(opt, 0);

		if (n >= s->min && n <= s->max)
			return 0;
		cfg_error(cfg, "%s = %" PRId64 " is out of range (%" PRId64 " to %" PRId64 ")",
			  s->key, n, s->min, s->max);
		return -1;
	}
	if (s->type == SET_CHOICE && !is_choice(s, cfg_opt_getnstr(opt, 0))) {
		cfg_error(cfg, "%s = \"%s\" is none of: %s", s->key, cfg_opt_getnstr(opt, 0),
			  s->choices);
		return -1;
	}
	return 0;
}

static cfg_t *parser_new(cfg_opt_t *opts)
{
	size_t n = 0;

	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];

		if (s->type == SET_INT)
			opts[n++] = (cfg_opt_t)CFG_INT(s->key, s->number, CFGF_NONE);
		else if (s->type == SET_BOOL)
			opts[n++] = (cfg_opt_t)CFG_BOOL(s->key, (cfg_bool_t)s->number, CFGF_NONE);
		else if (is_text(s))
			opts[n++] = (cfg_opt_t)CFG_STR(s->key, s->text, CFGF_NONE);
	}
	opts[n] = (cfg_opt_t)CFG_END();
	cfg_t *cfg = cfg_init(opts, CFGF_NONE);
	if (!cfg)
		return NULL;
	cfg_set_error_function(cfg, complain);
	for (size_t i = 0; i < n; i++)
		cfg_set_validate_func(cfg, opts[i].name, check_value);
	return cfg;
}

/* ---- from libconfuse's values to ours ---- */

static char *absolute(const char *base, const char *path)
{
	char *out;

	if (!*path || *path == '/')
		return strdup(path);
	return asprintf(&out, "%s/%s", base, path) < 0 ? NULL : out;
}

static char *absolute_home(const char *home)
{
	char cwd[PATH_MAX];
	char *real = realpath(home, NULL);

	if (real)
		return real;
	/* The home need not exist yet. */
	return getcwd(cwd, sizeof(cwd)) ? absolute(cwd, home) : NULL;
}

static char *own_hostname(void)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) < 0 || !name[0])
		return strdup("localhost");
	return strdup(name);
}

static char *text_value(const struct config *c, const struct setting *s, const char *given)
{
	if (s->type == SET_PATH)
		return absolute(c->home, given);
	if (strcmp(s->key, "hostname") == 0 && !*given)
		return own_hostname();
	return strdup(given);
}

static bool take_values(struct config *c, cfg_t *cfg)
{
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];

		if (s->type == SET_INT)
			c->values[i].number = cfg_getint(cfg, s->key);
		else if (s->type == SET_BOOL)
			c->values[i].number = cfg_getbool(cfg, s->key);
		else if (is_text(s) &&
			 !(c->values[i].text = text_value(c, s, cfg_getstr(cfg, s->key))))
			return false;
	}
	return true;
}

static enum st config_of(const char *home, cfg_t *cfg, struct config **out, struct err *err)
{
	struct config *c = calloc(1, sizeof(*c) + settings_count * sizeof(c->values[0]));

	if (c)
		c->home = absolute_home(home);
	if (!c || !c->home || !take_values(c, cfg)) {
		config_free(c);
		return fail(err, ST_NOMEM, "configuration: out of memory");
	}
	*out = c;
	return ST_OK;
}

/* Length of the quoted string, or of the comment (then *comment is set), that p begins with; or 1; 0 for
 * a comment that does not end. */
static size_t lexeme(const char *p, bool word_before, bool *comment)
{
	size_t len = 1;

	*comment = *p == '#' || (!word_before && p[0] == '/' && (p[1] == '/' || p[1] == '*'));
	if (*comment && *p == '/' && p[1] == '*') {
		const char *end = strstr(p + 2, "*/");

		return end ? (size_t)(end + 2 - p) : 0;
	}
	if (*comment)
		return strcspn(p, "\n");
	if (*p != '"' && *p != '\'')
		return 1;
	while (p[len] && p[len] != *p)
		len += p[len] == '\\' && p[len + 1] ? 2 : 1;
	return p[len] ? len + 1 : len;
}

/* Comments become blanks: libconfuse counts their lines twice, and an error must name the line that a
 * person sees; and it takes a comment that does not end for the end of the file. */
static enum st blank_comments(char *text, const char *name, struct err *err)
{
	bool comment, word = false;
	int line = 1;

	for (char *p = text; *p;) {
		size_t len = lexeme(p, word, &comment);

		if (!len)
			return fail(err, ST_BAD, "%s:%d: this comment does not end", name, line);
		word = !strchr(" \t\r\n=", *p) && !comment;
		for (; len; len--, p++) {
			if (*p == '\n')
				line++;
			else if (comment)
				*p = ' ';
		}
	}
	return ST_OK;
}

enum st config_parse(const char *home, const char *name, struct span text, struct config **out,
		     struct err *err)
{
	if (span_find(text, '\0') != SIZE_MAX)
		return fail(err, ST_BAD, "%s: not a text file (it holds a NUL)", name);
	enum st st = ST_NOMEM;
	cfg_opt_t *opts = calloc(settings_count + 1, sizeof(*opts));
	char *copy = strndup(text.at ? text.at : "", text.len);
	cfg_t *cfg = opts && copy ? parser_new(opts) : NULL;

	if (!cfg) {
		fail(err, st, "configuration: out of memory");
		goto out;
	}
	reading.name = name;
	reading.err = err;
	reading.reported = false;
	st = blank_comments(copy, name, err);
	/* libconfuse takes empty text for an error without a line. */
	if (st == ST_OK && copy[strspn(copy, " \t\r\n")] && cfg_parse_buf(cfg, copy) != CFG_SUCCESS)
		st = reading.reported ? ST_BAD : fail(err, ST_BAD, "%s: cannot be read", name);
	if (st == ST_OK)
		st = config_of(home, cfg, out, err);
	reading.err = NULL;
	cfg_free(cfg);
out:
	free(copy);
	free(opts);
	return st;
}

enum st config_defaults(const char *home, struct config **out, struct err *err)
{
	return config_parse(home, FILE_NAME, SPAN_NONE, out, err);
}

static enum st read_all(int fd, const char *path, struct buf *text, struct err *err)
{
	for (;;) {
		char *room = buf_room(text, 4096);
		if (!room)
			return fail(err, ST_BAD, "%s: too large", path);
		ssize_t n = read(fd, room, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(err, "%s", path);
		if (!n)
			return ST_OK;
		text->len += (size_t)n;
	}
}

enum st config_read(const char *home, struct config **out, struct err *err)
{
	struct buf text = BUF_MAX(FILE_MAX);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" FILE_NAME, home);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return fail(err, ST_NOTFOUND, "%s: no such file", path);
	if (fd < 0)
		return fail_errno(err, "%s", path);
	enum st st = read_all(fd, path, &text, err);
	close(fd);
	if (st == ST_OK)
		st = config_parse(home, path, buf_get(&text), out, err);
	buf_free(&text);
	return st;
}

/* ---- asking ---- */

const char *config_home(const struct config *c)
{
	return c->home;
}

static size_t row_of(const char *key)
{
	const struct setting *s = setting_of(key);

	if (!s)
		panic("no setting is called '%s'", key);
	return (size_t)(s - settings);
}

const char *config_str(const struct config *c, const char *key)
{
	size_t row = row_of(key);

	assert(is_text(&settings[row]));
	return c->values[row].text;
}

int64_t config_int(const struct config *c, const char *key)
{
	size_t row = row_of(key);

	assert(settings[row].type == SET_INT);
	return c->values[row].number;
}

bool config_bool(const struct config *c, const char *key)
{
	size_t row = row_of(key);

	assert(settings[row].type == SET_BOOL);
	return c->values[row].number;
}

/* ---- writing ---- */

/* The default as it would stand in the file, without quotes. */
static void put_default(struct buf *out, const struct setting *s)
{
	if (s->type == SET_INT)
		buf_u64(out, (uint64_t)s->number);
	else if (s->type == SET_BOOL)
		buf_str(out, s->number ? "true" : "false");
	else
		buf_str(out, s->text);
}

/* A string in the syntax of libconfuse, which replaces ${NAME} between double quotes only. */
static void put_quoted(struct buf *out, struct span text)
{
	char quote = span_find(text, '$') == SIZE_MAX ? '"' : '\'';

	buf_char(out, quote);
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] == quote || text.at[i] == '\\')
			buf_char(out, '\\');
		buf_char(out, text.at[i]);
	}
	buf_char(out, quote);
}

static void put_comment(struct buf *out, const char *text)
{
	struct span word, rest = span_str(text);
	size_t column = 0;

	while (rest.at) {
		word = span_split(rest, ' ', &rest);
		if (column && column + 1 + word.len > 98) {
			buf_char(out, '\n');
			column = 0;
		}
		buf_str(out, column ? " " : "# ");
		buf_span(out, word);
		column += (column ? 1 : 2) + word.len;
	}
	buf_char(out, '\n');
}

/* "Unit: bytes, 1024 to 99." or "One of: a b." */
static void put_range(struct buf *out, const struct setting *s)
{
	if (s->type == SET_CHOICE) {
		buf_printf(out, "One of: %s.", s->choices);
		return;
	}
	if (s->unit[0] && strcmp(s->unit, "port") != 0)
		buf_printf(out, "In %s, ", s->unit);
	buf_printf(out, "%" PRId64 " to %" PRId64 ".", s->min, s->max);
}

static const char *override_of(const char *const *overrides, const char *key)
{
	for (; overrides && *overrides; overrides += 2)
		if (strcmp(overrides[0], key) == 0)
			return overrides[1];
	return NULL;
}

static void write_setting(struct buf *out, const struct setting *s, const char *override)
{
	struct buf value = BUF_MAX(4096);

	buf_char(out, '\n');
	put_comment(out, s->meaning);
	if (s->type == SET_INT || s->type == SET_CHOICE) {
		buf_str(out, "# ");
		put_range(out, s);
		buf_char(out, '\n');
	}
	put_default(&value, s);
	if (override) {
		buf_clear(&value);
		buf_str(&value, override);
	}
	buf_printf(out, "%s%s = ", override ? "" : "#", s->key);
	if (is_text(s))
		put_quoted(out, buf_get(&value));
	else
		buf_span(out, buf_get(&value));
	buf_char(out, '\n');
	buf_free(&value);
}

void config_write(struct buf *out, const char *const *overrides)
{
	for (const char *const *o = overrides; o && *o; o += 2)
		row_of(*o);
	put_comment(
		out,
		"Settings of this Mailroot server. A line that begins with '#' is a comment; the"
		" ones below show each setting with its default. Programs read this at start.");
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];

		if (s->type == SET_GROUP)
			buf_printf(out, "\n# ---- %s ----\n", s->meaning);
		else
			write_setting(out, s, override_of(overrides, s->key));
	}
}

void config_man(struct buf *out)
{
	buf_str(out, ".SH SETTINGS\n");
	for (size_t i = 0; i < settings_count; i++) {
		const struct setting *s = &settings[i];

		if (s->type == SET_GROUP) {
			buf_printf(out, ".SS %s\n", s->meaning);
			continue;
		}
		buf_printf(out, ".TP\n.B %s\n", s->key);
		/* troff takes a leading quote or dot for a request. */
		buf_printf(out, "\\&%s\n", s->meaning);
		if (s->type == SET_INT || s->type == SET_CHOICE) {
			put_range(out, s);
			buf_char(out, '\n');
		}
		buf_str(out, "Default: ");
		put_default(out, s);
		buf_str(out, is_text(s) && !*s->text ? "empty.\n" : ".\n");
	}
}
