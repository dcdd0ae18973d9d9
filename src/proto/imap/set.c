/* set.c - sequence sets as numbers; see command.h. */
#include "proto/imap/command.h"

enum st imap_set_resolve(const struct imap_set *set, uint32_t star, struct uset *out)
{
	for (uint32_t i = 0; i < set->n; i++) {
		struct imap_range r = set->ranges[i];

		/* "n:*" is "*:n" too: it holds the last message even when n is past it. */
		if (!r.last && !star)
			continue;
		if (!r.last) {
			r.last = r.first > star ? r.first : star;
			if (!r.first || r.first > star)
				r.first = star;
		}
		enum st st = uset_add(out, r.first, r.last);
		if (st != ST_OK) {
			uset_free(out);
			return st;
		}
	}
	return ST_OK;
}

uint32_t imap_set_max(const struct imap_set *set)
{
	uint32_t max = 0;

	for (uint32_t i = 0; i < set->n; i++) {
		struct imap_range r = set->ranges[i];
		uint32_t large = r.last ? r.last : r.first;

		if (large > max)
			max = large;
	}
	return max;
}
