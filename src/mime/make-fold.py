#!/usr/bin/env python3
"""Print fold.inc: simple case folding as runs {first, last, step, delta}, from Python's Unicode data."""
import sys
import unicodedata


def simple(cp):
    char = chr(cp)
    for folded in (char.casefold(), char.lower()):
        if len(folded) == 1:
            return ord(folded)
    return cp


def main():
    pairs = [(cp, simple(cp) - cp) for cp in range(0x80, 0x20000) if not 0xD800 <= cp < 0xE000]
    pairs = [(cp, delta) for cp, delta in pairs if delta]
    runs = []
    for cp, delta in pairs:
        if runs and runs[-1][3] == delta:
            first, last, step, _ = runs[-1]
            gap = cp - last
            if gap == step or (first == last and gap in (1, 2)):
                runs[-1] = (first, cp, gap, delta)
                continue
        runs.append((cp, cp, 1, delta))
    print("/* Made by make-fold.py from Unicode %s: do not edit. */" % unicodedata.unidata_version)
    for first, last, step, delta in runs:
        print("{ 0x%04X, 0x%04X, %d, %d }," % (first, last, step, delta))


if __name__ == "__main__":
    sys.exit(main())
