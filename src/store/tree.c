#include "store/tree.h"

#include "store/change.h"
#include "store/eximap.h"

#include <stdlib.h>

/* ---- paths ---- */

static enum st name_check(struct span name, struct err *err)
{
	if (!name.len)
		return fail(err, ST_BAD, "a folder name is empty");
	if (name.len > FOLDER_NAME_MAX)
		return fail(err, ST_TOOBIG, "a folder name is over %d bytes", FOLDER_NAME_MAX);
	for (size_t i = 0; i < name.len;) {
		size_t n = span_utf8(span_skip(name, i));

		if (!n || (unsigned char)name.at[i] < ' ' || name.at[i] == 0x7f)
			return fail(err, ST_BAD,
				    "a folder name is UTF-8 without control characters");
		if (name.at[i] == '*' || name.at[i] == '%')
			return fail(err, ST_BAD, "a folder name has no '%c'", name.at[i]);
		i += n;
	}
	return ST_OK;
}

enum st path_read(struct span text, struct path *out, struct err *err)
{
	out->n = 0;
	if (text.len && text.at[text.len - 1] == '/')
		text.len--;
	if (text.len > PATH_BYTES_MAX)
		return fail(err, ST_TOOBIG, "a folder's path is over %d bytes", PATH_BYTES_MAX);
	do {
		struct span name = span_split(text, '/', &text);
		enum st st = name_check(name, err);

		if (st != ST_OK)
			return st;
		if (out->n == FOLDER_DEPTH_MAX)
			return fail(err, ST_TOOBIG, "folders are at most %d deep",
				    FOLDER_DEPTH_MAX);
		out->names[out->n++] = name;
	} while (text.at);
	if (span_ieq(out->names[0], SPAN("INBOX")))
		out->names[0] = SPAN("INBOX");
	return ST_OK;
}

static struct folder *child_of(const struct mailbox *mb, const struct folder *parent,
			       struct span name)
{
	uint32_t number = parent ? parent->number : 0;

	for (size_t i = 0; i < mb->nfolders; i++)
		if (mb->folders[i]->parent == number &&
		    span_eq(span_str(mb->folders[i]->name), name))
			return mb->folders[i];
	return NULL;
}

/* The deepest folder of the path that exists, and how many names lead to it. */
static struct folder *walk(const struct mailbox *mb, const struct path *p, unsigned *depth)
{
	struct folder *f = NULL, *next;

	for (*depth = 0; *depth < p->n; ++*depth) {
		next = child_of(mb, f, p->names[*depth]);
		if (!next)
			break;
		f = next;
	}
	return f;
}

static bool has_children(const struct folder *f)
{
	for (size_t i = 0; i < f->mb->nfolders; i++)
		if (f->mb->folders[i]->parent == f->number)
			return true;
	return false;
}

/* ---- creating ---- */

/* What a create or rename makes on its way; nothing of it is in the mailbox before the commit. */
struct fresh {
	struct folder *made[FOLDER_DEPTH_MAX];
	unsigned n;
	uint32_t next_folder, uidvalidity; /* of the mailbox, before */
};

static void fresh_begin(struct fresh *f, const struct mailbox *mb)
{
	*f = (struct fresh){ .next_folder = mb->next_folder, .uidvalidity = mb->uidvalidity };
}

static void fresh_undo(struct fresh *f, struct mailbox *mb)
{
	while (f->n)
		folder_free(f->made[--f->n]);
	mb->next_folder = f->next_folder;
	mb->uidvalidity = f->uidvalidity;
}

static void fresh_enter(struct fresh *f, struct mailbox *mb)
{
	for (unsigned i = 0; i < f->n; i++)
		folder_enter(mb, f->made[i]);
}

