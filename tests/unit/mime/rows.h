/* rows.h - what the row-driven tests of this room share: cmocka behind our own headers (its fail() would
 * hide ours), and a comparison that names the row. */
#ifndef TESTS_MIME_ROWS_H
#define TESTS_MIME_ROWS_H

#include "base/buf.h"
#include "base/st.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

static inline void expect_span(const char *row, struct span got, struct span want)
{
	if (!span_eq(got, want))
		fail_msg("%s:\n got <" SPAN_FMT ">\nwant <" SPAN_FMT ">", row, SPAN_ARG(got),
			 SPAN_ARG(want));
}

/* And empty the buffer for the next row. */
static inline void expect_buf(const char *row, struct buf *got, const char *want)
{
	assert_false(got->failed);
	expect_span(row, buf_get(got), span_str(want));
	buf_clear(got);
}

/* A copy of exactly its size, so that the sanitizer sees a read past the end. */
static inline struct span exact_copy(struct span s)
{
	char *at = malloc(s.len ? s.len : 1);

	assert_non_null(at);
	memcpy(at, s.at, s.len);
	return span_of(at, s.len);
}

static inline void free_copy(struct span s)
{
	free((char *)(uintptr_t)s.at);
}

#endif
