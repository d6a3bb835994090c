"""What is checked of the service under systemd.

Each check is a function of the machine and of what earlier ones have found
out; its first line of documentation is what it shows.
"""

import hashlib
import os
import random
import re
import smtplib
import socket
import ssl
import threading
import time

import load
from report import Failed, wait_for, want

SCHEMES = {25: "smtp", 587: "smtp", 465: "smtps", 110: "pop3", 995: "pop3s"}
MAIL_PORTS = tuple(SCHEMES)
PROGRAM = "/usr/local/bin/postrider"
DATA = "/var/lib/postrider"
ANN = "ann@example.org"
CAP_NET_BIND_SERVICE = 1 << 10


class State:
    """What the checks pass on to each other."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.password = ""  # of ann
        self.journal = load.Journal()


def run(report, m, scratch):
    """All checks, in an order in which each finds what it needs."""
    s = State(scratch)
    if not report.check(boots, m, s):
        return
    for c in (setup, install_again, verified, starts_when_ready, accounts, starts_at_boot,
              own_user, listens, mail_inside, mail_outside, killed, reload, confined, graceful_stop,
              busy_stop, journald, second_disk, sockets_by_name, sockets_by_address, from_root,
              upgrade, security, uninstall):
        report.check(c, m, s)


def shown(m, *names, unit="postrider"):
    """Properties of the unit, as systemctl show gives them."""
    text = m.run(f"systemctl show {unit} -p {','.join(names)}")
    values = dict(line.split("=", 1) for line in text.splitlines())
    return [values[name] for name in names]


def greeting(m, port):
    """What the server says first on a port without TLS."""
    with socket.create_connection(("127.0.0.1", m.ports[port]), 10) as s:
        return s.makefile("rb").readline().decode().strip()


def send(m, s, count=1):
    """Send messages from outside and put them into the journal."""
    with smtplib.SMTP("127.0.0.1", m.ports[25], "load.example.net", timeout=60) as smtp:
        for _ in range(count):
            name = f"check.{len(s.journal.state)}"
            text = s.journal.message(name, random.Random(name))
            s.journal.note(name, "sent")
            smtp.sendmail(load.SENDER, [ANN], text)
            s.journal.note(name, "answered")


def settle(m, s):
    """The mailbox holds what the journal says, once each."""
    wrong, found, _ = load.settle(m.ports[995], ANN, s.password, s.journal)
    if wrong:
        raise Failed("; ".join(wrong))
    return found


def boots(m, _):
    """The machine boots with systemd."""
    seconds = m.start()
    name, _, kernel = m.run(". /etc/os-release; echo $PRETTY_NAME; uname -r").rpartition("\n")
    version = m.run("systemctl --version").split("\n")[0]
    return f"{name}, Linux {kernel}, {version}, in {seconds:.0f} s"


def setup(m, s):
    """README's way: setup example.org makes data, user and unit."""
    with open(os.path.join(s.scratch, "postrider"), "rb") as f:
        m.put(PROGRAM, f.read(), "755")
    said = m.run("cd / && postrider setup example.org")
    for part in ("This is the server of example.org now", "mail.example.org",
                 "postmaster@example.org",
                 "/etc/systemd/system/postrider.service and runs as postrider",
                 "systemctl start postrider"):
        if part not in said:
            raise Failed(f"no {part!r} in {said!r}")
    want(m.run(f"stat -c '%U %a' {DATA}"), "postrider 700", "the data directory")
    foreign = m.run(f"find {DATA} ! -user postrider")
    want(foreign, "", "files of others in the data directory")
    want(m.run(f"stat -c %a {DATA}/secret.key {DATA}/control.token 2>/dev/null | sort -u"), "600",
         "the mode of the secrets")


def install_again(m, _):
    """service install may be run again; the unit is enabled and not started."""
    m.run("postrider service install")
    want(m.run("systemctl is-enabled postrider"), "enabled", "is-enabled")
    want(m.run("systemctl is-active postrider || true"), "inactive", "is-active")


def verified(m, _):
    """systemd-analyze verify has nothing to say about the unit."""
    done = m.ssh("systemd-analyze verify --man=no postrider.service")
    want((done.returncode, done.stdout + done.stderr), (0, ""), "systemd-analyze verify")


