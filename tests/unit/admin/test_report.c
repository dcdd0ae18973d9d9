/* One description, two forms: what a report looks like as text and as JSON. */
#include "admin/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void nothing(struct report *r)
{
	report_table(r, "users", false);
}

static void facts(struct report *r)
{
	report_table(r, "server", true);
	report_row(r);
	report_str(r, "home", "/var/lib/mailroot");
	report_bool(r, "serving", true);
	report_num(r, "pid", 4711);
}

static void two_tables(struct report *r)
{
	report_table(r, "programs", false);
	report_row(r);
	report_str(r, "program", "store");
	report_num(r, "restarts", 0);
	report_row(r);
	report_str(r, "program", "inet");
	report_num(r, "restarts", 12345678901);
	report_table(r, "domains", false);
	report_row(r);
	report_str(r, "domain", "a");
}

/* A name that a peer chose must steer neither a terminal nor a reader of JSON. */
static void hostile(struct report *r)
{
	report_table(r, "t", false);
	report_row(r);
	report_span(r, "a", span_of("x\x1b[2J\n\"\\\0y", 10));
	report_str(r, "b", "");
	report_str(r, "c", "last");
}

static void too_wide(struct report *r)
{
	static const char *const names[] = {
		"connections_of_the_first_kind", "connections_of_the_second_kind",
		"connections_of_the_third_kind", "connections_of_the_fourth_kind",
		"connections_of_the_fifth_kind",
	};

	report_table(r, "wide", false);
	for (unsigned i = 0; i < 2; i++) {
		report_row(r);
		for (unsigned c = 0; c < 5; c++)
			report_num(r, names[c], i ? c : 100 * c);
	}
}

static const struct {
	const char *name;
	void (*fill)(struct report *r);
	const char *text, *json;
} rows[] = {
	{ "a table without rows", nothing, "users\n(none)\n", "{\"users\":[]}\n" },
	{ "facts are lines", facts,
	  "server\nhome     /var/lib/mailroot\nserving  yes\npid      4711\n",
	  "{\"server\":{\"home\":\"/var/lib/mailroot\",\"serving\":true,\"pid\":4711}}\n" },
	{ "columns are aligned, numbers to the right", two_tables,
	  "programs\nprogram     restarts\nstore              0\ninet     12345678901\n\ndomains\ndomain\na\n",
	  "{\"programs\":[{\"program\":\"store\",\"restarts\":0},"
	  "{\"program\":\"inet\",\"restarts\":12345678901}],\"domains\":[{\"domain\":\"a\"}]}\n" },
	{ "bytes that steer", hostile, "t\na           b  c\nx?[2J?\"\\?y     last\n",
	  "{\"t\":[{\"a\":\"x\\u001b[2J\\n\\\"\\\\\\u0000y\",\"b\":\"\",\"c\":\"last\"}]}\n" },
	{ "a wide table stands on its side", too_wide,
	  "wide\nconnections_of_the_first_kind     0  0\nconnections_of_the_second_kind  100  1\n"
	  "connections_of_the_third_kind   200  2\nconnections_of_the_fourth_kind  300  3\n"
	  "connections_of_the_fifth_kind   400  4\n",
	  "{\"wide\":[{\"connections_of_the_first_kind\":0,\"connections_of_the_second_kind\":100,"
	  "\"connections_of_the_third_kind\":200,\"connections_of_the_fourth_kind\":300,"
	  "\"connections_of_the_fifth_kind\":400},{\"connections_of_the_first_kind\":0,"
	  "\"connections_of_the_second_kind\":1,\"connections_of_the_third_kind\":2,"
	  "\"connections_of_the_fourth_kind\":3,\"connections_of_the_fifth_kind\":4}]}\n" },
};

static void forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int json = 0; json < 2; json++) {
			struct buf out = BUF_MAX(65536);
			const char *want = json ? rows[i].json : rows[i].text;
			struct report r;

			report_open(&r, &out, json);
			rows[i].fill(&r);
			report_close(&r);
			if (!span_eq(buf_get(&out), span_str(want)))
				fail_msg("%s:\n%.*s\ninstead of\n%s", rows[i].name, (int)out.len,
					 out.at, want);
			buf_free(&out);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(forms) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
