/* test_backup_manifest.c - what a backup says of itself: read as written, refused when cut, changed or nonsense. */
#include "ese/backup_manifest.h"
#include "ese/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define SIG   "000102030405060708090a0b0c0d0e0f"
#define HASH  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEAD  "mailroot-backup 1\n"
#define TIMES "kind full\nbegan 5\nended 9\nafter -\n"
#define GROUP "group first " SIG " logged 3 7\n"
#define DB    "database first mailbox/one 00000000000000aa 0000000300001000 8192 2 1\n"

/* `body` and the line that ends it. */
static void finish(struct buf *out, const char *body)
{
	unsigned char hash[HASH_BYTES];
	char hex[2 * HASH_BYTES + 1];

	assert_int_equal(hash_of(span_str(body), hash, NULL), ST_OK);
	bk_hex(hex, hash, HASH_BYTES);
	*out = BUF_MAX(100000);
	buf_printf(out, "%send %s\n", body, hex);
}

static enum st read_body(const char *body, struct bk **out)
{
	struct buf text;
	enum st st;

	finish(&text, body);
	*out = NULL;
	st = bk_read(buf_get(&text), "test", out, NULL);
	buf_free(&text);
	return st;
}

static void what_is_sense_and_what_is_not(void **state)
{
	static const struct {
		const char *name, *body;
		enum st want;
	} rows[] = {
		{ "the least there can be", HEAD TIMES, ST_OK },
		{ "a group and a database", HEAD TIMES GROUP DB, ST_OK },
		{ "a log file and a file",
		  HEAD TIMES GROUP "log " HASH " 4096 1 0 first 3\nfile " HASH
				   " 3 640 groups/first/mailbox/one.edb/CURRENT\n",
		  ST_OK },
		{ "a path with a blank", HEAD TIMES "file " HASH " 3 600 tls/my key.pem\n", ST_OK },
		{ "findings and what was left out",
		  HEAD TIMES GROUP
		  "left-out first mailbox/two it is down\nfinding a page\nfinding another\n",
		  ST_OK },
		{ "an incremental one",
		  HEAD "kind incremental\nbegan 5\nended 9\nafter full-20260101T000000Z\n", ST_OK },
		{ "no manifest at all", "something else\n", ST_CORRUPT },
		{ "a newer format", "mailroot-backup 2\n" TIMES, ST_BAD },
		{ "no kind", HEAD "began 5\nended 9\nafter -\n", ST_CORRUPT },
		{ "a kind that there is not", HEAD "kind half\nbegan 5\nended 9\nafter -\n",
		  ST_CORRUPT },
		{ "a line too few", HEAD "kind full\nbegan 5\nended 9\n", ST_CORRUPT },
		{ "a line twice", HEAD TIMES "after -\n", ST_CORRUPT },
		{ "a line that there is not", HEAD TIMES "colour blue\n", ST_CORRUPT },
		{ "lines out of order", HEAD TIMES "finding a page\n" GROUP, ST_CORRUPT },
		{ "a time that is no number", HEAD "kind full\nbegan x\nended 9\nafter -\n",
		  ST_CORRUPT },
		{ "a word too many", HEAD "kind full today\nbegan 5\nended 9\nafter -\n",
		  ST_CORRUPT },
		{ "an empty word", HEAD "kind  full\nbegan 5\nended 9\nafter -\n", ST_CORRUPT },
		{ "a short signature", HEAD TIMES "group first 0001 logged 3 7\n", ST_CORRUPT },
		{ "a signature in capitals",
		  HEAD TIMES "group first 000102030405060708090A0B0C0D0E0F logged 3 7\n",
		  ST_CORRUPT },
		{ "logs that end before they begin", HEAD TIMES "group first " SIG " logged 7 3\n",
		  ST_CORRUPT },
		{ "a database of no group", HEAD TIMES DB, ST_CORRUPT },
		{ "half a page of bodies",
		  HEAD TIMES GROUP
		  "database first mailbox/one 00000000000000aa 0000000300001000 8193 2 1\n",
		  ST_CORRUPT },
		{ "a log of no group", HEAD TIMES "log " HASH " 4096 1 0 first 3\n", ST_CORRUPT },
		{ "a path out of the backup", HEAD TIMES "file " HASH " 3 640 ../../etc/passwd\n",
		  ST_CORRUPT },
		{ "a path from the root", HEAD TIMES "file " HASH " 3 640 /etc/passwd\n",
		  ST_CORRUPT },
		{ "a path with an empty part", HEAD TIMES "file " HASH " 3 640 a//b\n",
		  ST_CORRUPT },
		{ "a path with a control character", HEAD TIMES "file " HASH " 3 640 a\rb\n",
		  ST_CORRUPT },
		{ "no path", HEAD TIMES "file " HASH " 3 640\n", ST_CORRUPT },
		{ "a mode that is not octal", HEAD TIMES "file " HASH " 3 648 a\n", ST_CORRUPT },
		{ "a group that is a path upwards", HEAD TIMES "group .. " SIG " logged 3 7\n",
		  ST_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bk *b;
		enum st st = read_body(rows[i].body, &b);

		if (st != rows[i].want)
			fail_msg("%s: %s, not %s", rows[i].name, st_name(st),
				 st_name(rows[i].want));
		bk_free(b);
	}
}

static void what_is_written_is_read(void **state)
{
	struct buf first = BUF_MAX(100000), second = BUF_MAX(100000);
	struct bk *a, *b;

	(void)state;
	assert_int_equal(read_body(HEAD TIMES GROUP DB
				   "log " HASH " 4096 1 0 first 3\nfile " HASH
				   " 3 640 a/b c\nleft-out first mailbox/x down\n"
				   "finding one\nfinding two\n",
				   &a),
			 ST_OK);
	assert_true(bk_add_finding(a, "a line\nof two"));
	assert_int_equal(bk_write(a, &first, NULL), ST_OK);
	assert_int_equal(bk_read(buf_get(&first), "again", &b, NULL), ST_OK);
	assert_int_equal(bk_write(b, &second, NULL), ST_OK);
	assert_true(span_eq(buf_get(&first), buf_get(&second)));
	assert_int_equal(b->dbs[0].position, 0x300001000);
	assert_int_equal(b->groups[0].next, 7);
	assert_string_equal(b->files[0].path, "a/b c");
	assert_int_equal(b->files[0].mode, 0640);
	assert_string_equal(b->findings[2], "a line of two");
	bk_free(a);
	bk_free(b);
	buf_free(&first);
	buf_free(&second);
}

static void cut_or_changed_anywhere_it_is_refused(void **state)
{
	struct buf text;
	struct bk *b;

	(void)state;
	finish(&text, HEAD TIMES GROUP DB "finding a page\n");
	assert_int_equal(bk_read(buf_get(&text), "whole", &b, NULL), ST_OK);
	bk_free(b);
	for (size_t n = 0; n < text.len; n++) {
		char *copy = malloc(n + 1); /* its end is the sanitizer's */

		memcpy(copy, text.at, n);
		assert_int_equal(bk_read(span_of(copy, n), "cut", &b, NULL), ST_CORRUPT);
		free(copy);
	}
	for (size_t n = 0; n < text.len; n++) {
		text.at[n] ^= 1;
		assert_int_not_equal(bk_read(buf_get(&text), "changed", &b, NULL), ST_OK);
		text.at[n] ^= 1;
	}
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sense_and_what_is_not),
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(cut_or_changed_anywhere_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
