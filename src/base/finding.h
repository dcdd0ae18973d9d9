/* finding.h - what a check found: kinds from one table (findings.def), and the form in which it is told.
 *
 * Pure.  Who finds something fills what it knows; a finding is valid during the call only. */
#ifndef BASE_FINDING_H
#define BASE_FINDING_H

#include "base/span.h"

enum finding_kind {
#define FINDING(symbol, name, severity, meaning, repair) FOUND_##symbol,
#include "base/findings.def"
#undef FINDING
	FOUND_KINDS
};

enum finding_severity { FOUND_NOTE, FOUND_DAMAGE };

struct finding_row {
	const char *name;
	enum finding_severity severity;
	const char *meaning, *repair;
};
extern const struct finding_row finding_rows[FOUND_KINDS];

struct finding {
	enum finding_kind kind;
	const char *database; /* NULL: none */
	uint64_t body;        /* 0: none */
	uint64_t page;        /* of the .stm; meaningful when has_page */
	uint64_t position;    /* in the log, 0: none */
	bool has_page;
	/* as a user knows it; NULL, 0 and absent where it does not apply */
	const char *user, *folder;
	uint32_t uid;
	int64_t date;
	struct span from, subject;
	char text[320]; /* the sentence: what, where */
};
typedef void (*finding_fn)(void *arg, const struct finding *f);

/* Fill the sentence and hand it on. */
void finding_tell(finding_fn fn, void *arg, struct finding *f, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
