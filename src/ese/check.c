/* check.c - rows and pages of one database; see check.h.
 *
 * The rows come in order of their keys, which is the order in which they are needed: what the space rows
 * mark, then each body with its pages, then the orphans. */
#include "ese/check.h"

#include "base/crc32c.h"
#include "ese/ese_int.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_PAGES 64u /* at once */

/* Pages as bits. */
struct bits {
	unsigned char *at;
	uint64_t n;
};

struct checking {
	struct check_db *c;
	struct bits marked, owned;
	size_t cap;
	uint64_t orphans;
	char *buffer;   /* READ_PAGES pages */
	uint32_t *crcs; /* of the body being looked at */
	size_t crc_room;
	bool tree_damaged; /* of engine rows something is missing: what follows from a lack is not said */
};

static bool bit(const struct bits *b, uint64_t n)
{
	return n < b->n && (b->at[n / 8] >> n % 8 & 1);
}

static void set_bit(struct bits *b, uint64_t n)
{
	if (n < b->n)
		b->at[n / 8] |= (unsigned char)(1u << n % 8);
}

/* ---- telling ---- */

static void tell_body(struct checking *k, enum finding_kind kind, uint64_t id, const char *what)
{
	struct finding f = { .kind = kind, .database = k->c->name, .body = id };

	finding_tell(k->c->found, k->c->arg, &f, "database %s: body %llu: %s", k->c->name,
		     (unsigned long long)id, what);
}

static void tell_page(struct checking *k, enum finding_kind kind, uint64_t id, uint64_t page,
		      const char *what)
{
	struct finding f = {
		.kind = kind, .database = k->c->name, .body = id, .page = page, .has_page = true
	};

	finding_tell(k->c->found, k->c->arg, &f, "database %s: page %llu of the .stm: %s",
		     k->c->name, (unsigned long long)page, what);
}

static void tell_row(struct checking *k, enum finding_kind kind, struct span key, const char *what)
{
	struct finding f = { .kind = kind, .database = k->c->name };
	char hex[2 * 24 + 1] = "";

	for (size_t i = 0; i < key.len && i < 24; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)key.at[i]);
	finding_tell(k->c->found, k->c->arg, &f, "database %s: row %s%s: %s", k->c->name, hex,
		     key.len > 24 ? "..." : "", what);
}

/* ---- bodies ---- */

