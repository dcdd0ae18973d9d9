/* backup_manifest.c - see backup_manifest.h. */
#include "ese/backup_manifest.h"

#include "base/pool.h"
#include "ese/hash.h"
#include "ese/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "mailroot-backup 1"

struct bk *bk_new(void)
{
	struct bk *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->pool = pool_new("backup manifest", BK_TEXT_MAX);
	if (!b->pool) {
		free(b);
		return NULL;
	}
	return b;
}

void bk_free(struct bk *b)
{
	if (!b)
		return;
	free(b->groups);
	free(b->dbs);
	free(b->logs);
	free(b->files);
	free(b->left_out);
	free(b->findings);
	pool_free(b->pool);
	free(b);
}

/* ---- adding ---- */

/* Arrays double at each power of two. */
static void *grow(void *array, size_t n, size_t size)
{
	if (n & (n - 1))
		return array;
	return realloc(array, (n ? n * 2 : 1) * size);
}

/* One more in `array` of `type`; the array stays as it was when there is no memory. */
static void *add(void *array_field, size_t *n, size_t size)
{
	void *old, *more;
	char *at;

	memcpy(&old, array_field, sizeof(old));
	more = grow(old, *n, size);
	if (!more)
		return NULL;
	memcpy(array_field, &more, sizeof(more));
	at = (char *)more + *n * size;
	memset(at, 0, size);
	++*n;
	return at;
}

struct bk_group *bk_add_group(struct bk *b)
{
	return add(&b->groups, &b->ngroups, sizeof(*b->groups));
}

struct bk_db *bk_add_db(struct bk *b)
{
	return add(&b->dbs, &b->ndbs, sizeof(*b->dbs));
}

struct bk_log *bk_add_log(struct bk *b)
{
	return add(&b->logs, &b->nlogs, sizeof(*b->logs));
}

struct bk_file *bk_add_file(struct bk *b)
{
	return add(&b->files, &b->nfiles, sizeof(*b->files));
}

struct bk_left_out *bk_add_left_out(struct bk *b)
{
	return add(&b->left_out, &b->nleft_out, sizeof(*b->left_out));
}

const char *bk_keep(struct bk *b, struct span text)
{
	char *copy = pool_cstr(b->pool, text);

	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return copy;
}

bool bk_add_finding(struct bk *b, const char *text)
{
	const char *copy = bk_keep(b, span_str(text)), **at;

	at = copy ? add(&b->findings, &b->nfindings, sizeof(*b->findings)) : NULL;
	if (at)
		*at = copy;
	return at != NULL;
}

const struct bk_group *bk_group_named(const struct bk *b, const char *name)
{
	for (size_t i = 0; i < b->ngroups; i++)
		if (strcmp(b->groups[i].name, name) == 0)
			return &b->groups[i];
	return NULL;
}

bool bk_path_ok(struct span path)
{
	struct span part, rest = path;

	if (path.len == 0 || path.len > 1024)
		return false;
	for (size_t i = 0; i < path.len; i++)
		if ((unsigned char)path.at[i] < ' ' || path.at[i] == 0x7f)
			return false;
	while (rest.at) {
		part = span_split(rest, '/', &rest);
		if (part.len == 0 || span_eq(part, SPAN(".")) || span_eq(part, SPAN("..")))
			return false;
	}
	return true;
}

/* ---- as text ---- */

void bk_hex(char *out, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	out[2 * n] = '\0';
}

static void put_groups(const struct bk *b, struct buf *out)
{
	char hex[2 * LOG_SIGNATURE + 1];

	for (size_t i = 0; i < b->ngroups; i++) {
		const struct bk_group *g = &b->groups[i];

		bk_hex(hex, g->signature, LOG_SIGNATURE);
		buf_printf(out, "group %s %s %s %u %u\n", g->name, hex,
			   g->circular ? "circular" : "logged", g->first, g->next);
	}
	for (size_t i = 0; i < b->ndbs; i++) {
		const struct bk_db *d = &b->dbs[i];

		buf_printf(out,
			   "database %s %s %016" PRIx64 " %016" PRIx64 " %" PRIu64 " %" PRIu64
			   " %" PRIu64 "\n",
			   d->group, d->name, d->id, d->position, d->stm_bytes, d->pages,
			   d->bodies);
	}
}

