/* backup_manifest.c - arbitrary bytes as a backup's manifest: it is refused, or written again it reads the same.
 *
 * The hash is put right behind what comes in, so that the fuzzer gets behind it. */
#include "ese/backup_manifest.h"
#include "ese/hash.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = BUF_MAX(1 << 20), again = BUF_MAX(1 << 22);
	unsigned char hash[HASH_BYTES];
	char hex[2 * HASH_BYTES + 1];
	struct bk *b, *c;

	buf_add(&text, data, size);
	if (hash_of(buf_get(&text), hash, NULL) != ST_OK)
		return 0;
	bk_hex(hex, hash, HASH_BYTES);
	buf_printf(&text, "end %s\n", hex);
	if (bk_read(buf_get(&text), "fuzz", &b, NULL) == ST_OK) {
		assert(bk_write(b, &again, NULL) == ST_OK);
		assert(bk_read(buf_get(&again), "again", &c, NULL) == ST_OK);
		assert(b->nfiles == c->nfiles && b->ndbs == c->ndbs);
		bk_free(c);
		bk_free(b);
	}
	buf_free(&text);
	buf_free(&again);
	return 0;
}
