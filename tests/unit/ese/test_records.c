/* test_records.c - records and items as bytes: what is written is read, and nothing else is. */
#include "ese/rec.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "ese/ese.h"
#include "ese/rows.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define MARK 0x12345678u

static size_t make_record(char *at, enum rec_kind kind, struct span payload, uint64_t pos)
{
	struct rec r = { .kind = kind, .db = 9, .partition = 11, .pos = pos, .payload = payload };

	memset(at, 0, rec_size(payload.len));
	rec_head_put(at, &r, crc32c(0, payload.at, payload.len), MARK);
	memcpy(at + REC_HEAD, payload.at, payload.len);
	return rec_size(payload.len);
}

static void a_record_comes_back_whole(void **state)
{
	char at[256];
	uint64_t pos = pos_of(3, 8192);
	size_t len = make_record(at, REC_FREE, SPAN("12345"), pos);
	struct rec r;

	(void)state;
	assert_int_equal(len, 48);
	assert_int_equal(rec_get(span_of(at, len), pos, MARK, &r), ST_OK);
	assert_int_equal(r.kind, REC_FREE);
	assert_int_equal(r.db, 9);
	assert_int_equal(r.partition, 11);
	assert_true(span_eq(r.payload, SPAN("12345")));
}

static void every_flipped_bit_and_every_cut_is_noticed(void **state)
{
	uint64_t pos = pos_of(3, 8192);
	char at[256];
	size_t len = make_record(at, REC_FREE, SPAN("payload8"), pos);
	struct rec r;

	(void)state;
	for (size_t i = 0; i < len * 8; i++) {
		at[i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(rec_get(span_of(at, len), pos, MARK, &r), ST_CORRUPT);
		at[i / 8] ^= (char)(1 << i % 8);
	}
	for (size_t n = 0; n < len; n++)
		assert_int_equal(rec_get(span_of(at, n), pos, MARK, &r), ST_CORRUPT);
	assert_int_equal(rec_get(span_of(at, len), pos + 8, MARK, &r), ST_CORRUPT);
	assert_int_equal(rec_get(span_of(at, len), pos_of(4, 8192), MARK, &r), ST_CORRUPT);
	assert_int_equal(rec_get(span_of(at, len), pos, MARK + 1, &r), ST_CORRUPT);
	assert_int_equal(rec_get(span_of(at, len), pos, MARK, &r), ST_OK);
}

/* Items, written by hand; "\x.." is the kind, numbers are little-endian. */
#define HEAD(n) "\1\2\3\4\5\6\7\10" n "\0\0\0\0\0\0\0"
#define ID      "\7\0\0\0\0\0\0\0"

static void items_are_checked(void **state)
{
	const struct {
		const char *name;
		struct span payload;
		unsigned good; /* items before the end or the damage */
		enum st last;
	} rows[] = {
		{ "no items", SPAN(HEAD("\0")), 0, ST_EOF },
		{ "a put", SPAN(HEAD("\1") "\1\2\0\3\0\0\0kkvvv"), 1, ST_EOF },
		{ "a put of nothing", SPAN(HEAD("\1") "\1\1\0\0\0\0\0k"), 1, ST_EOF },
		{ "a delete", SPAN(HEAD("\1") "\2\2\0kk"), 1, ST_EOF },
		{ "a link and an unlink", SPAN(HEAD("\2") "\4" ID "\5" ID), 2, ST_EOF },
		{ "an empty body",
		  SPAN(HEAD("\1") "\3" ID "\0\0\0\0\0\0\0\0"
				  "\0\0\0\0"
				  "\0\0\0\0"),
		  1, ST_EOF },
		{ "a body of one page",
		  SPAN(HEAD("\1") "\3" ID "\1\0\0\0\0\0\0\0"
				  "\1\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "crc!"),
		  1, ST_EOF },
		{ "a body of one page beside the log",
		  SPAN(HEAD("\1") "\6" ID "\1\0\0\0\0\0\0\0"
				  "\1\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "crc!"),
		  1, ST_EOF },
		{ "a move to two runs",
		  SPAN(HEAD("\1") "\7" ID "\2\0\0\0"
				  "\3\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "\11\0\0\0"
				  "\2\0\0\0"),
		  1, ST_EOF },
		{ "a move beside the log, then another item",
		  SPAN(HEAD("\2") "\10" ID "\1\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "\4" ID),
		  2, ST_EOF },
		{ "a move of an empty body", SPAN(HEAD("\1") "\7" ID "\0\0\0\0\0\0\0\0"), 1,
		  ST_EOF },
		{ "a move of body 0", SPAN(HEAD("\1") "\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 0,
		  ST_CORRUPT },
		{ "a move to fewer pages than said",
		  SPAN(HEAD("\1") "\7" ID "\1\0\0\0"
				  "\2\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"),
		  0, ST_CORRUPT },
		{ "a move with more runs than pages",
		  SPAN(HEAD("\1") "\7" ID "\2\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"),
		  0, ST_CORRUPT },
		{ "a move beyond the last page there can be",
		  SPAN(HEAD("\1") "\7" ID "\1\0\0\0"
				  "\2\0\0\0"
				  "\377\377\377\377"
				  "\2\0\0\0"),
		  0, ST_CORRUPT },
		{ "fewer items than said", SPAN(HEAD("\2") "\2\1\0k"), 1, ST_CORRUPT },
		{ "more bytes than items", SPAN(HEAD("\1") "\2\1\0k!"), 1, ST_CORRUPT },
		{ "an unknown item", SPAN(HEAD("\1") "\11\1\0k"), 0, ST_CORRUPT },
		{ "an empty key", SPAN(HEAD("\1") "\2\0\0"), 0, ST_CORRUPT },
		{ "a key of the engine", SPAN(HEAD("\1") "\2\1\0\3"), 0, ST_CORRUPT },
		{ "a key that is cut", SPAN(HEAD("\1") "\2\5\0k"), 0, ST_CORRUPT },
		{ "a value that is cut", SPAN(HEAD("\1") "\1\1\0\3\0\0\0kvv"), 0, ST_CORRUPT },
		{ "a value over the limit", SPAN(HEAD("\1") "\1\1\0\377\377\377\377kvv"), 0,
		  ST_CORRUPT },
		{ "a link to body 0", SPAN(HEAD("\1") "\4\0\0\0\0\0\0\0\0"), 0, ST_CORRUPT },
		{ "a link that is cut", SPAN(HEAD("\1") "\4\1\0\0"), 0, ST_CORRUPT },
		{ "runs that cover too little",
		  SPAN(HEAD("\1") "\3" ID "\1\20\0\0\0\0\0\0"
				  "\1\0\0\0"
				  "\2\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "crc!crc!"),
		  0, ST_CORRUPT },
		{ "a run without pages",
		  SPAN(HEAD("\1") "\3" ID "\1\0\0\0\0\0\0\0"
				  "\1\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\0\0\0\0"
				  "crc!"),
		  0, ST_CORRUPT },
		{ "more runs than pages",
		  SPAN(HEAD("\1") "\3" ID "\1\0\0\0\0\0\0\0"
				  "\2\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "\6\0\0\0"
				  "\1\0\0\0"
				  "crc!"),
		  0, ST_CORRUPT },
		{ "pages that do not match the length",
		  SPAN(HEAD("\1") "\3" ID "\1\20\0\0\0\0\0\0"
				  "\1\0\0\0"
				  "\1\0\0\0"
				  "\5\0\0\0"
				  "\1\0\0\0"
				  "crc!"),
		  0, ST_CORRUPT },
		{ "half a head", SPAN("\1\2\3"), 0, ST_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct items items;
		struct item it;
		unsigned good = 0;
		enum st st = items_open(rows[i].payload, &items);

		while (st == ST_OK && (st = items_next(&items, &it)) == ST_OK)
			good++;
		if (st != rows[i].last || good != rows[i].good)
			fail_msg("%s: %u items, then %s", rows[i].name, good, st_name(st));
	}
}

/* What is cut can't be read, wherever it is cut. */
static void cut_items_are_noticed(void **state)
{
	const struct span whole[] = {
		SPAN(HEAD("\1") "\6" ID "\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0"
				"\5\0\0\0\1\0\0\0crc!"),
		SPAN(HEAD("\1") "\7" ID "\1\0\0\0\1\0\0\0\5\0\0\0\1\0\0\0"),
		SPAN(HEAD("\1") "\10" ID "\1\0\0\0\1\0\0\0\5\0\0\0\1\0\0\0"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
		struct items items;
		struct item it;

		for (size_t n = REC_COMMIT_HEAD; n < whole[i].len; n++) {
			assert_int_equal(items_open(span_cut(whole[i], n), &items), ST_OK);
			assert_int_equal(items_next(&items, &it), ST_CORRUPT);
		}
		assert_int_equal(items_open(whole[i], &items), ST_OK);
		assert_int_equal(items_next(&items, &it), ST_OK);
		assert_int_equal(items_next(&items, &it), ST_EOF);
	}
}

static void body_rows_come_back_and_damage_is_noticed(void **state)
{
	char runs[16], crcs[12];
	struct row_body in = { .refs = 3, .nruns = 2, .npages = 3, .ncrcs = 3, .len = 9000 }, out;
	struct buf b = BUF_MAX(4096);

	(void)state;
	le32_put(runs, 7);
	le32_put(runs + 4, 1);
	le32_put(runs + 8, 100);
	le32_put(runs + 12, 2);
	memcpy(crcs, "aaaabbbbcccc", 12);
	in.runs = span_of(runs, 16);
	in.crcs = span_of(crcs, 12);
	row_body_put(&b, &in);
	assert_int_equal(row_body_get(buf_get(&b), &out), ST_OK);
	assert_int_equal(out.refs, 3);
	assert_int_equal(out.len, 9000);
	assert_int_equal(run_page(out.runs, 1), 100);
	assert_true(span_eq(out.crcs, in.crcs));
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(row_body_get(span_of(b.at, n), &out), ST_CORRUPT);
	b.at[16]++; /* pages that the length does not need */
	assert_int_equal(row_body_get(buf_get(&b), &out), ST_CORRUPT);
	buf_free(&b);
}

static void keys_of_rows_sort_as_their_numbers(void **state)
{
	struct row_key a = row_key_body(255), b = row_key_body(256), c = row_key_crc(255, 3);
	uint64_t id;
	uint32_t chunk;

	(void)state;
	assert_true(span_cmp(row_key_span(&a), row_key_span(&b)) < 0);
	assert_true(span_cmp(row_key_span(&b), row_key_span(&c)) < 0);
	assert_true(row_key_id(row_key_span(&b), &id));
	assert_int_equal(id, 256);
	assert_false(row_key_id(row_key_span(&c), &id));
	assert_false(row_key_chunk(row_key_span(&a), &chunk));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_comes_back_whole),
		cmocka_unit_test(every_flipped_bit_and_every_cut_is_noticed),
		cmocka_unit_test(items_are_checked),
		cmocka_unit_test(cut_items_are_noticed),
		cmocka_unit_test(body_rows_come_back_and_damage_is_noticed),
		cmocka_unit_test(keys_of_rows_sort_as_their_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