/* Folders for names [from, to) of the path, below parent; *last is the deepest. */
static enum st fresh_make(struct fresh *fr, struct change *c, const struct path *p, unsigned from,
			  unsigned to, struct folder *parent, struct folder **last, struct err *err)
{
	struct mailbox *mb = c->mb;

	if (mb->nfolders + (to - from) > FOLDERS_MAX || mb->next_folder > UINT32_MAX - p->n)
		return fail(err, ST_TOOBIG, "a mailbox has at most %d folders", FOLDERS_MAX);
	if (!folder_room(mb, to - from))
		return fail(err, ST_NOMEM, "out of memory");
	*last = parent;
	for (; from < to; from++) {
		struct folder *f = folder_make(mb, mb->next_folder, *last ? (*last)->number : 0,
					       p->names[from]);

		if (!f)
			return fail(err, ST_NOMEM, "out of memory");
		fr->made[fr->n++] = f;
		mb->next_folder++;
		mb->uidvalidity = f->uidvalidity = mailbox_uidvalidity(mb);
		f->created = clock_real();
		f->seen = f->now;
		change_new_folder(c, f);
		*last = f;
	}
	return ST_OK;
}

static enum st set_special(struct folder *f, struct span special, struct err *err)
{
	char *text = strndup(special.at ? special.at : "", special.len);

	if (!text)
		return fail(err, ST_NOMEM, "out of memory");
	free(f->special);
	f->special = text;
	return ST_OK;
}

static enum st create_fresh(struct change *c, const struct path *p, unsigned depth,
			    struct folder *parent, struct span special, struct folder **out,
			    struct err *err)
{
	struct mailbox *mb = c->mb;
	struct fresh fr;
	enum st st;

	fresh_begin(&fr, mb);
	st = fresh_make(&fr, c, p, depth, p->n, parent, out, err);
	if (st == ST_OK && special.len) {
		st = set_special(*out, special, err);
		change_folder(c, *out);
	}
	change_mailbox(c);
	if (st == ST_OK)
		st = change_commit(c, err);
	else
		change_abandon(c);
	if (st == ST_OK)
		fresh_enter(&fr, mb);
	else
		fresh_undo(&fr, mb);
	return st;
}

/* A \Noselect name becomes a folder again, with a UIDVALIDITY of its own. */
static enum st create_again(struct change *c, struct folder *f, struct err *err)
{
	struct mailbox *mb = c->mb;
	uint32_t before = f->uidvalidity, last = mb->uidvalidity;
	enum st st;

	mb->uidvalidity = f->uidvalidity = mailbox_uidvalidity(mb);
	f->noselect = false;
	change_folder(c, f);
	change_mailbox(c);
	st = change_commit(c, err);
	if (st != ST_OK) {
		f->noselect = true;
		f->uidvalidity = before;
		mb->uidvalidity = last;
	}
	return st;
}

static enum st create_locked(struct mailbox *mb, const struct path *p, struct span special,
			     struct folder **out, struct err *err)
{
	struct change c;
	unsigned depth;
	struct folder *f = walk(mb, p, &depth);
	enum st st;

	if (depth == p->n && !f->noselect)
		return fail(err, ST_EXISTS, "there is such a folder already");
	st = change_begin(&c, mb, err);
	if (st != ST_OK)
		return st;
	*out = f;
	if (depth == p->n)
		st = create_again(&c, f, err);
	else
		st = create_fresh(&c, p, depth, f, special, out, err);
	if (st == ST_OK)
		change_wait(&c);
	return st;
}

enum st tree_create(struct mailbox *mb, struct span path, struct span special, struct folder **out,
		    struct err *err)
{
	struct path p;
	enum st st = path_read(path, &p, err);

	if (st != ST_OK)
		return st;
	fiber_lock(&mb->tree);
	st = create_locked(mb, &p, special, out, err);
	fiber_unlock(&mb->tree);
	return st;
}

/* ---- deleting ---- */

static enum st empty_folder(struct folder *f, struct err *err)
{
	struct uset all = { 0 }, gone = { 0 };
	struct folder_index *ix;
	enum st st = index_get(f, &ix, err);

