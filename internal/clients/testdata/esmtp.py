# libESMTP, as a test: esmtp.py NAME FILE runs the function NAME. The file says
# where the server is and who the user is. Whatever is not as it should be
# ends with a traceback.
import ctypes
import json
import sys

here = json.load(open(sys.argv[2]))
USER = here["user"].encode()
BODY_8BITMIME, BODY_BINARYMIME = 2, 3

lib = ctypes.CDLL("libesmtp.so.6")
READ = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p),
                        ctypes.POINTER(ctypes.c_int), ctypes.c_void_p)
MONITOR = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_char), ctypes.c_int, ctypes.c_int,
                           ctypes.c_void_p)


class Status(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char_p), ("enh_class", ctypes.c_int),
                ("enh_subject", ctypes.c_int), ("enh_detail", ctypes.c_int)]

    def __str__(self):
        return "%d %d.%d.%d" % (self.code, self.enh_class, self.enh_subject, self.enh_detail)


for name, result in (("smtp_create_session", ctypes.c_void_p),
                     ("smtp_add_message", ctypes.c_void_p), ("smtp_add_recipient", ctypes.c_void_p),
                     ("smtp_message_transfer_status", ctypes.POINTER(Status)),
                     ("smtp_recipient_status", ctypes.POINTER(Status))):
    getattr(lib, name).restype = result


def expect(what, got, want):
    if got != want:
        raise AssertionError("%s: got %r, want %r" % (what, got, want))


def right(what, done):
    if not done:
        text = ctypes.create_string_buffer(200)
        lib.smtp_strerror(lib.smtp_errno(), text, len(text))
        raise AssertionError("%s: %s" % (what, text.value.decode()))
    return done


class Text:
    """A message as the library reads it, in pieces of a size."""

    def __init__(self, text, size):
        self.text, self.size, self.at = text, size, 0
        self.callback = READ(self.read)

    def read(self, context, length, argument):
        if not length:  # from the beginning, please
            self.at = 0
            return None
        self.piece = ctypes.create_string_buffer(self.text[self.at:self.at + self.size])
        length[0] = len(self.piece) - 1
        self.at += length[0]
        return ctypes.addressof(self.piece) if length[0] else None


def send(texts, body, recipients, piece):
    """Sends the texts in one session and gives what was said, without the data,
    and the state of each message and of each recipient of the last."""
    said = bytearray()
    monitor = MONITOR(lambda text, length, writing, argument: said.extend(text[:length]))
    session = ctypes.c_void_p(right("session", lib.smtp_create_session()))
    right("server", lib.smtp_set_server(session, b"localhost:" + here["ports"]["smtp"].encode()))
    right("host name", lib.smtp_set_hostname(session, b"client.example.net"))
    right("monitor", lib.smtp_set_monitorcb(session, monitor, None, 1))
    messages, keep = [], []
    for text in texts:
        keep.append(Text(text, piece))
        message = ctypes.c_void_p(right("message", lib.smtp_add_message(session)))
        lib.smtp_set_reverse_path(message, b"sender@example.net")
        lib.smtp_set_messagecb(message, keep[-1].callback, None)
        right("body", lib.smtp_8bitmime_set_body(message, body))
        right("size", lib.smtp_size_set_estimate(message, ctypes.c_ulong(len(text))))
        names = [ctypes.c_void_p(lib.smtp_add_recipient(message, r)) for r in recipients]
        messages.append(message)
    right("session", lib.smtp_start_session(session))
    result = (bytes(said), [str(lib.smtp_message_transfer_status(m).contents) for m in messages],
              [str(lib.smtp_recipient_status(n).contents) for n in names])
    lib.smtp_destroy_session(session)
    return result


def send_binary():
    """Any byte there is, twice in a session. The library sends it in chunks, as
    BINARYMIME wants it."""
    binary = bytes.fromhex(here["binary"])
    said, sent, names = send([binary, binary], BODY_BINARYMIME, [USER, b"nobody@localhost"], 1000)
    expect("messages", sent, ["250 2.0.0"] * 2)
    expect("recipients", names, ["250 2.1.5", "550 5.1.1"])
    for part in (b" BODY=BINARYMIME", b" SIZE=%d" % len(binary)):
        expect(part, part in said, True)


def send_8bit():
    said, sent, names = send([here["letter"].encode()], BODY_8BITMIME, [USER], 100)
    expect("messages", sent, ["250 2.0.0"])
    expect("BODY", b" BODY=8BITMIME" in said, True)


globals()[sys.argv[1]]()
