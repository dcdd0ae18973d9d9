#include "store/directory.h"

#include "base/byteorder.h"
#include "store/auth.h"
#include "store/watch.h"

#include <ctype.h>
#include <idn2.h>
#include <pthread.h>
#include <stdlib.h>

#define ROW_MAX     16384
#define MAILBOX_MAX UINT32_MAX

/* ---- names ---- */

static enum st lower(struct span raw, char out[static NAME_BYTES_MAX + 1], struct err *err)
{
	if (!raw.len || raw.len > NAME_BYTES_MAX)
		return fail(err, ST_BAD, "a name has 1 to %d bytes", NAME_BYTES_MAX);
	for (size_t i = 0; i < raw.len;) {
		size_t n = span_utf8(span_skip(raw, i));

		if (!n || (unsigned char)raw.at[i] <= ' ' || raw.at[i] == 0x7f)
			return fail(err, ST_BAD, "a name has no blanks and is UTF-8");
		for (size_t end = i + n; i < end; i++)
			out[i] = (char)(n == 1 ? tolower((unsigned char)raw.at[i]) : raw.at[i]);
	}
	out[raw.len] = '\0';
	return ST_OK;
}

/* A domain in other letters is kept, and looked for, as it stands in the DNS (RFC 5890: A-labels), so that
 * both spellings are one name.  `domain` ends the NAME_BYTES_MAX + 1 bytes that begin at `name`. */
static enum st make_ascii(const char *name, char *domain, struct err *err)
{
	size_t room = NAME_BYTES_MAX + 1 - (size_t)(domain - name);
	char *ascii = NULL;
	enum st st = ST_OK;
	const char *c = domain;
	int rc;

	while (*c && !(*c & 0x80))
		c++;
	if (!*c)
		return ST_OK;
	rc = idn2_to_ascii_8z(domain, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (rc != IDN2_OK)
		return fail(err, ST_BAD, "'%s' is no domain: %s", domain, idn2_strerror(rc));
	if (strlen(ascii) >= room)
		st = fail(err, ST_BAD, "'%s' is too long", name);
	else
		strcpy(domain, ascii);
	idn2_free(ascii);
	return st;
}

enum st directory_name(struct span raw, char out[static NAME_BYTES_MAX + 1], struct err *err)
{
	enum st st = lower(raw, out, err);
	char *at;

	if (st != ST_OK)
		return st;
	at = strrchr(out, '@');
	if (!at || at == out || !at[1])
		return fail(err, ST_BAD, "'%s' is not of the form user@domain", out);
	return make_ascii(out, at + 1, err);
}

enum st directory_domain_name(struct span raw, char out[static NAME_BYTES_MAX + 1], struct err *err)
{
	enum st st = lower(raw, out, err);

	if (st != ST_OK)
		return st;
	if (strchr(out, '@') || strchr(out, '/') || out[0] == '.' || out[strlen(out) - 1] == '.' ||
	    strstr(out, ".."))
		return fail(err, ST_BAD, "'%s' is no domain", out);
	return make_ascii(out, out, err);
}

const char *directory_domain_of(const char *name)
{
	const char *at = strrchr(name, '@');

	return at ? at + 1 : "";
}

/* ---- reading ---- */

static void copy_text(char *out, size_t room, struct span s)
{
	s = span_cut(s, room - 1);
	if (s.len)
		memcpy(out, s.at, s.len);
	out[s.len] = '\0';
}

static void read_scram(struct span bytes, struct scram_keys *out)
{
	if (bytes.len != 5 + SCRAM_SALT + 2 * SCRAM_KEY || bytes.at[4] != SCRAM_SALT)
		return;
	out->iterations = le32_get(bytes.at);
	memcpy(out->salt, bytes.at + 5, SCRAM_SALT);
	memcpy(out->stored, bytes.at + 5 + SCRAM_SALT, SCRAM_KEY);
	memcpy(out->server, bytes.at + 5 + SCRAM_SALT + SCRAM_KEY, SCRAM_KEY);
}

static const uint32_t quota_tags[QUOTAS] = { PR_QUOTA_WARN, PR_QUOTA_SEND, PR_QUOTA_RECEIVE };

void user_read(const struct plist *l, struct user *out)
{
	*out = (struct user){ .mailbox = plist_u64(l, PR_MAILBOX_ID, 0),
			      .created = (int64_t)plist_u64(l, PR_CREATION_TIME, 0),
			      .removed = (int64_t)plist_u64(l, PR_DELETED_ON, 0),
			      .disabled = plist_bool(l, PR_DISABLED, false) };
	copy_text(out->name, sizeof out->name, plist_span(l, PR_USER));
	copy_text(out->display, sizeof out->display, plist_span(l, PR_DISPLAY_NAME));
	copy_text(out->hash, sizeof out->hash, plist_span(l, PR_PASSWORD_HASH));
	read_scram(plist_span(l, PR_SCRAM_KEYS), &out->scram);
	for (unsigned i = 0; i < QUOTAS; i++)
		if (plist_has(l, quota_tags[i])) {
			int64_t octets = (int64_t)plist_u64(l, quota_tags[i], 0);

			out->quota[i] = octets ? octets : -1;
		}
}

static enum st read_user_row(const struct store *s, struct span key, struct user *out,
			     struct err *err)
{
	struct ese_value row;
	struct plist l;
	enum st st = ese_get(s->dir, key, &row, err);

	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "a user", &l, err);
	if (st == ST_OK)
		user_read(&l, out);
	ese_value_free(&row);
	return st;
}

