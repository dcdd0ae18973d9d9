/* salvage.h - everything of a damaged database that can still be read, as one database for looking at.
 *
 * Nothing of the input is changed.  What has to be put together goes to a scratch folder:
 *   - rows that RocksDB can't open are opened on a copy of its files, with a new MANIFEST made from the files of rows;
 *   - rows that can't be read are taken from the log, where it still has them;
 *   - what the log holds beyond the rows is applied, group by group, past damaged places and missing files;
 *   - bytes of bodies that the log holds stand in for pages that are damaged: a page counts only
 *     when its checksum is right.
 * One thread. */
#ifndef ESE_SALVAGE_H
#define ESE_SALVAGE_H

#include "base/finding.h"
#include "ese/look.h"

struct salvage;

struct salvage_source {
	const char *name;      /* "mailbox/default" */
	const char *log;       /* the group's folder */
	const char *edb, *stm; /* either may be missing */
	const char
		*scratch; /* a folder that does not exist yet; made, and removed by salvage_close */
	bool tell_log;    /* findings of the log too: once for a group */
	finding_fn found; /* what was wrong on the way */
	void (*progress)(void *arg, const char *what, uint64_t done); /* may be NULL */
	void *arg;
};
/* ST_OK, also when there is next to nothing; ST_IO, ST_NOSPACE, ST_NOMEM of the scratch folder; ST_BAD: a newer format. */
enum st salvage_open(const struct salvage_source *src, struct salvage **out, struct err *err);
void salvage_close(struct salvage *s); /* NULL is fine */

/* The rows.  Bodies are not read through it but through the calls below. */
struct ese_db *salvage_db(struct salvage *s);
/* The database's id, 0 when nothing tells it. */
uint64_t salvage_id(const struct salvage *s);

struct salvage_body {
	uint64_t id;
	struct ese_scatter where; /* with CRCs */
	uint32_t damaged;         /* pages that came out damaged so far */
};
/* ST_NOTFOUND: there is no row of it; ST_CORRUPT: it can't be read, or has no checksums. */
enum st salvage_body_open(struct salvage *s, uint64_t id, struct salvage_body *out,
			  struct err *err);
/* Page n of the body: *len bytes.  ST_OK: they are right; ST_CORRUPT: neither the file nor the log has them, `out` is
 * what the file has instead (zeros where it ends). */
enum st salvage_body_page(struct salvage *s, struct salvage_body *b, uint32_t n, char out[ESE_PAGE],
			  size_t *len);
void salvage_body_close(struct salvage_body *b);

#endif
