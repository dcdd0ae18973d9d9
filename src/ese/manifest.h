/* manifest.h - RocksDB's MANIFEST after a power cut.
 *
 * RocksDB syncs each record that it appends to its MANIFEST, but does not open when the power went in
 * between and the disk kept only some sectors of the last one.  The engine can do without that record: what RocksDB
 * then holds is an older flush, whole, and the log still has everything behind it (a checkpoint, which gives log
 * files away, comes after the sync). */
#ifndef ESE_MANIFEST_H
#define ESE_MANIFEST_H

#include "base/st.h"

#include <stdbool.h>

/* Cut the MANIFEST of the RocksDB folder `path` off where its first invalid record starts; what is cut off is
 * kept in the file cut-MANIFEST.  *cut_out: was there one?  The caller must check afterwards that the log
 * reaches back to what RocksDB holds. */
enum st manifest_cut(const char *path, bool *cut_out, struct err *err);

#endif