static void put_files(const struct bk *b, struct buf *out)
{
	char hex[2 * BK_HASH + 1];

	for (size_t i = 0; i < b->nlogs; i++) {
		const struct bk_log *l = &b->logs[i];

		bk_hex(hex, l->hash, BK_HASH);
		buf_printf(out, "log %s %u %" PRIu64 " %" PRIu64 " %s %u\n", hex, l->size,
			   l->created, l->prev_created, l->group, l->gen);
	}
	for (size_t i = 0; i < b->nfiles; i++) {
		const struct bk_file *f = &b->files[i];

		bk_hex(hex, f->hash, BK_HASH);
		buf_printf(out, "file %s %" PRIu64 " %o %s\n", hex, f->size, f->mode, f->path);
	}
}

enum st bk_write(const struct bk *b, struct buf *out, struct err *err)
{
	unsigned char hash[BK_HASH];
	char hex[2 * BK_HASH + 1];
	size_t from = out->len;

	buf_printf(out, HEAD "\nkind %s\nbegan %" PRIu64 "\nended %" PRIu64 "\nafter %s\n",
		   b->full ? "full" : "incremental", b->began, b->ended, b->after ? b->after : "-");
	put_groups(b, out);
	put_files(b, out);
	for (size_t i = 0; i < b->nleft_out; i++)
		buf_printf(out, "left-out %s %s %s\n", b->left_out[i].group, b->left_out[i].name,
			   b->left_out[i].why);
	for (size_t i = 0; i < b->nfindings; i++)
		buf_printf(out, "finding %s\n", b->findings[i]);
	if (out->failed || hash_of(span_skip(buf_get(out), from), hash, NULL) != ST_OK)
		return fail(err, ST_NOMEM, "the backup's manifest");
	bk_hex(hex, hash, BK_HASH);
	buf_printf(out, "end %s\n", hex);
	return out->failed ? fail(err, ST_NOMEM, "the backup's manifest") : ST_OK;
}

/* ---- reading ---- */

/* The words of a line, one after the other; the first that is no good makes ok false for good. */
struct words {
	struct bk *b;
	struct span rest;
	bool ok;
};

static struct span word(struct words *w)
{
	struct span s = SPAN_NONE;

	if (w->rest.at)
		s = span_split(w->rest, ' ', &w->rest);
	if (s.len == 0)
		w->ok = false;
	return s;
}

static const char *kept(struct words *w, struct span s)
{
	const char *copy = bk_keep(w->b, s);

	if (!copy)
		w->ok = false;
	return copy;
}

/* A name or a path: something that will be put behind a folder. */
static const char *path_word(struct words *w)
{
	struct span s = word(w);

	if (!bk_path_ok(s))
		w->ok = false;
	return kept(w, s);
}

/* The rest of the line. */
static const char *text_words(struct words *w)
{
	struct span s = w->rest;

	w->rest = SPAN_NONE;
	return kept(w, s);
}

static uint64_t number(struct words *w)
{
	uint64_t n = 0;

	if (!span_u64(word(w), &n))
		w->ok = false;
	return n;
}

