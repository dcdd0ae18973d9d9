/* table.c - the ONE table of commands, and of the extensions that announce them; see command.h. */
#include "proto/imap/parse.h"

const struct imap_extension imap_extensions[] = {
	{ "LITERAL+", IMAP_EXT_LITERAL_PLUS, IMAP_ANY_STATE },
	{ "SASL-IR", IMAP_EXT_SASL_IR, IMAP_NOT_AUTH },
	{ "ID", IMAP_EXT_ID, IMAP_ANY_STATE },
	{ "ENABLE", IMAP_EXT_ENABLE, IMAP_ANY_STATE },
	{ "IDLE", IMAP_EXT_IDLE, IMAP_ANY_STATE },
	{ "NAMESPACE", IMAP_EXT_NAMESPACE, IMAP_ANY_STATE },
	{ "UNSELECT", IMAP_EXT_UNSELECT, IMAP_ANY_STATE },
	{ "UIDPLUS", IMAP_EXT_UIDPLUS, IMAP_ANY_STATE },
	{ "MOVE", IMAP_EXT_MOVE, IMAP_ANY_STATE },
	{ "CHILDREN", IMAP_EXT_CHILDREN, IMAP_ANY_STATE },
	{ "SPECIAL-USE", IMAP_EXT_SPECIAL_USE, IMAP_ANY_STATE },
	{ "CREATE-SPECIAL-USE", IMAP_EXT_CREATE_SPECIAL_USE, IMAP_ANY_STATE },
	{ "LIST-EXTENDED", IMAP_EXT_LIST_EXTENDED, IMAP_ANY_STATE },
	{ "LIST-STATUS", IMAP_EXT_LIST_STATUS, IMAP_ANY_STATE },
	{ "CONDSTORE", IMAP_EXT_CONDSTORE, IMAP_ANY_STATE },
	{ "QRESYNC", IMAP_EXT_QRESYNC, IMAP_ANY_STATE },
	{ "ESEARCH", IMAP_EXT_ESEARCH, IMAP_ANY_STATE },
};
const size_t imap_nextensions = sizeof(imap_extensions) / sizeof(imap_extensions[0]);

#define IN       (IMAP_AUTH | IMAP_SELECTED)
#define SELECTED IMAP_SELECTED
#define SEQS     (IMAP_READS_SEQS | IMAP_HOLDS_EXPUNGE)

