/* cmd_dump.c - ese dump: what stands in the engine's files, as they are. */
#include "admin/cli.h"
#include "ese/dump.h"
#include "ese/io.h"
#include "props/plist.h"
#include "store/offline.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (1024u * 1024 * 1024)
#define PATH_BYTES 4096
#define ROWS_MAX   100u /* unless --limit says otherwise */

/* ---- the engine's fields become a report ---- */

struct telling {
	struct report report;
	struct buf text;
	bool json;
	bool lines; /* this table may be long: text goes out row by row */
	bool in_row;
};

static void print_line_field(struct telling *t, enum dump_kind kind, const char *name,
			     uint64_t number, struct span text)
{
	if (kind == DUMP_ROW) {
		if (t->in_row)
			putchar('\n');
		t->in_row = true;
	} else if (kind == DUMP_NUM) {
		printf("%s %llu  ", name, (unsigned long long)number);
	} else if (kind == DUMP_TEXT && text.len) {
		printf(SPAN_FMT "  ", SPAN_ARG(text));
	}
}

static void put(void *arg, enum dump_kind kind, const char *name, uint64_t number, struct span text)
{
	struct telling *t = arg;

	if (kind == DUMP_FACTS || kind == DUMP_TABLE) {
		if (t->lines)
			printf("\n\n");
		t->lines = !t->json && strcmp(name, "records") == 0;
		if (!t->lines)
			report_table(&t->report, name, kind == DUMP_FACTS);
		return;
	}
	if (t->lines) {
		print_line_field(t, kind, name, number, text);
		return;
	}
	switch (kind) {
	case DUMP_ROW:
		report_row(&t->report);
		return;
	case DUMP_NUM:
		report_num(&t->report, name, number);
		return;
	case DUMP_TIME:
		report_time(&t->report, name, (int64_t)number);
		return;
	case DUMP_BOOL:
		report_bool(&t->report, name, number);
		return;
	default:
		report_span(&t->report, name, text);
	}
}

static struct dump begin(struct telling *t, const struct cli *c)
{
	*t = (struct telling){ .text = BUF_MAX(ANSWER_MAX), .json = c->json };
	report_open(&t->report, &t->text, c->json);
	return (struct dump){ .put = put, .arg = t };
}

static int end(struct telling *t, enum st st, const struct err *err)
{
	int status;

	report_close(&t->report);
	if (st == ST_OK)
		return cli_print(&t->text);
	buf_free(&t->text);
	status = cli_fail(err);
	if (st == ST_BUSY)
		fprintf(stderr, "mailroot: its databases can't be read while the store runs: stop "
				"the server, or name a backup\n");
	return status;
}

/* ---- which files ---- */

struct groups {
	char names[256];
	char only[128];
	unsigned n;
};

static enum st add_group(void *arg, const char *entry, struct err *err)
{
	struct groups *g = arg;
	size_t len = strlen(g->names);

	(void)err;
	if (entry[0] == '.' || strlen(entry) >= sizeof(g->only))
		return ST_OK;
	snprintf(g->only, sizeof(g->only), "%s", entry);
	snprintf(g->names + len, sizeof(g->names) - len, "%s%s", g->n++ ? ", " : "", entry);
	return ST_OK;
}

/* What `path` names: a home's group, or itself. */
static enum st find_group(const char *path, const char *group, char out[PATH_BYTES],
			  struct err *err)
{
	struct groups g = { .n = 0 };
	char all[PATH_BYTES];
	struct stat info;
	enum st st = ST_OK;

	if (snprintf(all, sizeof(all), "%s/groups", path) >= (int)sizeof(all))
		return fail(err, ST_TOOBIG, "%.100s...: path too long", path);
	if (stat(all, &info) < 0 || !S_ISDIR(info.st_mode)) {
		snprintf(out, PATH_BYTES, "%s", path);
		return stat(path, &info) < 0 ? fail_errno(err, "%s", path) : ST_OK;
	}
	if (!group) {
		st = io_list(all, add_group, &g, err);
		if (st == ST_OK && g.n != 1)
			st = fail(err, ST_BAD, "%s has %u groups (%s): name one with --group", all,
				  g.n, g.names);
		group = g.only;
	}
	if (st == ST_OK && snprintf(out, PATH_BYTES, "%s/%s", all, group) >= PATH_BYTES)
		st = fail(err, ST_TOOBIG, "%.100s...: path too long", path);
	return st;
}

