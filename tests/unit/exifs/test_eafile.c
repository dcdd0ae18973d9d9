/* EA files: any range of any scatter list, read and sent, while the pin holds. */
#include "../loop/run.h"
#include "exifs/eafile.h"

#undef fail /* cmocka has one, too */

#include <sys/socket.h>
#include <unistd.h>

/* ---- a binding that is none: the calls that EA files make ---- */

struct exipc_fd {
	int fd, holds;
};
static struct exipc_fd stream;
static uint64_t epoch = 5;
static bool bound = true, withdrawn;
#define TAG 77

struct exipc_fd *exipc_fd_hold(struct exipc_chan *chan, uint64_t tag)
{
	(void)chan;
	if (tag != TAG)
		return NULL;
	stream.holds++;
	return &stream;
}

bool exipc_fd_withdrawn(const struct exipc_fd *h)
{
	(void)h;
	return withdrawn;
}

int exipc_fd_get(const struct exipc_fd *h)
{
	return h->fd;
}

void exipc_fd_drop(struct exipc_fd *h)
{
	h->holds--;
}

uint64_t exipc_epoch(const struct exipc_chan *chan)
{
	(void)chan;
	return epoch;
}

bool exipc_is_bound(const struct exipc_chan *chan)
{
	(void)chan;
	return bound;
}

/* ---- a streaming file of 64 pages whose bytes say where they are ---- */

#define PAGES 64

static char byte_at(uint64_t at)
{
	return (char)(at * 7 + at / SCATTER_PAGE * 13);
}

static int make_stream(void **state)
{
	char name[] = "/tmp/mailroot-eafile-XXXXXX", page[SCATTER_PAGE];

	(void)state;
	stream.fd = mkstemp(name);
	if (stream.fd < 0)
		return -1;
	unlink(name);
	for (uint64_t p = 0; p < PAGES; p++) {
		for (size_t i = 0; i < SCATTER_PAGE; i++)
			page[i] = byte_at(p * SCATTER_PAGE + i);
		if (pwrite(stream.fd, page, sizeof(page), (off_t)(p * SCATTER_PAGE)) !=
		    SCATTER_PAGE)
			return -1;
	}
	return 0;
}

static const struct row {
	const char *name;
	uint64_t len;
	uint32_t nruns;
	struct scatter_run runs[4];
} rows[] = {
	{ "an empty body", 0, 0, { { 0 } } },
	{ "one byte", 1, 1, { { 5, 1 } } },
	{ "one whole page", 4096, 1, { { 9, 1 } } },
	{ "a run of some pages", 4096 * 3 + 17, 1, { { 20, 4 } } },
	{ "runs back and forth", 4096 * 8 + 1, 4, { { 30, 2 }, { 3, 1 }, { 50, 5 }, { 0, 1 } } },
};
static const uint64_t offsets[] = { 0, 1, 4095, 4096, 4097, 8192, 12288, 20000, 32768, 40000 };

/* Byte `at` of the row's body, by the definition of a scatter list. */
static char body_byte(const struct row *row, uint64_t at)
{
	for (uint32_t i = 0;; i++) {
		uint64_t bytes = (uint64_t)row->runs[i].pages * SCATTER_PAGE;

		if (at < bytes)
			return byte_at((uint64_t)row->runs[i].page * SCATTER_PAGE + at);
		at -= bytes;
	}
}

static void open_row(const struct row *row, struct buf *reply, struct buf *list, struct eafile *f)
{
	struct plist props;
	struct err err;
	struct pw w;

	scatter_write(list, row->len, row->runs, row->nruns);
	pw_begin(&w, reply, 2);
	pw_span(&w, PR_BODY_SCATTER, buf_get(list));
	pw_u64(&w, PR_STREAM_TAG, TAG);
	pw_end(&w);
	must(plist_open(&props, reply->at, reply->len, &err) == ST_OK);
	must(eafile_open(NULL, &props, f, &err) == ST_OK);
	must(eafile_len(f) == row->len && stream.holds == 1);
}

static void check(const struct row *row, uint64_t offset, const char *bytes, size_t len, size_t got)
{
	uint64_t want = offset >= row->len ? 0 : row->len - offset;

	must(got == (want < len ? want : len));
	for (size_t i = 0; i < got; i++)
		must(bytes[i] == body_byte(row, offset + i));
}

static void read_row(const struct row *row)
{
	struct buf reply = BUF_MAX(1000), list = BUF_MAX(1000);
	static char bytes[70000];
	struct eafile f;
	struct err err;

	open_row(row, &reply, &list, &f);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		static const size_t lens[] = { 0, 1, 4095, 4096, 9000, sizeof(bytes) };

		for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
			size_t got = 999999;

			must(eafile_read(&f, offsets[i], bytes, lens[l], &got, &err) == ST_OK);
			check(row, offsets[i], bytes, lens[l], got);
		}
	}
	eafile_close(&f);
	must(stream.holds == 0);
	buf_free(&reply);
	buf_free(&list);
}

static void read_rows(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		read_row(&rows[i]);
}

