/* command.h - what an IMAP client may say: the ONE command table, and a command taken apart.
 *
 * RFC 3501 whole, with LITERAL+ (7888), SASL-IR (4959), ID (2971), ENABLE (5161), IDLE (2177),
 * NAMESPACE (2342), UNSELECT (3691), UIDPLUS (4315), MOVE (6851), SPECIAL-USE (6154).  The grammar
 * of CONDSTORE and QRESYNC (7162), LIST-EXTENDED (5258), LIST-STATUS (5819) and ESEARCH (4731) is
 * taken apart as well, but a command that uses an extension that is not switched on is answered BAD
 * by the reader (reader.h), so a session meets only what it announced.
 *
 * Pure; the tables are constant, any thread.  A struct imap_command and everything it points to
 * live in the caller's pool until the caller goes back behind its mark; nothing in it points into
 * the connection's input.  Text is what the client meant: quotes, escapes and literals are undone;
 * mailbox names are UTF-8 (utf7.h) with any spelling of INBOX made "INBOX". */
#ifndef PROTO_IMAP_COMMAND_H
#define PROTO_IMAP_COMMAND_H

#include "base/buf.h"
#include "base/span.h"
#include "base/st.h"
#include "base/uset.h"

/* ---- limits ---- */

#define IMAP_TAG_MAX      256
#define IMAP_LINE_MAX     65536u /* octets of a command, literals not counted */
#define IMAP_LITERALS_MAX 65536u /* octets of all its gathered literals together */
#define IMAP_DEPTH_MAX    50     /* parentheses, NOT, OR, body parts */
#define IMAP_SET_MAX      10000  /* ranges of one sequence set */
#define IMAP_KEYWORDS_MAX 128    /* keywords named by one command */
#define IMAP_KEYS_MAX     900    /* nodes of a search tree */
#define IMAP_ITEMS_MAX    256    /* data items of one FETCH: each may read a header */
#define IMAP_FIELDS_MAX   256 /* names of one HEADER.FIELDS: each header field is held against all */
#define IMAP_PATTERN_MAX  1024 /* octets of one LIST pattern */
#define IMAP_ID_MAX       30   /* pairs of ID (RFC 2971 section 3.3) */

/* ---- states, extensions, the table ---- */

enum imap_state { IMAP_NOT_AUTH = 1, IMAP_AUTH = 2, IMAP_SELECTED = 4 };
#define IMAP_ANY_STATE (IMAP_NOT_AUTH | IMAP_AUTH | IMAP_SELECTED)

/* What a command does to the session; decides what may run beside it and what may be announced. */
enum imap_effect {
	/* Its arguments are message sequence numbers: they mean the view at the time it is run. */
	IMAP_READS_SEQS = 1,
	/* No untagged EXPUNGE may be sent until its tagged reply is (RFC 3501 section 7.4.1): FETCH,
	 * STORE and SEARCH without UID. */
	IMAP_HOLDS_EXPUNGE = 2,
	/* Messages may leave the mailbox by it. */
	IMAP_RENUMBERS = 4,
	/* Another mailbox, or none, is selected afterwards. */
	IMAP_CHANGES_MAILBOX = 8,
	/* The selected mailbox must be read-write (NO after EXAMINE). */
	IMAP_WRITES = 16,
	/* Asks for nothing but news of the mailbox. */
	IMAP_SYNCS = 32,
	/* Nothing may be read ahead of its end: what follows means something else then. */
	IMAP_ALONE = 64,
	/* The arguments hold a secret: not for logs. */
	IMAP_SECRET = 128
};

/* Extensions, one bit each: what a session has switched on, what a command needs. */
enum imap_ext {
	IMAP_EXT_LITERAL_PLUS = 1 << 0,
	IMAP_EXT_SASL_IR = 1 << 1,
	IMAP_EXT_ID = 1 << 2,
	IMAP_EXT_ENABLE = 1 << 3,
	IMAP_EXT_IDLE = 1 << 4,
	IMAP_EXT_NAMESPACE = 1 << 5,
	IMAP_EXT_UNSELECT = 1 << 6,
	IMAP_EXT_UIDPLUS = 1 << 7,
	IMAP_EXT_MOVE = 1 << 8,
	IMAP_EXT_CHILDREN = 1 << 9,
	IMAP_EXT_SPECIAL_USE = 1 << 10,
	IMAP_EXT_CREATE_SPECIAL_USE = 1 << 11,
	IMAP_EXT_LIST_EXTENDED = 1 << 12,
	IMAP_EXT_LIST_STATUS = 1 << 13,
	IMAP_EXT_CONDSTORE = 1 << 14,
	IMAP_EXT_QRESYNC = 1 << 15,
	IMAP_EXT_ESEARCH = 1 << 16
};
/* Those that sessions serve today. */
#define IMAP_EXT_SERVED ((uint32_t)IMAP_EXT_LIST_EXTENDED - 1)