	if (st != ST_OK)
		return st;
	folder_settle(f);
	st = index_uids(ix, UINT32_MAX, &all);
	if (st == ST_OK)
		st = expunge_uids(f, ix, &all, true, &gone, err);
	index_put(ix);
	uset_free(&all);
	uset_free(&gone);
	return st;
}

static enum st delete_rows(struct change *c, struct folder *f, struct err *err)
{
	struct mailbox *mb = c->mb;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	ese_delete(c->batch, key_folder(&from, mb->id, BOX_FOLDER, f->number));
	ese_delete(c->batch, key_folder(&from, mb->id, BOX_FIGURES, f->number));
	key_folder(&to, mb->id, BOX_VANISHED, f->number);
	st = ese_iter_new(mb->db->ese, key_folder(&from, mb->id, BOX_VANISHED, f->number),
			  key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK)
		ese_delete(c->batch, key);
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

/* Empty and settled: away with it. */
static enum st delete_folder(struct change *c, struct folder *f, bool keep_name, struct err *err)
{
	struct figures *fig = change_figures(c, f);
	enum st st = ST_OK;

	change_number(c, fig); /* so that its watchers hear of it */
	change_mailbox(c);
	f->noselect = keep_name;
	f->gone = !keep_name;
	if (keep_name)
		change_folder(c, f);
	else
		st = delete_rows(c, f, err);
	if (st == ST_OK)
		st = change_commit(c, err);
	else
		change_abandon(c);
	if (st != ST_OK)
		f->noselect = f->gone = false;
	else if (!keep_name)
		folder_leave(f);
	return st;
}

static enum st delete_locked(struct mailbox *mb, const struct path *p, struct err *err)
{
	struct change c;
	unsigned depth;
	struct folder *f = walk(mb, p, &depth);
	bool was_noselect;
	enum st st = ST_OK;

	if (!f || depth < p->n)
		return fail(err, ST_NOTFOUND, "there is no such folder");
	if (f->number == FOLDER_INBOX)
		return fail(err, ST_DENIED, "INBOX can't be deleted");
	was_noselect = f->noselect;
	if (was_noselect && has_children(f))
		return fail(err, ST_DENIED, "the folder has folders inside");
	folder_hold(f);
	/* Until nothing came in while it was emptied. */
	folder_rest(f);
	while (st == ST_OK && f->now.count) {
		st = empty_folder(f, err);
		folder_rest(f);
	}
	if (st == ST_OK)
		st = change_begin(&c, mb, err);
	if (st == ST_OK) {
		st = delete_folder(&c, f, has_children(f), err);
		if (st == ST_OK)
			change_wait(&c);
		else
			f->noselect = was_noselect;
	}
	folder_drop(f);
	return st;
}

enum st tree_delete(struct mailbox *mb, struct span path, struct err *err)
{
	struct path p;
	enum st st = path_read(path, &p, err);

	if (st != ST_OK)
		return st;
	fiber_lock(&mb->tree);
	st = delete_locked(mb, &p, err);
	fiber_unlock(&mb->tree);
	return st;
}

/* ---- renaming ---- */

static bool is_inside(const struct folder *f, const struct folder *outer)
{
	while (f && f != outer)
		f = f->parent ? folder_by_number(f->mb, f->parent) : NULL;
	return f == outer;
}

/* Would everything inside still fit below the new path? */
static enum st fits(const struct folder *f, const struct path *to, size_t to_len, struct err *err)
{
	struct buf path = BUF_MAX(16384);
	size_t own_len, own_depth = 1;
	enum st st = ST_OK;

