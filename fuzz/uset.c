/* Any bytes: a set that is read has the promised shape and is written back as the same bytes. */
#include "base/uset.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uset s = { 0 }, both = { 0 }, rest = { 0 };
	struct buf again = BUF_MAX(1 << 24);

	if (uset_read(span_of(data, size), &s, NULL) == ST_OK) {
		for (uint32_t i = 1; i < s.nruns; i++)
			must(s.runs[i].first > (uint64_t)s.runs[i - 1].last + 1);
		uset_write(&s, &again);
		must(span_eq(buf_get(&again), span_of(data, size)));
		must(uset_and(&s, &s, &both) == ST_OK && both.count == s.count);
		must(uset_minus(&s, &both, &rest) == ST_OK && !rest.count);
		must(!s.count || uset_at(&s, s.count) == uset_max(&s));
	} else {
		must(!s.runs && !s.count);
	}
	uset_free(&s);
	uset_free(&both);
	uset_free(&rest);
	buf_free(&again);
	return 0;
}