static void every_range_reads_as_it_lies(void **state)
{
	(void)state;
	run_on_loop(read_rows, NULL);
}

/* ---- sending ---- */

struct sending {
	struct eafile f;
	struct conn *conn;
	uint64_t offset, len;
	bool sent, gone;
	struct fiber *waiter;
};

static void serve(void *arg)
{
	struct sending *s = arg;

	must(eafile_send(&s->f, s->conn, s->offset, s->len) == ST_OK);
	must(conn_drain(s->conn) == ST_OK);
	s->sent = true;
	fiber_wake(s->waiter);
	conn_close(s->conn);
}

static void gone(void *arg)
{
	struct sending *s = arg;

	s->gone = true;
	fiber_wake(s->waiter);
}

static void send_range(const struct row *row, uint64_t offset, uint64_t len)
{
	struct buf reply = BUF_MAX(1000), list = BUF_MAX(1000);
	struct sending s = { .offset = offset, .len = len, .waiter = fiber_self() };
	static char bytes[70000];
	struct conn_limits limits = { 0 };
	size_t got = 0;
	struct err err;
	int pair[2];

	open_row(row, &reply, &list, &s.f);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	must(conn_new(pair[0], &limits, &s, gone, &s.conn, &err) == ST_OK);
	conn_serve(s.conn, serve, true);
	while (!s.sent)
		fiber_park(NO_DEADLINE);
	for (ssize_t n; (n = read(pair[1], bytes + got, sizeof(bytes) - got)) > 0;)
		got += (size_t)n;
	check(row, offset, bytes, len, got);
	close(pair[1]);
	while (!s.gone)
		fiber_park(NO_DEADLINE);
	eafile_close(&s.f);
	must(stream.holds == 0);
	buf_free(&reply);
	buf_free(&list);
}

static void send_rows(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++) {
			send_range(&rows[i], offsets[o], 1);
			send_range(&rows[i], offsets[o], 5000);
			send_range(&rows[i], offsets[o], 70000);
		}
}

static void every_range_is_sent_and_the_stream_let_go(void **state)
{
	(void)state;
	run_on_loop(send_rows, NULL);
}

/* ---- without its pin ---- */

static void lost_body(void *arg)
{
	struct buf reply = BUF_MAX(1000), list = BUF_MAX(1000);
	struct eafile f;
	char byte;
	size_t got;
	struct err err;

	(void)arg;
	open_row(&rows[3], &reply, &list, &f);
	epoch++;
	must(eafile_read(&f, 0, &byte, 1, &got, &err) == ST_GONE);
	must(eafile_send(&f, NULL, 0, 1) == ST_GONE);
	epoch--;
	bound = false;
	must(eafile_read(&f, 0, &byte, 1, &got, &err) == ST_GONE);
	bound = true;
	withdrawn = true;
	must(eafile_read(&f, 0, &byte, 1, &got, &err) == ST_GONE);
	must(eafile_send(&f, NULL, 0, 1) == ST_GONE);
	withdrawn = false;
	must(eafile_read(&f, 0, &byte, 1, &got, &err) == ST_OK);
	must(stream.holds == 1);
	eafile_close(&f);
	eafile_close(&f);
	must(stream.holds == 0);
	buf_free(&reply);
	buf_free(&list);
}

static void when_the_store_was_lost_nothing_is_read_any_more(void **state)
{
	(void)state;
	run_on_loop(lost_body, NULL);
}

static void wrong_rows(void *arg)
{
	static const struct {
		const char *name;
		const char *scatter;
		size_t len;
		uint64_t tag;
		enum st want;
	} wrong[] = {
		{ "no scatter list", NULL, 0, TAG, ST_BAD },
		{ "a broken scatter list", "12345", 5, TAG, ST_BAD },
		{ "an unknown stream", "\0\0\0\0\0\0\0\0\0\0\0\0", 12, TAG + 1, ST_GONE },
	};

	(void)arg;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct buf reply = BUF_MAX(1000);
		struct eafile f = { 0 };
		struct plist props;
		struct err err;
		struct pw w;

		pw_begin(&w, &reply, 2);
		if (wrong[i].scatter)
			pw_span(&w, PR_BODY_SCATTER, span_of(wrong[i].scatter, wrong[i].len));
		pw_u64(&w, PR_STREAM_TAG, wrong[i].tag);
		pw_end(&w);
		must(plist_open(&props, reply.at, reply.len, &err) == ST_OK);
		must(eafile_open(NULL, &props, &f, &err) == wrong[i].want);
		must(stream.holds == 0);
		buf_free(&reply);
	}
}

static void a_row_without_a_proper_body_is_refused(void **state)
{
	(void)state;
	run_on_loop(wrong_rows, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_range_reads_as_it_lies),
		cmocka_unit_test(every_range_is_sent_and_the_stream_let_go),
		cmocka_unit_test(when_the_store_was_lost_nothing_is_read_any_more),
		cmocka_unit_test(a_row_without_a_proper_body_is_refused),
	};

	return cmocka_run_group_tests(tests, make_stream, NULL);
}
