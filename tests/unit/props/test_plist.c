#include "base/byteorder.h"
#include "props/tags.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define T_MV_LONG    PROP_TAG(PT_MV_LONG, 0x7BF0)
#define T_MV_I8      PROP_TAG(PT_MV_I8, 0x7BF1)
#define T_MV_UNICODE PROP_TAG(PT_MV_UNICODE, 0x7BF2)
#define T_MV_BINARY  PROP_TAG(PT_MV_BINARY, 0x7BF3)
#define T_MV_OBJECT  PROP_TAG(PT_MV_OBJECT, 0x7BF4)
#define T_OBJECT     PROP_TAG(PT_OBJECT, 0x7BF5)

static struct plist small_list(struct buf *b, const char *name, uint32_t n)
{
	struct pw w;
	size_t start = b->len;

	pw_begin(&w, b, 2);
	pw_str(&w, PR_DISPLAY_NAME, name);
	pw_u32(&w, PR_CONTENT_COUNT, n);
	pw_end(&w);
	return b->failed ? (struct plist){ 0 } : plist_trusted(b->at + start, b->len - start);
}

/* One list with a property of every type, put in no order, with a nested list written in place. */
static void write_everything(struct buf *b)
{
	struct buf parts = BUF_MAX(4096);
	struct pw w, inner;
	struct plist lists[2];

	small_list(&parts, "one", 1);
	small_list(&parts, "two", 2);
	lists[0] = plist_trusted(parts.at, parts.len);
	lists[1] = plist_trusted(parts.at + lists[0].len, parts.len - lists[0].len);

	pw_begin(&w, b, 14);
	pw_u64(&w, PR_MID, 0x1122334455667788);
	pw_span(&w, PR_SUBJECT, SPAN("Gr\xc3\xbc\xc3\x9f\x65"));
	pw_bool(&w, PR_HASATTACH, true);
	pw_u32(&w, PR_IMPORTANCE, 2);
	pw_mv_num(&w, T_MV_LONG, (const uint64_t[]){ 3, 4 }, 2);
	pw_mv_num(&w, T_MV_I8, (const uint64_t[]){ UINT64_MAX }, 1);
	pw_mv_span(&w, T_MV_UNICODE, (const struct span[]){ SPAN("a"), SPAN(""), SPAN("cc") }, 3);
	pw_mv_span(&w, T_MV_BINARY, NULL, 0);
	pw_begin_object(&w, T_OBJECT, &inner, 3);
	pw_str(&inner, PR_COMMENT, "inside");
	pw_u32(&inner, PR_CONTENT_COUNT, 9);
	pw_end(&inner);
	pw_mv_object(&w, T_MV_OBJECT, lists, 2);
	pw_span(&w, PR_IMAP_ENVELOPE, SPAN("\x00\xff"));
	pw_u64(&w, PR_CLIENT_SUBMIT_TIME, 5);
	pw_end(&w);
	buf_free(&parts);
}

static void test_what_was_put_is_found(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct plist l, in;
	struct err err;

	(void)state;
	write_everything(&b);
	assert_false(b.failed);
	assert_int_equal(plist_open(&l, b.at, b.len, &err), ST_OK);
	assert_int_equal(l.len, b.len);
	assert_int_equal(plist_count(&l), 12);
	assert_true(plist_u64(&l, PR_MID, 0) == 0x1122334455667788);
	assert_true(span_eq(plist_span(&l, PR_SUBJECT), SPAN("Gr\xc3\xbc\xc3\x9f\x65")));
	assert_true(plist_bool(&l, PR_HASATTACH, false));
	assert_int_equal(plist_u32(&l, PR_IMPORTANCE, 7), 2);
	assert_int_equal(plist_u64(&l, PR_CLIENT_SUBMIT_TIME, 7), 5);
	assert_int_equal(plist_mv_count(&l, T_MV_LONG), 2);
	assert_int_equal(plist_mv_num(&l, T_MV_LONG, 1), 4);
	assert_int_equal(plist_mv_num(&l, T_MV_LONG, 2), 0);
	assert_true(plist_mv_num(&l, T_MV_I8, 0) == UINT64_MAX);
	assert_int_equal(plist_mv_count(&l, T_MV_UNICODE), 3);
	assert_true(span_eq(plist_mv_span(&l, T_MV_UNICODE, 0), SPAN("a")));
	assert_int_equal(plist_mv_span(&l, T_MV_UNICODE, 1).len, 0);
	assert_true(span_eq(plist_mv_span(&l, T_MV_UNICODE, 2), SPAN("cc")));
	assert_null(plist_mv_span(&l, T_MV_UNICODE, 3).at);
	assert_true(plist_has(&l, T_MV_BINARY));
	assert_int_equal(plist_mv_count(&l, T_MV_BINARY), 0);
	assert_true(plist_object(&l, T_OBJECT, &in));
	assert_int_equal(plist_u32(&in, PR_CONTENT_COUNT, 0), 9);
	assert_true(span_eq(plist_span(&in, PR_COMMENT), SPAN("inside")));
	assert_true(plist_mv_object(&l, T_MV_OBJECT, 1, &in));
	assert_true(span_eq(plist_span(&in, PR_DISPLAY_NAME), SPAN("two")));
	assert_false(plist_mv_object(&l, T_MV_OBJECT, 2, &in));

	assert_false(plist_has(&l, PR_BODY));
	assert_int_equal(plist_u32(&l, PR_CONTENT_COUNT, 77), 77);
	assert_null(plist_span(&l, PR_BODY).at);
	assert_int_equal(plist_count(&(struct plist){ 0 }), 0);
	buf_free(&b);
}

