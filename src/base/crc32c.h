/* crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), by instruction where the CPU has one. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The CRC of the bytes behind those that gave `crc` (0 to begin). */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

/* The same, always by table: what a CPU without the instruction runs.  The tests compare the two. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len);

#endif
