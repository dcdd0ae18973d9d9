#include "proto/smtp/hops.h"

static const char name[] = "received:";
#define NAME_LEN (sizeof(name) - 1)

static void end_of_line(struct smtp_hops *h)
{
	h->over = h->column == 0;
	h->column = 0;
	h->other = false;
}

void smtp_hops_look(struct smtp_hops *h, struct span in)
{
	for (size_t i = 0; i < in.len && !h->over; i++) {
		char c = in.at[i];

		if (c == '\n') {
			end_of_line(h);
			continue;
		}
		if (c == '\r')
			continue;
		if (h->column < NAME_LEN && !h->other) {
			h->other = (c >= 'A' && c <= 'Z' ? c | 0x20 : c) != name[h->column];
			if (!h->other && h->column == NAME_LEN - 1)
				h->received++;
		}
		if (h->column < NAME_LEN)
			h->column++;
	}
}
