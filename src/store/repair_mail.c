/* repair_mail.c - one mailbox into its new database; see repair_int.h.
 *
 * Folders first get what they lack: a row when only messages are left of them, a parent that is there, a name of their own.
 * Then each folder's messages are written in order of UID, its figures counted on the way. */
#include "store/repair_int.h"

#include "base/uset.h"
#include "store/keep.h"

#include <stdio.h>
#include <stdlib.h>

#define ROW_BYTES (1024u * 1024)
#define UID_JUMP  1000000u /* left out where nobody knows the next UID any more */

/* A folder as it will be. */
struct plan {
	const struct offline_folder *old; /* NULL: only messages are left */
	uint32_t number, parent;
	char name[FOLDER_NAME_MAX + 32];
	struct figures figures;
	bool forget; /* what vanished when is not known any more */
};

struct box {
	struct part *p;
	uint64_t id, cn;
	char user[NAME_BYTES_MAX + 1];
	struct offline_tree tree;
	struct plan *plans; /* ascending by number */
	size_t n;
	struct kept_figures kept;
};

/* ---- folders ---- */

static struct plan *plan_of(struct box *b, uint32_t number)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->plans[i].number == number)
			return &b->plans[i];
	return NULL;
}

static enum st add_plan(struct box *b, uint32_t number, const struct offline_folder *old,
			struct err *err)
{
	struct plan *more = realloc(b->plans, (b->n + 1) * sizeof *more), *p;
	struct finding f = { .kind = FOUND_FOLDER_LOST, .user = b->user };
	size_t at = b->n;

	if (!more)
		return fail(err, ST_NOMEM, "out of memory");
	b->plans = more;
	while (at > 0 && more[at - 1].number > number)
		at--;
	memmove(more + at + 1, more + at, (b->n++ - at) * sizeof *more);
	p = &more[at];
	*p = (struct plan){ .number = number, .old = old };
	p->figures = (struct figures){ .uidnext = 1, .recent_from = 1 };
	if (old) {
		snprintf(p->name, sizeof p->name, "%s", old->name);
		p->parent = old->parent;
		p->figures = old->figures;
		return ST_OK;
	}
	if (number == FOLDER_INBOX)
		snprintf(p->name, sizeof p->name, "INBOX");
	else
		snprintf(p->name, sizeof p->name, "Recovered %u", number);
	repair_tell(b->p->r, &f, "%s: folder number %u is lost; its messages go to '%s'", b->user,
		    number, p->name);
	return ST_OK;
}

/* Folders of which only messages are left. */
static enum st find_lost(struct box *b, enum box_row kind, struct err *err)
{
	struct span key, value, rest;
	struct look_rows *rows;
	struct key from, to;
	uint32_t number = 0;
	uint64_t mailbox;
	unsigned k;
	enum st st;

	key_box(&to, b->id, kind);
	key_after(&to);
	do {
		st = look_rows_new(salvage_db(b->p->from),
				   key_folder(&from, b->id, kind, number + 1),
				   span_of(to.at, to.len), &rows, err);
		if (st != ST_OK)
			return st;
		while ((st = look_rows_next(rows, &key, &value, err)) == ST_CORRUPT)
			;
		if (st == ST_OK && key_box_read(key, &mailbox, &k, &rest) && rest.len >= 4) {
			number = key_tail_u32(span_cut(rest, 4));
			if (rest.len == 8 && !plan_of(b, number))
				st = add_plan(b, number, NULL, err);
		} else {
			number = UINT32_MAX;
		}
		look_rows_free(rows);
	} while (st == ST_OK && number < UINT32_MAX);
	return st == ST_EOF ? ST_OK : st;
}

static bool under_itself(struct box *b, const struct plan *p)
{
	const struct plan *up = p;

	for (unsigned depth = 0; up && up->parent; depth++) {
		if (depth > FOLDER_DEPTH_MAX)
			return true;
		up = plan_of(b, up->parent);
	}
	return !up;
}

static bool name_taken(const struct box *b, const struct plan *p)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct plan *other = &b->plans[i];

		if (other != p && other->parent == p->parent && !strcmp(other->name, p->name) &&
		    other->number < p->number)
			return true;
	}
	return false;
}

