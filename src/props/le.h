/* le.h - little-endian numbers at any address, for the encodings of this room and of mime. */
#ifndef PROPS_LE_H
#define PROPS_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t le16_get(const void *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof v);
	return le16toh(v);
}

static inline uint32_t le32_get(const void *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof v);
	return le32toh(v);
}

static inline uint64_t le64_get(const void *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof v);
	return le64toh(v);
}

static inline void le16_put(void *at, uint16_t v)
{
	v = htole16(v);
	memcpy(at, &v, sizeof v);
}

static inline void le32_put(void *at, uint32_t v)
{
	v = htole32(v);
	memcpy(at, &v, sizeof v);
}

static inline void le64_put(void *at, uint64_t v)
{
	v = htole64(v);
	memcpy(at, &v, sizeof v);
}

#endif