	folder_path(f, &path);
	own_len = path.len;
	for (size_t i = 0; i < path.len; i++)
		own_depth += path.at[i] == '/';
	for (size_t i = 0; i < f->mb->nfolders && st == ST_OK; i++) {
		size_t depth = 1;

		if (!is_inside(f->mb->folders[i], f))
			continue;
		buf_clear(&path);
		folder_path(f->mb->folders[i], &path);
		for (size_t k = 0; k < path.len; k++)
			depth += path.at[k] == '/';
		if (path.len - own_len + to_len > PATH_BYTES_MAX ||
		    depth - own_depth + to->n > FOLDER_DEPTH_MAX)
			st = fail(err, ST_TOOBIG, "a folder inside would get too long a path");
	}
	buf_free(&path);
	return st;
}

static enum st rename_commit(struct change *c, struct fresh *fr, struct folder *f,
			     struct folder *parent, struct span name, struct err *err)
{
	uint32_t parent_before = f->parent;
	char *name_before = f->name, *name_after = strndup(name.at, name.len);
	enum st st;

	if (!name_after) {
		change_abandon(c);
		return fail(err, ST_NOMEM, "out of memory");
	}
	f->name = name_after;
	f->parent = parent ? parent->number : 0;
	change_folder(c, f);
	change_mailbox(c);
	st = change_commit(c, err);
	if (st == ST_OK) {
		fresh_enter(fr, c->mb);
		free(name_before);
	} else {
		f->parent = parent_before;
		f->name = name_before;
		free(name_after);
	}
	return st;
}

static enum st rename_folder(struct folder *f, const struct path *to, size_t to_len,
			     struct err *err)
{
	struct mailbox *mb = f->mb;
	struct folder *parent;
	struct change c;
	struct fresh fr;
	unsigned depth;
	enum st st;

	parent = walk(mb, to, &depth);
	if (depth == to->n)
		return fail(err, ST_EXISTS, "there is such a folder already");
	if (is_inside(parent, f))
		return fail(err, ST_BAD, "a folder can't move into itself");
	st = fits(f, to, to_len, err);
	if (st == ST_OK)
		st = change_begin(&c, mb, err);
	if (st != ST_OK)
		return st;
	fresh_begin(&fr, mb);
	st = fresh_make(&fr, &c, to, depth, to->n - 1, parent, &parent, err);
	if (st == ST_OK)
		st = rename_commit(&c, &fr, f, parent, to->names[to->n - 1], err);
	else
		change_abandon(&c);
	if (st == ST_OK)
		change_wait(&c);
	else
		fresh_undo(&fr, mb);
	return st;
}

/* A new folder gets all messages of INBOX. */
static enum st rename_inbox(struct folder *inbox, const struct path *to, struct err *err)
{
	struct copied moved = { 0 };
	struct uset all = { 0 };
	struct folder_index *ix;
	struct folder *target;
	enum st st = create_locked(inbox->mb, to, SPAN_NONE, &target, err);

	if (st != ST_OK)
		return st;
	folder_hold(inbox);
	folder_hold(target);
	st = index_get(inbox, &ix, err);
	if (st == ST_OK) {
		folder_settle(inbox);
		st = index_uids(ix, inbox->seen.uidnext, &all);
		if (st == ST_OK)
			st = messages_copy(inbox, ix, &all, target, true, &moved, err);
		index_put(ix);
	}
	uset_free(&all);
	uset_free(&moved.from);
	uset_free(&moved.to);
	folder_drop(target);
	folder_drop(inbox);
	return st;
}

enum st tree_rename(struct mailbox *mb, struct span from, struct span to, struct err *err)
{
	struct path path_from, path_to;
	struct folder *f;
	unsigned depth;
	enum st st = path_read(from, &path_from, err);

	if (st == ST_OK)
		st = path_read(to, &path_to, err);
	if (st != ST_OK)
		return st;
	fiber_lock(&mb->tree);
	f = walk(mb, &path_from, &depth);
	if (!f || depth < path_from.n)
		st = fail(err, ST_NOTFOUND, "there is no such folder");
	else if (f->number == FOLDER_INBOX)
		st = rename_inbox(f, &path_to, err);
	else
		st = rename_folder(f, &path_to, to.len, err);
	fiber_unlock(&mb->tree);
	return st;
}