static uint32_t number32(struct words *w)
{
	uint32_t n = 0;

	if (!span_u32(word(w), &n))
		w->ok = false;
	return n;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void hex_word(struct words *w, unsigned char *out, size_t n)
{
	struct span s = word(w);

	w->ok = w->ok && s.len == 2 * n;
	for (size_t i = 0; w->ok && i < n; i++) {
		int high = digit(s.at[2 * i]), low = digit(s.at[2 * i + 1]);

		w->ok = high >= 0 && low >= 0;
		if (w->ok)
			out[i] = (unsigned char)(high << 4 | low);
	}
}

static uint64_t hex64(struct words *w)
{
	unsigned char bytes[8] = { 0 };
	uint64_t n = 0;

	hex_word(w, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		n = n << 8 | bytes[i];
	return n;
}

static uint32_t octal(struct words *w)
{
	struct span s = word(w);
	uint32_t n = 0;

	w->ok = w->ok && s.len <= 4;
	for (size_t i = 0; w->ok && i < s.len; i++) {
		w->ok = s.at[i] >= '0' && s.at[i] <= '7';
		n = n << 3 | (uint32_t)(s.at[i] - '0');
	}
	return n;
}

static bool choice(struct words *w, struct span yes, struct span no)
{
	struct span s = word(w);

	if (!span_eq(s, yes) && !span_eq(s, no))
		w->ok = false;
	return span_eq(s, yes);
}

static void take_kind(struct words *w)
{
	w->b->full = choice(w, SPAN("full"), SPAN("incremental"));
}

static void take_began(struct words *w)
{
	w->b->began = number(w);
}

static void take_ended(struct words *w)
{
	w->b->ended = number(w);
}

static void take_after(struct words *w)
{
	const char *name = path_word(w);

	w->b->after = name && strcmp(name, "-") != 0 ? name : NULL;
}

static void take_group(struct words *w)
{
	struct bk_group *g = bk_add_group(w->b);

	w->ok = g != NULL;
	if (!g)
		return;
	g->name = path_word(w);
	hex_word(w, g->signature, LOG_SIGNATURE);
	g->circular = choice(w, SPAN("circular"), SPAN("logged"));
	g->first = number32(w);
	g->next = number32(w);
	w->ok = w->ok && g->first <= g->next;
}

static void take_database(struct words *w)
{
	struct bk_db *d = bk_add_db(w->b);

	w->ok = d != NULL;
	if (!d)
		return;
	d->group = path_word(w);
	d->name = path_word(w);
	d->id = hex64(w);
	d->position = hex64(w);
	d->stm_bytes = number(w);
	d->pages = number(w);
	d->bodies = number(w);
	w->ok = w->ok && bk_group_named(w->b, d->group) && d->stm_bytes % SEG_HEAD == 0;
}

static void take_log(struct words *w)
{
	struct bk_log *l = bk_add_log(w->b);

	w->ok = l != NULL;
	if (!l)
		return;
	hex_word(w, l->hash, BK_HASH);
	l->size = number32(w);
	l->created = number(w);
	l->prev_created = number(w);
	l->group = path_word(w);
	l->gen = number32(w);
	w->ok = w->ok && bk_group_named(w->b, l->group);
}

static void take_file(struct words *w)
{
	struct bk_file *f = bk_add_file(w->b);

	w->ok = f != NULL;
	if (!f)
		return;
	hex_word(w, f->hash, BK_HASH);
	f->size = number(w);
	f->mode = octal(w);
	w->ok = w->ok && bk_path_ok(w->rest);
	f->path = text_words(w);
}

static void take_left_out(struct words *w)
{
	struct bk_left_out *l = bk_add_left_out(w->b);

	w->ok = l != NULL;
	if (!l)
		return;
	l->group = path_word(w);
	l->name = path_word(w);
	l->why = text_words(w);
}

static void take_finding(struct words *w)
{
	const char *text = text_words(w);

	w->ok = text && bk_add_finding(w->b, text);
}

static const struct {
	const char *key;
	void (*take)(struct words *w);
	bool once;
} lines[] = {
	{ "kind", take_kind, true },          { "began", take_began, true },
	{ "ended", take_ended, true },        { "after", take_after, true },
	{ "group", take_group, false },       { "database", take_database, false },
	{ "log", take_log, false },           { "file", take_file, false },
	{ "left-out", take_left_out, false }, { "finding", take_finding, false },
};
#define NLINES (sizeof(lines) / sizeof(lines[0]))

/* The order of lines is that of the table; those that stand once must. */
static bool take_line(struct bk *b, struct span line, size_t *at)
{
	struct words w = { .b = b, .ok = true };
	struct span key = span_split(line, ' ', &w.rest);

	while (*at < NLINES && !span_eq(key, span_str(lines[*at].key)))
		if (lines[(*at)++].once)
			return false;
	if (*at == NLINES)
		return false;
	lines[*at].take(&w);
	if (lines[*at].once)
		++*at;
	return w.ok && !w.rest.at;
}

static bool take_lines(struct bk *b, struct span text)
{
	size_t at = 0;

	while (text.len > 0)
		if (!take_line(b, span_split(text, '\n', &text), &at))
			return false;
	return at >= 4;
}

/* The line "end HASH", which stands behind *body. */
static bool hash_fits(struct span text, struct span *body)
{
	const size_t len = strlen("end \n") + (size_t)2 * BK_HASH;
	unsigned char hash[BK_HASH];
	char want[2 * BK_HASH + 16], hex[2 * BK_HASH + 1];

	if (text.len < len || hash_of(span_cut(text, text.len - len), hash, NULL) != ST_OK)
		return false;
	bk_hex(hex, hash, BK_HASH);
	snprintf(want, sizeof(want), "end %s\n", hex);
	*body = span_cut(text, text.len - len);
	return memcmp(text.at + text.len - len, want, len) == 0;
}

enum st bk_read(struct span text, const char *name, struct bk **out, struct err *err)
{
	struct span body, head = span_split(text, '\n', &body);
	struct bk *b;

	if (!span_has_prefix(head, SPAN("mailroot-backup ")))
		return fail(err, ST_CORRUPT, "%s is no manifest of a backup", name);
	if (!hash_fits(text, &body))
		return fail(err, ST_CORRUPT, "%s is damaged: its hash does not fit", name);
	if (!span_eq(head, SPAN(HEAD)))
		return fail(err, ST_BAD, "%s: '" SPAN_FMT "' is newer than this program", name,
			    SPAN_ARG(span_cut(head, 80)));
	b = bk_new();
	if (!b)
		return fail(err, ST_NOMEM, "%s", name);
	if (!take_lines(b, span_skip(body, head.len + 1))) {
		bk_free(b);
		return fail(err, ST_CORRUPT, "%s makes no sense", name);
	}
	*out = b;
	return ST_OK;
}

/* ---- as a file ---- */

enum st bk_load(const char *folder, struct bk **out, struct err *err)
{
	struct buf text = BUF_MAX(BK_TEXT_MAX);
	char path[SEG_PATH_MAX];
	struct stat info;
	size_t got = 0;
	char *room;
	enum st st;
	int fd;

	snprintf(path, sizeof(path), "%s/" BK_NAME, folder);
	if (access(path, F_OK) < 0)
		return fail(err, ST_NOTFOUND, "%s is no finished backup: it has no " BK_NAME,
			    folder);
	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	if (fstat(fd, &info) < 0)
		st = fail_errno(err, "%s", path);
	room = st == ST_OK ? buf_room(&text, (size_t)info.st_size) : NULL;
	if (st == ST_OK && !room)
		st = fail(err, ST_TOOBIG, "%s: no memory for %lld bytes", path,
			  (long long)info.st_size);
	if (st == ST_OK)
		st = io_read(fd, room, (size_t)info.st_size, 0, &got, path, err);
	close(fd);
	if (st == ST_OK)
		st = bk_read(span_of(room, got), path, out, err);
	buf_free(&text);
	return st;
}

enum st bk_store(const struct bk *b, const char *folder, struct err *err)
{
	char part[SEG_PATH_MAX], path[SEG_PATH_MAX];
	struct buf text = BUF_MAX(BK_TEXT_MAX);
	enum st st = bk_write(b, &text, err);
	int fd;

	snprintf(path, sizeof(path), "%s/" BK_NAME, folder);
	snprintf(part, sizeof(part), "%s/" BK_NAME ".new", folder);
	if (st == ST_OK)
		st = io_open(part, O_RDWR | O_CREAT | O_TRUNC, &fd, err);
	if (st == ST_OK) {
		st = io_write(fd, text.at, text.len, 0, part, err);
		if (st == ST_OK)
			st = io_sync(fd, part, err);
		close(fd);
	}
	buf_free(&text);
	if (st == ST_OK)
		st = io_rename(part, path, err);
	if (st != ST_OK)
		return st;
	st = io_sync_dir(folder, err);
	/* Nobody was told that it is done: then it is not to be found either. */
	if (st != ST_OK)
		io_unlink(path, NULL);
	return st;
}