/* Each at a place that is there, under a name of its own. */
static void put_in_place(struct box *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct plan *p = &b->plans[i];
		struct finding f = { .kind = FOUND_FOLDER_PARENT,
				     .user = b->user,
				     .folder = p->old ? p->old->path : p->name };

		if (under_itself(b, p)) {
			repair_tell(b->p->r, &f,
				    "%s of %s has no parent any more: it goes to the top", f.folder,
				    b->user);
			p->parent = 0;
		}
		f.kind = FOUND_FOLDER_NAME;
		if (*p->name && !strchr(p->name, '/') && !name_taken(b, p))
			continue;
		if (p->number == FOLDER_INBOX)
			snprintf(p->name, sizeof p->name, "INBOX");
		else
			snprintf(p->name, sizeof p->name, "%.200s (%u)",
				 *p->name && !strchr(p->name, '/') ? p->old ? p->old->name : p->name
								   : "Folder",
				 p->number);
		repair_tell(b->p->r, &f, "%s of %s is called '%s' now", f.folder, b->user, p->name);
	}
}

static void write_folder(struct box *b, const struct plan *p)
{
	struct buf row = BUF_MAX(ROW_BYTES);
	struct span words[KEYWORDS_MAX];
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 7);
	pw_u64(&w, PR_PARENT_FID, p->parent);
	pw_str(&w, PR_DISPLAY_NAME, p->name);
	pw_u32(&w, PR_UIDVALIDITY, p->old ? p->old->uidvalidity : b->tree.uidvalidity);
	pw_u64(&w, PR_CREATION_TIME, p->old ? (uint64_t)p->old->created : 0);
	if (p->old && *p->old->special)
		pw_str(&w, PR_SPECIAL_USE, p->old->special);
	if (p->old && p->old->noselect)
		pw_bool(&w, PR_NOSELECT, true);
	for (unsigned i = 0; p->old && i < p->old->nkeywords; i++)
		words[i] = span_str(p->old->keywords[i]);
	if (p->old && p->old->nkeywords)
		pw_mv_span(&w, PR_KEYWORDS, words, p->old->nkeywords);
	pw_end(&w);
	out_put(&b->p->out, key_folder(&k, b->id, BOX_FOLDER, p->number), &row);
	buf_clear(&row);
	figures_write(&p->figures, &row);
	out_put(&b->p->out, key_folder(&k, b->id, BOX_FIGURES, p->number), &row);
	buf_free(&row);
	b->p->r->folders++;
}

/* ---- messages ---- */

/* A folder's messages on their way. */
struct passage {
	struct box *b;
	struct plan *plan;
	struct figures f; /* as counted */
	uint64_t last_mid;
	uint32_t last_uid;
	bool again; /* change numbers did not ascend: everything gets new ones */
};

static void tell_message(struct passage *ps, enum finding_kind kind,
			 const struct offline_message *m, const char *what)
{
	struct finding f = { .kind = kind,
			     .database = ps->b->p->name,
			     .body = m->body,
			     .user = ps->b->user,
			     .folder = ps->plan->old ? ps->plan->old->path : ps->plan->name,
			     .uid = m->uid,
			     .date = m->entry.date,
			     .from = m->from,
			     .subject = m->subject };

	repair_tell(ps->b->p->r, &f, "%s of %s: message UID %u: %s", f.folder, ps->b->user, m->uid,
		    what);
}

/* The row BOX_ITEM with the body's new id. */
static void item_row(const struct offline_message *m, uint64_t body, struct buf *out)
{
	struct pw w;

	pw_begin(&w, out, plist_count(&m->item) + 1);
	pw_u64(&w, PR_BODY_ID, body);
	pw_merge(&w, &m->item);
	pw_end(&w);
}

/* Its flags, date and numbers as they were, as far as they are known. */
static void entry_for(struct passage *ps, struct offline_message *m)
{
	struct entry *e = &m->entry;

	if (!m->has_entry) {
		*e = (struct entry){ .uid = m->uid,
				     .date = (int64_t)plist_u64(&m->item, PR_CLIENT_SUBMIT_TIME, 0),
				     .size = (uint32_t)plist_u64(&m->item, PR_MESSAGE_SIZE_EXTENDED,
								 0) };
		tell_message(ps, FOUND_MESSAGE_HALF, m, "its flags and date are lost");
	}
	if (!ps->plan->old)
		e->keywords = 0;
	if (e->mid <= ps->last_mid)
		ps->again = true;
	if (ps->again)
		e->mid = e->cn = ++ps->b->cn;
	if (e->cn < e->mid)
		e->cn = e->mid;
	ps->last_mid = e->mid;
}

