/* wire.c - the list of requests as data; see wire.h. */
#include "wire/wire.h"

const struct wire_row wire_rows[] = {
#define WIRE(name, number, stub, roles, in, out) { #name, number, #stub, roles, in, out },
#include "wire/requests.def"
#undef WIRE
};
const size_t wire_nrows = sizeof(wire_rows) / sizeof(wire_rows[0]);

const struct wire_row *wire_find(uint16_t number)
{
	for (size_t i = 0; i < wire_nrows; i++)
		if (wire_rows[i].number == number)
			return &wire_rows[i];
	return NULL;
}
