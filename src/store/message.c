#include "store/message.h"

#include "store/index.h"

#include <assert.h>
#include <stdlib.h>

static enum st put_message(struct change *c, struct folder *f, const struct new_message *m,
			   struct entry *e, struct err *err)
{
	struct figures *fig = change_figures(c, f);
	const struct content_part *part;
	struct key k;
	enum st st = content_in(m->content, f->mb->db, &part, err);

	if (st != ST_OK)
		return st;
	if (fig->uidnext == UINT32_MAX)
		return fail(err, ST_NOSPACE, "the folder has given out all its UIDs");
	if (m->uid) {
		assert(m->uid >= fig->uidnext && m->uid < UINT32_MAX);
		fig->uidnext = m->uid;
	}
	*e = (struct entry){ .uid = fig->uidnext++,
			     .size = m->content->size,
			     .date = m->date,
			     .keywords = m->keywords,
			     .flags = m->flags | (m->content->open_end ? ENTRY_OPEN_END : 0) };
	e->mid = e->cn = change_number(c, fig);
	fig->count++;
	fig->size += e->size;
	if (!(e->flags & MF_SEEN))
		fig->unread++;
	change_entry(c, f, e);
	change_put(c, key_message(&k, f->mb->id, BOX_ITEM, f->number, e->uid), &part->item);
	ese_link(c->batch, part->body);
	return ST_OK;
}

static void put_delivered(struct change *c, const struct new_message *m, const struct entry *e)
{
	struct buf row = BUF_MAX(256);
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 2);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, e->uid);
	pw_u64(&w, PR_CREATION_TIME, (uint64_t)clock_real());
	pw_end(&w);
	change_put(c, key_named(&k, c->mb->id, BOX_DELIVERED, m->guid), &row);
	buf_free(&row);
}

enum st message_add(struct change *c, struct folder *f, const struct new_message *m, uint32_t *uid,
		    struct err *err)
{
	struct entry e;
	enum st st;

	if (f->gone)
		return fail(err, ST_NOTFOUND, "the folder was deleted");
	st = f->ix ? index_reserve(f->ix, 1, err) : ST_OK;
	if (st == ST_OK)
		st = put_message(c, f, m, &e, err);
	if (st != ST_OK) {
		change_abandon(c);
		return st;
	}
	if (m->guid.len)
		put_delivered(c, m, &e);
	st = change_commit(c, err);
	if (st != ST_OK)
		return st;
	if (f->ix)
		index_append(f->ix, &e);
	*uid = e.uid;
	return ST_OK;
}

/* ---- keywords ---- */

/* RFC 3501 flag-keyword: an atom; and no system flag in disguise. */
static bool keyword_ok(struct span word)
{
	if (!word.len || word.len > KEYWORD_BYTES_MAX)
		return false;
	for (size_t i = 0; i < word.len; i++)
		if (word.at[i] <= ' ' || word.at[i] == 0x7f || strchr("(){%*\"\\]", word.at[i]))
			return false;
	return true;
}

static enum st keywords_check(const struct folder *f, const struct plist *in, struct err *err)
{
	size_t n = plist_mv_count(in, PR_KEYWORDS), fresh = 0;

	for (size_t i = 0; i < n; i++) {
		struct span word = plist_mv_span(in, PR_KEYWORDS, i);

		if (!keyword_ok(word))
			return fail(err, ST_BAD, "this is no keyword");
		fresh += folder_keyword(f, word) == KEYWORDS_MAX;
	}
	if (fresh > KEYWORDS_MAX - f->nkeywords)
		return fail(err, ST_TOOBIG, "a folder has room for %d keywords", KEYWORDS_MAX);
	return ST_OK;
}

enum st keywords_learn(struct folder *f, const struct plist *in, uint64_t *bits, struct err *err)
{
	size_t n = plist_mv_count(in, PR_KEYWORDS);
	enum st st = keywords_check(f, in, err);

	*bits = 0;
	for (size_t i = 0; i < n && st == ST_OK; i++) {
		struct span word = plist_mv_span(in, PR_KEYWORDS, i);
		unsigned at = folder_keyword(f, word);

		if (at == KEYWORDS_MAX) {
			at = f->nkeywords;
			f->keywords[at] = strndup(word.at, word.len);
			if (!f->keywords[at])
				return fail(err, ST_NOMEM, "out of memory");
			f->nkeywords++;
			f->row_dirty = true;
		}
		*bits |= (uint64_t)1 << at;
	}
	return st;
}
