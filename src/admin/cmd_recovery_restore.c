/* cmd_recovery_restore.c - messages out of a recovery store, back into the live one.
 *
 * Folder by folder: what the live folder has already is passed over (the same UID under the same UIDVALIDITY, or the same
 * date, size and Message-ID), so that a restore can be repeated; the rest is handed in one by one (ADM_RESTORE). */
#include "admin/cli.h"
#include "admin/progress.h"
#include "admin/recovery.h"
#include "admin/storelink.h"
#include "base/crc32c.h"
#include "base/timetext.h"
#include "exifs/upload.h"

#include <stdio.h>
#include <stdlib.h>

enum { R_FOLDER, R_UID, R_SINCE, R_TO, R_INTO, R_DRY_RUN };

/* What is there already, as numbers to look for. */
struct present {
	uint64_t *at; /* sorted */
	size_t n, cap;
	struct uset uids;
	uint32_t uidvalidity;
	bool used; /* it gave out UIDs */
};

struct restore {
	struct cli *cli;
	struct offline *o;
	struct recovery_filter filter;
	struct exipc_chan *chan;
	uint64_t mailbox; /* of the live store */
	const char *into; /* live folder for all of them, or NULL: each into its own */
	bool dry_run;

	const struct offline_folder *folder; /* the one whose `present` this is */
	struct present present;
	uint32_t uidvalidity; /* of the live folder, 0: not known yet */

	struct progress progress;
	uint64_t restored, uids_kept, there, unreadable, bytes, damaged;
	struct buf lost; /* names of messages whose body is damaged */
};

/* ---- what is there ---- */

static uint64_t mark_of(int64_t date, uint64_t size, struct span message_id)
{
	uint64_t key[2] = { (uint64_t)date, size };
	uint32_t a = crc32c(0, key, sizeof(key));

	return (uint64_t)crc32c(a, message_id.at, message_id.len) << 32 |
	       crc32c(~a, message_id.at, message_id.len);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void forget(struct present *p)
{
	free(p->at);
	uset_free(&p->uids);
	*p = (struct present){ 0 };
}

static enum st add_present(struct present *p, const struct plist *row, struct err *err)
{
	uint32_t uid = plist_u32(row, PR_INTERNET_ARTICLE_NUMBER, 0);

	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 256;
		uint64_t *more = realloc(p->at, cap * sizeof(*more));

		if (!more)
			return fail(err, ST_NOMEM, "out of memory");
		p->at = more;
		p->cap = cap;
	}
	p->at[p->n++] = mark_of((int64_t)plist_u64(row, PR_MESSAGE_DELIVERY_TIME, 0),
				plist_u64(row, PR_MESSAGE_SIZE_EXTENDED, 0),
				plist_span(row, PR_INTERNET_MESSAGE_ID));
	return uset_add(&p->uids, uid, uid);
}

/* A folder that is not there has nothing. */
static enum st load_present(struct restore *r, const char *path, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	bool first = true;
	enum st st;

	forget(&r->present);
	wire_begin(&m, 2);
	pw_u64(&m.w, PR_MAILBOX_ID, r->mailbox);
	pw_str(&m.w, PR_FOLDER_PATH, path);
	st = wire_send(&m, r->chan, wire_loop(r->chan, r->mailbox), WIRE_ADM_MESSAGES, &a, err);
	while (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK) {
		if (first) {
			r->present.uidvalidity = plist_u32(&a.list, PR_UIDVALIDITY, 0);
			r->present.used =
				plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER_NEXT, 1) > 1;
		} else {
			st = add_present(&r->present, &a.list, err);
		}
		first = false;
	}
	wire_answer_free(&a);
	if (st != ST_EOF && st != ST_NOTFOUND)
		return st;
	if (r->present.n)
		qsort(r->present.at, r->present.n, sizeof(uint64_t), by_value);
	r->uidvalidity = r->present.uidvalidity;
	return ST_OK;
}