struct imap_extension {
	const char *name; /* as CAPABILITY announces it */
	uint32_t bit;
	unsigned states; /* where it is announced */
};
extern const struct imap_extension imap_extensions[];
extern const size_t imap_nextensions;

enum imap_verb_id {
	IMAP_CAPABILITY,
	IMAP_NOOP,
	IMAP_LOGOUT,
	IMAP_ID,
	IMAP_STARTTLS,
	IMAP_AUTHENTICATE,
	IMAP_LOGIN,
	IMAP_ENABLE,
	IMAP_SELECT,
	IMAP_EXAMINE,
	IMAP_CREATE,
	IMAP_DELETE,
	IMAP_RENAME,
	IMAP_SUBSCRIBE,
	IMAP_UNSUBSCRIBE,
	IMAP_LIST,
	IMAP_LSUB,
	IMAP_NAMESPACE,
	IMAP_STATUS,
	IMAP_APPEND,
	IMAP_IDLE,
	IMAP_CHECK,
	IMAP_CLOSE,
	IMAP_UNSELECT,
	IMAP_EXPUNGE,
	IMAP_SEARCH,
	IMAP_FETCH,
	IMAP_STORE,
	IMAP_COPY,
	IMAP_MOVE,
	IMAP_VERBS
};

struct imap_parse; /* the parser's cursor (parse.h) */
struct imap_command;

struct imap_verb {
	const char *name;     /* "FETCH", "UID FETCH" */
	enum imap_verb_id id; /* the same for both of these */
	bool uid;
	unsigned states;  /* enum imap_state: where it is allowed */
	unsigned effects; /* enum imap_effect */
	uint32_t ext;     /* the extension that announces it; 0: RFC 3501 itself */
	/* Takes the arguments apart, from the octet behind the name up to the CR LF. */
	bool (*parse)(struct imap_parse *p, struct imap_command *c);
};
extern const struct imap_verb imap_verbs[];
extern const size_t imap_nverbs;
/* By name without case; NULL: no such command. */
const struct imap_verb *imap_verb_find(struct span name, bool uid);

/* What CAPABILITY depends on beside the table. */
struct imap_offer {
	enum imap_state state;
	uint32_t exts;            /* what is switched on */
	bool starttls;            /* the connection can still be made TLS */
	bool login;               /* LOGIN is taken here (else LOGINDISABLED is announced) */
	const char *const *mechs; /* SASL mechanisms taken here, NULL at the end; may be NULL */
};
/* "IMAP4rev1 LITERAL+ ...", no space before or behind: for the untagged reply and the response code. */
void imap_capabilities(struct buf *out, const struct imap_offer *offer);

/* ---- pieces of commands ---- */

/* Sequence numbers or UIDs as the client wrote them, in its order, overlaps and all.  0 stands for
 * '*'; first <= last otherwise ("4:2" is "2:4", "*:4" is "4:*" = {4, 0}, "*" is {0, 0}). */
struct imap_range {
	uint32_t first, last;
};
struct imap_set {
	const struct imap_range *ranges;
	uint32_t n; /* 0: absent */
};
/* Put the numbers into *out, an empty set, with '*' = `star`, the largest number in the mailbox
 * (its last sequence number, its last UID; 0 when it is empty: then ranges with '*' give nothing).
 * ST_OK, ST_NOMEM, ST_TOOBIG; *out stays empty on failure. */
enum st imap_set_resolve(const struct imap_set *set, uint32_t star, struct uset *out);
/* The largest number named; '*' does not count: 0 for "*".  Over the number of messages it makes a
 * command without UID BAD. */
uint32_t imap_set_max(const struct imap_set *set);

/* Flags.  The first five have the values of the store's PR_MESSAGE_FLAGS. */
enum imap_flag {
	IMAP_FLAG_SEEN = 1,
	IMAP_FLAG_ANSWERED = 2,
	IMAP_FLAG_FLAGGED = 4,
	IMAP_FLAG_DELETED = 8,
	IMAP_FLAG_DRAFT = 16,
	IMAP_FLAG_RECENT = 32 /* in replies and SEARCH only */
};
struct imap_flags {
	uint32_t system; /* enum imap_flag */
	uint32_t nkeywords;
	const struct span *keywords; /* atoms, none twice in any case of letters */
};

