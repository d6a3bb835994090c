"""Power cuts: the whole machine goes off under load and is switched on again."""

import random
import re
import time

import load
from disk import Disk
from report import Failed, wait_for

CONNECTIONS = 8
CAROL = "carol@example.org"
# So many messages are answered before the cut, however slow the machine is.
ENOUGH = 50
# So many flushes the lying disk ignores: a second or so of the load.
FORGOTTEN = 50


def run(report, m, cuts):
    """So many cuts, and one that shows that a loss would be seen."""
    said = m.run(f"cd / && postrider account add {CAROL} --json")
    m.halt()
    p = Power(m, re.search(r'"password":"([^"]+)"', said)[1])
    for number in range(1, cuts + 1):
        report.check(p.cut, number)
    report.check(p.lie)


class Power:
    """The machine, its disk, and what was sent to it."""

    def __init__(self, m, password):
        self.machine = m
        self.password = password
        self.disk = Disk(m.disk)
        self.journal = load.Journal()
        self.generator = random.Random()
        m.start(self.disk.arguments())

    def cut_under_load(self, name, forget):
        """Cut the power at some moment of a load, and switch it on again.
        Returns what was seen, and what is wrong with the mail."""
        senders = load.Load(self.machine.ports[25], CAROL, CONNECTIONS, self.journal, name)
        wait_for("answers", lambda: len(self.journal.names("answered")) >= ENOUGH, 300)
        time.sleep(self.generator.uniform(0, 3))
        self.machine.cut()
        senders.end(cut=True)
        if self.journal.refused:
            raise Failed(f"refused: {self.journal.refused[:3]}")
        answered, unheard = len(self.journal.names("answered")), len(self.journal.names("sent"))
        late, lost = self.disk.cut(self.generator, forget)
        seconds = self.machine.start(self.disk.arguments())
        if self.machine.ssh("systemctl is-active postrider").returncode:
            raise Failed(self.machine.run("systemctl status -n 5 postrider || true"))
        wrong, found, kept = load.settle(self.machine.ports[995], CAROL, self.password,
                                         self.journal)
        return (f"{answered} answered, {unheard} unheard of which {kept} were kept, {found} "
                f"found; the disk had {late} writes not flushed and lost {lost} pieces of them; "
                f"up after {seconds:.0f} s"), wrong

    def cut(self, number):
        """The power is cut under load: every message answered 250 is there exactly once."""
        seen, wrong = self.cut_under_load(f"cut{number}", 0)
        said = self.machine.run("cd / && postrider check")
        if wrong or "sound" not in said:
            raise Failed(f"{len(wrong)} wrong: {'; '.join(wrong[:5])}; check: {said}; {seen}")
        return f"{seen}; {said}"

    def lie(self):
        """A disk that ignores flushes loses mail, and this test sees it."""
        seen, wrong = self.cut_under_load("lie", FORGOTTEN)
        lost = [w for w in wrong if w.endswith("is lost")]
        if not lost:
            raise Failed("nothing was lost: " + seen)
        return f"{len(lost)} lost"
