#!/usr/bin/env python3
"""Print python_trees.inc: random messages and how Python's email package reads their structure.

Each row is a message and its tree, one part a line, as test_scan.c prints it.  The random numbers have a
fixed seed: the same Python gives the same file."""
import email
import email.errors
import random

SEED = 20000


def text(rng):
    words = ["alpha", "-- ", "--", "---x", "", "From here", ".", "--b", "a=3Db", "end--", "Subject: no", "\tx"]
    return "".join(rng.choice(words) + "\n" for _ in range(rng.randrange(0, 5)))


def part(rng, depth, names, inside=""):
    kind = rng.random()
    if depth < 4 and kind < 0.35:
        return multipart(rng, depth, names)
    if depth < 4 and kind < 0.5:
        inner = "Subject: inner\nFrom: a@b\n" + part(rng, depth + 1, names)
        return "Content-Type: message/rfc822\n\n" + inner
    if kind < 0.6:
        return ("\nSubject: d\n\n" if inside == "digest" else "\n") + text(rng)
    sub = rng.choice(["text/plain", "text/html; charset=utf-8", "image/png", "application/octet-stream"])
    return "Content-Type: " + sub + "\nX: y\n z\n\n" + text(rng)


def multipart(rng, depth, names):
    names[0] += 1
    boundary = rng.choice(["b%d", "=_%d.x", "a b%d", "b%d-"]) % names[0]
    quoted = '"%s"' % boundary
    kind = rng.choice(["mixed", "alternative", "digest", "related"])
    out = "Content-Type: multipart/%s; boundary=%s\n\n" % (kind, quoted)
    out += rng.choice(["", "preamble\n", "--almost\n"])
    for _ in range(rng.randrange(1, 4)):
        out += "--" + boundary + rng.choice(["", "", " ", "\t"]) + "\n" + part(rng, depth + 1, names, kind) + "\n"
    if rng.random() < 0.85:
        out += "--" + boundary + "--" + rng.choice(["\n", "\nepilogue\n", ""])
    return out


def describe(msg, depth, out):
    main = msg.get_content_type()
    line = " " * depth + main
    if msg.is_multipart():
        out.append(line)
        for child in msg.get_payload():
            describe(child, depth + 1, out)
    else:
        body = msg.get_payload()
        out.append(line + " <" + body.replace("\r", "").replace("\n", "/") + ">")


def ends_open(msg):
    """Python takes the last line end off a multipart that the end of the message closes: not compared."""
    while msg.get_content_type() == "message/rfc822":
        msg = msg.get_payload(0)
    return any(isinstance(d, email.errors.CloseBoundaryNotFoundDefect) for d in msg.defects)


def c_string(s):
    esc = s.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("?", "\\?")
    return "\n".join('"%s\\n"' % line for line in esc.split("\n")[:-1]) + (
        '\n"%s"' % esc.split("\n")[-1] if esc.split("\n")[-1] else "")


def main():
    rng = random.Random(SEED)
    print("/* Made by make-python-trees.py: do not edit. */")
    rows = 0
    while rows < 60:
        names = [0]
        source = "Subject: s\nMIME-Version: 1.0\n" + part(rng, 0 if rows % 4 else 1, names)
        if len(source) > 1500 or (rows % 4 and "boundary" not in source):
            continue
        out = []
        msg = email.message_from_string(source)
        if ends_open(msg):
            continue
        describe(msg, 0, out)
        print("{ %s,\n%s },\n" % (c_string(source), c_string("\n".join(out) + "\n")))
        rows += 1


if __name__ == "__main__":
    main()
