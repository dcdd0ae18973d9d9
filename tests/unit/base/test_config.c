/* config and log lines. */
#include "base/config.h"
#include "base/logline.h"
#include "rows.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- config ---- */

static void wrong_lines_are_named(void **state)
{
	static const struct {
		const char *name, *text, *want; /* want NULL: taken */
	} rows[] = {
		{ "nothing", "", NULL },
		{ "comments", "# a\n// b\n/* c */\n", NULL },
		{ "every type",
		  "domain = \"x.example\"\nport_smtp = 2525\nauth_without_tls = true\n", NULL },
		{ "a large number", "message_size_max = 5000000000", NULL },
		{ "an unknown key behind comments",
		  "# one\n# two\ndomain = \"#x\" # three\nprot_smtp = 1\n",
		  "m.conf:4: no setting is called 'prot_smtp'" },
		{ "an unknown key", "\ndomain = x\nprot_smtp = 1\n",
		  "m.conf:3: no setting is called 'prot_smtp'" },
		{ "a word for a number", "port_smtp = many\n", "m.conf:1: invalid integer value" },
		{ "a number too large", "\n\nport_smtp = 65536\n",
		  "m.conf:3: port_smtp = 65536 is out of range (0 to 65535)" },
		{ "a number too small", "recipients_max = 99\n",
		  "m.conf:1: recipients_max = 99 is out of range" },
		{ "below zero", "port_imap = -1\n", "m.conf:1: port_imap = -1 is out of range" },
		{ "over 64 bits", "message_size_max = 99999999999999999999\n", "m.conf:1: " },
		{ "neither yes nor no", "auth_without_tls = perhaps\n",
		  "m.conf:1: invalid boolean value" },
		{ "no such choice", "log_level = loud\n",
		  "m.conf:1: log_level = \"loud\" is none of: debug info notice warn error" },
		{ "part of a choice", "log_level = inf\n", "m.conf:1: log_level = \"inf\"" },
		{ "an open string", "domain = \"x\n", "m.conf:" },
		{ "no value", "domain =\n", "m.conf:" },
		{ "lines after comments",
		  "# it's\n// a \"\n/* b\n'\n*/\ndomain = 'x # y' # \"\nbad = 1\n",
		  "m.conf:7: no setting is called 'bad'" },
		{ "lines after strings",
		  "domain = \"a\\\" # b\"\nhostname = 'c\\' // d'\nbad = 1\n",
		  "m.conf:3: no setting is called 'bad'" },
		{ "a comment that does not end", "domain = x\n/* bad = 1\n",
		  "m.conf:2: this comment does not end" },
		{ "a section", "domain { }\n", "m.conf:1: " },
		{ "only the first is told", "a = 1\nb = 2\n",
		  "m.conf:1: no setting is called 'a'" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *c = NULL;
		struct err err = { 0 };
		enum st st = config_parse("/srv/mail", "m.conf", span_str(rows[i].text), &c, &err);

		if (!rows[i].want) {
			if (st != ST_OK)
				fail_msg("%s: %s", rows[i].name, err.text);
		} else if (st != ST_BAD || c || strstr(err.text, rows[i].want) != err.text) {
			fail_msg("%s: %s '%s'", rows[i].name, st_name(st), err.text);
		}
		config_free(c);
	}
}

static void a_nul_is_no_text(void **state)
{
	struct config *c = NULL;
	struct err err;

	(void)state;
	assert_int_equal(config_parse("/", "m.conf", SPAN("domain = x\n\0junk"), &c, &err), ST_BAD);
	assert_null(c);
}

static void defaults_are_given(void **state)
{
	struct config *c;
	char host[256] = "";

	(void)state;
	assert_int_equal(config_defaults("/srv/mail", &c, NULL), ST_OK);
	gethostname(host, sizeof(host) - 1);
	assert_string_equal(config_str(c, "hostname"), host);
	assert_string_equal(config_str(c, "domain"), "");
	assert_string_equal(config_str(c, "listen_address"), "127.0.0.1");
	assert_string_equal(config_str(c, "tls_cert"), "/srv/mail/tls/cert.pem");
	assert_string_equal(config_str(c, "queue_dir"), "/srv/mail/Mailroot/Vsi 1");
	assert_string_equal(config_home(c), "/srv/mail");
	assert_int_equal(config_int(c, "port_imaps"), 993);
	assert_int_equal(config_int(c, "message_size_max"), 104857600);
	assert_false(config_bool(c, "auth_without_tls"));
	config_free(c);
	config_free(NULL);
}

static void comments_do_not_reach_into_strings(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "domain = \"a#b\"", "a#b" },
		{ "domain = 'a#b'", "a#b" },
		{ "domain = 'a // b'", "a // b" },
		{ "domain = \"a /* b */\"", "a /* b */" },
		{ "domain = a # b", "a" },
		{ "domain = a//b", "a//b" },
		{ "/* ' */ domain = \"it's\"", "it's" },
		{ "# \"\ndomain = \"x # y\"", "x # y" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *c;
		struct err err = { 0 };

		if (config_parse("/", "m.conf", span_str(rows[i].text), &c, &err) != ST_OK)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_string_equal(config_str(c, "domain"), rows[i].want);
		config_free(c);
	}
}

