"""Senders that keep a journal, and a reader that compares a mailbox with it.

The journal is on this side of the cut: what it calls answered, the server has
answered with 250.
"""

import contextlib
import hashlib
import poplib
import random
import smtplib
import socket
import ssl
import threading

SENDER = "load@example.net"


class Journal:
    """What became of each message, by its id. It may be used concurrently."""

    def __init__(self):
        self.lock = threading.Lock()
        self.state = {}  # id: "sent", "answered" or "deleted"
        self.digest = {}  # id: of the body
        self.refused = []

    def note(self, name, state):
        """The message is in this state from now on."""
        with self.lock:
            self.state[name] = state

    def names(self, state):
        """The ids of the messages in this state."""
        with self.lock:
            return {n for n, s in self.state.items() if s == state}

    def message(self, name, generator):
        """A message of this id, 1 to 16 kB, with lines that look random."""
        lines = [generator.randbytes(36).hex() for _ in range(generator.randrange(12, 220))]
        body = "\r\n".join(lines) + "\r\n"
        with self.lock:
            self.digest[name] = hashlib.sha256(body.encode()).hexdigest()
        return f"From: {SENDER}\r\nSubject: load\r\nX-Load: {name}\r\n\r\n{body}"


class Load:
    """Some connections that send to one account until they are told to stop
    or the server is gone."""

    def __init__(self, port, account, connections, journal, seed):
        self.halt = threading.Event()
        self.sockets = []
        self.threads = [threading.Thread(target=self.send, daemon=True,
                                         args=(port, account, journal, f"{seed}.{i}"))
                        for i in range(connections)]
        for t in self.threads:
            t.start()

    def send(self, port, account, journal, prefix):
        """One connection. When the machine is cut off, it hears an error."""
        generator = random.Random(prefix)
        try:
            smtp = smtplib.SMTP("127.0.0.1", port, "load.example.net", timeout=60)
            self.sockets.append(smtp.sock)
            smtp.ehlo()
            for n in range(1_000_000):
                if self.halt.is_set():
                    smtp.quit()
                    return
                name = f"{prefix}.{n}"
                text = journal.message(name, generator)
                smtp.mail(SENDER)
                code, reply = smtp.rcpt(account)
                if code == 250:
                    journal.note(name, "sent")
                    code, reply = smtp.data(text)
                if code == 250:
                    journal.note(name, "answered")
                else:
                    journal.refused.append(f"{code} {reply}")
                    return
        except (OSError, smtplib.SMTPException):
            return

    def end(self, cut=False):
        """Wait for all connections to end, each after its message, or at once
        if the server is gone: not every end of a machine reaches this side."""
        self.halt.set()
        for s in self.sockets if cut else ():
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for t in self.threads:
            t.join(120)


def login(port, account, password):
    """A POP3S session."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the server's own certificate
    pop = poplib.POP3_SSL("127.0.0.1", port, context=context, timeout=120)
    pop.user(account)
    pop.pass_(password)
    return pop


def settle(port, account, password, journal, ours=lambda name: True):
    """Compare the mailbox with the journal, delete what was found, and return
    what is wrong, as text. Ours says which messages belong to this mailbox."""
    pop = login(port, account, password)
    wrong, found = [], set()
    count = len(pop.list()[1])
    for number in range(1, count + 1):
        lines = pop.retr(number)[1]
        blank = lines.index(b"")
        head = [line for line in lines[:blank] if line.startswith(b"X-Load: ")]
        if not head:
            continue  # somebody else's
        name = head[0][len(b"X-Load: "):].decode()
        body = b"".join(line + b"\r\n" for line in lines[blank + 1:])
        if name in found:
            wrong.append(f"{name} is there twice")
        elif journal.state.get(name) == "deleted":
            wrong.append(f"{name} was deleted and is back")
        elif hashlib.sha256(body).hexdigest() != journal.digest.get(name):
            wrong.append(f"{name} is not as it was sent")
        found.add(name)
        pop.dele(number)
    for name in journal.names("answered") - found:
        if ours(name):
            wrong.append(f"{name} was answered 250 and is lost")
    late = len(found & journal.names("sent"))
    pop.quit()
    for name in found:
        journal.note(name, "deleted")
    for name in journal.names("sent"):
        if ours(name):
            journal.note(name, "deleted")  # if it comes later, it comes from nowhere
    return wrong, len(found), late


def refuses(port):
    """Whether nobody answers there with a greeting."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.settimeout(5)
            return not s.recv(3)
    except OSError:
        return True