/* Special uses (RFC 6154) and the other attributes of LIST (RFC 3501, 3348, 5258). */
enum imap_mailbox_attr {
	IMAP_ATTR_NOINFERIORS = 1 << 0,
	IMAP_ATTR_NOSELECT = 1 << 1,
	IMAP_ATTR_MARKED = 1 << 2,
	IMAP_ATTR_UNMARKED = 1 << 3,
	IMAP_ATTR_HASCHILDREN = 1 << 4,
	IMAP_ATTR_HASNOCHILDREN = 1 << 5,
	IMAP_ATTR_NONEXISTENT = 1 << 6,
	IMAP_ATTR_SUBSCRIBED = 1 << 7,
	IMAP_USE_ALL = 1 << 8,
	IMAP_USE_ARCHIVE = 1 << 9,
	IMAP_USE_DRAFTS = 1 << 10,
	IMAP_USE_FLAGGED = 1 << 11,
	IMAP_USE_JUNK = 1 << 12,
	IMAP_USE_SENT = 1 << 13,
	IMAP_USE_TRASH = 1 << 14
};
#define IMAP_USES_MASK 0x7F00u

enum imap_status_item {
	IMAP_STATUS_MESSAGES = 1,
	IMAP_STATUS_RECENT = 2,
	IMAP_STATUS_UIDNEXT = 4,
	IMAP_STATUS_UIDVALIDITY = 8,
	IMAP_STATUS_UNSEEN = 16,
	IMAP_STATUS_HIGHESTMODSEQ = 32 /* CONDSTORE */
};

/* One node of a SEARCH program.  The words for "not set" are NOT over a flag (UNSEEN is NOT FLAG
 * SEEN, OLD is NOT FLAG RECENT, NEW is AND of FLAG RECENT and UNSEEN), so these are all there is. */
enum imap_key_op {
	IMAP_KEY_ALL = 1,
	IMAP_KEY_AND,     /* kids */
	IMAP_KEY_OR,      /* kids, two or more (a chain of ORs is one node) */
	IMAP_KEY_NOT,     /* kids: one */
	IMAP_KEY_SEQS,    /* set */
	IMAP_KEY_UIDS,    /* set */
	IMAP_KEY_FLAG,    /* num: one enum imap_flag */
	IMAP_KEY_KEYWORD, /* text */
	IMAP_KEY_LARGER,  /* num */
	IMAP_KEY_SMALLER, /* num */
	IMAP_KEY_BEFORE, /* num: days since 1970-01-01, a signed 64-bit number in two's complement */
	IMAP_KEY_ON,
	IMAP_KEY_SINCE,
	IMAP_KEY_SENTBEFORE,
	IMAP_KEY_SENTON,
	IMAP_KEY_SENTSINCE,
	IMAP_KEY_FROM, /* text, in the command's charset */
	IMAP_KEY_TO,
	IMAP_KEY_CC,
	IMAP_KEY_BCC,
	IMAP_KEY_SUBJECT,
	IMAP_KEY_BODY,
	IMAP_KEY_TEXT,
	IMAP_KEY_HEADER, /* name, text ("": the field is there) */
	IMAP_KEY_MODSEQ  /* num; name: the entry, if one was given (CONDSTORE) */
};
struct imap_key {
	enum imap_key_op op;
	uint64_t num;
	struct span name, text;
	struct imap_set set;
	struct imap_key *kids, *next;
};

/* What a BODY[...] names (RFC 3501 section 6.4.5). */
enum imap_section_text {
	IMAP_SECTION_ALL,        /* the part itself, or the whole message */
	IMAP_SECTION_HEADER,     /* the header of the message, or of the message inside the part */
	IMAP_SECTION_FIELDS,     /* only these fields of it */
	IMAP_SECTION_FIELDS_NOT, /* all but these */
	IMAP_SECTION_TEXT,       /* its body */
	IMAP_SECTION_MIME        /* the part's own MIME header */
};
struct imap_section {
	enum imap_section_text text;
	uint32_t nparts, nfields;
	const uint32_t *parts;     /* 1.3.2 */
	const struct span *fields; /* names as the client wrote them */
};

enum imap_item_kind {
	IMAP_ITEM_UID,
	IMAP_ITEM_FLAGS,
	IMAP_ITEM_INTERNALDATE,
	IMAP_ITEM_SIZE, /* RFC822.SIZE */
	IMAP_ITEM_ENVELOPE,
	IMAP_ITEM_BODY, /* BODY without a section: the structure without extension data */
	IMAP_ITEM_BODYSTRUCTURE,
	IMAP_ITEM_MODSEQ, /* CONDSTORE */
	/* From here on octets of the message; `section` says which. */
	IMAP_ITEM_SECTION, /* BODY[...], BODY.PEEK[...] */
	IMAP_ITEM_RFC822,
	IMAP_ITEM_RFC822_HEADER,
	IMAP_ITEM_RFC822_TEXT
};
struct imap_item {
	enum imap_item_kind kind;
	bool sets_seen; /* reading it sets \Seen */
	bool partial;   /* <first.count> */
	uint32_t first, count;
	struct imap_section section;
};