static void paths_count_from_the_home(void **state)
{
	struct config *c;

	(void)state;
	assert_int_equal(config_parse("/srv/mail", "m.conf",
				      SPAN("tls_cert = \"/etc/ssl/a.pem\"\ntls_key = 'k.pem'\n"
					   "hostname = mx.example\nauth_without_tls = yes\n"),
				      &c, NULL),
			 ST_OK);
	assert_string_equal(config_str(c, "tls_cert"), "/etc/ssl/a.pem");
	assert_string_equal(config_str(c, "tls_key"), "/srv/mail/k.pem");
	assert_string_equal(config_str(c, "hostname"), "mx.example");
	assert_true(config_bool(c, "auth_without_tls"));
	config_free(c);
}

static void what_is_written_reads_back(void **state)
{
	static const char *const overrides[] = {
		"domain",
		"a\"b'c\\${HOME}$",
		"port_smtp",
		"10025",
		"hostname",
		"back\\slash \"quoted\"",
		"log_level",
		"debug",
		"auth_without_tls",
		"true",
		NULL,
	};
	struct buf b = BUF_MAX(100000);
	struct config *c;
	struct err err = { 0 };

	(void)state;
	config_write(&b, overrides);
	assert_false(b.failed);
	if (config_parse("/srv", "m.conf", buf_get(&b), &c, &err) != ST_OK)
		fail_msg("%s", err.text);
	assert_string_equal(config_str(c, "domain"), overrides[1]);
	assert_int_equal(config_int(c, "port_smtp"), 10025);
	assert_string_equal(config_str(c, "hostname"), overrides[5]);
	assert_string_equal(config_str(c, "log_level"), "debug");
	assert_true(config_bool(c, "auth_without_tls"));
	assert_int_equal(config_int(c, "port_imap"), 143);
	config_free(c);
	buf_free(&b);
}

/* The comments show the defaults: taking the marks away changes nothing. */
static void the_defaults_shown_are_the_defaults(void **state)
{
	struct buf b = BUF_MAX(100000), active = BUF_MAX(100000);
	struct config *c;
	struct err err = { 0 };
	size_t lines = 0;

	(void)state;
	config_write(&b, NULL);
	for (struct span rest = buf_get(&b); rest.len;) {
		struct span line = span_split(rest, '\n', &rest);

		assert_true(line.len <= 100);
		if (line.len > 1 && line.at[0] == '#' && line.at[1] != ' ') {
			line = span_skip(line, 1);
			lines++;
		}
		buf_span(&active, line);
		buf_char(&active, '\n');
	}
	assert_true(lines > 30);
	if (config_parse("/srv", "m.conf", buf_get(&active), &c, &err) != ST_OK)
		fail_msg("%s", err.text);
	assert_int_equal(config_int(c, "imap_timeout_s"), 1860);
	config_free(c);
	buf_free(&b);
	buf_free(&active);
}

static void the_manual_section_is_troff(void **state)
{
	struct buf b = BUF_MAX(100000);

	(void)state;
	config_man(&b);
	assert_false(b.failed);
	buf_char(&b, 0);
	assert_non_null(strstr(b.at, ".SH SETTINGS\n"));
	assert_non_null(strstr(b.at, ".TP\n.B port_smtp\n\\&"));
	buf_free(&b);
}

static void files_are_read(void **state)
{
	char dir[] = "/tmp/mailroot-test-XXXXXX", path[64];
	struct config *c = NULL;
	struct err err = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/mailroot.conf", dir);
	assert_int_equal(config_read(dir, &c, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, path));
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "port_smtp = 26\n", 15), 15);
	assert_int_equal(config_read(dir, &c, &err), ST_OK);
	assert_int_equal(config_int(c, "port_smtp"), 26);
	assert_string_equal(config_home(c), dir);
	config_free(c);
	assert_int_equal(write(fd, "bogus = 26\n", 11), 11);
	assert_int_equal(config_read(dir, &c, &err), ST_BAD);
	char want[128];
	snprintf(want, sizeof(want), "%s:2: no setting is called 'bogus'", path);
	assert_string_equal(err.text, want);
	close(fd);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(config_read(dir, &c, &err), ST_IO);
	rmdir(path);
	rmdir(dir);
}

/* ---- log lines ---- */

