/* dump_int.h - the words of dump.h's answers. */
#ifndef ESE_DUMP_INT_H
#define ESE_DUMP_INT_H

#include "ese/dump.h"

static inline void put_facts(const struct dump *d, const char *name)
{
	d->put(d->arg, DUMP_FACTS, name, 0, (struct span){ 0 });
	d->put(d->arg, DUMP_ROW, "", 0, (struct span){ 0 });
}

static inline void put_table(const struct dump *d, const char *name)
{
	d->put(d->arg, DUMP_TABLE, name, 0, (struct span){ 0 });
}

static inline void put_row(const struct dump *d)
{
	d->put(d->arg, DUMP_ROW, "", 0, (struct span){ 0 });
}

static inline void put_num(const struct dump *d, const char *name, uint64_t v)
{
	d->put(d->arg, DUMP_NUM, name, v, (struct span){ 0 });
}

static inline void put_time(const struct dump *d, const char *name, uint64_t ns)
{
	d->put(d->arg, DUMP_TIME, name, ns, (struct span){ 0 });
}

static inline void put_bool(const struct dump *d, const char *name, bool v)
{
	d->put(d->arg, DUMP_BOOL, name, v, (struct span){ 0 });
}

static inline void put_span(const struct dump *d, const char *name, struct span v)
{
	d->put(d->arg, DUMP_TEXT, name, 0, v);
}

static inline void put_text(const struct dump *d, const char *name, const char *v)
{
	put_span(d, name, span_str(v));
}

/* Positions, signatures, ids: in hexadecimal. */
void put_pos(const struct dump *d, const char *name, uint64_t pos);
void put_hex(const struct dump *d, const char *name, struct span bytes);

#endif