static bool ends(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n >= m && strcmp(path + n - m, end) == 0;
}

static const char *path_arg(const struct cli *c, int i)
{
	return c->nargs > i ? c->args[i] : c->home;
}

/* ---- header ---- */

static enum st one_header(void *arg, const struct look_entry *e, struct err *err)
{
	struct ese_db *db;
	enum st st;

	if (!e->has_edb)
		return ST_OK;
	st = look_open(e->name, e->edb, e->has_stm ? e->stm : NULL, &db, err);
	if (st != ST_OK)
		return st;
	st = dump_db_header(arg, db, err);
	look_close(db);
	return st;
}

static enum st folder_headers(struct dump *d, const char *path, struct err *err)
{
	int lock;
	enum st st = look_lock(path, &lock, err);

	if (st != ST_OK)
		return st;
	d->put(d->arg, DUMP_TABLE, "databases", 0, SPAN_NONE);
	st = look_list(path, one_header, d, err);
	look_unlock(lock);
	return st;
}

/* DIR/NAME.edb, and the group above it, if it is one, stands still. */
static enum st edb_header(struct dump *d, const char *path, struct err *err)
{
	struct look_entry e = { .name = path, .has_edb = true };
	char dir[PATH_BYTES];
	int lock = -1;
	enum st st = ST_OK;

	snprintf(e.edb, sizeof(e.edb), "%s", path);
	snprintf(e.stm, sizeof(e.stm), "%.*s.stm", (int)strlen(path) - 4, path);
	e.has_stm = access(e.stm, F_OK) == 0;
	for (int up = 1; st == ST_OK && lock < 0 && up <= 2; up++) {
		if (snprintf(dir, sizeof(dir), "%s%s", path, up == 1 ? "/.." : "/../..") >=
		    (int)sizeof(dir))
			return fail(err, ST_TOOBIG, "%.100s...: path too long", path);
		st = look_lock(dir, &lock, err);
	}
	if (st != ST_OK)
		return st;
	d->put(d->arg, DUMP_TABLE, "databases", 0, SPAN_NONE);
	st = one_header(d, &e, err);
	look_unlock(lock);
	return st;
}

int cmd_dump_header(struct cli *c)
{
	char path[PATH_BYTES];
	struct telling t;
	struct dump d = begin(&t, c);
	struct err err = { 0 };
	enum st st = find_group(path_arg(c, 0), c->options[0], path, &err);

	while (st == ST_OK && strlen(path) > 1 && ends(path, "/"))
		path[strlen(path) - 1] = '\0';
	if (st == ST_OK && ends(path, ".log"))
		st = dump_log_header(&d, path, &err);
	else if (st == ST_OK && ends(path, ".chk"))
		st = dump_checkpoint(&d, path, &err);
	else if (st == ST_OK && ends(path, ".edb"))
		st = edb_header(&d, path, &err);
	else if (st == ST_OK)
		st = folder_headers(&d, path, &err);
	return end(&t, st, &err);
}

int cmd_dump_checkpoint(struct cli *c)
{
	char path[PATH_BYTES], file[PATH_BYTES + 8];
	struct telling t;
	struct dump d = begin(&t, c);
	struct err err = { 0 };
	enum st st = find_group(path_arg(c, 0), c->options[0], path, &err);

	snprintf(file, sizeof(file), "%s%s", path, ends(path, ".chk") ? "" : "/E00.chk");
	if (st == ST_OK)
		st = dump_checkpoint(&d, file, &err);
	return end(&t, st, &err);
}

