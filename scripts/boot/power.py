"""Power cuts: the whole machine goes off under load and is switched on again."""

import random
import re
import time

import load
from report import Failed

CONNECTIONS = 8
CAROL = "carol@example.org"


def run(report, m, cuts):
    """So many cuts, one check each."""
    said = m.run(f"cd / && postrider account add {CAROL} --json")
    password = re.search(r'"password":"([^"]+)"', said)[1]
    journal = load.Journal()
    for number in range(1, cuts + 1):
        report.check(cut, m, journal, password, number)


def cut(m, journal, password, number):
    """The power is cut under load: every message answered 250 is there exactly once."""
    senders = load.Load(m.ports[25], CAROL, CONNECTIONS, journal, f"cut{number}")
    time.sleep(random.uniform(1, 5))
    m.cut()
    senders.end(cut=True)
    if journal.refused:
        raise Failed(f"refused: {journal.refused[:3]}")
    answered, open_ = len(journal.names("answered")), len(journal.names("sent"))
    if not answered:
        raise Failed("no message was answered before the cut")
    seconds = m.start()
    m.run("systemctl is-active postrider")
    wrong, found, late = load.settle(m.ports[995], CAROL, password, journal)
    if wrong:
        raise Failed(f"{len(wrong)} wrong: " + "; ".join(wrong[:5]))
    said = m.run("cd / && postrider check")
    if "sound" not in said:
        raise Failed(said)
    return (f"{answered} answered, {open_} open of which {late} were kept, {found} found, "
            f"booted in {seconds:.0f} s, check: {said}")
