/* parse_message.c - the arguments of FETCH, STORE, COPY, MOVE and UID EXPUNGE. */
#include "proto/imap/parse.h"

/* mod-sequence-value (RFC 7162 section 7): 63 bits; 0 only where it says "valzer". */
static bool parse_modseq(struct imap_parse *p, bool zero, uint64_t *out)
{
	if (!parse_number64(p, out))
		return false;
	return zero || *out || parse_bad(p, "the number must not be 0");
}

/* ---- FETCH ---- */

struct items {
	struct imap_item *at;
	uint32_t n;
};

static bool add_item(struct imap_parse *p, struct items *items, const struct imap_item *item)
{
	for (uint32_t i = 0; i < items->n && item->kind != IMAP_ITEM_SECTION; i++) {
		if (items->at[i].kind == item->kind)
			return true;
	}
	if (items->n == IMAP_ITEMS_MAX)
		return parse_bad(p, "too many items");
	items->at = parse_grow(p, items->at, items->n, sizeof(*items->at));
	if (!items->at)
		return false;
	items->at[items->n++] = *item;
	return true;
}

static bool add_kind(struct imap_parse *p, struct items *items, enum imap_item_kind kind)
{
	return add_item(p, items, &(struct imap_item){ .kind = kind });
}

static bool parse_header_list(struct imap_parse *p, struct imap_section *s)
{
	struct span *fields = NULL;
	bool more = true;

	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	while (more) {
		if (s->nfields == IMAP_FIELDS_MAX)
			return parse_bad(p, "too many header fields");
		fields = parse_grow(p, fields, s->nfields, sizeof(*fields));
		if (!fields || !parse_astring(p, &fields[s->nfields++]) ||
		    !parse_list_next(p, &more))
			return false;
	}
	s->fields = fields;
	return true;
}

static bool parse_section_text(struct imap_parse *p, struct imap_section *s)
{
	if (parse_take_word(p, "HEADER")) {
		s->text = IMAP_SECTION_HEADER;
		return true;
	}
	if (parse_take_word(p, "TEXT")) {
		s->text = IMAP_SECTION_TEXT;
		return true;
	}
	if (s->nparts && parse_take_word(p, "MIME")) {
		s->text = IMAP_SECTION_MIME;
		return true;
	}
	if (parse_take_word(p, "HEADER.FIELDS"))
		s->text = IMAP_SECTION_FIELDS;
	else if (parse_take_word(p, "HEADER.FIELDS.NOT"))
		s->text = IMAP_SECTION_FIELDS_NOT;
	else
		return parse_bad(p, "no such section");
	return parse_header_list(p, s);
}

/* Behind the '[': [section-part ["." section-text] / section-msgtext] "]" */
static bool parse_section(struct imap_parse *p, struct imap_section *s)
{
	uint32_t *parts = NULL;
	bool text = true;

	if (parse_take(p, ']'))
		return true;
	while (parse_peek(p) >= '0' && parse_peek(p) <= '9') {
		if (s->nparts == IMAP_DEPTH_MAX)
			return parse_bad(p, "nested too deeply");
		parts = parse_grow(p, parts, s->nparts, sizeof(*parts));
		if (!parts || !parse_nz_number(p, &parts[s->nparts++]))
			return false;
		text = parse_take(p, '.');
		if (!text)
			break;
	}
	s->parts = parts;
	if (text && !parse_section_text(p, s))
		return false;
	return parse_take(p, ']') || parse_bad(p, "']' is expected");
}

/* "<" number "." nz-number ">" */
static bool parse_partial(struct imap_parse *p, struct imap_item *item)
{
	item->partial = parse_take(p, '<');
	if (!item->partial)
		return true;
	if (!parse_number(p, &item->first))
		return false;
	if (!parse_take(p, '.'))
		return parse_bad(p, "'.' is expected");
	if (!parse_nz_number(p, &item->count))
		return false;
	return parse_take(p, '>') || parse_bad(p, "'>' is expected");
}

static const struct item_word {
	const char *name;
	struct imap_item item;
	uint32_t ext;
} item_words[] = {
	{ "FLAGS", { .kind = IMAP_ITEM_FLAGS }, 0 },
	{ "UID", { .kind = IMAP_ITEM_UID }, 0 },
	{ "INTERNALDATE", { .kind = IMAP_ITEM_INTERNALDATE }, 0 },
	{ "RFC822.SIZE", { .kind = IMAP_ITEM_SIZE }, 0 },
	{ "ENVELOPE", { .kind = IMAP_ITEM_ENVELOPE }, 0 },
	{ "BODYSTRUCTURE", { .kind = IMAP_ITEM_BODYSTRUCTURE }, 0 },
	{ "BODY", { .kind = IMAP_ITEM_BODY }, 0 },
	{ "BODY.PEEK", { .kind = IMAP_ITEM_SECTION }, 0 },
	{ "RFC822", { .kind = IMAP_ITEM_RFC822, .sets_seen = true }, 0 },
	{ "RFC822.HEADER",
	  { .kind = IMAP_ITEM_RFC822_HEADER, .section.text = IMAP_SECTION_HEADER },
	  0 },
	{ "RFC822.TEXT",
	  { .kind = IMAP_ITEM_RFC822_TEXT, .sets_seen = true, .section.text = IMAP_SECTION_TEXT },
	  0 },
	{ "MODSEQ", { .kind = IMAP_ITEM_MODSEQ }, IMAP_EXT_CONDSTORE },
};

