# Python's own mail clients, as tests: mail.py NAME FILE runs the function
# NAME. The file says where the server is and who the user is. Whatever is not
# as it should be ends with a traceback.
import email.message
import email.policy
import json
import poplib
import smtplib
import ssl
import sys

here = json.load(open(sys.argv[2]))
HOST, NAME = "localhost", "client.example.net"
USER, PASSWORD = here["user"], here["password"]
LETTER = here["letter"].encode()


def context():
    """TLS as a careful client has it: the server's own certificate is trusted,
    and its name is checked."""
    return ssl.create_default_context(cafile=here["certificate"])


def port(service):
    return here["ports"][service]


def smtp(service="smtp", tls=False):
    s = smtplib.SMTP(HOST, port(service), local_hostname=NAME, timeout=20)
    if tls:
        s.starttls(context=context())
    return s


def pop():
    return poplib.POP3(HOST, port("pop"), timeout=20)


def expect(what, got, want):
    if got != want:
        raise AssertionError("%s: got %r, want %r" % (what, got, want))


def refused(what, want, call, *args, **options):
    """The call must raise an error that says want."""
    try:
        call(*args, **options)
    except (smtplib.SMTPException, poplib.error_proto) as e:
        if want not in str(e):
            raise AssertionError("%s: got %s, want %s" % (what, e, want)) from e
        return
    raise AssertionError("%s: not refused" % what)


def send():
    with smtp() as s:
        s.ehlo()
        for keyword in "pipelining 8bitmime smtputf8 chunking enhancedstatuscodes size starttls".split():
            expect(keyword, s.has_extn(keyword), True)
        expect("refused", list(s.sendmail("sender@example.net", [USER, "nobody@localhost"], LETTER)),
               ["nobody@localhost"])


def send_starttls():
    with smtp("submission", tls=True) as s:
        s.login(USER, PASSWORD)
        s.sendmail(USER, [USER], LETTER)


def send_ssl():
    with smtplib.SMTP_SSL(HOST, port("submissions"), local_hostname=NAME, timeout=20,
                          context=context()) as s:
        s.user, s.password = USER, PASSWORD
        s.ehlo()
        s.auth("LOGIN", s.auth_login)
        s.sendmail(USER, [USER], LETTER)


def send_lmtp():
    with smtplib.LMTP(HOST, port("lmtp"), local_hostname=NAME) as s:
        expect("refused", list(s.sendmail("sender@example.net", [USER, "nobody@localhost"], LETTER)),
               ["nobody@localhost"])


def send_lmtp_socket():
    with smtplib.LMTP(here["socket"], local_hostname=NAME) as s:
        s.sendmail("sender@example.net", [USER], LETTER)


def send_twice():
    """Several messages in one session, with RSET and a refusal between them."""
    with smtp() as s:
        s.sendmail("sender@example.net", [USER], LETTER)
        refused("unknown", "5.1.1", s.sendmail, "sender@example.net", ["nobody@localhost"], LETTER)
        s.rset()
        s.noop()
        s.sendmail("", [USER], LETTER)


def refusals():
    with smtp() as s:
        s.ehlo()
        refused("relay", "5.7.1", s.sendmail, "sender@example.net", ["a@example.com"], LETTER)
        expect("HELP", s.docmd("HELP")[0] in (211, 214), True)
        expect("VRFY", s.vrfy(USER)[0], 252)
        expect("EXPN", s.expn("list")[0] in (252, 502, 550), True)
        expect("size", s.docmd("MAIL", "FROM:<a@example.net> SIZE=99999999999")[0], 552)
        expect("unknown command", s.docmd("FRISBEE")[0], 500)
        expect("DATA too early", s.docmd("DATA")[0], 503)
    with smtp("submission") as s:
        s.ehlo()
        expect("no login", s.docmd("MAIL", "FROM:<%s>" % USER)[0], 530)
        refused("wrong password", "535", s.login, USER, PASSWORD + "x")
    with smtp("submission", tls=True) as s:
        s.login(USER, PASSWORD)
        refused("a sender of others", "5.7.1", s.sendmail, "postmaster@localhost", [USER], LETTER)


def send_utf8():
    m = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
    m["From"], m["To"], m["Subject"] = "Jürgen <jürgen@example.net>", USER, "Grüße"
    m.set_content("Straße\n", cte="8bit")
    with smtp() as s:
        s.send_message(m)


def fetch_utf8():
    """It is sent as it is stored, whether the client says UTF8 or not."""
    for utf8 in (True, False):
        p = pop()
        if utf8:
            p.utf8()
        p.user(USER)
        p.pass_(PASSWORD)
        text = b"\n".join(p.retr(1)[1]).decode()
        for part in ("Jürgen <jürgen@example.net>", "Grüße", "Straße"):
            expect(part, part in text, True)
        p.quit()


LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 700_000


def send_large():
    with smtp() as s:
        s.sendmail("sender@example.net", [USER], LARGE)


def fetch_large():
    p = pop()
    p.user(USER)
    p.pass_(PASSWORD)
    number, size = p.stat()
    reply, lines, octets = p.retr(1)
    expect("size", octets, size)
    expect("text", b"\r\n".join(lines).endswith(LARGE.rstrip(b"\r\n")), True)
    p.dele(1)
    p.quit()


def fetch():
    """Everything that poplib can, on a maildrop of three letters."""
    p = pop()
    capa = p.capa()
    for name, value in (("TOP", []), ("UIDL", []), ("USER", []), ("STLS", []), ("PIPELINING", []),
                        ("RESP-CODES", []), ("AUTH-RESP-CODE", []), ("EXPIRE", ["NEVER"])):
        expect(name, capa.get(name), value)
    expect("SASL", "PLAIN" in capa["SASL"] and "SCRAM-SHA-256" in capa["SASL"], True)
    p.stls(context=context())
    expect("no STLS in TLS", "STLS" in p.capa(), False)
    refused("wrong password", "[AUTH]", p.apop, USER, PASSWORD + "x")
    p.apop(USER, PASSWORD)
    q = pop()
    q.user(USER)
    refused("second session", "[IN-USE]", q.pass_, PASSWORD)
    q.quit()
    number, size = p.stat()
    expect("messages", number, 3)
    sizes = [int(line.split()[1]) for line in p.list()[1]]
    expect("sizes", sum(sizes), size)
    expect("LIST 2", p.list(2).split()[:3], [b"+OK", b"2", str(sizes[1]).encode()])
    ids = p.uidl()[1]
    expect("UIDL 3", p.uidl(3).split()[1:3], ids[2].split())
    text = b"".join(line + b"\r\n" for line in p.retr(2)[1])
    expect("octets", len(text), sizes[1])
    expect("letter", text.endswith(LETTER), True)
    top = p.top(2, 2)[1]
    expect("TOP", top, text.split(b"\r\n")[:len(top)])
    expect("lines of TOP", len(top) - top.index(b"") - 1, 2)
    p.dele(1)
    refused("deleted", "-ERR", p.retr, 1)
    p.rset()
    expect("after RSET", p.stat(), (number, size))
    p.dele(1)
    p.noop()
    p.quit()
    p = poplib.POP3_SSL(HOST, port("pops"), timeout=20, context=context())
    p.user(USER)
    p.pass_(PASSWORD)
    expect("after QUIT", [line.split()[1] for line in p.uidl()[1]],
           [line.split()[1] for line in ids[1:]])
    p.dele(1)
    p.close()  # without QUIT nothing is deleted


globals()[sys.argv[1]]()