static enum st write_message(struct passage *ps, struct offline_message *m, struct err *err)
{
	struct part *p = ps->b->p;
	struct buf item = BUF_MAX(ESE_VALUE_MAX), entry = BUF_MAX(4096);
	const struct moved *body = NULL;
	enum st st = m->body ? body_move(p, m->body, &body, err) : ST_OK;
	struct key k;

	if (st != ST_OK)
		return st;
	entry_for(ps, m);
	if (body && body->id) {
		item_row(m, body->id, &item);
		body_link(p, body);
		p->r->messages_kept++;
		p->r->bytes_kept += m->entry.size;
	} else {
		tell_message(ps, FOUND_MESSAGE_DAMAGED, m,
			     m->has_item ? "its content is damaged: a notice takes its place"
					 : "its content is lost: a notice takes its place");
		m->entry.flags &= ~ENTRY_OPEN_END;
		st = notice_write(p, m, body, &item, &m->entry.size, err);
		p->r->messages_noticed++;
	}
	entry_write(&m->entry, &entry);
	if (st == ST_OK && (item.failed || entry.failed))
		st = fail(err, ST_NOMEM, "out of memory");
	if (st == ST_OK) {
		out_put(&p->out, key_message(&k, ps->b->id, BOX_ITEM, ps->plan->number, m->uid),
			&item);
		out_put(&p->out, key_message(&k, ps->b->id, BOX_ENTRY, ps->plan->number, m->uid),
			&entry);
	}
	buf_free(&item);
	buf_free(&entry);
	return st;
}

static void count_message(struct passage *ps, const struct offline_message *m)
{
	ps->f.count++;
	ps->f.size += m->entry.size;
	ps->f.unread += !(m->entry.flags & MF_SEEN);
	if (m->entry.cn > ps->f.cn)
		ps->f.cn = m->entry.cn;
	ps->last_uid = m->uid;
}

static enum st pass_messages(struct passage *ps, struct err *err)
{
	struct offline_messages *it;
	struct offline_message m;
	struct part *p = ps->b->p;
	enum st st =
		offline_messages_open(salvage_db(p->from), ps->b->id, ps->plan->number, &it, err);

	if (st != ST_OK)
		return st;
	while ((st = offline_messages_next(it, &m, err)) == ST_OK || st == ST_CORRUPT) {
		/* Told when the rows were read. */
		if (st == ST_CORRUPT)
			continue;
		if (!m.uid || (!m.has_entry && !m.has_item)) {
			tell_message(ps, FOUND_MESSAGE_HALF, &m,
				     "both of its rows are lost: it is dropped");
			continue;
		}
		p->r->bytes += m.has_entry ? m.entry.size : 0;
		st = write_message(ps, &m, err);
		if (st != ST_OK)
			break;
		count_message(ps, &m);
		st = out_turn(&p->out, false, err);
		if (st != ST_OK)
			break;
		if (p->r->progress)
			p->r->progress(p->r->arg, "messages",
				       p->r->messages_kept + p->r->messages_noticed);
	}
	offline_messages_close(it);
	return st == ST_EOF ? ST_OK : st;
}

