/* scatter.c - scatter lists as bytes: u64 length, u32 runs, then (u32 page, u32 pages) each. */
#include "base/byteorder.h"
#include "wire/wire.h"

#define SCATTER_HEAD 12
#define SCATTER_RUN  8

void scatter_write(struct buf *out, uint64_t len, const struct scatter_run *runs, uint32_t nruns)
{
	char head[SCATTER_HEAD], run[SCATTER_RUN];

	le64_put(head, len);
	le32_put(head + 8, nruns);
	buf_add(out, head, sizeof head);
	for (uint32_t i = 0; i < nruns; i++) {
		le32_put(run, runs[i].page);
		le32_put(run + 4, runs[i].pages);
		buf_add(out, run, sizeof run);
	}
}

struct scatter_run scatter_run(const struct scatter *s, uint32_t i)
{
	const char *at = s->runs + (size_t)i * SCATTER_RUN;

	return (struct scatter_run){ le32_get(at), le32_get(at + 4) };
}

enum st scatter_read(struct span bytes, struct scatter *out, struct err *err)
{
	struct scatter s;
	uint64_t pages = 0;

	if (bytes.len < SCATTER_HEAD)
		return fail(err, ST_BAD, "scatter list: %zu bytes are no head", bytes.len);
	s.len = le64_get(bytes.at);
	s.nruns = le32_get(bytes.at + 8);
	s.runs = bytes.at + SCATTER_HEAD;
	if ((bytes.len - SCATTER_HEAD) % SCATTER_RUN ||
	    (bytes.len - SCATTER_HEAD) / SCATTER_RUN != s.nruns)
		return fail(err, ST_BAD, "scatter list: %u runs are not %zu bytes", s.nruns,
			    bytes.len - SCATTER_HEAD);
	for (uint32_t i = 0; i < s.nruns; i++) {
		struct scatter_run run = scatter_run(&s, i);

		if (!run.pages || run.page + run.pages < run.page)
			return fail(err, ST_BAD, "scatter list: run %u is %u pages at %u", i,
				    run.pages, run.page);
		pages += run.pages;
	}
	if (pages != s.len / SCATTER_PAGE + (s.len % SCATTER_PAGE != 0))
		return fail(err, ST_BAD, "scatter list: %llu pages for %llu bytes",
			    (unsigned long long)pages, (unsigned long long)s.len);
	*out = s;
	return ST_OK;
}