/* ---- a command taken apart ---- */

enum imap_store_mode { IMAP_STORE_REPLACE, IMAP_STORE_ADD, IMAP_STORE_REMOVE };
enum imap_list_opt {
	IMAP_LIST_SUBSCRIBED = 1,
	IMAP_LIST_REMOTE = 2,
	IMAP_LIST_RECURSIVE = 4,
	IMAP_LIST_SPECIAL_USE = 8,
	IMAP_LIST_CHILDREN = 16,
	IMAP_LIST_STATUS = 32
};
enum imap_return_opt {
	IMAP_RETURN_MIN = 1,
	IMAP_RETURN_MAX = 2,
	IMAP_RETURN_ALL = 4,
	IMAP_RETURN_COUNT = 8
};

struct imap_login {
	struct span user, password;
};
struct imap_authenticate {
	struct span mechanism; /* upper case */
	bool has_initial;
	struct span initial; /* base64 as sent; empty for "=" (RFC 4959 section 3) */
};
struct imap_select { /* SELECT, EXAMINE */
	struct span mailbox;
	bool condstore, qresync;
	uint32_t uidvalidity; /* QRESYNC (uidvalidity modseq [uids] [(seqs uids)]) */
	uint64_t modseq;
	struct imap_set known_uids;
	struct imap_set match_seqs, match_uids; /* same number of numbers is not checked here */
};
struct imap_create {
	struct span mailbox;
	uint32_t use;     /* IMAP_USE_... of (USE (...)) */
	bool use_unknown; /* another one was asked for as well: NO [USEATTR] (RFC 6154 section 3) */
};
struct imap_rename {
	struct span from, to;
};
struct imap_list { /* LIST, LSUB */
	struct span reference;
	const struct span *patterns; /* UTF-8; not yet joined with the reference: match.h */
	uint32_t npatterns;
	unsigned select, returns; /* enum imap_list_opt */
	bool extended;            /* any of the RFC 5258 syntax was used */
	uint32_t status;          /* items of RETURN (STATUS (...)) */
};
struct imap_status {
	struct span mailbox;
	uint32_t items; /* enum imap_status_item */
};
struct imap_append {
	struct span mailbox;
	struct imap_flags flags;
	bool has_date;
	int64_t date;  /* seconds since 1970, UTC */
	int16_t zone;  /* minutes east of UTC, as the client gave it */
	uint64_t size; /* octets of the message */
	bool sync;     /* the client waits for "+" before it sends them */
};
struct imap_search {
	struct span charset;  /* absent: US-ASCII */
	struct imap_key *key; /* the root */
	bool esearch;         /* RETURN (...) was given */
	unsigned returns;     /* enum imap_return_opt; RETURN () is ALL */
};
struct imap_fetch {
	struct imap_set set;
	const struct imap_item *items; /* in the client's order, none twice but sections; UID FETCH
					  has UID, CHANGEDSINCE has MODSEQ, asked for or not */
	uint32_t nitems;
	bool has_changedsince, vanished;
	uint64_t changedsince;
};
struct imap_store {
	struct imap_set set;
	enum imap_store_mode mode;
	bool silent;
	struct imap_flags flags;
	bool has_unchangedsince;
	uint64_t unchangedsince;
};
struct imap_copy { /* COPY, MOVE */
	struct imap_set set;
	struct span mailbox;
};
struct imap_enable {
	const struct span *names; /* upper case */
	uint32_t n;
};
struct imap_id {
	const struct span
		*pairs; /* field, value, field, value ...; a NIL value is the absent span */
	uint32_t n;     /* pairs; 0 for NIL and () */
};

struct imap_command {
	struct span tag;
	const struct imap_verb *verb;
	uint32_t needs; /* extensions its syntax used (enum imap_ext) */
	union {
		struct imap_login login;
		struct imap_authenticate authenticate;
		struct imap_select select;
		struct imap_create create;
		struct span mailbox; /* DELETE, SUBSCRIBE, UNSUBSCRIBE */
		struct imap_rename rename;
		struct imap_list list;
		struct imap_status status;
		struct imap_append append;
		struct imap_search search;
		struct imap_fetch fetch;
		struct imap_store store;
		struct imap_copy copy;
		struct imap_set expunge; /* UID EXPUNGE; n = 0 for EXPUNGE */
		struct imap_enable enable;
		struct imap_id id;
	};
};

/* True for charsets SEARCH text can be taken in (US-ASCII, UTF-8, or none given).  Otherwise the
 * session says NO [BADCHARSET (US-ASCII UTF-8)]. */
bool imap_charset_known(struct span charset);

#endif