/* ---- log ---- */

static enum st hex_number(const char *text, uint64_t *out, struct err *err)
{
	char *rest;

	*out = strtoull(text, &rest, 16);
	if (*text == '\0' || *rest != '\0')
		return fail(err, ST_BAD, "'%s' is no position or id in hexadecimal", text);
	return ST_OK;
}

enum { LOG_GROUP, LOG_RECORDS, LOG_DATABASE, LOG_FROM, LOG_TO };

int cmd_dump_log(struct cli *c)
{
	struct dump_log what = { .records = c->options[LOG_RECORDS] != NULL };
	char path[PATH_BYTES];
	struct telling t;
	struct dump d = begin(&t, c);
	struct err err = { 0 };
	uint64_t id = 0;
	enum st st = find_group(path_arg(c, 0), c->options[LOG_GROUP], path, &err);

	if (st == ST_OK && c->options[LOG_DATABASE])
		st = hex_number(c->options[LOG_DATABASE], &id, &err);
	if (st == ST_OK && c->options[LOG_FROM])
		st = hex_number(c->options[LOG_FROM], &what.from, &err);
	if (st == ST_OK && c->options[LOG_TO])
		st = hex_number(c->options[LOG_TO], &what.to, &err);
	what.database = (uint32_t)id;
	if (st == ST_OK)
		st = dump_log(&d, path, &what, &err);
	return end(&t, st, &err);
}

/* ---- databases ---- */

static const char *group_of(const struct offline_db *db)
{
	const char *slash = strrchr(db->dir, '/');

	return slash ? slash + 1 : db->dir;
}

/* mailbox/big, second/mailbox/big or second/big. */
static bool is_named(const struct offline_db *db, const char *name)
{
	const char *group = group_of(db), *in_mailbox = db->name + strlen("mailbox/");
	size_t n = strlen(group);

	if (strcmp(db->name, name) == 0)
		return true;
	if (strncmp(name, group, n) != 0 || name[n] != '/')
		return false;
	return strcmp(db->name, name + n + 1) == 0 ||
	       (strncmp(db->name, "mailbox/", strlen("mailbox/")) == 0 &&
		strcmp(in_mailbox, name + n + 1) == 0);
}

/* The next database that is meant, from *i on; NULL: no more. */
static struct offline_db *next_db(struct offline *o, const char *name, size_t *i)
{
	while (*i < o->ndbs) {
		struct offline_db *db = &o->dbs[(*i)++];

		if (!name || is_named(db, name))
			return db;
	}
	return NULL;
}

/* The one that is named, or the only one. */
static enum st only_db(struct offline *o, const char *name, struct offline_db **out,
		       struct err *err)
{
	size_t i = 0;

	*out = next_db(o, name, &i);
	if (!*out)
		return name ? fail(err, ST_NOTFOUND,
				   "there is no database %s (mailroot ese dump header shows them)",
				   name)
			    : fail(err, ST_NOTFOUND, "there is no database");
	if (next_db(o, name, &i))
		return fail(err, ST_BAD,
			    "there is more than one database: name one, as --database %s/%s",
			    group_of(*out), (*out)->name);
	if (!(*out)->db) {
		*err = (*out)->why;
		return (*out)->why.st;
	}
	return ST_OK;
}

int cmd_dump_space(struct cli *c)
{
	struct telling t;
	struct dump d = begin(&t, c);
	struct offline *o = NULL;
	struct offline_db *db = NULL;
	struct err err = { 0 };
	enum st st = offline_open(path_arg(c, 0), &o, &err);
	int status;

	if (st == ST_OK)
		st = only_db(o, c->options[0], &db, &err);
	if (st == ST_OK)
		st = dump_space(&d, db->db, &err);
	status = end(&t, st, &err);
	offline_close(o);
	return status;
}

struct linked {
	struct report *r;
	const struct offline *o;
	char key[64];
};

