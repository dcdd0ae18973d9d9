/* Any bytes as a date: what is read is written in a form that reads back as the same moment. */
#include <stdlib.h>

#include "mime/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct buf out = BUF_MAX(4096);
	int64_t sec, again, day;
	int zone, zone_again;

	if (mime_date_parse(in, &sec, &zone)) {
		mime_date_format(sec, zone, &out);
		must(mime_date_parse(buf_get(&out), &again, &zone_again));
		must(again == sec && zone_again == zone);
	}
	buf_clear(&out);
	if (imap_date_parse(in, &sec, &zone)) {
		imap_date_format(sec, zone, &out);
		must(imap_date_parse(buf_get(&out), &again, &zone_again));
		must(again == sec && zone_again == zone);
	}
	imap_day_parse(in, &day);
	buf_free(&out);
	return 0;
}
