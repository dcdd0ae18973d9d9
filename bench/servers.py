"""The servers that are measured: ours, and Debian's Postfix and Dovecot with everything in a folder of ours.

Both have the domain of tests/session/harness.py, the same users and one password, and speak on free ports of
127.0.0.1 without TLS.  Nothing of the system's own configuration is read or changed."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import meter

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/session"))
import harness  # noqa: E402

DOMAIN, PASSWORD = harness.DOMAIN, harness.PASSWORD
POSTFIX_PARTS = pathlib.Path("/usr/lib/postfix/sbin")
DOVECOT_PARTS = pathlib.Path("/usr/lib/dovecot")
# Who owns the peer's mailboxes: numbers only, nobody has to be in /etc/passwd.
OWNER = 5000
FIRST_OWN = 20000


def missing_peers():
    """Why the peers cannot be measured here; empty when they can."""
    why = []
    if os.geteuid() != 0:
        why.append("Postfix and Dovecot start only as root")
    if not (shutil.which("postfix") and (POSTFIX_PARTS / "master").exists()):
        why.append("no Postfix (Debian package postfix)")
    for part, package in (("imap", "imapd"), ("pop3", "pop3d"), ("lmtp", "lmtpd")):
        if not (DOVECOT_PARTS / part).exists():
            why.append(f"no Dovecot {part} (Debian package dovecot-{package})")
    return why


def foreground(command, port, log):
    """Start a server that stays in the foreground; returns when it listens."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                stop_tree(process)
                raise SystemExit(f"{command[0]} does not listen on port {port}:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)


def stop_tree(process):
    """Ask the first process to end; what is left of its tree after a while is killed, and only that."""
    everyone = {pid: meter.started(pid) for pid in meter.tree([process.pid])}

    def left():
        return [pid for pid, when in everyone.items() if when and meter.started(pid) == when]

    for sig, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        for pid in left():
            if sig == signal.SIGKILL or pid == process.pid:
                os.kill(pid, sig)
        deadline = time.monotonic() + patience
        while left() and time.monotonic() < deadline:
            time.sleep(0.05)
    process.wait()


class Mailroot(harness.Server):
    """Ours, as `mailroot init` makes it, but for the listed settings."""
    name = "Mailroot"
    settings = {}

    def __init__(self, folder, users):
        folder = pathlib.Path(folder) / self.name.replace(" ", "-").lower()
        folder.mkdir()
        super().__init__(folder, auth_without_tls=True, connections_per_ip_max=0,
                         loops=len(os.sched_getaffinity(0)), **self.settings)
        for user in users:
            self.add_user(user)
        self.start()

    def roots(self):
        return [self.process.pid]


class NothingKept(Mailroot):
    """Ours, but what is deleted is gone at once."""
    name = "Mailroot keeping nothing"
    settings = {"deleted_items_days": 0}


class Dovecot:
    """Debian's Dovecot with mdbox, its defaults but for limits that would refuse the load.

    hibernate: an idle connection leaves its process after a second.
    reuse: login and mail processes serve more than one connection (its manual's "high-performance mode")."""
    name = "Dovecot"

    def __init__(self, folder, users, hibernate=False, reuse=False):
        self.folder = pathlib.Path(folder) / f"dovecot{'-hibernate' * hibernate}{'-reuse' * reuse}"
        self.log = self.folder / "log"
        self.ports = dict(zip(("imap", "pop3"), harness.free_ports(2)))
        for part in ("run", "state", "mail"):
            (self.folder / part).mkdir(parents=True)
        os.chmod(self.folder / "mail", 0o1777)
        self.log.touch()
        self._write_users(users)
        (self.folder / "conf").write_text(self._conf(hibernate, reuse))
        self.process = foreground(["/usr/sbin/dovecot", "-F", "-c", self.folder / "conf"], self.ports["imap"], self.log)

    def _write_users(self, users):
        """The users of the memory test have a number of their own each: inotify is limited by number."""
        lines = []
        for i, user in enumerate(users):
            owner = FIRST_OWN + i if user.startswith("h") else OWNER
            lines.append(f"{user}::{owner}:{owner}::{self.folder}/mail/{user}::\n")
        (self.folder / "users").write_text("".join(lines))

    def _conf(self, hibernate, reuse):
        f = self.folder
        login = "service_count = 0\n process_min_avail = 2" if reuse else ""
        imap = "service_count = 1000\n process_min_avail = 2" if reuse else ""
        master = "unix_listener imap-master {\n user = dovecot\n }" if hibernate else ""
        sleeper = """imap_hibernate_timeout = 1s
service imap-hibernate {
 unix_listener imap-hibernate {
  mode = 0666
 }
}""" if hibernate else ""
        return f"""base_dir = {f}/run
state_dir = {f}/state
instance_name = mailroot-bench
log_path = {f}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_username_format = %Ln
mail_location = mdbox:~/mdbox
mail_max_userip_connections = 20000
default_client_limit = 40000
first_valid_uid = 1000
passdb {{
 driver = static
 args = password={PASSWORD}
}}
userdb {{
 driver = passwd-file
 args = {f}/users
}}
namespace inbox {{
 inbox = yes
}}
service imap-login {{
 {login}
 inet_listener imap {{
  port = {self.ports["imap"]}
 }}
}}
service imap {{
 process_limit = 20000
 {imap}
 {master}
}}
service pop3-login {{
 inet_listener pop3 {{
  port = {self.ports["pop3"]}
 }}
}}
service lmtp {{
 unix_listener lmtp {{
  mode = 0666
 }}
}}
{sleeper}
"""

    def roots(self):
        return [self.process.pid]

    def stop(self):
        stop_tree(self.process)


class Postfix:
    """Debian's Postfix in front of a Dovecot: smtpd, its queue, LMTP."""

    def __init__(self, folder, dovecot):
        self.folder = pathlib.Path(folder) / "postfix"
        self.port, = harness.free_ports(1)
        for part in ("etc", "spool", "data", "log"):
            (self.folder / part).mkdir(parents=True)
        shutil.chown(self.folder / "data", "postfix")
        (self.folder / "etc/aliases").touch()
        (self.folder / "etc/main.cf").write_text(self._main(dovecot))
        (self.folder / "etc/master.cf").write_text(self._master())
        self.process = foreground(["postfix", "-c", self.folder / "etc", "start-fg"], self.port,
                                  self.folder / "log/maillog")

    def _main(self, dovecot):
        f = self.folder
        return f"""compatibility_level = 3.6
queue_directory = {f}/spool
data_directory = {f}/data
command_directory = /usr/sbin
daemon_directory = {POSTFIX_PARTS}
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = localhost
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = {f}/log/maillog
maillog_file_prefixes = {f}
smtpd_tls_security_level = none
smtp_tls_security_level = none
disable_dns_lookups = yes
alias_maps =
alias_database =
local_recipient_maps =
in_flow_delay = 0
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:unix:{dovecot.folder}/run/lmtp
"""

    def _master(self):
        """Debian's, without chroot, and smtpd on our port."""
        lines = []
        for line in pathlib.Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
            words = line.split()
            if len(words) >= 8 and line[0].isalpha() and words[1] in ("unix", "unix-dgram", "inet", "fifo"):
                words[4] = "n"
                if words[0] == "smtp" and words[1] == "inet":
                    words[0] = f"127.0.0.1:{self.port}"
                line = " ".join(words)
            lines.append(line)
        return "\n".join(lines) + "\n"

    def stop(self):
        stop_tree(self.process)


class Peers(Dovecot):
    """Postfix and Dovecot together, with the face of one server."""
    name = "Postfix + Dovecot"

    def __init__(self, folder, users):
        super().__init__(folder, users)
        self.postfix = Postfix(folder, self)
        self.ports["smtp"] = self.postfix.port

    def roots(self):
        return [self.process.pid, self.postfix.process.pid]

    def stop(self):
        self.postfix.stop()
        super().stop()
