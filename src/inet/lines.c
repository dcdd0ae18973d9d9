#include "inet/lines.h"

enum st inet_line_take(struct inet_lines *l, struct conn *c, struct pool *pool, struct span *line)
{
	size_t used;
	enum st st = line_take(&l->reader, conn_input(c), line, &used);

	if (st == ST_OK) {
		*line = pool_span(pool, *line);
		if (!line->at)
			st = ST_TOOBIG;
	}
	conn_consume(c, used);
	return st;
}

enum st inet_line_next(struct inet_lines *l, struct conn *c, struct pool *pool, int64_t deadline,
		       struct span *line)
{
	enum st st;

	while ((st = inet_line_take(l, c, pool, line)) == ST_MORE) {
		if (inet_lines_hopeless(l))
			return ST_TOOBIG;
		st = conn_fill(c, deadline);
		if (st != ST_OK)
			return st;
	}
	return st;
}