enum st directory_user(struct directory *d, const char *name, struct user *out, struct err *err)
{
	struct key k;
	enum st st = read_user_row(d->store, key_dir(&k, DIR_USER, span_str(name)), out, err);

	return st == ST_NOTFOUND ? fail(err, ST_NOTFOUND, "there is no user '%s'", name) : st;
}

enum st directory_removed(struct directory *d, uint64_t mailbox, struct user *out, struct err *err)
{
	struct key k;
	enum st st = read_user_row(d->store, key_dir_mailbox(&k, DIR_REMOVED, mailbox), out, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_NOTFOUND, "mailbox %llu is not that of a user who was removed",
			    (unsigned long long)mailbox);
	return st;
}

enum st directory_owner(const struct store *s, uint64_t mailbox, struct user *out, struct err *err)
{
	char name[NAME_BYTES_MAX + 1];
	struct ese_value row;
	struct plist l;
	struct key k;
	enum st st = read_user_row(s, key_dir_mailbox(&k, DIR_REMOVED, mailbox), out, err);

	if (st != ST_NOTFOUND)
		return st;
	st = ese_get(s->dir, key_dir_mailbox(&k, DIR_MAILBOX, mailbox), &row, err);
	if (st == ST_OK) {
		st = row_open(row.bytes, "a mailbox's place", &l, err);
		if (st == ST_OK)
			copy_text(name, sizeof name, plist_span(&l, PR_USER));
		ese_value_free(&row);
	}
	if (st == ST_OK)
		st = read_user_row(s, key_dir(&k, DIR_USER, span_str(name)), out, err);
	if (st == ST_NOTFOUND)
		return fail(err, ST_NOTFOUND, "there is no mailbox %llu",
			    (unsigned long long)mailbox);
	return st;
}

enum st directory_has(struct directory *d, enum dir_row kind, const char *name, struct err *err)
{
	struct ese_value row;
	struct key k;
	enum st st = ese_get(d->store->dir, key_dir(&k, kind, span_str(name)), &row, err);

	if (st == ST_OK)
		ese_value_free(&row);
	return st;
}

enum st directory_place(struct directory *d, uint64_t mailbox, uint64_t *database, struct err *err)
{
	struct ese_value row;
	struct plist l;
	struct key k;
	enum st st = ese_get(d->store->dir, key_dir_mailbox(&k, DIR_MAILBOX, mailbox), &row, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_NOTFOUND, "there is no mailbox %llu",
			    (unsigned long long)mailbox);
	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "a mailbox's place", &l, err);
	if (st == ST_OK)
		*database = plist_u64(&l, PR_DATABASE_ID, 0);
	ese_value_free(&row);
	return st;
}

/* ---- writing ---- */

struct commit {
	struct loop *loop;
	struct fiber *fiber;
	bool durable;
};

static void commit_arrived(void *arg)
{
	struct commit *c = arg;

	c->durable = true;
	fiber_wake(c->fiber);
}

static void commit_done(void *arg)
{
	struct commit *c = arg;

	loop_post(c->loop, commit_arrived, c);
}

enum st commit_wait(struct ese_batch *b, struct err *err)
{
	struct commit c = { .loop = loop_self(), .fiber = fiber_self() };
	enum st st = ese_commit(b, commit_done, &c, err);

