#include "admin/recovery.h"

#include "mime/decode.h"

#include <stdio.h>
#include <unistd.h>

enum st recovery_path(const char *home, const char *name, char out[RECOVERY_PATH_MAX],
		      struct err *err)
{
	int n = strchr(name, '/') ? snprintf(out, RECOVERY_PATH_MAX, "%s", name)
				  : snprintf(out, RECOVERY_PATH_MAX, "%s/recovery/%s", home, name);

	if (name[0] == '\0' || name[0] == '.')
		return fail(err, ST_BAD, "'%s' can't be the name of a recovery store", name);
	return n < RECOVERY_PATH_MAX ? ST_OK : fail(err, ST_TOOBIG, "the path is too long");
}

enum st recovery_open(const char *home, const char *name, struct offline **out, struct err *err)
{
	char path[RECOVERY_PATH_MAX];
	enum st st = recovery_path(home, name, path, err);

	if (st == ST_OK && access(path, F_OK) != 0)
		st = fail(
			err, ST_NOTFOUND,
			"there is no recovery store '%s' (%s); 'mailroot recovery list' shows them, "
			"'mailroot recovery mount BACKUP' makes one",
			name, path);
	return st == ST_OK ? offline_open(path, out, err) : st;
}

/* ---- sets of UIDs ---- */

static enum st add_run(struct span word, struct uset *out, struct err *err)
{
	struct span last, first = span_split(word, ':', &last);
	uint32_t a, b;

	if (!span_u32(first, &a) || !span_u32(last.at ? last : first, &b) || a == 0 || b < a)
		return fail(err, ST_BAD, "'" SPAN_FMT "' is no UID nor a run of them (3 or 5:9)",
			    SPAN_ARG(word));
	return uset_add(out, a, b);
}

enum st recovery_uids(const char *text, struct uset *out, struct err *err)
{
	struct span rest = span_str(text);
	enum st st = ST_OK;

	do
		st = add_run(span_split(rest, ',', &rest), out, err);
	while (st == ST_OK && rest.at);
	if (st != ST_OK)
		uset_free(out);
	return st;
}

/* ---- going through messages ---- */

struct walk {
	const struct recovery_filter *f;
	enum st (*fn)(void *arg, const struct recovery_found *found, struct err *err);
	void *arg;
	uint64_t *damaged;
	bool folder_seen;
};

static bool has_words(struct span text, const char *words)
{
	return !words || mime_casefold_contains(text, span_str(words));
}

static bool wanted(const struct recovery_filter *f, const struct offline_message *m)
{
	return m->has_entry && m->has_item && (!f->uids.count || uset_has(&f->uids, m->uid)) &&
	       m->entry.date >= f->since && has_words(m->from, f->from) &&
	       has_words(m->subject, f->subject) && has_words(m->message_id, f->message_id);
}

static enum st walk_folder(struct walk *w, struct recovery_found *found, uint64_t mailbox,
			   struct err *err)
{
	struct offline_messages *messages;
	struct offline_message m;
	enum st st =
		offline_messages_open(found->db, mailbox, found->folder->number, &messages, err);

	if (st != ST_OK)
		return st;
	found->message = &m;
	while ((st = offline_messages_next(messages, &m, err)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT || !m.has_entry || !m.has_item)
			++*w->damaged;
		else if (wanted(w->f, &m) && (st = w->fn(w->arg, found, err)) != ST_OK)
			break;
	}
	offline_messages_close(messages);
	return st == ST_EOF ? ST_OK : st;
}

static enum st walk_user(struct walk *w, struct offline *o, const struct offline_user *user,
			 struct err *err)
{
	struct offline_db *db = offline_db_of(o, user->mailbox);
	struct recovery_found found = { .user = user, .db = db ? db->db : NULL };
	struct offline_tree tree = { 0 };
	enum st st;

	if (!found.db) /* a mailbox that was never used */
		return ST_OK;
	st = offline_tree_load(found.db, user->mailbox, &tree, err);
	*w->damaged += tree.damaged;
	for (size_t i = 0; st == ST_OK && i < tree.n; i++) {
		found.folder = &tree.folders[i];
		if (w->f->folder &&
		    offline_folder_at(&tree, span_str(w->f->folder)) != found.folder)
			continue;
		w->folder_seen = true;
		st = walk_folder(w, &found, user->mailbox, err);
	}
	offline_tree_free(&tree);
	return st;
}

enum st recovery_each(struct offline *o, const struct recovery_filter *f,
		      enum st (*fn)(void *arg, const struct recovery_found *found, struct err *err),
		      void *arg, uint64_t *damaged, struct err *err)
{
	struct walk w = { .f = f, .fn = fn, .arg = arg, .damaged = damaged };
	enum st st = ST_OK;

	if (f->user && !offline_user(o, f->user))
		return fail(err, ST_NOTFOUND, "there is no user '%s' in the recovery store",
			    f->user);
	for (size_t i = 0; st == ST_OK && i < o->nusers; i++)
		if (!f->user || offline_user(o, f->user) == &o->users[i])
			st = walk_user(&w, o, &o->users[i], err);
	if (st == ST_OK && f->folder && !w.folder_seen)
		st = fail(err, ST_NOTFOUND, "there is no folder '%s' in the recovery store",
			  f->folder);
	return st;
}