static void test_dump(void **state)
{
	static const char want[] = "PR_IMPORTANCE(0x00170003)=2\n"
				   "PR_SUBJECT(0x0037001F)=\"Gr\xc3\xbc\xc3\x9f\x65\"\n"
				   "PR_CLIENT_SUBMIT_TIME(0x00390040)=5\n"
				   "PR_HASATTACH(0x0E1B000B)=1\n"
				   "PR_MID(0x674A0014)=1234605616436508552\n"
				   "PR_IMAP_ENVELOPE(0x7A000102)=00ff\n"
				   "?(0x7BF01003)=[3, 4]\n"
				   "?(0x7BF11014)=[18446744073709551615]\n"
				   "?(0x7BF2101F)=[\"a\", \"\", \"cc\"]\n"
				   "?(0x7BF31102)=[]\n"
				   "?(0x7BF4100D)={2}\n"
				   "?[0].PR_DISPLAY_NAME(0x3001001F)=\"one\"\n"
				   "?[0].PR_CONTENT_COUNT(0x36020003)=1\n"
				   "?[1].PR_DISPLAY_NAME(0x3001001F)=\"two\"\n"
				   "?[1].PR_CONTENT_COUNT(0x36020003)=2\n"
				   "?(0x7BF5000D)={}\n"
				   "?.PR_COMMENT(0x3004001F)=\"inside\"\n"
				   "?.PR_CONTENT_COUNT(0x36020003)=9\n";
	struct buf b = BUF_MAX(4096), text = BUF_MAX(4096);
	struct plist l;

	(void)state;
	write_everything(&b);
	assert_int_equal(plist_open(&l, b.at, b.len, NULL), ST_OK);
	plist_dump(&l, &text);
	buf_char(&text, '\0');
	assert_string_equal(text.at, want);
	buf_clear(&text);
	small_list(&b, "x", 1);
	plist_dump_mailmsg(&(struct plist){ 0 }, &text);
	assert_int_equal(text.len, 0);
	buf_free(&text);
	buf_free(&b);
}

/* The bytes are a promise to what is on disk. */
static void test_bytes_are_the_documented_ones(void **state)
{
	static const char want[] = "\x2d\0\0\0\x03\0\x01\0"
				   "\x1f\0\x37\0\x20\0\0\0"
				   "\x03\0\x02\x36\x07\0\0\0"
				   "\x14\0\x4a\x67\x25\0\0\0"
				   "\x01\0\0\0A"
				   "\x02\0\0\0\0\0\0\0";
	struct buf b = BUF_MAX(4096);
	struct pw w;

	(void)state;
	pw_begin(&w, &b, 8);
	pw_str(&w, PR_SUBJECT, "A");
	pw_u64(&w, PR_MID, 2);
	pw_u32(&w, PR_CONTENT_COUNT, 7);
	pw_end(&w);
	assert_int_equal(b.len, sizeof want - 1);
	assert_memory_equal(b.at, want, b.len);
	buf_free(&b);
}

