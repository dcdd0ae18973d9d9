/* crc32c.c - CRC-32C by instruction where the CPU has one, by table otherwise; see crc32c.h. */
#include "base/crc32c.h"

#include <string.h>

#define POLY 0x82F63B78u /* 0x1EDC6F41 with the bits reversed */

static uint64_t load64(const unsigned char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HAVE_CRC_INSTRUCTION 1

static bool cpu_has_crc(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(uint32_t crc,
								     const unsigned char *at,
								     size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; at += 8, len -= 8)
		wide = _mm_crc32_u64(wide, load64(at));
	crc = (uint32_t)wide;
	for (; len; at++, len--)
		crc = _mm_crc32_u8(crc, *at);
	return crc;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define HAVE_CRC_INSTRUCTION 1

static bool cpu_has_crc(void)
{
	return true;
}

static uint32_t crc_by_instruction(uint32_t crc, const unsigned char *at, size_t len)
{
	for (; len >= 8; at += 8, len -= 8)
		crc = __crc32cd(crc, load64(at));
	for (; len; at++, len--)
		crc = __crc32cb(crc, *at);
	return crc;
}

#endif

/* Eight tables: byte k of a word has k bytes of zeros still to go through. */
static uint32_t tables[8][256];

static void fill_tables(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLY : crc >> 1;
		tables[0][i] = crc;
	}
	for (unsigned i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			tables[k][i] = tables[k - 1][i] >> 8 ^ tables[0][tables[k - 1][i] & 0xFF];
}

static uint32_t crc_by_table(uint32_t crc, const unsigned char *at, size_t len)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	for (; len >= 8; at += 8, len -= 8) {
		uint64_t word = load64(at) ^ crc;

		crc = 0;
		for (int k = 0; k < 8; k++)
			crc ^= tables[7 - k][word >> (8 * k) & 0xFF];
	}
#endif
	for (; len; at++, len--)
		crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xFF];
	return crc;
}

static uint32_t (*crc_run)(uint32_t crc, const unsigned char *at, size_t len) = crc_by_table;

/* Before main, so that every thread finds the choice made. */
__attribute__((constructor)) static void choose(void)
{
	fill_tables();
#ifdef HAVE_CRC_INSTRUCTION
	if (cpu_has_crc())
		crc_run = crc_by_instruction;
#endif
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
	return ~crc_run(~crc, bytes, len);
}

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len)
{
	return ~crc_by_table(~crc, bytes, len);
}