	while (st == ST_OK && !c.durable)
		fiber_park(NO_DEADLINE);
	return st;
}

struct blocked {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool durable;
};

static void blocked_done(void *arg)
{
	struct blocked *f = arg;

	pthread_mutex_lock(&f->lock);
	f->durable = true;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

enum st commit_block(struct ese_batch *b, struct err *err)
{
	struct blocked f = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
	enum st st = ese_commit(b, blocked_done, &f, err);

	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&f.lock);
	while (!f.durable)
		pthread_cond_wait(&f.cond, &f.lock);
	pthread_mutex_unlock(&f.lock);
	return ST_OK;
}

enum st commit_and_tell(struct directory *d, struct ese_batch *b, struct err *err)
{
	enum st st = commit_wait(b, err);

	if (st == ST_OK)
		watch_notify(&d->store->shards[0], WATCH_DIRECTORY, ++d->changes);
	return st;
}

enum st directory_write(struct directory *d, enum dir_row kind, const char *name,
			const struct buf *value, struct err *err)
{
	struct ese_batch *b;
	struct key k;
	enum st st = ese_batch_new(d->store->dir, 0, &b, err);

	if (st != ST_OK)
		return st;
	if (value)
		ese_put(b, key_dir(&k, kind, span_str(name)), buf_get(value));
	else
		ese_delete(b, key_dir(&k, kind, span_str(name)));
	return commit_and_tell(d, b, err);
}

/* Under its name, or, for one who was removed, under the mailbox that it had. */
static void put_user(struct ese_batch *b, const struct user *u)
{
	uint8_t scram[5 + SCRAM_SALT + 2 * SCRAM_KEY];
	struct buf row = BUF_MAX(ROW_MAX);
	struct key k;
	struct pw w;

	le32_put(scram, u->scram.iterations);
	scram[4] = SCRAM_SALT;
	memcpy(scram + 5, u->scram.salt, SCRAM_SALT);
	memcpy(scram + 5 + SCRAM_SALT, u->scram.stored, SCRAM_KEY);
	memcpy(scram + 5 + SCRAM_SALT + SCRAM_KEY, u->scram.server, SCRAM_KEY);
	pw_begin(&w, &row, 8 + QUOTAS);
	pw_str(&w, PR_USER, u->name);
	pw_u64(&w, PR_MAILBOX_ID, u->mailbox);
	pw_str(&w, PR_DISPLAY_NAME, u->display);
	pw_u64(&w, PR_CREATION_TIME, (uint64_t)u->created);
	pw_str(&w, PR_PASSWORD_HASH, u->hash);
	pw_span(&w, PR_SCRAM_KEYS, span_of(scram, sizeof scram));
	if (u->disabled)
		pw_bool(&w, PR_DISABLED, true);
	if (u->removed)
		pw_u64(&w, PR_DELETED_ON, (uint64_t)u->removed);
	for (unsigned i = 0; i < QUOTAS; i++)
		if (u->quota[i])
			pw_u64(&w, quota_tags[i], u->quota[i] > 0 ? (uint64_t)u->quota[i] : 0);
	pw_end(&w);
	ese_put(b,
		u->removed ? key_dir_mailbox(&k, DIR_REMOVED, u->mailbox)
			   : key_dir(&k, DIR_USER, span_str(u->name)),
		buf_get(&row));
	buf_free(&row);
}

static void put_counters(struct ese_batch *b, const struct directory *d, uint64_t last_mailbox)
{
	struct buf row = BUF_MAX(ROW_MAX);
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 2);
	pw_u64(&w, PR_MAILBOX_ID, last_mailbox);
	pw_span(&w, PR_DIRECTORY_SECRET, span_of(d->secret, sizeof d->secret));
	pw_end(&w);
	ese_put(b, key_dir(&k, DIR_COUNTERS, SPAN_NONE), buf_get(&row));
	buf_free(&row);
}

void directory_put_place(struct ese_batch *b, enum dir_row kind, const struct user *u,
			 uint64_t database)
{
	struct buf row = BUF_MAX(ROW_MAX);
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 2);
	pw_str(&w, PR_USER, u->name);
	if (database)
		pw_u64(&w, PR_DATABASE_ID, database);
	pw_end(&w);
	ese_put(b, key_dir_mailbox(&k, kind, u->mailbox), buf_get(&row));
	buf_free(&row);
}