/* Touch every byte that readers can reach. */
static unsigned walk(const struct plist *l)
{
	struct plist_iter it = plist_iter(l);
	struct span raw;
	uint32_t tag;
	unsigned sum = 0;
	struct plist in;

	while (plist_next(&it, &tag, &raw)) {
		for (size_t i = 0; i < raw.len; i++)
			sum += (unsigned char)raw.at[i];
		if (PROP_TYPE(tag) == PT_OBJECT && plist_object(l, tag, &in))
			sum += walk(&in);
		if (PROP_TYPE(tag) == PT_MV_OBJECT)
			for (size_t i = 0; plist_mv_object(l, tag, i, &in); i++)
				sum += walk(&in);
		if (PROP_TYPE(tag) == PT_MV_UNICODE || PROP_TYPE(tag) == PT_MV_BINARY)
			for (size_t i = 0; i < plist_mv_count(l, tag); i++)
				for (size_t k = 0; k < plist_mv_span(l, tag, i).len; k++)
					sum += (unsigned char)plist_mv_span(l, tag, i).at[k];
		if (PROP_TYPE(tag) == PT_MV_LONG || PROP_TYPE(tag) == PT_MV_I8)
			for (size_t i = 0; i < plist_mv_count(l, tag); i++)
				sum += (unsigned)plist_mv_num(l, tag, i);
	}
	return sum;
}

static void test_every_cut_is_refused(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct plist l;

	(void)state;
	write_everything(&b);
	for (size_t len = 0; len < b.len; len++) {
		char *cut = malloc(len ? len : 1); /* so that the sanitizer sees its end */

		memcpy(cut, b.at, len);
		assert_int_equal(plist_open(&l, cut, len, NULL), ST_BAD);
		free(cut);
	}
	buf_free(&b);
}

static void test_every_bit_flip_is_refused_or_safe(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct plist l;
	unsigned refused = 0, sum = 0;

	(void)state;
	write_everything(&b);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		char *copy = malloc(b.len);

		memcpy(copy, b.at, b.len);
		copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
		if (plist_open(&l, copy, b.len, NULL) == ST_OK)
			sum += walk(&l);
		else
			refused++;
		free(copy);
	}
	assert_true(refused > b.len);
	assert_true(sum > 0);
	buf_free(&b);
}

static void test_bad_lists_are_named(void **state)
{
	/* Set 32 bits at an offset of a list of PR_SUBJECT, PR_HASATTACH, PR_MID, T_MV_LONG {1}. */
	static const struct {
		const char *name;
		size_t at;
		uint32_t v;
		const char *want;
	} rows[] = {
		{ "a length over the bytes", 0, 1000, "property list: 1000 bytes" },
		{ "a length under the head", 0, 7, "property list: 7 bytes" },
		{ "more properties than fit", 4, 0x0001FFFF, "65535 properties" },
		{ "another version", 4, 0x00020004, "unknown version 2.0" },
		{ "a flag of the future", 4, 0x01010004, "unknown version 1.1" },
		{ "tags out of order", 8, 0x7FFF0003, "0x0e1b000b: out of order" },
		{ "a tag twice", 16, PR_SUBJECT, "out of order" },
		{ "an unknown type", 8, 0x00370001, "0x00370001: unknown type" },
		{ "a value in the directory", 12, 8, "outside the list" },
		{ "a value at the end", 12, 65, "outside the list" },
		{ "a value far out", 12, 0xFFFFFFFF, "outside the list" },
		{ "a boolean of 2", 20, 2, "neither 0 nor 1" },
		{ "text over the end", 40, 22, "over the list's end" },
		{ "text up to the end shares bytes", 40, 21, "values share bytes" },
		{ "a count of numbers that is wrong", 57, 2, "wrong count of numbers" },
	};
	struct buf b = BUF_MAX(4096);
	struct pw w;

	(void)state;
	pw_begin(&w, &b, 4);
	pw_str(&w, PR_SUBJECT, "A");
	pw_bool(&w, PR_HASATTACH, true);
	pw_u64(&w, PR_MID, 2);
	pw_mv_num(&w, T_MV_LONG, (const uint64_t[]){ 1 }, 1);
	pw_end(&w);
	assert_int_equal(b.len, 65);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct plist l = { 0 };
		struct err err = { 0 };
		char copy[65];

		memcpy(copy, b.at, sizeof copy);
		le32_put(copy + rows[i].at, rows[i].v);
		if (plist_open(&l, copy, sizeof copy, &err) != ST_BAD)
			fail_msg("%s: not refused", rows[i].name);
		if (!strstr(err.text, rows[i].want))
			fail_msg("%s: says \"%s\"", rows[i].name, err.text);
		assert_null(l.at);
	}
	buf_free(&b);
}

