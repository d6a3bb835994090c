# Python's own POP3 client against the server at 127.0.0.1:argv[1].
# The maildrop holds three messages; argv[2] and argv[3] are who and secret.
import poplib
import ssl
import sys

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def expect(what, got, want):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))


def refused(what, code, call, *args):
    try:
        call(*args)
    except poplib.error_proto as e:
        if code not in str(e):
            sys.exit("%s: got %s, want %s" % (what, e, code))
        return
    sys.exit("%s: not refused" % what)


p = poplib.POP3("127.0.0.1", port, timeout=10)
refused("wrong password", "[AUTH]", p.apop, user, "wrong")
capa = p.capa()
expect("UIDL in CAPA", capa.get("UIDL"), [])
expect("EXPIRE in CAPA", capa.get("EXPIRE"), ["NEVER"])
p.utf8()
p.apop(user, password)
expect("STAT", p.stat(), (3, 71))
ids = p.uidl()[1]

q = poplib.POP3("127.0.0.1", port, timeout=10)
q.user(user)
refused("second session", "[IN-USE]", q.pass_, password)

expect("LIST", p.list()[1], [b"1 16", b"2 31", b"3 24"])
expect("LIST 2", p.list(2), b"+OK 2 31")
expect("RETR 2", p.retr(2)[1], [b"Subject: two", b"", b".dot", b"..", b"end"])
expect("TOP 2 1", p.top(2, 1)[1], [b"Subject: two", b"", b".dot"])
p.dele(1)
refused("RETR of a deleted one", "deleted", p.retr, 1)
p.rset()
p.dele(2)
p.noop()
expect("QUIT", p.quit()[:3], b"+OK")

q.user(user)
q.pass_(password)
expect("what is left", [i.split()[1] for i in q.uidl()[1]], [ids[0].split()[1], ids[2].split()[1]])
q.quit()

anyone = ssl.create_default_context()
anyone.check_hostname = False
anyone.verify_mode = ssl.CERT_NONE
p = poplib.POP3("127.0.0.1", port, timeout=10)
p.stls(anyone)
p.user(user)
p.pass_(password)
expect("over TLS", p.retr(2)[1], [b"Subject: three", b"", b"last"])
p.quit()
print("done")
