/* folder.c - folder objects: finding them by number and path, waiting for them. */
#include "store/index.h"
#include "store/mailbox.h"

#include <stdlib.h>
#include <time.h>

/* ---- finding ---- */

struct folder *folder_by_number(const struct mailbox *mb, uint32_t number)
{
	size_t low = 0, high = mb->nfolders;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (mb->folders[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < mb->nfolders && mb->folders[low]->number == number ? mb->folders[low] : NULL;
}

/* INBOX, and nothing else, is found in any case. */
static bool name_is(const struct folder *f, struct span name)
{
	if (f->number == FOLDER_INBOX)
		return span_ieq(span_str(f->name), name);
	return span_eq(span_str(f->name), name);
}

static struct folder *child_of(const struct mailbox *mb, uint32_t parent, struct span name)
{
	for (size_t i = 0; i < mb->nfolders; i++)
		if (mb->folders[i]->parent == parent && name_is(mb->folders[i], name))
			return mb->folders[i];
	return NULL;
}

struct folder *folder_by_path(const struct mailbox *mb, struct span path, bool select)
{
	struct folder *f = NULL;

	do {
		struct span name = span_split(path, '/', &path);

		f = child_of(mb, f ? f->number : 0, name);
	} while (f && path.at);
	return f && select && f->noselect ? NULL : f;
}

void folder_path(const struct folder *f, struct buf *out)
{
	const struct folder *chain[FOLDER_DEPTH_MAX];
	unsigned n = 0;

	while (f && n < FOLDER_DEPTH_MAX) {
		chain[n++] = f;
		f = f->parent ? folder_by_number(f->mb, f->parent) : NULL;
	}
	while (n--) {
		buf_str(out, chain[n]->name);
		if (n)
			buf_char(out, '/');
	}
}

unsigned folder_keyword(const struct folder *f, struct span name)
{
	for (unsigned i = 0; i < f->nkeywords; i++)
		if (span_ieq(span_str(f->keywords[i]), name))
			return i;
	return KEYWORDS_MAX;
}

/* ---- making and ending ---- */

struct folder *folder_make(struct mailbox *mb, uint32_t number, uint32_t parent, struct span name)
{
	struct folder *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->mb = mb;
	f->number = number;
	f->parent = parent;
	f->now = (struct figures){ .uidnext = 1, .recent_from = 1 };
	f->name = strndup(name.at ? name.at : "", name.len);
	f->special = strdup("");
	if (!f->name || !f->special) {
		folder_free(f);
		return NULL;
	}
	return f;
}

void folder_free(struct folder *f)
{
	index_free(f->ix);
	for (unsigned i = 0; i < f->nkeywords; i++)
		free(f->keywords[i]);
	free(f->name);
	free(f->special);
	free(f);
}

bool folder_room(struct mailbox *mb, size_t more)
{
	size_t cap = mb->cap ? mb->cap : 8;
	struct folder **folders;

	while (cap < mb->nfolders + more)
		cap *= 2;
	if (cap == mb->cap)
		return true;
	folders = realloc(mb->folders, cap * sizeof(struct folder *));
	if (!folders)
		return false;
	mb->folders = folders;
	mb->cap = cap;
	return true;
}

void folder_enter(struct mailbox *mb, struct folder *f)
{
	size_t i = mb->nfolders++;

	for (; i && mb->folders[i - 1]->number > f->number; i--)
		mb->folders[i] = mb->folders[i - 1];
	mb->folders[i] = f;
}

void folder_leave(struct folder *f)
{
	struct mailbox *mb = f->mb;
	size_t i = 0;

	while (mb->folders[i] != f)
		i++;
	mb->nfolders--;
	memmove(mb->folders + i, mb->folders + i + 1, (mb->nfolders - i) * sizeof(struct folder *));
	f->gone = true;
	fiber_queue_wake_all(&f->wake);
	if (f->ix && !f->ix->pins)
		index_free(f->ix);
	if (!f->refs)
		folder_free(f);
}

void folder_drop(struct folder *f)
{
	if (!--f->refs && f->gone)
		folder_free(f);
}

uint32_t mailbox_uidvalidity(const struct mailbox *mb)
{
	uint32_t now = (uint32_t)(clock_real() / NS_PER_SEC);

	return now > mb->uidvalidity ? now : mb->uidvalidity + 1;
}

/* ---- rows ---- */

void folder_row(const struct folder *f, struct buf *out)
{
	struct span words[KEYWORDS_MAX];
	struct pw w;

	pw_begin(&w, out, 7);
	pw_u64(&w, PR_PARENT_FID, f->parent);
	pw_str(&w, PR_DISPLAY_NAME, f->name);
	pw_u32(&w, PR_UIDVALIDITY, f->uidvalidity);
	pw_u64(&w, PR_CREATION_TIME, (uint64_t)f->created);
	if (*f->special)
		pw_str(&w, PR_SPECIAL_USE, f->special);
	if (f->noselect)
		pw_bool(&w, PR_NOSELECT, true);
	for (unsigned i = 0; i < f->nkeywords; i++)
		words[i] = span_str(f->keywords[i]);
	if (f->nkeywords)
		pw_mv_span(&w, PR_KEYWORDS, words, f->nkeywords);
	pw_end(&w);
}

/* ---- waiting ---- */

void folder_ready(struct folder *f)
{
	while (f->loading)
		fiber_queue_wait(&f->wake, NO_DEADLINE);
}

void folder_wait_cn(struct folder *f, uint64_t cn)
{
	while (f->seen.cn < cn && f->inflight)
		fiber_queue_wait(&f->wake, NO_DEADLINE);
}

/* Not by numbers: a change that only takes \Recent has none. */
void folder_rest(struct folder *f)
{
	while (f->inflight || f->loading)
		fiber_queue_wait(&f->wake, NO_DEADLINE);
}

void folder_settle(struct folder *f)
{
	folder_wait_cn(f, f->now.cn);
}