static bool is_present(const struct restore *r, const struct recovery_found *found)
{
	const struct offline_message *m = found->message;
	const struct present *p = &r->present;
	uint64_t mark = mark_of(m->entry.date, m->entry.size, m->message_id);

	if (p->uidvalidity == found->folder->uidvalidity && uset_has(&p->uids, m->uid))
		return true;
	return p->n && bsearch(&mark, p->at, p->n, sizeof(mark), by_value);
}

/* ---- one message ---- */

static enum st send_piece(void *arg, const char *bytes, size_t len, struct err *err)
{
	return upload_bytes(arg, span_of(bytes, len), err);
}

static void put_words(struct pw *w, const struct recovery_found *found)
{
	const struct entry *e = &found->message->entry;
	struct span words[KEYWORDS_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < found->folder->nkeywords; i++)
		if (e->keywords >> i & 1)
			words[n++] = span_str(found->folder->keywords[i]);
	pw_u32(w, PR_IMAP_FLAGS, e->flags & MF_ALL);
	if (n)
		pw_mv_span(w, PR_KEYWORDS, words, n);
	pw_u64(w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)e->date);
}

/* Under which UIDVALIDITY our UIDs are to count: their own; or that of a live folder that has given out none. */
static uint32_t validity_of(const struct restore *r, const struct recovery_found *found)
{
	if (r->into)
		return 0;
	return r->present.used ? found->folder->uidvalidity : r->uidvalidity;
}

static enum st hand_in(struct restore *r, struct upload *u, const struct recovery_found *found,
		       struct err *err)
{
	const struct offline_folder *f = found->folder;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 10);
	pw_u64(&m.w, PR_MAILBOX_ID, r->mailbox);
	pw_str(&m.w, PR_FOLDER_PATH, r->into ? r->into : f->path);
	if (f->special[0] && !r->into)
		pw_str(&m.w, PR_SPECIAL_USE, f->special);
	pw_u32(&m.w, PR_UIDVALIDITY, validity_of(r, found));
	pw_u32(&m.w, PR_INTERNET_ARTICLE_NUMBER, r->into ? 0 : found->message->uid);
	put_words(&m.w, found);
	st = upload_attach(u, &m, err);
	if (st != ST_OK) {
		buf_free(&m.bytes);
		return st;
	}
	st = wire_send(&m, r->chan, u->loop, WIRE_ADM_RESTORE, &a, err);
	if (st == ST_OK) {
		r->uidvalidity = plist_u32(&a.list, PR_UIDVALIDITY, 0);
		r->uids_kept +=
			plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER, 0) == found->message->uid;
	}
	wire_answer_free(&a);
	return st;
}

static void note_lost(struct restore *r, const struct recovery_found *found, const struct err *why)
{
	buf_printf(&r->lost, "%s, %s, UID %u, '" SPAN_FMT "': %s\n", found->user->name,
		   found->folder->path, found->message->uid, SPAN_ARG(found->message->subject),
		   why->text);
	r->unreadable++;
}

static enum st restore_message(struct restore *r, const struct recovery_found *found,
			       struct err *err)
{
	struct upload u;
	struct err why;
	enum st st;

	upload_begin(&u, r->chan, wire_loop(r->chan, r->mailbox), 0);
	st = offline_body(found->db, found->message->body, send_piece, &u, &why);
	if (st == ST_CORRUPT || st == ST_NOTFOUND) {
		note_lost(r, found, &why);
		upload_end(&u);
		return ST_OK;
	}
	if (st != ST_OK)
		*err = why;
	else
		st = hand_in(r, &u, found, err);
	upload_end(&u);
	return st;
}

static enum st each(void *arg, const struct recovery_found *found, struct err *err)
{
	struct restore *r = arg;
	enum st st = ST_OK;

	if (r->folder != found->folder) {
		st = load_present(r, r->into ? r->into : found->folder->path, err);
		r->folder = found->folder;
	}
	if (st != ST_OK)
		return st;
	if (is_present(r, found)) {
		r->there++;
		return ST_OK;
	}
	if (!r->dry_run)
		st = restore_message(r, found, err);
	if (st == ST_OK) {
		r->restored++;
		r->bytes += found->message->entry.size;
	}
	progress_tell(&r->progress, found->folder->path, r->restored + r->there, 0, "messages");
	return st;
}