def starts_when_ready(m, _):
    """systemctl start returns when the server is ready, and not before (sd_notify)."""
    hold_s = 3
    m.run(f"setsid -f flock {DATA}/postrider.lock sleep {hold_s} </dev/null >/dev/null 2>&1")
    began = time.monotonic()
    m.run("systemctl start postrider; exec 3<>/dev/tcp/127.0.0.1/25; head -n 1 <&3 | grep -q ^220")
    held = time.monotonic() - began
    if held < hold_s - 1:
        raise Failed(f"it returned after {held:.1f} s, while the data directory was locked")
    m.run("systemctl stop postrider && systemctl start postrider")
    want(shown(m, "Type", "ActiveState", "SubState"), ["notify", "active", "running"], "the unit")
    main, ready = shown(m, "ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    return (f"{held:.1f} s while another process held the lock for {hold_s} s; "
            f"else {(int(ready) - int(main)) / 1000:.0f} ms")


def accounts(m, s):
    """account add, list and status work beside the server, for root and for the user."""
    said = m.run(f"cd / && postrider account add {ANN} --json")
    s.password = re.search(r'"password":"([^"]+)"', said)[1]
    said = m.run("cd / && postrider account list")
    want(ANN in said and "postmaster@example.org" in said, True, "the list")
    m.run("cd / && postrider status")
    m.run("cd / && setpriv --reuid postrider --regid postrider --clear-groups postrider status")


def starts_at_boot(m, _):
    """After a reboot the server runs by itself."""
    m.reboot()
    want(shown(m, "ActiveState", "NRestarts"), ["active", "0"], "the unit")
    want(greeting(m, 25)[:4], "220 ", "the greeting")
    said = m.run("systemctl --failed --no-legend --plain")
    want(said, "", "units that failed")
    return greeting(m, 25)


def process_status(m, pid):
    """/proc/PID/status of a process."""
    return dict(line.split(":\t", 1) for line in m.run(f"cat /proc/{pid}/status").splitlines()
                if ":\t" in line)


def own_user(m, _):
    """It runs as its own user with CAP_NET_BIND_SERVICE and nothing else."""
    p = process_status(m, shown(m, "MainPID")[0])
    uid = m.run("id -u postrider")
    want(p["Uid"].split(), [uid] * 4, "user ids")
    want(p["Gid"].split(), [m.run("id -g postrider")] * 4, "group ids")
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        want(int(p[kind], 16), CAP_NET_BIND_SERVICE, kind)
    want((p["NoNewPrivs"], p["Seccomp"]), ("1", "2"), "NoNewPrivs and Seccomp")
    return f"uid {uid}, CapEff {p['CapEff']}, NoNewPrivs 1, Seccomp 2"


def listens(m, _):
    """It listens on 25, 587, 465, 110 and 995, for IPv4 and IPv6, and on nothing else."""
    pid = shown(m, "MainPID")[0]
    mine = [line.split()[3] for line in m.run("ss -ltnpH").splitlines() if f"pid={pid}," in line]
    want(sorted(a.rsplit(":", 1)[1] for a in mine), sorted(map(str, MAIL_PORTS)), "ports")
    addresses = m.run("hostname -I").split()
    v6 = [a for a in addresses if ":" in a] + ["::1"]
    for address in ["127.0.0.1", *addresses, *v6]:
        host = f"[{address}]" if ":" in address else address
        for port, scheme in SCHEMES.items():
            command = "NOOP" if "smtp" in scheme else "CAPA"
            m.run(f"curl -sSk --max-time 20 {scheme}://{host}:{port}/ -X {command}")
    return " ".join(["127.0.0.1", *addresses, "::1"])


def mail_inside(m, s):
    """A message comes in by SMTP and out by POP3S, over IPv4 and IPv6."""
    for host in ("127.0.0.1", "[::1]"):
        m.run("printf 'Subject: inside\\n\\nIt works.\\n' | curl -sS --crlf -T - "
              f"smtp://{host}:25 --mail-from me@example.net --mail-rcpt {ANN}")
        got = m.run(f"curl -sSk --user {ANN}:{s.password} pop3s://{host}/1")
        want("Subject: inside" in got and "It works." in got, True, f"message by {host}: {got}")
        m.run(f"curl -sSk --user {ANN}:{s.password} pop3s://{host}/1 -X DELE -I")
    want("delivered as message" in m.run(f"cd / && postrider trace {ANN}"), True, "the trace")


