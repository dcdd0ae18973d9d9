/* repair_dir.c - the directory of the new home: what was left of the old one, and what it lacks; see repair_int.h. */
#include "store/repair_int.h"

#include "base/clock.h"
#include "store/database.h"

#include <stdio.h>
#include <stdlib.h>

#define ROW_BYTES 65536

/* What is known of one mailbox. */
struct owner {
	struct hnode node;    /* by mailbox */
	bool user, row, gone; /* has a row of a user, a row of its own, is being deleted */
	uint64_t
		database; /* new id of the one with its rows, else of the one that was said; 0: the default one */
	char name[NAME_BYTES_MAX + 1];
};

struct places {
	struct repair_dir *d;
	struct out *out;
	struct err *err;
	enum st st;
	uint64_t last;
};

static struct owner *owner_of(struct repair_dir *d, uint64_t mailbox)
{
	struct hnode *n = hmap_get(&d->owners, mailbox);
	struct owner *o;

	if (n)
		return HNODE_OF(struct owner, node, n);
	o = calloc(1, sizeof *o);
	if (o && hmap_put(&d->owners, &o->node, mailbox))
		return o;
	free(o);
	return NULL;
}

bool repair_dir_mailbox(struct repair_dir *d, uint64_t mailbox, uint64_t database)
{
	struct owner *o = owner_of(d, mailbox);

	if (o)
		o->database = database;
	return o != NULL;
}

uint64_t repair_dir_place(struct repair_dir *d, uint64_t mailbox)
{
	struct hnode *n = hmap_get(&d->owners, mailbox);

	return n ? HNODE_OF(struct owner, node, n)->database : 0;
}

bool repair_dir_is_gone(struct repair_dir *d, uint64_t mailbox)
{
	struct hnode *n = hmap_get(&d->owners, mailbox);

	return n && HNODE_OF(struct owner, node, n)->gone;
}

static void free_one(void *arg, struct hnode *n)
{
	hmap_remove(arg, n);
	free(HNODE_OF(struct owner, node, n));
}

void repair_dir_free(struct repair_dir *d)
{
	hmap_each(&d->owners, free_one, &d->owners);
	hmap_free(&d->owners);
}

/* ---- reading what is left ---- */

static void set_name(struct owner *o, struct span name)
{
	snprintf(o->name, sizeof o->name, SPAN_FMT, SPAN_ARG(span_cut(name, NAME_BYTES_MAX)));
}

/* Databases have other ids now. */
static uint64_t new_id(const struct repair_dir *d, const struct plist *l)
{
	uint64_t old = plist_u64(l, PR_DATABASE_ID, 0);

	for (size_t i = 0; i < d->nids; i++)
		if (old && d->ids[i].old == old)
			return d->ids[i].id;
	return 0;
}

static enum st learn(struct repair_dir *d, char kind, struct span key, const struct plist *l,
		     struct err *err)
{
	uint64_t mailbox = kind == DIR_USER ? plist_u64(l, PR_MAILBOX_ID, 0) : key_tail_u64(key);
	struct owner *o;

	if (kind == DIR_COUNTERS && plist_u64(l, PR_MAILBOX_ID, 0) > d->last)
		d->last = plist_u64(l, PR_MAILBOX_ID, 0);
	if (kind != DIR_USER && kind != DIR_MAILBOX && kind != DIR_PURGE && kind != DIR_REMOVED)
		return ST_OK;
	o = owner_of(d, mailbox);
	if (!o)
		return fail(err, ST_NOMEM, "out of memory");
	/* Who was removed has no user, and needs none. */
	o->user |= kind == DIR_USER || kind == DIR_REMOVED;
	o->row |= kind == DIR_MAILBOX;
	if (kind == DIR_MAILBOX)
		o->database = new_id(d, l);
	o->gone |= kind == DIR_PURGE;
	if (kind == DIR_USER || kind == DIR_MAILBOX)
		set_name(o, plist_span(l, PR_USER));
	return ST_OK;
}