/* ---- the whole ---- */

static enum st find_mailbox(struct restore *r, const char *user, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	pw_str(&m.w, PR_ADDRESS, user);
	st = wire_send(&m, r->chan, 0, WIRE_DS_RESOLVE, &a, err);
	if (st == ST_OK)
		r->mailbox = plist_u64(&a.list, PR_MAILBOX_ID, 0);
	wire_answer_free(&a);
	if (st == ST_NOTFOUND || (st == ST_OK && !r->mailbox))
		return fail(
			err, ST_NOTFOUND,
			"there is no user '%s' in the live store; make one with 'mailroot user add', "
			"or give another with --to",
			user);
	return st;
}

static enum st run(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct restore *r = arg;
	const char *to = r->cli->options[R_TO];
	enum st st;

	r->chan = chan;
	st = find_mailbox(r, to ? to : r->filter.user, err);
	if (st == ST_OK)
		st = recovery_each(r->o, &r->filter, each, r, &r->damaged, err);
	/* Who names messages wants to hear that there are none. */
	if (st == ST_OK && r->cli->options[R_UID] && !r->restored && !r->there && !r->unreadable &&
	    !r->damaged)
		st = fail(
			err, ST_NOTFOUND,
			"the folder '%.200s' of the recovery store has no messages with the UIDs %.100s",
			r->filter.folder, r->cli->options[R_UID]);
	return st;
}

/* What was done before a failure is told too. */
static int tell(struct restore *r)
{
	struct buf text = BUF_MAX(65536);
	struct report report;

	report_open(&report, &text, r->cli->json);
	report_table(&report, "restored", true);
	report_row(&report);
	report_num(&report, "messages", r->restored - r->unreadable);
	report_num(&report, "bytes", r->bytes);
	report_num(&report, "with_their_uid", r->uids_kept);
	report_num(&report, "already_there", r->there);
	report_num(&report, "damaged", r->unreadable + r->damaged);
	report_bool(&report, "dry_run", r->dry_run);
	report_close(&report);
	if (r->lost.len)
		fprintf(stderr, "mailroot: could not be restored:\n" SPAN_FMT,
			SPAN_ARG(buf_get(&r->lost)));
	return cli_print(&text);
}

static int read_options(struct restore *r)
{
	const char *const *o = r->cli->options;
	struct err err;

	r->filter.user = r->cli->args[1];
	r->filter.folder = o[R_FOLDER];
	r->into = o[R_INTO];
	r->dry_run = o[R_DRY_RUN] != NULL;
	if (o[R_UID] && !o[R_FOLDER])
		return cli_misuse("--uid needs --folder: UIDs count in a folder");
	if (o[R_UID] && recovery_uids(o[R_UID], &r->filter.uids, &err) != ST_OK)
		return cli_misuse("%s", err.text);
	return cli_time(r->cli, R_SINCE, &r->filter.since);
}

int cmd_recovery_restore(struct cli *c)
{
	struct restore r = { .cli = c, .lost = BUF_MAX(1u << 20) };
	struct err err;
	enum st st;
	int status = read_options(&r);

	if (status != CLI_DONE) {
		uset_free(&r.filter.uids);
		return status;
	}
	progress_begin(&r.progress, !c->json);
	st = recovery_open(c->home, c->args[0], &r.o, &err);
	if (st == ST_OK)
		st = storelink_run(c->home, run, &r, &err);
	progress_end(&r.progress);
	if (st == ST_OK || r.restored)
		status = tell(&r);
	if (st != ST_OK)
		status = cli_fail(&err);
	if (status == CLI_DONE && (r.unreadable || r.damaged))
		status = CLI_DAMAGE;
	forget(&r.present);
	uset_free(&r.filter.uids);
	buf_free(&r.lost);
	offline_close(r.o);
	return status;
}