static bool parse_item(struct imap_parse *p, struct items *items)
{
	const size_t nwords = sizeof(item_words) / sizeof(item_words[0]);
	struct span name = parse_name(p);
	size_t i = 0;

	while (i < nwords && !span_ieq(name, span_str(item_words[i].name)))
		i++;
	if (i == nwords)
		return parse_bad(p, "no such item");
	struct imap_item item = item_words[i].item;
	if (!parse_need(p, item_words[i].ext))
		return false;
	bool section = item.kind == IMAP_ITEM_BODY || item.kind == IMAP_ITEM_SECTION;
	if (section && parse_take(p, '[')) {
		item.sets_seen = item.kind == IMAP_ITEM_BODY;
		item.kind = IMAP_ITEM_SECTION;
		if (!parse_section(p, &item.section) || !parse_partial(p, &item))
			return false;
	} else if (item.kind == IMAP_ITEM_SECTION) {
		return parse_bad(p, "'[' is expected");
	}
	return add_item(p, items, &item);
}

/* ALL, FAST and FULL stand alone (RFC 3501 section 6.4.5). */
static bool parse_macro(struct imap_parse *p, struct items *items, bool *is)
{
	bool all = parse_take_word(p, "ALL"), full = !all && parse_take_word(p, "FULL");

	*is = all || full || parse_take_word(p, "FAST");
	if (!*is)
		return true;
	return add_kind(p, items, IMAP_ITEM_FLAGS) && add_kind(p, items, IMAP_ITEM_INTERNALDATE) &&
	       add_kind(p, items, IMAP_ITEM_SIZE) &&
	       ((!all && !full) || add_kind(p, items, IMAP_ITEM_ENVELOPE)) &&
	       (!full || add_kind(p, items, IMAP_ITEM_BODY));
}

static bool parse_items(struct imap_parse *p, struct items *items)
{
	bool more = true, macro;

	if (!parse_take(p, '('))
		return parse_macro(p, items, &macro) && (macro || parse_item(p, items));
	while (more) {
		if (!parse_item(p, items) || !parse_list_next(p, &more))
			return false;
	}
	return true;
}

/* Behind the items: "(" modifier *(SP modifier) ")" (RFC 7162 sections 3.1.4.1 and 3.2.6). */
static bool parse_fetch_modifiers(struct imap_parse *p, struct imap_fetch *f, bool uid)
{
	bool more = true;

	if (!parse_char(p, '('))
		return false;
	while (more) {
		if (parse_take_word(p, "CHANGEDSINCE")) {
			f->has_changedsince = true;
			if (!parse_need(p, IMAP_EXT_CONDSTORE) || !parse_sp(p) ||
			    !parse_modseq(p, false, &f->changedsince))
				return false;
		} else if (parse_take_word(p, "VANISHED")) {
			f->vanished = true;
			if (!parse_need(p, IMAP_EXT_QRESYNC))
				return false;
		} else {
			return parse_bad(p, "no such modifier");
		}
		if (!parse_list_next(p, &more))
			return false;
	}
	if (f->vanished && (!uid || !f->has_changedsince))
		return parse_bad(p, "VANISHED needs UID FETCH and CHANGEDSINCE");
	return true;
}

bool parse_fetch(struct imap_parse *p, struct imap_command *c)
{
	struct imap_fetch *f = &c->fetch;
	struct items items = { 0 };

	if (!parse_sp(p) || !parse_set(p, &f->set) || !parse_sp(p))
		return false;
	if (c->verb->uid && !add_kind(p, &items, IMAP_ITEM_UID))
		return false;
	if (!parse_items(p, &items))
		return false;
	if (parse_take(p, ' ') && !parse_fetch_modifiers(p, f, c->verb->uid))
		return false;
	if (f->has_changedsince && !add_kind(p, &items, IMAP_ITEM_MODSEQ))
		return false;
	f->items = items.at;
	f->nitems = items.n;
	return parse_end(p);
}

/* ---- STORE, COPY, MOVE, UID EXPUNGE ---- */

/* "(UNCHANGEDSINCE n)" and the space behind it (RFC 7162 section 3.1.3). */
static bool parse_store_modifier(struct imap_parse *p, struct imap_store *s)
{
	if (!parse_take(p, '('))
		return true;
	if (!parse_take_word(p, "UNCHANGEDSINCE"))
		return parse_bad(p, "no such modifier");
	s->has_unchangedsince = true;
	return parse_need(p, IMAP_EXT_CONDSTORE) && parse_sp(p) &&
	       parse_modseq(p, true, &s->unchangedsince) && parse_char(p, ')') && parse_sp(p);
}

bool parse_store(struct imap_parse *p, struct imap_command *c)
{
	struct imap_store *s = &c->store;

	if (!parse_sp(p) || !parse_set(p, &s->set) || !parse_sp(p) || !parse_store_modifier(p, s))
		return false;
	if (parse_take(p, '+'))
		s->mode = IMAP_STORE_ADD;
	else if (parse_take(p, '-'))
		s->mode = IMAP_STORE_REMOVE;
	s->silent = parse_take_word(p, "FLAGS.SILENT");
	if (!s->silent && !parse_take_word(p, "FLAGS"))
		return parse_bad(p, "FLAGS is expected");
	return parse_sp(p) && parse_flags(p, true, &s->flags) && parse_end(p);
}

bool parse_copy(struct imap_parse *p, struct imap_command *c)
{
	return parse_sp(p) && parse_set(p, &c->copy.set) && parse_sp(p) &&
	       parse_mailbox(p, &c->copy.mailbox) && parse_end(p);
}

bool parse_uid_expunge(struct imap_parse *p, struct imap_command *c)
{
	return parse_sp(p) && parse_set(p, &c->expunge) && parse_end(p);
}