/* Figures as they were, where nobody can know better, and as counted. */
static void settle_figures(struct passage *ps)
{
	struct plan *plan = ps->plan;
	struct figures *g = &plan->figures;
	bool had = plan->old && plan->old->has_figures;
	uint32_t said = had ? plan->old->figures.count : 0;
	struct repair *r = ps->b->p->r;
	struct finding f = { .kind = FOUND_FOLDER_FIGURES,
			     .user = ps->b->user,
			     .folder = plan->old ? plan->old->path : plan->name };

	r->messages += said > ps->f.count ? said : ps->f.count;
	if (had && plan->old->figures.size > ps->f.size)
		r->bytes += said > ps->f.count ? plan->old->figures.size - ps->f.size : 0;
	if (had && said > ps->f.count)
		repair_tell(r, &f, "%s of %s: %u of its %u messages are lost", f.folder,
			    ps->b->user, said - ps->f.count, said);
	if (!had || said != ps->f.count || ps->again)
		plan->forget = true;
	g->count = ps->f.count;
	g->unread = ps->f.unread;
	g->size = ps->f.size;
	if (!had)
		g->uidnext =
			ps->last_uid < UINT32_MAX - UID_JUMP ? ps->last_uid + UID_JUMP : UINT32_MAX;
	else if (g->uidnext <= ps->last_uid)
		g->uidnext = ps->last_uid + 1;
	if (g->cn < ps->f.cn)
		g->cn = ps->f.cn;
	if (g->cn > ps->b->cn)
		ps->b->cn = g->cn;
	if (plan->forget)
		g->cn = g->vanished_from = ++ps->b->cn;
}

static enum st pass_vanished(struct box *b, struct plan *plan, struct err *err)
{
	struct span key, value;
	struct look_rows *rows;
	struct key from, to;
	enum st st;

	key_folder(&to, b->id, BOX_VANISHED, plan->number);
	st = look_rows_new(salvage_db(b->p->from),
			   key_folder(&from, b->id, BOX_VANISHED, plan->number), key_after(&to),
			   &rows, err);
	if (st != ST_OK)
		return st;
	while (!plan->forget && (st = look_rows_next(rows, &key, &value, err)) == ST_OK) {
		struct uset uids = { 0 };

		if (key.len == 22 && uset_read(value, &uids, NULL) == ST_OK)
			out_put_bytes(&b->p->out, key, value);
		else
			plan->forget = true;
		uset_free(&uids);
	}
	if (st == ST_CORRUPT)
		plan->forget = true;
	look_rows_free(rows);
	return st == ST_EOF || st == ST_CORRUPT ? ST_OK : st;
}

static enum st pass_folder(struct box *b, struct plan *plan, struct err *err)
{
	struct passage ps = { .b = b, .plan = plan };
	enum st st = pass_vanished(b, plan, err);

	if (st == ST_OK)
		st = pass_messages(&ps, err);
	if (st != ST_OK)
		return st;
	settle_figures(&ps);
	write_folder(b, plan);
	return out_turn(&b->p->out, false, err);
}

/* ---- deleted messages that are kept ---- */

static enum st write_kept(struct box *b, const struct offline_message *m, struct span key,
			  struct span value, struct err *err)
{
	struct buf row = BUF_MAX(ESE_VALUE_MAX), item = BUF_MAX(ESE_VALUE_MAX);
	const struct moved *body;
	enum st st = body_move(b->p, m->body, &body, err);
	struct plist l;
	struct pw w;

	if (st != ST_OK)
		return st;
	if (!body->id) {
		struct finding f = { .kind = FOUND_MESSAGE_DAMAGED,
				     .user = b->user,
				     .uid = m->uid,
				     .from = m->from,
				     .subject = m->subject,
				     .date = m->entry.date };

		b->p->r->lost_deleted++;
		repair_tell(
			b->p->r, &f,
			"a deleted message of %s that was kept: its content is damaged: it is dropped",
			b->user);
		return ST_OK;
	}
	item_row(m, body->id, &item);
	l = plist_trusted(value.at, value.len);
	pw_begin(&w, &row, plist_count(&l) + 2);
	pw_u64(&w, PR_BODY_ID, body->id);
	pw_object(&w, PR_KEPT_ITEM, plist_trusted(item.at, item.len));
	pw_merge(&w, &l);
	pw_end(&w);
	out_put(&b->p->out, key, &row);
	body_link(b->p, body);
	b->kept.count++;
	b->kept.bytes += m->entry.size;
	b->p->r->kept_deleted++;
	buf_free(&row);
	buf_free(&item);
	return out_turn(&b->p->out, false, err);
}

static void read_kept_figures(struct box *b, struct span value)
{
	struct kept_figures g;

	if (kept_figures_read(value, &g, NULL) == ST_OK)
		b->kept.warned = g.warned;
}