enum st directory_user_add(struct directory *d, struct user *u, const struct database *db,
			   struct err *err)
{
	struct ese_batch *b;
	enum st st;

	if (d->last_mailbox == MAILBOX_MAX)
		return fail(err, ST_NOSPACE, "all mailbox numbers are used");
	st = ese_batch_new(d->store->dir, 0, &b, err);
	if (st != ST_OK)
		return st;
	u->mailbox = d->last_mailbox + 1;
	put_user(b, u);
	put_counters(b, d, u->mailbox);
	directory_put_place(b, DIR_MAILBOX, u, db->id);
	st = commit_and_tell(d, b, err);
	if (st == ST_OK)
		d->last_mailbox = u->mailbox;
	return st;
}

enum st directory_user_write(struct directory *d, const struct user *u, struct err *err)
{
	struct ese_batch *b;
	enum st st = ese_batch_new(d->store->dir, 0, &b, err);

	if (st != ST_OK)
		return st;
	put_user(b, u);
	return commit_and_tell(d, b, err);
}

enum st directory_user_remove(struct directory *d, const struct user *u, bool keep, struct err *err)
{
	struct user removed = *u;
	struct ese_batch *b;
	uint64_t place;
	struct key k;
	enum st st = directory_place(d, u->mailbox, &place, err);

	if (st == ST_OK)
		st = ese_batch_new(d->store->dir, 0, &b, err);
	if (st != ST_OK)
		return st;
	if (u->removed)
		ese_delete(b, key_dir_mailbox(&k, DIR_REMOVED, u->mailbox));
	else
		ese_delete(b, key_dir(&k, DIR_USER, span_str(u->name)));
	if (keep) {
		removed.removed = clock_real();
		put_user(b, &removed);
	} else {
		ese_delete(b, key_dir_mailbox(&k, DIR_MAILBOX, u->mailbox));
		directory_put_place(b, DIR_PURGE, u, place);
	}
	return commit_and_tell(d, b, err);
}

enum st directory_reconnect(struct directory *d, const struct user *u, struct err *err)
{
	struct user again = *u;
	struct ese_batch *b;
	uint64_t place;
	struct key k;
	enum st st = directory_place(d, u->mailbox, &place, err);

	if (st == ST_OK)
		st = ese_batch_new(d->store->dir, 0, &b, err);
	if (st != ST_OK)
		return st;
	again.removed = 0;
	ese_delete(b, key_dir_mailbox(&k, DIR_REMOVED, u->mailbox));
	put_user(b, &again);
	directory_put_place(b, DIR_MAILBOX, &again, place);
	return commit_and_tell(d, b, err);
}

/* ---- opening ---- */

static enum st write_first(struct directory *d, struct err *err)
{
	struct ese_batch *b;
	enum st st = ese_batch_new(d->store->dir, 0, &b, err);

	if (st != ST_OK)
		return st;
	random_bytes(d->secret, sizeof d->secret);
	put_counters(b, d, 0);
	return commit_block(b, err);
}

static enum st read_counters(struct directory *d, struct err *err)
{
	struct ese_value row;
	struct span secret;
	struct plist l;
	struct key k;
	enum st st = ese_get(d->store->dir, key_dir(&k, DIR_COUNTERS, SPAN_NONE), &row, err);

	if (st == ST_NOTFOUND)
		return write_first(d, err);
	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "the directory's counters", &l, err);
	if (st == ST_OK) {
		secret = plist_span(&l, PR_DIRECTORY_SECRET);
		if (secret.len == sizeof d->secret)
			memcpy(d->secret, secret.at, secret.len);
		d->last_mailbox = plist_u64(&l, PR_MAILBOX_ID, 0);
	}
	ese_value_free(&row);
	return st;
}

enum st directory_open(struct store *s, struct directory **out, struct err *err)
{
	struct directory *d = calloc(1, sizeof *d);
	enum st st;

	if (!d)
		return fail(err, ST_NOMEM, "out of memory");
	d->store = s;
	st = read_counters(d, err);
	if (st == ST_OK)
		st = auth_new(d, &d->auth, err);
	if (st != ST_OK) {
		directory_close(d);
		return st;
	}
	*out = d;
	return ST_OK;
}

void directory_close(struct directory *d)
{
	if (!d)
		return;
	auth_free(d->auth);
	free(d);
}