def mail_outside(m, s):
    """From another machine: passwords over TLS only, submission as oneself, no relaying."""
    send(m, s, 3)
    want(settle(m, s), 3, "messages")
    with smtplib.SMTP("127.0.0.1", m.ports[587], timeout=20) as smtp:
        smtp.ehlo()
        offered = smtp.esmtp_features.get("auth", "").split()
        want([m for m in offered if not m.startswith("SCRAM")], [], "AUTH offered without TLS")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        smtp.starttls(context=context)
        smtp.login(ANN, s.password)
        smtp.sendmail(ANN, ["postmaster@example.org"], "Subject: submission\r\n\r\nOne.\r\n")
    with smtplib.SMTP("127.0.0.1", m.ports[25], timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(load.SENDER)
        want(smtp.rcpt("somebody@example.com")[0], 550, "relaying")


def killed(m, s):
    """After SIGKILL systemd starts it again, and the mail is there."""
    send(m, s, 20)
    pid, before = shown(m, "MainPID", "NRestarts")
    m.run("systemctl kill -s KILL postrider")
    took = wait_for("a new process that answers",
                    lambda: shown(m, "MainPID")[0] not in ("0", pid)
                    and shown(m, "ActiveState")[0] == "active")
    want(int(shown(m, "NRestarts")[0]), int(before) + 1, "NRestarts")
    want(settle(m, s), 20, "messages")
    return f"20 messages, answering again after {took:.1f} s"


def certificate(m, name):
    """A new certificate of this name in place; its fingerprint."""
    m.run("mkdir -p /etc/postrider && cd /etc/postrider && "
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 "
          f"-subj /CN={name} -addext subjectAltName=DNS:{name} "
          "-keyout key.part -out cert.part 2>/dev/null && chgrp postrider key.part && "
          "chmod 640 key.part && mv key.part privkey.pem && mv cert.part fullchain.pem")
    return m.run("openssl x509 -in /etc/postrider/fullchain.pem -noout -fingerprint -sha256")


def served(m, port):
    """The fingerprint of the certificate that is served."""
    pem = ssl.get_server_certificate(("127.0.0.1", m.ports[port]))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return "sha256 Fingerprint=" + ":".join(re.findall("..", digest))


def reload(m, _):
    """A certificate set at run time is served, and its successor after systemctl reload."""
    first = certificate(m, "mail.example.org")
    said = m.run("cd / && postrider settings set tls.certificate /etc/postrider/fullchain.pem "
                 "tls.key /etc/postrider/privkey.pem")
    wait_for("the first certificate", lambda: served(m, 995) == first, 5)
    pid = shown(m, "MainPID")[0]
    second = certificate(m, "mail.example.org")
    want(served(m, 995), first, "the certificate before the reload")
    m.run("systemctl reload postrider")
    took = wait_for("the second certificate", lambda: served(m, 995) == second, 5)
    want(served(m, 465), second, "the certificate on 465")
    want(shown(m, "MainPID", "ActiveState"), [pid, "active"], "the process")
    return f"after {took * 1000:.0f} ms, same process" + (f"; {said}" if "restart" in said else "")


def confined(m, _):
    """Landlock and the unit: what lies elsewhere is out of reach, though its mode allows it."""
    lsm = m.run("cat /sys/kernel/security/lsm 2>/dev/null || (mount -t securityfs none "
                "/sys/kernel/security && cat /sys/kernel/security/lsm)")
    want("landlock" in lsm.split(","), True, f"landlock in {lsm}")
    want(m.run("postrider log --all | grep -c 'could not be confined' || true"), "0",
         "records that it could not be confined")
    # A certificate where only Landlock forbids to read: it cannot be tried, and
    # is not taken untried.
    m.run("mkdir -p /opt/elsewhere && cp /etc/postrider/*.pem /opt/elsewhere && "
          "chmod 644 /opt/elsewhere/* && setpriv --reuid postrider --regid postrider "
          "--clear-groups cat /opt/elsewhere/privkey.pem")
    said = m.run("cd / && ! postrider settings set tls.certificate /opt/elsewhere/fullchain.pem "
                 "tls.key /opt/elsewhere/privkey.pem 2>&1")
    want("confined to its own files" in said, True, f"the refusal in {said!r}")
    p = process_status(m, shown(m, "MainPID")[0])
    return (f"LSMs {lsm}; a certificate elsewhere is refused; "
            f"{p['Seccomp_filters']} seccomp filters")


def graceful_stop(m, _):
    """systemctl stop tells idle sessions 421 and is quick."""
    with socket.create_connection(("127.0.0.1", m.ports[25]), 10) as c:
        c.settimeout(20)
        f = c.makefile("rb")
        f.readline()
        began = time.monotonic()
        m.run("systemctl stop postrider")
        took = time.monotonic() - began
        said = f.readline().decode().strip()
        want(said[:3], "421", f"what the session heard: {said}")
    want(shown(m, "ActiveState", "Result", "ExecMainStatus"), ["inactive", "success", "0"],
         "the unit")
    want(m.run(f"ls {DATA} | grep -c sock || true"), "0", "sockets left behind")
    if took > 5:
        raise Failed(f"it took {took:.1f} s")
    m.run("systemctl start postrider")
    return f"{took:.2f} s; the session heard {said!r}"


def busy_stop(m, s):
    """A message under way while systemctl stop waits is finished, answered 250 and kept."""
    name = "check.busy"
    text = s.journal.message(name, random.Random(name)).encode()
    with socket.create_connection(("127.0.0.1", m.ports[25]), 10) as c:
        c.settimeout(60)
        f = c.makefile("rb")
        f.readline()
        for line in ("HELO load.example.net", f"MAIL FROM:<{load.SENDER}>", f"RCPT TO:<{ANN}>",
                     "DATA"):
            c.sendall(line.encode() + b"\r\n")
            said = f.readline()
            want(said[:1] in (b"2", b"3"), True, f"{line}: {said}")
        c.sendall(text[:len(text) // 2])
        stop = threading.Thread(target=m.run, args=("systemctl stop postrider",))
        stop.start()
        wait_for("deactivating", lambda: shown(m, "ActiveState")[0] == "deactivating", 10)
        time.sleep(1)
        c.sendall(text[len(text) // 2:] + b".\r\n")
        said = f.readline().decode().strip()
        want(said[:3], "250", f"the reply: {said}")
        s.journal.note(name, "answered")
        stop.join()
    want(shown(m, "ActiveState", "Result"), ["inactive", "success"], "the unit")
    m.run("systemctl start postrider")
    want(settle(m, s), 1, "messages")
    return said


def journald(m, _):
    """With log.target journald the records are in the machine's journal, with their level."""
    m.put(f"{DATA}/postrider.toml", '[log]\ntarget = "journald"\n')
    m.run("systemctl restart postrider")
    with smtplib.SMTP("127.0.0.1", m.ports[25], timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(load.SENDER)
        want(smtp.rcpt("nobody@example.org")[0], 550, "an unknown recipient")
    said = m.run("journalctl --sync; journalctl -u postrider -o short --since -1min | "
                 "grep 'recipient refused' || true")
    want("nobody@example.org" in said, True, "the refusal in the journal: " + m.run(
        "journalctl -u postrider -o short -n 5"))
    m.run(f"rm {DATA}/postrider.toml && systemctl restart postrider")
    return said.split("\n")[-1][:100]


def second_disk(m, s):
    """A volume on another disk, the way of the administration guide."""
    m.run("truncate -s 64M /disk2.img && mkfs.ext4 -q /disk2.img && mkdir -p /disk2 && "
          "echo '/disk2.img /disk2 ext4 loop,nofail 0 0' >>/etc/fstab && "
          "systemctl daemon-reload && mount /disk2 && mkdir /disk2/postrider && "
          "chown postrider: /disk2/postrider && sync")
    m.put(f"{DATA}/postrider.toml", '[store]\nvolumes = ["volumes", "/disk2/postrider"]\n')
    m.run("cd / && systemctl stop postrider && postrider service install && "
          "systemctl start postrider && postrider account set ann --volume 1")
    send(m, s, 5)
    size = m.run("du -s --apparent-size -B1 /disk2/postrider").split()[0]
    files = m.run("find /disk2/postrider -type f | wc -l")
    want(files != "0" and int(size) > 5000, True, f"{files} files, {size} bytes on the other disk")
    m.run("postrider account set ann --volume 0")
    want(settle(m, s), 5, "messages")
    # The volume stays in the list: each boot that follows must wait for its disk.
    return f"{files} files on it"


UNITS = {"smtp": 25, "submission": 587, "submissions": 465, "pop": 110, "pops": 995}


def activated(m, s, units):
    """Start sockets alone, and let a message start the server."""
    m.run("systemctl stop postrider")
    names = []
    for name, text in units.items():
        names.append(f"postrider-{name}.socket")
        m.put(f"/etc/systemd/system/postrider-{name}.socket", text)
    try:
        m.run("systemctl daemon-reload && systemctl start " + " ".join(names))
        want(m.run("systemctl is-active postrider || true"), "inactive", "the server before")
        try:
            send(m, s, 1)
        except smtplib.SMTPException as e:
            raise Failed(f"{e}: " + m.run(
                "journalctl -u postrider -o cat -n 40 | grep -m 1 ^postrider:")) from e
        want(shown(m, "ActiveState")[0], "active", "the server after")
        want(settle(m, s), 1, "messages")
        # Nobody is turned away while the server is started again.
        results = []
        stop = threading.Event()

        def knock():
            while not stop.is_set():
                try:
                    results.append(greeting(m, 25)[:3])
                except OSError as e:
                    results.append(str(e))
        t = threading.Thread(target=knock)
        t.start()
        m.run("systemctl restart postrider")
        stop.set()
        t.join()
        bad = [r for r in results if r != "220"]
        want(bad, [], "connections during a restart")
        return f"{len(results)} connections during a restart, all greeted"
    finally:
        m.run(f"systemctl stop postrider {' '.join(names)}; "
              "rm /etc/systemd/system/postrider-*.socket; "
              "systemctl daemon-reload; systemctl reset-failed; systemctl start postrider")


def sockets_by_name(m, s):
    """Socket activation, sockets named like their services."""
    return activated(m, s, {name: f"[Socket]\nListenStream={port}\nFileDescriptorName={name}\n"
                            "Service=postrider.service\n" for name, port in UNITS.items()})


def sockets_by_address(m, s):
    """Socket activation, sockets without names, found by their address."""
    streams = "".join(f"ListenStream={port}\n" for port in UNITS.values())
    return activated(m, s, {"all": f"[Socket]\n{streams}Service=postrider.service\n"})


def from_root(m, s):
    """Started as root by hand it binds, becomes the user, and has no capability."""
    m.run("systemctl stop postrider")
    try:
        m.run(f"setsid -f {PROGRAM} serve --data {DATA} </dev/null >/tmp/serve.log 2>&1")
        wait_for("the server", lambda: m.ssh("cd / && postrider status").returncode == 0)
        p = process_status(m, m.run("grep -lx postrider /proc/[0-9]*/comm | cut -d/ -f3"))
        want(p["Uid"].split(), [m.run("id -u postrider")] * 4, "user ids")
        want((int(p["CapEff"], 16), int(p["CapPrm"], 16)), (0, 0), "capabilities")
        send(m, s, 1)
        want(settle(m, s), 1, "messages")
        m.run("cd / && postrider stop")
    finally:
        m.run("systemctl start postrider")
    foreign = m.run(f"find {DATA} ! -user postrider ! -name postrider.toml")
    want(foreign, "", "files of root in the data directory")
    return f"CapEff {p['CapEff']}"


def upgrade(m, s):
    """A new program in place of the old one and a restart: it runs, the mail is there."""
    send(m, s, 5)
    with open(os.path.join(s.scratch, "postrider.next"), "rb") as f:
        content = f.read()
    m.run(f"cp -a {DATA} /var/lib/postrider.backup")
    m.put(PROGRAM, content, "755")
    m.run("systemctl restart postrider")
    pid = shown(m, "MainPID")[0]
    want(m.run(f"sha256sum </proc/{pid}/exe").split()[0], hashlib.sha256(content).hexdigest(),
         "the program that runs")
    want(settle(m, s), 5, "messages")
    return m.run("cd / && postrider version").split("\n")[0]


def security(m, _):
    """systemd-analyze security."""
    said = m.run("systemd-analyze security postrider.service --no-pager")
    last = said.strip().splitlines()[-1]
    level = float(re.search(r"([0-9.]+) [A-Z]", last)[1])
    if level > 2:
        raise Failed(last)
    return last.lstrip("→ ")


def uninstall(m, s):
    """service uninstall removes the unit and leaves the data; install brings both together."""
    send(m, s, 2)
    m.run("cd / && postrider service uninstall")
    want(m.run("systemctl is-active postrider || true"), "inactive", "is-active")
    m.run("test ! -e /etc/systemd/system/postrider.service")
    m.run("cd / && postrider service uninstall", status=3)
    m.run("cd / && postrider check")
    m.run("cd / && postrider service install && systemctl start postrider")
    want(settle(m, s), 2, "messages")
