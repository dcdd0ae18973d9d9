/* manifest.c - see manifest.h.  The form of the file: blocks of 32 KiB; in them records of 7 bytes (masked
 * CRC-32C of type and bytes, length, type) and their bytes; type 1 a whole entry, 2, 3, 4 its first, middle and
 * last part; less than 7 bytes at the end of a block are left out. */
#include "ese/manifest.h"

#include "base/crc32c.h"
#include "ese/io.h"
#include "base/byteorder.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK         32768u
#define HEAD          7u
#define PATH_LEN      4096
#define SIZE_MAX_READ (64u * 1024 * 1024)

static uint32_t masked(uint32_t crc)
{
	return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* Where the first entry starts that is not whole and valid; `len` when all are. */
static size_t first_bad(const char *at, size_t len)
{
	size_t off = 0, entry = 0;

	while (off < len) {
		size_t in_block = BLOCK - off % BLOCK, n;
		unsigned char type;

		if (in_block < HEAD) {
			off += in_block;
			continue;
		}
		if (len - off < HEAD)
			return entry;
		n = le16_get(at + off + 4);
		type = (unsigned char)at[off + 6];
		if (type < 1 || type > 4 || HEAD + n > in_block || HEAD + n > len - off ||
		    le32_get(at + off) != masked(crc32c(0, at + off + 6, n + 1)))
			return entry;
		off += HEAD + n;
		if (type == 1 || type == 4)
			entry = off;
	}
	return entry < len && entry != off ? entry : len;
}

/* CURRENT holds the name of the MANIFEST and a line feed. */
static enum st find_manifest(const char *path, char out[PATH_LEN], struct err *err)
{
	char name[64] = "", current[PATH_LEN];
	size_t got;
	enum st st;
	int fd;

	snprintf(current, sizeof(current), "%s/CURRENT", path);
	st = io_open(current, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, name, sizeof(name) - 1, 0, &got, current, err);
	close(fd);
	if (st != ST_OK)
		return st;
	name[strcspn(name, "\n")] = '\0';
	if (strncmp(name, "MANIFEST-", 9) != 0 ||
	    strspn(name + 9, "0123456789") != strlen(name + 9))
		return fail(err, ST_CORRUPT, "%s does not name a MANIFEST", current);
	snprintf(out, PATH_LEN, "%s/%s", path, name);
	return ST_OK;
}

static enum st keep_rest(const char *path, const char *at, size_t len, struct err *err)
{
	char to[PATH_LEN];
	enum st st;
	int fd;

	snprintf(to, sizeof(to), "%s/cut-MANIFEST", path);
	st = io_open(to, O_WRONLY | O_CREAT | O_TRUNC, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_write(fd, at, len, 0, to, err);
	if (st == ST_OK)
		st = io_sync(fd, to, err);
	close(fd);
	return st;
}

static enum st cut(const char *path, const char *file, int fd, bool *cut_out, struct err *err)
{
	struct stat info;
	size_t len, good;
	char *bytes;
	enum st st;

	if (fstat(fd, &info) < 0)
		return fail_errno(err, "%s", file);
	if (info.st_size > SIZE_MAX_READ)
		return fail(err, ST_TOOBIG, "%s: too large", file);
	bytes = malloc((size_t)info.st_size + 1);
	if (!bytes)
		return fail(err, ST_NOMEM, "%s", file);
	st = io_read(fd, bytes, (size_t)info.st_size, 0, &len, file, err);
	if (st == ST_OK) {
		good = first_bad(bytes, len);
		*cut_out = good < len && good > 0;
	}
	if (st == ST_OK && *cut_out) {
		st = keep_rest(path, bytes + good, len - good, err);
		if (st == ST_OK)
			st = io_truncate(fd, good, file, err);
		if (st == ST_OK)
			st = io_sync(fd, file, err);
	}
	free(bytes);
	return st;
}

enum st manifest_cut(const char *path, bool *cut_out, struct err *err)
{
	char file[PATH_LEN];
	enum st st = find_manifest(path, file, err);
	int fd;

	*cut_out = false;
	if (st == ST_OK)
		st = io_open(file, O_RDWR, &fd, err);
	if (st != ST_OK)
		return st;
	st = cut(path, file, fd, cut_out, err);
	close(fd);
	return st;
}