/* clang-format off */
const struct imap_verb imap_verbs[] = {
	{ "CAPABILITY", IMAP_CAPABILITY, false, IMAP_ANY_STATE, 0, 0, parse_nothing },
	{ "NOOP", IMAP_NOOP, false, IMAP_ANY_STATE, IMAP_SYNCS, 0, parse_nothing },
	{ "LOGOUT", IMAP_LOGOUT, false, IMAP_ANY_STATE, IMAP_CHANGES_MAILBOX | IMAP_ALONE, 0, parse_nothing },
	{ "ID", IMAP_ID, false, IMAP_ANY_STATE, 0, IMAP_EXT_ID, parse_id },

	{ "STARTTLS", IMAP_STARTTLS, false, IMAP_NOT_AUTH, IMAP_ALONE, 0, parse_nothing },
	{ "AUTHENTICATE", IMAP_AUTHENTICATE, false, IMAP_NOT_AUTH, IMAP_ALONE | IMAP_SECRET, 0, parse_authenticate },
	{ "LOGIN", IMAP_LOGIN, false, IMAP_NOT_AUTH, IMAP_ALONE | IMAP_SECRET, 0, parse_login },

	{ "ENABLE", IMAP_ENABLE, false, IMAP_AUTH, 0, IMAP_EXT_ENABLE, parse_enable },
	{ "SELECT", IMAP_SELECT, false, IN, IMAP_CHANGES_MAILBOX, 0, parse_select },
	{ "EXAMINE", IMAP_EXAMINE, false, IN, IMAP_CHANGES_MAILBOX, 0, parse_select },
	{ "CREATE", IMAP_CREATE, false, IN, 0, 0, parse_create },
	{ "DELETE", IMAP_DELETE, false, IN, 0, 0, parse_one_mailbox },
	{ "RENAME", IMAP_RENAME, false, IN, 0, 0, parse_rename },
	{ "SUBSCRIBE", IMAP_SUBSCRIBE, false, IN, 0, 0, parse_one_mailbox },
	{ "UNSUBSCRIBE", IMAP_UNSUBSCRIBE, false, IN, 0, 0, parse_one_mailbox },
	{ "LIST", IMAP_LIST, false, IN, 0, 0, parse_list },
	{ "LSUB", IMAP_LSUB, false, IN, 0, 0, parse_lsub },
	{ "NAMESPACE", IMAP_NAMESPACE, false, IN, 0, IMAP_EXT_NAMESPACE, parse_nothing },
	{ "STATUS", IMAP_STATUS, false, IN, 0, 0, parse_status },
	{ "APPEND", IMAP_APPEND, false, IN, 0, 0, parse_append },
	{ "IDLE", IMAP_IDLE, false, IN, IMAP_SYNCS | IMAP_ALONE, IMAP_EXT_IDLE, parse_nothing },

	{ "CHECK", IMAP_CHECK, false, SELECTED, IMAP_SYNCS, 0, parse_nothing },
	{ "CLOSE", IMAP_CLOSE, false, SELECTED, IMAP_CHANGES_MAILBOX, 0, parse_nothing },
	{ "UNSELECT", IMAP_UNSELECT, false, SELECTED, IMAP_CHANGES_MAILBOX, IMAP_EXT_UNSELECT, parse_nothing },
	{ "EXPUNGE", IMAP_EXPUNGE, false, SELECTED, IMAP_RENUMBERS | IMAP_WRITES, 0, parse_nothing },
	{ "UID EXPUNGE", IMAP_EXPUNGE, true, SELECTED, IMAP_RENUMBERS | IMAP_WRITES, IMAP_EXT_UIDPLUS, parse_uid_expunge },
	{ "SEARCH", IMAP_SEARCH, false, SELECTED, SEQS, 0, parse_search },
	/* Its keys may be sequence numbers as well. */
	{ "UID SEARCH", IMAP_SEARCH, true, SELECTED, IMAP_READS_SEQS, 0, parse_search },
	{ "FETCH", IMAP_FETCH, false, SELECTED, SEQS, 0, parse_fetch },
	{ "UID FETCH", IMAP_FETCH, true, SELECTED, 0, 0, parse_fetch },
	{ "STORE", IMAP_STORE, false, SELECTED, SEQS | IMAP_WRITES, 0, parse_store },
	{ "UID STORE", IMAP_STORE, true, SELECTED, IMAP_WRITES, 0, parse_store },
	{ "COPY", IMAP_COPY, false, SELECTED, IMAP_READS_SEQS, 0, parse_copy },
	{ "UID COPY", IMAP_COPY, true, SELECTED, 0, 0, parse_copy },
	{ "MOVE", IMAP_MOVE, false, SELECTED, IMAP_READS_SEQS | IMAP_RENUMBERS | IMAP_WRITES, IMAP_EXT_MOVE, parse_copy },
	{ "UID MOVE", IMAP_MOVE, true, SELECTED, IMAP_RENUMBERS | IMAP_WRITES, IMAP_EXT_MOVE, parse_copy },
};
/* clang-format on */
const size_t imap_nverbs = sizeof(imap_verbs) / sizeof(imap_verbs[0]);

const struct imap_verb *imap_verb_find(struct span name, bool uid)
{
	for (size_t i = 0; i < imap_nverbs; i++) {
		const struct imap_verb *v = &imap_verbs[i];

		if (v->uid == uid && span_ieq(name, span_str(v->name + (uid ? strlen("UID ") : 0))))
			return v;
	}
	return NULL;
}

void imap_capabilities(struct buf *out, const struct imap_offer *offer)
{
	buf_str(out, "IMAP4rev1");
	for (size_t i = 0; i < imap_nextensions; i++) {
		const struct imap_extension *e = &imap_extensions[i];

		if ((e->bit & offer->exts) && (e->states & offer->state)) {
			buf_char(out, ' ');
			buf_str(out, e->name);
		}
	}
	if (offer->state != IMAP_NOT_AUTH)
		return;
	if (offer->starttls)
		buf_str(out, " STARTTLS");
	if (!offer->login)
		buf_str(out, " LOGINDISABLED");
	for (const char *const *m = offer->mechs; m && *m; m++) {
		buf_str(out, " AUTH=");
		buf_str(out, *m);
	}
}
