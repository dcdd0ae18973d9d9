"""A reader of the engine's files, written from docs/formats.md alone: nothing of the programs is used."""
import struct

PAGE = 4096
KINDS = {1: "GROUP", 2: "END", 3: "ATTACH", 4: "BODY", 5: "COMMIT", 6: "FREE", 7: "DETACH"}


def _table():
    rows = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        rows.append(n)
    return rows


_CRC = _table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def log_header(data):
    crc, magic, version, size = struct.unpack_from("<I4sII", data)
    assert crc == crc32c(data[4:PAGE]) and magic == b"MRLG"
    generation, previous_end, created, previous_created = struct.unpack_from("<IIQQ", data, 32)
    return {"format": version, "bytes": size, "signature": data[16:32], "generation": generation,
            "previous_end": previous_end, "created_ns": created, "previous_created_ns": previous_created}


def _record(data, at, generation, mark):
    head = data[at:at + 40]
    if len(head) < 40:
        return None
    crc, payload_crc, length, kind, flags, position, database, found, partition = struct.unpack("<IIIHHQI4sQ", head)
    if crc != crc32c(head[4:]) or position != generation << 32 | at or found != mark:
        return None
    payload = data[at + 40:at + 40 + length]
    if len(payload) < length or payload_crc != crc32c(payload) or kind not in KINDS or flags:
        return None
    return {"position": position, "kind": KINDS[kind], "database": database, "partition": partition,
            "payload": payload, "size": 40 + (length + 7) // 8 * 8}


def log_records(data):
    """The records of one log file up to the end of its last whole group."""
    head = log_header(data)
    mark = head["signature"][:4]
    at, records = PAGE, []
    while at < len(data):
        first = _record(data, at, head["generation"], mark)
        if not first or first["kind"] != "GROUP":
            break
        _, _, size, count = struct.unpack("<QQII", first["payload"])
        group, inside = [], at
        for _ in range(count):
            record = _record(data, inside, head["generation"], mark)
            if not record or inside + record["size"] > at + size:
                return records
            group.append(record)
            inside += record["size"]
        records += group
        at += size
        if group[-1]["kind"] == "END":
            break
    return records


def items(payload):
    """(name, ...) for each item of a COMMIT."""
    _, count, _ = struct.unpack_from("<QII", payload)
    at = 16
    for _ in range(count):
        kind = payload[at]
        at += 1
        if kind == 1:
            key, value = struct.unpack_from("<HI", payload, at)
            at += 6
            yield "put", payload[at:at + key], payload[at + key:at + key + value]
            at += key + value
        elif kind == 2:
            key, = struct.unpack_from("<H", payload, at)
            yield "delete", payload[at + 2:at + 2 + key]
            at += 2 + key
        elif kind in (3, 6):
            body, length, runs, pages = struct.unpack_from("<QQII", payload, at)
            at += 24
            where = [struct.unpack_from("<II", payload, at + 8 * i) for i in range(runs)]
            at += 8 * runs
            crcs = struct.unpack_from(f"<{pages}I", payload, at)
            at += 4 * pages
            yield ("describe" if kind == 3 else "describe direct"), body, length, where, crcs
        elif kind in (4, 5):
            yield "link" if kind == 4 else "unlink", struct.unpack_from("<Q", payload, at)[0]
            at += 8
        elif kind in (7, 8):
            body, runs, pages = struct.unpack_from("<QII", payload, at)
            at += 16
            where = [struct.unpack_from("<II", payload, at + 8 * i) for i in range(runs)]
            at += 8 * runs
            yield ("move" if kind == 7 else "move direct"), body, pages, where
        else:
            raise AssertionError(f"item {kind}")
    assert at == len(payload)


def body(stm, length, runs, crcs):
    """The bytes of a body, each page checked."""
    data = b"".join(stm[first * PAGE:(first + pages) * PAGE] for first, pages in runs)[:length]
    assert len(data) == length
    for i, crc in enumerate(crcs):
        assert crc32c(data[i * PAGE:(i + 1) * PAGE]) == crc
    return data


def checkpoint(data):
    """The valid slot with the higher number."""
    slots = []
    for at in (0, 32768):
        slot = data[at:at + 32768]
        if len(slot) < 32768 or struct.unpack_from("<I4s", slot) != (crc32c(slot[4:]), b"MRCK"):
            continue
        version, state = struct.unpack_from("<II", slot, 8)
        number, position, time, oldest, count, flags = struct.unpack_from("<QQQIII", slot, 32)
        where, databases = 128, []
        for _ in range(count):
            ident, safe, up, _, length = struct.unpack_from("<QQIHH", slot, where)
            databases.append((slot[where + 24:where + 24 + length].decode(), ident, safe, up))
            where += 24 + length
        slots.append({"number": number, "format": version, "state": state, "position": position, "time": time,
                      "oldest_kept": oldest, "flags": flags, "signature": slot[16:32], "databases": databases})
    return max(slots, key=lambda slot: slot["number"])
