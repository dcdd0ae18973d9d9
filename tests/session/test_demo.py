"""What a newcomer does: start the demo, copy the lines it prints, Ctrl-C, start it again."""
import os
import random
import signal
import socket
import subprocess

from harness import BUILD, PATIENCE, ROOT, wait_for

STANDARD = (25, 587, 465, 143, 993, 110, 995)


def free_base():
    """A base whose seven ports are free, and those of base + 7 too."""
    while True:
        base = random.randrange(20000, 60000)
        try:
            for port in STANDARD:
                for b in (base, base + 7):
                    with socket.socket() as s:
                        s.bind(("127.0.0.1", b + port))
            return base
        except OSError:
            continue


def start(home, base):
    """tools/demo as a terminal would run it, up to the point where it has said everything."""
    demo = subprocess.Popen([ROOT / "tools/demo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            start_new_session=True,
                            env={**os.environ, "BUILD": os.path.relpath(BUILD, ROOT), "MAILROOT_HOME": str(home),
                                 "MAILROOT_PORT_BASE": str(base)})
    said = []
    for line in demo.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            return demo, said
    raise AssertionError(("the demo did not come up", demo.wait(), said))


def interrupt(demo):
    os.killpg(demo.pid, signal.SIGINT)
    demo.stdout.read()
    return demo.wait(PATIENCE * 2)


def test_the_demo(tmp_path):
    home = tmp_path / "home"
    base = free_base()
    demo, said = start(home, base)
    try:
        lines = [line.strip() for line in said if line.startswith("  ") and "curl" in line]
        assert len(lines) == 3, said
        send, submit, read = lines
        for line in (send, submit):
            subprocess.run(["sh", "-c", line], check=True, timeout=PATIENCE)
        both = read.replace("MAILINDEX=1", "MAILINDEX=2")
        wait_for(lambda: subprocess.run(["sh", "-c", both], capture_output=True, timeout=PATIENCE).returncode == 0,
                 "both messages arrived")
        assert "First light." in subprocess.run(["sh", "-c", read], check=True, capture_output=True, text=True).stdout
    finally:
        assert interrupt(demo) == 0
    # The data stays, also on other ports.
    demo, said = start(home, base + 7)
    try:
        read = [line.strip() for line in said if "imaps://" in line and "curl" in line][0]
        assert str(base + 7 + 993) in read
        assert "First light." in subprocess.run(["sh", "-c", read], check=True, capture_output=True, text=True).stdout
    finally:
        assert interrupt(demo) == 0
