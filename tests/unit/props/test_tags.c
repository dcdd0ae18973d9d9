#include "props/tags.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#define OURS_FIRST 0x7A00
#define OURS_LAST  0x7BFF

static void check_space(enum prop_space space, const char *prefixes[2])
{
	size_t n;
	const struct prop_info *rows = prop_table(space, &n);

	assert_true(n > 10);
	for (size_t i = 0; i < n; i++) {
		const struct prop_info *r = &rows[i];
		bool ours = strcmp(r->source, "Mailroot") == 0;
		uint32_t id = PROP_ID(r->tag);

		if (strcmp(prop_type_name(PROP_TYPE(r->tag)), "?") == 0)
			fail_msg("%s: a type that no list can hold", r->symbol);
		if (ours != (id >= OURS_FIRST && id <= OURS_LAST))
			fail_msg("%s: id 0x%04x and source %s don't agree", r->symbol, id,
				 r->source);
		if (strncmp(r->symbol, prefixes[0], 3) != 0 &&
		    strncmp(r->symbol, prefixes[1], 3) != 0)
			fail_msg("%s: prefix of the other space", r->symbol);
		if (!*r->name || !*r->meaning)
			fail_msg("%s: nameless", r->symbol);
		for (size_t k = 0; k < i; k++)
			if (rows[k].tag == r->tag)
				fail_msg("%s and %s have the same tag", rows[k].symbol, r->symbol);
		assert_ptr_equal(prop_find(space, r->tag), r);
	}
}

static void test_rows_are_sound(void **state)
{
	(void)state;
	check_space(PROP_MAPI, (const char *[]){ "PR_", "PR_" });
	check_space(PROP_MAILMSG, (const char *[]){ "MP_", "RP_" });
}

static void test_published_tags(void **state)
{
	(void)state;
	assert_int_equal(PR_SUBJECT, 0x0037001F);
	assert_int_equal(PR_MESSAGE_DELIVERY_TIME, 0x0E060040);
	assert_int_equal(PR_MESSAGE_SIZE_EXTENDED, 0x0E080014);
	assert_int_equal(PR_INTERNET_ARTICLE_NUMBER, 0x0E230003);
	assert_int_equal(PR_MID, 0x674A0014);
	assert_int_equal(PROP_ID(MP_SENDER_ADDRESS_SMTP), 4098);
	assert_int_equal(PROP_ID(MP_INBOUND_MAIL_FROM_AUTH), 4152);
	assert_int_equal(PROP_ID(RP_ADDRESS_SMTP), 8201);
	assert_int_equal(PROP_ID(RP_DISPLAY_NAME), 8212);
	assert_null(prop_find(PROP_MAPI, 0x7BFF0003));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_sound),
		cmocka_unit_test(test_published_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