/* Subscriptions, deliveries, deleted messages. */
static enum st pass_other(struct box *b, struct err *err)
{
	struct span key, value, rest;
	struct offline_message m;
	struct look_rows *rows;
	struct key from, to;
	struct plist l;
	uint64_t mailbox;
	unsigned kind;
	enum st st;

	key_box(&to, b->id, BOX_ROWS_END);
	st = look_rows_new(salvage_db(b->p->from), key_box(&from, b->id, BOX_SUBSCRIBED),
			   span_of(to.at, to.len), &rows, err);
	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT || !key_box_read(key, &mailbox, &kind, &rest) ||
		    plist_open(&l, value.at, value.len, NULL) != ST_OK)
			continue;
		st = ST_OK;
		if ((kind == BOX_SUBSCRIBED && rest.len) ||
		    (kind == BOX_DELIVERED && rest.len == GUID_BYTES))
			out_put_bytes(&b->p->out, key, value);
		else if (kind == BOX_KEPT_FIGURES)
			read_kept_figures(b, value);
		else if (kind == BOX_KEPT && offline_links_body(key, value, &mailbox, &m))
			st = write_kept(b, &m, key, value, err);
		if (st != ST_OK)
			break;
	}
	look_rows_free(rows);
	return st == ST_EOF ? ST_OK : st;
}

/* ---- a mailbox ---- */

static void write_mailbox(struct box *b)
{
	struct buf row = BUF_MAX(ROW_BYTES);
	uint32_t next = b->n ? b->plans[b->n - 1].number + 1 : 1;
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 3);
	pw_u32(&w, PR_NEXT_FOLDER, b->tree.next_folder > next ? b->tree.next_folder : next);
	pw_u32(&w, PR_UIDVALIDITY, b->tree.uidvalidity);
	pw_u64(&w, PR_CHANGE_NUM, b->cn);
	pw_end(&w);
	out_put(&b->p->out, key_box(&k, b->id, BOX_MAILBOX), &row);
	buf_clear(&row);
	kept_figures_write(&b->kept, &row);
	if (b->kept.count || b->kept.warned)
		out_put(&b->p->out, key_box(&k, b->id, BOX_KEPT_FIGURES), &row);
	buf_free(&row);
}

/* Numbers that were given out are not given out again. */
static void find_highest(struct box *b)
{
	b->cn = b->tree.cn;
	for (size_t i = 0; i < b->tree.n; i++) {
		const struct offline_folder *f = &b->tree.folders[i];

		if (f->figures.cn > b->cn)
			b->cn = f->figures.cn;
		if (f->uidvalidity > b->tree.uidvalidity)
			b->tree.uidvalidity = f->uidvalidity;
	}
	if (!b->tree.uidvalidity)
		b->tree.uidvalidity = 1;
}

static enum st plan_folders(struct box *b, struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < b->tree.n; i++)
		st = add_plan(b, b->tree.folders[i].number, &b->tree.folders[i], err);
	if (st == ST_OK)
		st = find_lost(b, BOX_ENTRY, err);
	if (st == ST_OK)
		st = find_lost(b, BOX_ITEM, err);
	if (st == ST_OK && !plan_of(b, FOLDER_INBOX))
		st = add_plan(b, FOLDER_INBOX, NULL, err);
	if (st == ST_OK)
		put_in_place(b);
	return st;
}

enum st repair_mailbox(struct part *p, uint64_t mailbox, struct err *err)
{
	struct box b = { .p = p, .id = mailbox };
	enum st st = offline_tree_load(salvage_db(p->from), mailbox, &b.tree, err);

	if (st != ST_OK)
		return st;
	offline_owner_name(p->o, mailbox, b.user);
	p->out.partition = mailbox;
	find_highest(&b);
	st = plan_folders(&b, err);
	for (size_t i = 0; st == ST_OK && i < b.n; i++)
		st = pass_folder(&b, &b.plans[i], err);
	if (st == ST_OK)
		st = pass_other(&b, err);
	if (st == ST_OK) {
		write_mailbox(&b);
		st = out_turn(&p->out, true, err);
		p->r->mailboxes++;
	}
	free(b.plans);
	offline_tree_free(&b.tree);
	return st;
}
