/* Any request with any properties, to a store with two users and two messages.
 *
 * The first byte says which request, the second which true values go along (a logon, a folder, a file being written,
 * bulk data); the others are properties: which, how long, what.  With the highest bit of the second byte they are
 * the payload as it stands. */
#include "rig.h"

#include "props/tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum truth {
	TRUE_LOGON = 1,
	TRUE_FID = 2,
	TRUE_TOKEN = 4,
	TRUE_BULK = 8,
	TRUE_MAILBOX = 16,
	RAW = 128
};

static struct rig rig;
static struct who alice;
static uint64_t fid;
static struct span input;

static void first(struct rig *r)
{
	static const char text[] = "Subject: one\r\nContent-Type: text/plain\r\n\r\n.words\r\n";

	rig_people(r);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	rig_mail(r, alice.mailbox, text);
	rig_mail(r, alice.mailbox, text);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
}

static void last(void)
{
	rig_down(&rig);
	rig_remove(&rig);
}

static struct span take(size_t n)
{
	struct span s = span_cut(input, n);

	input = span_skip(input, n);
	return s;
}

static uint64_t take_number(size_t n)
{
	struct span s = take(n);
	uint64_t v = 0;

	memcpy(&v, s.at, s.len);
	return v;
}

static void put_any(struct pw *w, uint32_t tag)
{
	struct span parts[4];
	uint64_t nums[4];
	size_t n;

	switch (PROP_TYPE(tag)) {
	case PT_LONG:
		pw_u32(w, tag, (uint32_t)take_number(4));
		break;
	case PT_BOOLEAN:
		pw_bool(w, tag, take_number(1) & 1);
		break;
	case PT_I8:
	case PT_SYSTIME:
		pw_u64(w, tag, take_number(8));
		break;
	case PT_UNICODE:
	case PT_BINARY:
		n = take_number(1);
		pw_span(w, tag, take(n));
		break;
	case PT_MV_UNICODE:
		n = take_number(1) % 5;
		for (size_t i = 0; i < n; i++)
			parts[i] = take(take_number(1) % 32);
		pw_mv_span(w, tag, parts, n);
		break;
	case PT_MV_I8:
	case PT_MV_LONG:
		n = take_number(1) % 5;
		for (size_t i = 0; i < n; i++)
			nums[i] = take_number(1);
		pw_mv_num(w, tag, nums, n);
		break;
	}
}

static void put_truth(struct pw *w, unsigned truth, uint64_t token)
{
	if (truth & TRUE_LOGON)
		pw_u64(w, PR_LOGON, alice.logon);
	if (truth & TRUE_FID)
		pw_u64(w, PR_FID, fid);
	if (truth & TRUE_TOKEN)
		pw_u64(w, PR_BODY_TOKEN, token);
	if (truth & TRUE_MAILBOX)
		pw_mv_num(w, PR_RECIPIENT_MAILBOXES, &alice.mailbox, 1);
}

/* Each property once: a list holds a tag only once. */
static void put_properties(struct pw *w, unsigned truth, uint64_t token)
{
	size_t count;
	const struct prop_info *table = prop_table(PROP_MAPI, &count);
	bool used[1024] = { 0 };

	CHECK(count < 1024);
	put_truth(w, truth, token);
	for (unsigned n = 0; n < 30 && input.len; n++) {
		size_t i = take_number(1) + 256 * (take_number(1) & 1);
		uint32_t tag = i < count ? table[i].tag : PR_UIDS;

		if (i >= count || used[i] || (tag == PR_LOGON && truth & TRUE_LOGON) ||
		    (tag == PR_FID && truth & TRUE_FID) ||
		    (tag == PR_BODY_TOKEN && truth & TRUE_TOKEN) ||
		    (tag == PR_RECIPIENT_MAILBOXES && truth & TRUE_MAILBOX))
			continue;
		used[i] = true;
		put_any(w, tag);
	}
}

static uint64_t new_token(struct rig *r)
{
	struct wire_answer a;
	struct wire_msg m;
	uint64_t token = 0;

	wire_begin(&m, 0);
	if (wire_send(&m, rig_chan(r), 0, WIRE_IFS_CREATE, &a, &rig_err) == ST_OK)
		token = plist_u64(&a.list, PR_BODY_TOKEN, 0);
	wire_answer_free(&a);
	return token;
}

static void close_token(struct rig *r, uint64_t token)
{
	struct wire_answer a;
	struct wire_msg m;

	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, token);
	(void)wire_send(&m, rig_chan(r), 0, WIRE_IFS_CLOSE, &a, &rig_err);
	wire_answer_free(&a);
}

static void one(struct rig *r)
{
	const struct wire_row *row = &wire_rows[take_number(1) % wire_nrows];
	struct exipc_chan *chan = row->roles & ROLE_HOST ? rig_chan(r) : rig_admin(r);
	unsigned truth = (unsigned)take_number(1);
	uint64_t token = truth & TRUE_TOKEN ? new_token(r) : 0;
	struct exipc_section section;
	struct buf bytes = BUF_MAX(EXIPC_BLOCK_MAX);
	struct exipc_reply reply;
	uint32_t used = 0;
	struct pw w;

	if (truth & TRUE_BULK) {
		struct span bulk = take(take_number(1));

		CHECK_ST(exipc_section_get(chan, 0, deadline_in_ms(10000), &section, &rig_err),
			 ST_OK);
		memcpy(section.at, bulk.at, bulk.len);
		used = (uint32_t)bulk.len;
	}
	if (truth & RAW) {
		buf_span(&bytes, input);
	} else {
		pw_begin(&w, &bytes, 40);
		put_properties(&w, truth, token);
		pw_end(&w);
	}
	if (exipc_call(chan, 0, row->number, buf_get(&bytes), &section, &used,
		       truth & TRUE_BULK ? 1 : 0, deadline_in_ms(60000), &reply,
		       &rig_err) == ST_OK) {
		while (reply.more &&
		       exipc_reply_next(&reply, deadline_in_ms(60000), &rig_err) == ST_OK)
			;
		exipc_reply_free(&reply);
	}
	buf_free(&bytes);
	if (token)
		close_token(r, token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!rig.server) {
		rig_make(&rig, "");
		rig_up(&rig, 1);
		rig_run(&rig, first);
		atexit(last);
	}
	input = span_of(data, size);
	rig_run(&rig, one);
	return 0;
}