enum st repair_dir_rows(struct repair_dir *d, struct ese_db *from, struct out *out, struct err *err)
{
	struct finding f = { .kind = FOUND_DIR_ROW };
	struct span key, value;
	struct look_rows *rows;
	struct plist l;
	enum st st = look_rows_new(from, SPAN("\x10"), SPAN("\x20"), &rows, err);

	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK || st == ST_CORRUPT) {
		char kind = st == ST_OK && key.len > 1 ? key.at[1] : 0;

		if (st == ST_CORRUPT)
			continue;
		if (!kind || plist_open(&l, value.at, value.len, NULL) != ST_OK) {
			repair_tell(d->r, &f, "a row of the directory is damaged: it is dropped");
			continue;
		}
		st = learn(d, kind, key, &l, err);
		/* Where a mailbox is gets known when it is written.  What was being deleted is not written at all, and
		 * what was on its way stays where it is. */
		if (st == ST_OK && kind != DIR_MAILBOX && kind != DIR_PURGE && kind != DIR_MOVE &&
		    kind != DIR_SHIFT) {
			out_put_bytes(out, key, span_of(l.at, l.len));
			st = out_turn(out, false, err);
		}
		if (st != ST_OK)
			break;
	}
	look_rows_free(rows);
	return st == ST_EOF ? ST_OK : st;
}

/* ---- what is missing ---- */

/* A user who can't log on until there is a password, and who is disabled so that all see it. */
static void put_user(struct places *p, struct owner *o)
{
	struct finding f = { .kind = FOUND_USER_NO_MAILBOX, .user = o->name };
	struct buf row = BUF_MAX(ROW_BYTES);
	struct key k;
	struct pw w;

	if (!*o->name)
		snprintf(o->name, sizeof o->name, "mailbox-%llu@recovered.invalid",
			 (unsigned long long)o->node.key);
	pw_begin(&w, &row, 7);
	pw_str(&w, PR_USER, o->name);
	pw_u64(&w, PR_MAILBOX_ID, o->node.key);
	pw_str(&w, PR_DISPLAY_NAME, "");
	pw_u64(&w, PR_CREATION_TIME, (uint64_t)clock_real());
	pw_str(&w, PR_PASSWORD_HASH, "");
	pw_span(&w, PR_SCRAM_KEYS, SPAN(""));
	pw_bool(&w, PR_DISABLED, true);
	pw_end(&w);
	out_put(p->out, key_dir(&k, DIR_USER, span_str(o->name)), &row);
	buf_free(&row);
	p->d->r->users++;
	repair_tell(
		p->d->r, &f,
		"mailbox %llu had no user any more: %s is made for it, disabled and without a password",
		(unsigned long long)o->node.key, o->name);
}

static void put_place(struct places *p, struct owner *o)
{
	struct finding f = { .kind = FOUND_USER_NO_MAILBOX, .user = o->name };
	struct buf row = BUF_MAX(ROW_BYTES);
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 2);
	pw_str(&w, PR_USER, o->name);
	if (o->database)
		pw_u64(&w, PR_DATABASE_ID, o->database);
	pw_end(&w);
	out_put(p->out, key_dir_mailbox(&k, DIR_MAILBOX, o->node.key), &row);
	buf_free(&row);
	if (!o->row)
		repair_tell(p->d->r, &f, "mailbox %llu is %s's again",
			    (unsigned long long)o->node.key, o->name);
}

static void complete(void *arg, struct hnode *n)
{
	struct owner *o = HNODE_OF(struct owner, node, n);
	struct places *p = arg;

	if (o->node.key > p->last && o->node.key <= UINT32_MAX)
		p->last = o->node.key;
	if (p->st != ST_OK || o->gone || !o->node.key)
		return;
	p->d->r->users += o->user;
	if (!o->user)
		put_user(p, o);
	put_place(p, o);
	p->st = out_turn(p->out, false, p->err);
}

/* The last mailbox given out; the secret only makes up salts for users who are not there, a new one is as good. */
static void put_counters(struct out *out, uint64_t last)
{
	struct buf row = BUF_MAX(ROW_BYTES);
	uint8_t secret[32];
	struct key k;
	struct pw w;

	random_bytes(secret, sizeof secret);
	pw_begin(&w, &row, 2);
	pw_u64(&w, PR_MAILBOX_ID, last);
	pw_span(&w, PR_DIRECTORY_SECRET, span_of(secret, sizeof secret));
	pw_end(&w);
	out_put(out, key_dir(&k, DIR_COUNTERS, SPAN_NONE), &row);
	buf_free(&row);
}

enum st repair_dir_end(struct repair_dir *d, struct out *out, struct err *err)
{
	struct places p = { .d = d, .out = out, .err = err, .last = d->last };

	hmap_each(&d->owners, complete, &p);
	if (p.st != ST_OK)
		return p.st;
	put_counters(out, p.last);
	return out_turn(out, true, err);
}
