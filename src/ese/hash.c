/* hash.c - see hash.h. */
#include "ese/hash.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct hash {
	EVP_MD_CTX *ctx;
};

static void begin(struct hash *h)
{
	if (EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
		panic("SHA-256 is not to be had");
}

struct hash *hash_new(void)
{
	struct hash *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx) {
		free(h);
		return NULL;
	}
	begin(h);
	return h;
}

void hash_free(struct hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void hash_add(struct hash *h, const void *bytes, size_t len)
{
	if (EVP_DigestUpdate(h->ctx, bytes, len) != 1)
		panic("SHA-256 failed");
}

void hash_end(struct hash *h, unsigned char out[HASH_BYTES])
{
	if (EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
		panic("SHA-256 failed");
	begin(h);
}

enum st hash_of(struct span bytes, unsigned char out[HASH_BYTES], struct err *err)
{
	struct hash *h = hash_new();

	if (!h)
		return fail(err, ST_NOMEM, "hash");
	hash_add(h, bytes.at, bytes.len);
	hash_end(h, out);
	hash_free(h);
	return ST_OK;
}