/* What log_fields() wrote to standard error; `journal` as systemd would have set it up. */
static struct span logged(char *out, size_t size, bool journal, enum log_level level,
			  const char *event, const struct log_field *fields)
{
	int pipe_fds[2], saved = dup(STDERR_FILENO);
	char stream[64];
	struct stat st;

	assert_int_equal(pipe(pipe_fds), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino + !journal);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("mailroot-test", LOG_INFO);
	log_fields(level, event, fields);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_fds[1]);
	ssize_t n = read(pipe_fds[0], out, size);
	close(pipe_fds[0]);
	assert_true(n >= 0);
	return span_of(out, (size_t)n);
}

#define FIELDS(...)                                                                                \
	(const struct log_field[])                                                                 \
	{                                                                                          \
		__VA_ARGS__ __VA_OPT__(, )                                                         \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

static void lines_are_logfmt(void **state)
{
	static const struct {
		const char *value, *want;
	} rows[] = {
		{ "plain", "v=plain" },
		{ "a b", "v=\"a b\"" },
		{ "", "v=\"\"" },
		{ "a=b", "v=\"a=b\"" },
		{ "say \"x\"", "v=\"say \\\"x\\\"\"" },
		{ "back\\", "v=\"back\\\\\"" },
		{ "a\nlevel=error", "v=\"a\\nlevel=error\"" },
		{ "\r\t\x01\x7f", "v=\"\\r\\t\\x01\\x7f\"" },
		{ "\xc3\xa4", "v=\"\xc3\xa4\"" },
		{ "\xc2\x9b[2J", "v=\"\\xc2\\x9b[2J\"" },
		{ "\xff", "v=\"\\xff\"" },
	};
	char out[5000], want[500];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct span got = logged(
			out, sizeof(out), true, LOG_WARN, "tried",
			FIELDS(LC("v", rows[i].value), LU("n", UINT64_MAX), LI("i", INT64_MIN)));

		snprintf(want, sizeof(want),
			 "<4>level=warn program=mailroot-test event=tried %s "
			 "n=18446744073709551615 i=-9223372036854775808\n",
			 rows[i].want);
		if (!span_eq(got, span_str(want)))
			fail_msg("got " SPAN_FMT " not %s", SPAN_ARG(got), want);
	}
}

static void outside_the_journal_a_line_has_its_time(void **state)
{
	char out[5000];

	(void)state;
	struct span got = logged(out, sizeof(out), false, LOG_ERROR, "x", FIELDS());
	assert_true(span_has_prefix(got, SPAN("time=2")));
	assert_int_equal(got.at[5 + 24 - 1], 'Z');
	assert_true(span_eq(span_skip(got, 5 + 24),
			    SPAN(" level=error program=mailroot-test event=x\n")));
}

static void unwanted_levels_are_not_written(void **state)
{
	char out[5000];

	(void)state;
	assert_int_equal(logged(out, sizeof(out), false, LOG_DEBUG, "x", FIELDS()).len, 0);
	assert_true(log_wants(LOG_INFO));
	assert_false(log_wants(LOG_DEBUG));
}

static void long_lines_are_cut_and_say_so(void **state)
{
	char big[8000], out[9000];

	(void)state;
	for (int journal = 0; journal < 2; journal++) {
		for (size_t len = 1800; len < 2300; len++) {
			for (int quoted = 0; quoted < 2; quoted++) {
				memset(big, 'x', len);
				if (quoted)
					big[len / 2] = '\n';
				struct span got =
					logged(out, sizeof(out), journal, LOG_INFO, "big",
					       FIELDS(LS("v", span_of(big, len)), LU("n", 1)));

				assert_true(got.len <= 2048);
				assert_int_equal(got.at[got.len - 1], '\n');
				assert_int_equal(span_find(got, '\n'), got.len - 1);
				got.len--;
				struct span end = span_skip(got, got.len - 9);
				bool cut = span_eq(end, SPAN(" cut=true"));
				/* All of it or the mark. */
				assert_true(cut ||
					    span_eq(span_skip(got, got.len - 4), SPAN(" n=1")));
				if (cut && quoted)
					assert_int_equal(got.at[got.len - 10], '"');
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_lines_are_named),
		cmocka_unit_test(a_nul_is_no_text),
		cmocka_unit_test(defaults_are_given),
		cmocka_unit_test(comments_do_not_reach_into_strings),
		cmocka_unit_test(paths_count_from_the_home),
		cmocka_unit_test(what_is_written_reads_back),
		cmocka_unit_test(the_defaults_shown_are_the_defaults),
		cmocka_unit_test(the_manual_section_is_troff),
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(lines_are_logfmt),
		cmocka_unit_test(outside_the_journal_a_line_has_its_time),
		cmocka_unit_test(unwanted_levels_are_not_written),
		cmocka_unit_test(long_lines_are_cut_and_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