struct check_body *check_body(const struct check_db *c, uint64_t id)
{
	size_t low = 0, high = c->nbodies;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (c->bodies[mid].id == id)
			return &c->bodies[mid];
		if (c->bodies[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static enum st add_body(struct checking *k, uint64_t id, uint32_t refs, struct err *err)
{
	struct check_db *c = k->c;

	if (c->nbodies == k->cap) {
		size_t cap = k->cap ? k->cap * 2 : 1024;
		void *more = realloc(c->bodies, cap * sizeof(*c->bodies));

		if (!more)
			return fail(err, ST_NOMEM, "check %zu bodies", cap);
		c->bodies = more;
		k->cap = cap;
	}
	c->bodies[c->nbodies++] = (struct check_body){ .id = id, .refs = refs };
	return ST_OK;
}

static bool is_pending(const struct checking *k, uint64_t page)
{
	const struct check_pending *p = k->c->pending;

	return p && p->taken && page < p->npages && (p->taken[page / 8] >> page % 8 & 1);
}

/* The CRCs of all pages into k->crcs.  ST_CORRUPT: some are missing. */
static enum st get_crcs(struct checking *k, uint64_t id, const struct row_body *row,
			struct err *err)
{
	enum st st = ST_OK;

	if (row->npages > k->crc_room) {
		free(k->crcs);
		k->crcs = malloc((size_t)row->npages * sizeof(*k->crcs));
		k->crc_room = k->crcs ? row->npages : 0;
		if (!k->crcs)
			return fail(err, ST_NOMEM, "check a body of %u pages", row->npages);
	}
	for (uint32_t i = 0; i < row->ncrcs; i++)
		k->crcs[i] = le32_get(row->crcs.at + (size_t)i * 4);
	for (uint32_t at = row->ncrcs; st == ST_OK && at < row->npages; at += CRC_ROW) {
		uint32_t n = row->npages - at < CRC_ROW ? row->npages - at : CRC_ROW;
		struct row_key key = row_key_crc(id, at / CRC_ROW);
		struct ese_value v;

		st = ese_get(k->c->db, row_key_span(&key), &v, NULL);
		if (st != ST_OK)
			return ST_CORRUPT;
		if (v.bytes.len != (size_t)n * 4)
			st = ST_CORRUPT;
		for (uint32_t i = 0; st == ST_OK && i < n; i++)
			k->crcs[at + i] = le32_get(v.bytes.at + (size_t)i * 4);
		ese_value_free(&v);
	}
	return st;
}

/* Pages of a body that lie side by side: `first` of the body, at `page` of the file. */
static void verify_run(struct checking *k, struct check_body *b, const struct row_body *row,
		       uint32_t first, uint64_t page, uint32_t n)
{
	struct err why = { 0 };
	size_t got = 0;
	enum st st = io_read(k->c->db->read_fd, k->buffer, (size_t)n * ESE_PAGE, page * ESE_PAGE,
			     &got, k->c->name, &why);
	char text[128];

	if (st != ST_OK)
		got = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t from = (uint64_t)(first + i) * ESE_PAGE;
		size_t len = row->len - from < ESE_PAGE ? row->len - from : ESE_PAGE;

		k->c->pages++;
		if ((size_t)i * ESE_PAGE + len <= got &&
		    crc32c(0, k->buffer + (size_t)i * ESE_PAGE, len) == k->crcs[first + i])
			continue;
		if (is_pending(k, page + i)) {
			k->c->waiting++;
			continue;
		}
		b->damaged = 1;
		snprintf(text, sizeof(text), "%s (page %u of %u of body %llu)",
			 st != ST_OK ? "can't be read"
				     : "its bytes are not those that were written",
			 first + i + 1, row->npages, (unsigned long long)b->id);
		tell_page(k, FOUND_PAGE_DAMAGED, b->id, page + i, text);
	}
}

static enum st verify_pages(struct checking *k, struct check_body *b, const struct row_body *row,
			    struct err *err)
{
	uint32_t first = 0;
	enum st st = get_crcs(k, b->id, row, err);

	if (st == ST_CORRUPT) {
		b->damaged = 1;
		tell_body(k, FOUND_BODY_CRCS, b->id,
			  "checksums of its pages are missing or damaged");
		return ST_OK;
	}
	for (uint32_t i = 0; st == ST_OK && i < row->nruns; i++) {
		uint32_t left = run_pages(row->runs, i);
		uint64_t page = run_page(row->runs, i);

		while (left > 0) {
			uint32_t n = left < READ_PAGES ? left : READ_PAGES;

			verify_run(k, b, row, first, page, n);
			first += n;
			page += n;
			left -= n;
		}
	}
	if (k->c->progress)
		k->c->progress(k->c->arg, k->c->pages, k->c->head.pages);
	return st;
}

/* Each page belongs to this body alone, and is marked so. */
static void own_pages(struct checking *k, struct check_body *b, const struct row_body *row)
{
	bool outside = false;

	for (uint32_t i = 0; i < row->nruns; i++)
		for (uint64_t page = run_page(row->runs, i), end = page + run_pages(row->runs, i);
		     page < end; page++) {
			if (page >= k->owned.n) {
				outside = outside || !is_pending(k, page);
				continue;
			}
			if (bit(&k->owned, page)) {
				b->damaged = 1;
				tell_page(k, FOUND_PAGE_TWICE, b->id, page,
					  "belongs to two bodies");
			}
			if (!bit(&k->marked, page) && !k->tree_damaged)
				tell_page(k, FOUND_PAGE_UNMARKED, b->id, page,
					  "is used but marked as free");
			set_bit(&k->owned, page);
		}
	if (outside) {
		b->damaged = 1;
		tell_body(k, FOUND_BODY_OUTSIDE, b->id, "it has pages behind the end of the .stm");
	}
}

static enum st take_body(struct checking *k, uint64_t id, struct span value, struct err *err)
{
	struct row_body row;
	struct check_body *b;
	enum st st;

	if (row_body_get(value, &row) != ST_OK) {
		tell_body(k, FOUND_BODY_ROW, id, "its row is damaged");
		st = add_body(k, id, 0, err);
		if (st == ST_OK)
			k->c->bodies[k->c->nbodies - 1].damaged = 1;
		k->tree_damaged = true;
		return st;
	}
	st = add_body(k, id, row.refs, err);
	if (st != ST_OK)
		return st;
	b = &k->c->bodies[k->c->nbodies - 1];
	own_pages(k, b, &row);
	return k->c->quick || row.npages == 0 ? ST_OK : verify_pages(k, b, &row, err);
}

/* ---- rows ---- */

static void take_space(struct checking *k, struct span key, struct span value)
{
	uint32_t chunk;

	if (!row_key_chunk(key, &chunk) || value.len != SPACE_ROW) {
		tell_row(k, FOUND_ROW_STRAY, key, "a damaged row of page states");
		k->tree_damaged = true;
		return;
	}
	for (uint32_t i = 0; i < SPACE_ROW * 8; i++) {
		uint64_t page = (uint64_t)chunk * SPACE_ROW * 8 + i;

		if (!(value.at[i / 8] >> i % 8 & 1))
			continue;
		if (page < k->marked.n)
			set_bit(&k->marked, page);
		else if (!k->c->pending)
			tell_page(k, FOUND_PAGE_LEAKED, 0, page, "is marked but behind the end");
	}
}

static void take_orphan(struct checking *k, struct span key, struct span value)
{
	struct check_body *b;
	uint64_t id;

	k->orphans++;
	if (!row_key_id(key, &id) || value.len != 0) {
		tell_row(k, FOUND_ROW_STRAY, key, "a damaged row of a body to be freed");
		return;
	}
	b = check_body(k->c, id);
	if (!b && !k->tree_damaged)
		tell_body(k, FOUND_BODY_ORPHAN, id, "waits to be freed but is not there");
	else if (b && b->refs && !b->damaged)
		tell_body(k, FOUND_BODY_ORPHAN, id, "waits to be freed but is linked");
}

static enum st take_row(struct checking *k, struct span key, struct span value, struct err *err)
{
	struct row_applied a;
	uint64_t id;

	switch (key.at[0]) {
	case 0x00:
	case 0x01:
	case 0x06:
		if (key.len != 1)
			tell_row(k, FOUND_ROW_STRAY, key, "nothing uses such a key");
		/* As of the rows that follow: one that is served goes on meanwhile. */
		else if (key.at[0] == 0x01 && row_applied_get(value, &a) == ST_OK)
			k->c->head.bodies = a.bodies;
		return ST_OK;
	case 0x02:
		take_space(k, key, value);
		return ST_OK;
	case 0x03:
		if (row_key_id(key, &id))
			return take_body(k, id, value, err);
		break;
	case 0x04:
		if (key.len != 13)
			break;
		if (!check_body(k->c, be64_get(key.at + 1)) && !k->tree_damaged)
			tell_row(k, FOUND_ROW_STRAY, key, "checksums of a body that is not there");
		return ST_OK;
	case 0x05:
		take_orphan(k, key, value);
		return ST_OK;
	default:
		break;
	}
	tell_row(k, FOUND_ROW_STRAY, key, "nothing uses such a key");
	return ST_OK;
}

/* How long the file is is asked when the rows can name no more of it. */
static enum st room_for_pages(struct checking *k, struct err *err)
{
	uint64_t pages = look_pages(k->c->db);
	size_t bytes = (size_t)(pages / 8 + 1);

	k->c->head.pages = pages;
	k->marked = (struct bits){ calloc(1, bytes), pages };
	k->owned = (struct bits){ calloc(1, bytes), pages };
	return k->marked.at && k->owned.at ? ST_OK : fail(err, ST_NOMEM, "check %s", k->c->name);
}

static enum st take_rows(struct checking *k, struct err *err)
{
	struct span key, value, last, next;
	struct look_rows *rows;
	struct err why = { 0 };
	enum st st = look_rows_new(k->c->db, SPAN_NONE, SPAN("\x10"), &rows, err);

	if (st != ST_OK)
		return st;
	st = room_for_pages(k, err);
	if (st != ST_OK) {
		look_rows_free(rows);
		return st;
	}
	while ((st = look_rows_next(rows, &key, &value, &why)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT) {
			look_rows_gap(rows, &last, &next);
			tell_row(k, FOUND_ROWS_UNREADABLE, last, why.text);
			k->c->gaps++;
			k->tree_damaged = true;
			continue;
		}
		k->c->rows++;
		st = take_row(k, key, value, err);
		if (st != ST_OK)
			break;
	}
	look_rows_free(rows);
	if (st != ST_EOF && err && !err->text[0])
		*err = why;
	return st == ST_EOF ? ST_OK : st;
}

/* ---- what only the whole says ---- */

static void judge(struct checking *k)
{
	struct finding f = { .kind = FOUND_BODY_COUNT, .database = k->c->name };
	uint64_t unlinked = 0;

	for (uint64_t page = 0; page < k->marked.n; page++)
		if (bit(&k->marked, page) && !bit(&k->owned, page))
			tell_page(k, FOUND_PAGE_LEAKED, 0, page, "is marked as used by nobody");
	for (size_t i = 0; i < k->c->nbodies; i++)
		unlinked += k->c->bodies[i].refs == 0;
	if (unlinked > k->orphans) {
		f.kind = FOUND_BODY_ORPHAN;
		finding_tell(k->c->found, k->c->arg, &f,
			     "database %s: %llu bodies without a link do not wait to be freed",
			     k->c->name, (unsigned long long)(unlinked - k->orphans));
	}
	f.kind = FOUND_BODY_COUNT;
	if (k->c->head.bodies != k->c->nbodies)
		finding_tell(k->c->found, k->c->arg, &f,
			     "database %s says %llu bodies, but has %zu", k->c->name,
			     (unsigned long long)k->c->head.bodies, k->c->nbodies);
}

static enum st begin(struct checking *k, struct err *err)
{
	struct finding f = { .kind = FOUND_DB_HEADER, .database = k->c->name };
	struct err why = { 0 };
	enum st st = look_head(k->c->db, &k->c->head, &why);

	if (st == ST_BAD || st == ST_NOMEM) {
		if (err)
			*err = why;
		return st;
	}
	if (st != ST_OK) {
		finding_tell(k->c->found, k->c->arg, &f, "%s", why.text);
		k->tree_damaged = true;
	}
	k->buffer = malloc((size_t)READ_PAGES * ESE_PAGE);
	if (!k->buffer)
		return fail(err, ST_NOMEM, "check %s", k->c->name);
	return ST_OK;
}

enum st check_db(struct check_db *c, struct err *err)
{
	struct checking k = { .c = c };
	enum st st = begin(&k, err);

	if (st == ST_OK)
		st = take_rows(&k, err);
	if (st == ST_OK && !k.tree_damaged)
		judge(&k);
	free(k.marked.at);
	free(k.owned.at);
	free(k.buffer);
	free(k.crcs);
	return st;
}

void check_db_free(struct check_db *c)
{
	free(c->bodies);
	c->bodies = NULL;
	c->nbodies = 0;
}