/* Who refers to the body, as a user knows it. */
static enum st tell_link(void *arg, const struct offline_link *l, struct err *err)
{
	struct linked *k = arg;
	char name[NAME_BYTES_MAX + 1];

	(void)err;
	offline_owner_name(k->o, l->mailbox, name);
	report_row(k->r);
	report_str(k->r, "user", name);
	report_span(k->r, "folder", l->folder ? span_str(l->folder->path) : l->message->path);
	report_num(k->r, "uid", l->message->uid);
	report_bool(k->r, "deleted", l->message->deleted);
	report_span(k->r, "from", l->message->from);
	report_span(k->r, "subject", l->message->subject);
	return ST_OK;
}

static enum st one_body(struct telling *t, const struct dump *d, const struct offline *o,
			const struct offline_db *db, uint64_t id, uint32_t *damaged,
			struct err *err)
{
	struct linked k = { .r = &t->report, .o = o };
	enum st st = dump_body(d, db->db, id, damaged, err);

	if (st != ST_OK)
		return st;
	report_table(&t->report, "messages", false);
	return offline_links(db->db, &id, 1, tell_link, &k, err);
}

/* The one database that has this body. */
static enum st db_with_body(struct offline *o, const char *name, uint64_t id,
			    struct offline_db **out, struct err *err)
{
	struct offline_db *db = NULL;
	size_t i = 0;
	unsigned n = 0;

	while ((db = next_db(o, name, &i))) {
		struct ese_scatter s;

		if (!db->db || ese_body_find(db->db, id, false, &s, err) == ST_NOTFOUND)
			continue;
		ese_scatter_free(&s);
		*out = db;
		n++;
	}
	if (n == 0)
		return fail(err, ST_NOTFOUND, "no database has a body %llu",
			    (unsigned long long)id);
	if (n > 1)
		return fail(err, ST_BAD,
			    "%u databases have a body %llu: name one with --database, as "
			    "GROUP/NAME",
			    n, (unsigned long long)id);
	return ST_OK;
}

int cmd_dump_message(struct cli *c)
{
	char *rest;
	uint64_t id = strtoull(c->args[0], &rest, 10);
	struct telling t;
	struct dump d = begin(&t, c);
	struct offline *o = NULL;
	struct offline_db *db = NULL;
	struct err err = { 0 };
	uint32_t damaged = 0;
	enum st st;
	int status;

	if (*rest) {
		buf_free(&t.text);
		return cli_misuse("'%s' is no body id", c->args[0]);
	}
	st = offline_open(path_arg(c, 1), &o, &err);
	if (st == ST_OK)
		st = db_with_body(o, c->options[0], id, &db, &err);
	if (st == ST_OK)
		st = one_body(&t, &d, o, db, id, &damaged, &err);
	status = end(&t, st, &err);
	offline_close(o);
	return status == CLI_DONE && damaged ? CLI_DAMAGE : status;
}

/* ---- rows ---- */

#define KEY_BYTES (ESE_KEY_MAX + 1)