static void test_nesting_has_a_limit(void **state)
{
	struct buf b = BUF_MAX(65536);
	struct plist l;
	struct err err;

	(void)state;
	for (unsigned depth = 1; depth <= PLIST_MAX_DEPTH + 1; depth++) {
		struct pw w[PLIST_MAX_DEPTH + 1];

		buf_clear(&b);
		pw_begin(&w[0], &b, 2);
		for (unsigned i = 1; i < depth; i++)
			pw_begin_object(&w[i - 1], T_OBJECT, &w[i], 2);
		pw_u32(&w[depth - 1], PR_CONTENT_COUNT, depth);
		for (unsigned i = depth; i-- > 0;)
			pw_end(&w[i]);
		assert_false(b.failed);
		assert_int_equal(plist_open(&l, b.at, b.len, &err),
				 depth <= PLIST_MAX_DEPTH ? ST_OK : ST_BAD);
		for (unsigned i = 1; i < depth && depth <= PLIST_MAX_DEPTH; i++)
			assert_true(plist_object(&l, T_OBJECT, &l));
		if (depth <= PLIST_MAX_DEPTH)
			assert_int_equal(plist_u32(&l, PR_CONTENT_COUNT, 0), depth);
	}
	buf_free(&b);
}

static void test_any_limit_of_the_buffer_fails_clean(void **state)
{
	struct buf whole = BUF_MAX(4096);

	(void)state;
	write_everything(&whole);
	/* The directory is reserved for 14 and closed up at the end: 2 entries over the final size. */
	for (size_t max = 0; max < whole.len + 16; max++) {
		struct buf b = BUF_MAX(max);

		write_everything(&b);
		assert_true(b.failed);
		buf_free(&b);
	}
	struct buf b = BUF_MAX(whole.len + 16);

	write_everything(&b);
	assert_false(b.failed);
	buf_free(&b);
	buf_free(&whole);

	struct buf many = BUF_MAX(1 << 20);
	struct pw w;

	pw_begin(&w, &many, PLIST_MAX_PROPS + 1);
	pw_end(&w);
	assert_true(many.failed);
	buf_free(&many);
}

static void test_lists_stand_back_to_back(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct plist l;
	size_t at = 0;

	(void)state;
	buf_char(&b, 'x'); /* nothing is aligned */
	for (uint32_t i = 0; i < 3; i++)
		small_list(&b, "back", i);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(plist_open(&l, b.at + 1 + at, b.len - 1 - at, NULL), ST_OK);
		assert_int_equal(plist_u32(&l, PR_CONTENT_COUNT, 9), i);
		at += l.len;
	}
	assert_int_equal(at, b.len - 1);
	buf_free(&b);
}

static void test_a_row_is_changed_by_merging(void **state)
{
	struct buf b = BUF_MAX(4096), out = BUF_MAX(4096);
	struct plist before, after;
	struct pw w;

	(void)state;
	write_everything(&b);
	before = plist_trusted(b.at, b.len);
	pw_begin(&w, &out, 20);
	pw_str(&w, PR_SUBJECT, "new");
	pw_copy(&w, &before, T_MV_OBJECT);
	pw_copy(&w, &before, PR_BODY);
	pw_merge(&w, &before);
	pw_end(&w);
	assert_int_equal(plist_open(&after, out.at, out.len, NULL), ST_OK);
	assert_int_equal(plist_count(&after), 12);
	assert_true(span_eq(plist_span(&after, PR_SUBJECT), SPAN("new")));
	assert_true(plist_u64(&after, PR_MID, 0) == 0x1122334455667788);
	assert_int_equal(plist_mv_count(&after, T_MV_OBJECT), 2);
	assert_true(plist_bool(&after, PR_HASATTACH, false));
	buf_free(&out);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_put_is_found),
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_bytes_are_the_documented_ones),
		cmocka_unit_test(test_every_cut_is_refused),
		cmocka_unit_test(test_every_bit_flip_is_refused_or_safe),
		cmocka_unit_test(test_bad_lists_are_named),
		cmocka_unit_test(test_nesting_has_a_limit),
		cmocka_unit_test(test_any_limit_of_the_buffer_fails_clean),
		cmocka_unit_test(test_lists_stand_back_to_back),
		cmocka_unit_test(test_a_row_is_changed_by_merging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