static int parse_key(const char *hex, char *out, size_t *len)
{
	size_t n = strlen(hex);

	if (n == 0 || n % 2 || n / 2 > ESE_KEY_MAX || strspn(hex, "0123456789abcdefABCDEF") != n)
		return cli_misuse("'%.60s' is no key in hexadecimal, two digits for each byte",
				  hex);
	for (size_t i = 0; i < n / 2; i++) {
		char two[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		out[i] = (char)strtoul(two, NULL, 16);
	}
	*len = n / 2;
	return CLI_DONE;
}

/* The first key behind those with this prefix; empty: there is none. */
static struct span behind(char *key, size_t len)
{
	while (len > 0 && (unsigned char)key[len - 1] == 0xff)
		len--;
	if (len > 0)
		key[len - 1]++;
	return span_of(key, len);
}

static void put_hex(struct report *r, const char *name, struct span bytes)
{
	static const char digits[] = "0123456789abcdef";
	struct buf b = BUF_MAX(ANSWER_MAX);

	for (size_t i = 0; i < bytes.len; i++) {
		buf_char(&b, digits[(unsigned char)bytes.at[i] >> 4]);
		buf_char(&b, digits[bytes.at[i] & 15]);
	}
	report_span(r, name, buf_get(&b));
	buf_free(&b);
}

/* Rows of the store are property lists; what is none has an empty `list`. */
static void tell_row(struct report *r, struct span key, struct span value)
{
	struct buf list = BUF_MAX(ANSWER_MAX);
	struct plist l;

	if (key.len && (unsigned char)key.at[0] >= ESE_USER_KEY_MIN &&
	    plist_open(&l, value.at, value.len, NULL) == ST_OK && l.len == value.len)
		plist_dump(&l, &list);
	report_row(r);
	put_hex(r, "key", key);
	report_num(r, "bytes", value.len);
	put_hex(r, "value", value);
	report_span(r, "list", buf_get(&list));
	buf_free(&list);
}

/* For people: what a table can't show side by side. */
static void print_row(struct span key, struct span value)
{
	struct buf text = BUF_MAX(ANSWER_MAX), list = BUF_MAX(ANSWER_MAX);
	struct report r;

	report_open(&r, &text, false);
	report_table(&r, "row", true);
	report_row(&r);
	put_hex(&r, "key", key);
	report_num(&r, "bytes", value.len);
	put_hex(&r, "value", value);
	report_close(&r);
	if ((unsigned char)key.at[0] >= ESE_USER_KEY_MIN) {
		struct plist l;

		if (plist_open(&l, value.at, value.len, NULL) == ST_OK && l.len == value.len)
			plist_dump(&l, &list);
	}
	printf(SPAN_FMT SPAN_FMT "\n", SPAN_ARG(buf_get(&text)), SPAN_ARG(buf_get(&list)));
	buf_free(&text);
	buf_free(&list);
}

static enum st tell_rows(struct telling *t, struct ese_db *db, struct span from, struct span to,
			 uint64_t limit, struct err *err)
{
	struct look_rows *rows;
	struct span key, value;
	uint64_t n = 0;
	enum st st = look_rows_new(db, from, to, &rows, err);

	if (st != ST_OK)
		return st;
	if (t->json)
		report_table(&t->report, "rows", false);
	while (n < limit && (st = look_rows_next(rows, &key, &value, err)) == ST_OK) {
		if (t->json)
			tell_row(&t->report, key, value);
		else
			print_row(key, value);
		n++;
	}
	look_rows_free(rows);
	if (st == ST_EOF && n == 0)
		return fail(err, ST_NOTFOUND, "no such row");
	return st == ST_EOF ? ST_OK : st;
}

enum { ROW_DATABASE, ROW_PREFIX, ROW_LIMIT };

int cmd_dump_row(struct cli *c)
{
	char from[KEY_BYTES], to[KEY_BYTES] = "";
	uint64_t limit = ROWS_MAX;
	struct telling t;
	struct offline *o = NULL;
	struct offline_db *db = NULL;
	struct err err = { 0 };
	size_t len = 0;
	struct span end_key;
	enum st st;
	int status = parse_key(c->args[0], from, &len);

	if (status == CLI_DONE && c->options[ROW_LIMIT] &&
	    !span_u64(span_str(c->options[ROW_LIMIT]), &limit))
		status = cli_misuse("--limit takes a number, not '%s'", c->options[ROW_LIMIT]);
	if (status != CLI_DONE)
		return status;
	begin(&t, c);
	memcpy(to, from, len);
	to[len] = '\0';
	end_key = c->options[ROW_PREFIX] ? behind(to, len) : span_of(to, len + 1);
	st = offline_open(path_arg(c, 1), &o, &err);
	if (st == ST_OK)
		st = only_db(o, c->options[ROW_DATABASE], &db, &err);
	if (st == ST_OK)
		st = tell_rows(&t, db->db, span_of(from, len), end_key, limit, &err);
	status = end(&t, st, &err);
	offline_close(o);
	return status;
}
