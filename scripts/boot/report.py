"""What every check needs: a line of its own, and a way to fail."""

import time


class Failed(Exception):
    """Something is not as it must be."""


class Report:
    """Runs checks, prints a line for each, and counts the failures."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, function, *arguments):
        """Run one check, and say whether it passed. The first line of its
        documentation is its name; what it returns is what was seen, and an
        exception is its failure."""
        name = function.__doc__.split("\n")[0].rstrip(".")
        began = time.monotonic()
        try:
            seen, result = function(*arguments), "ok  "
            self.passed += 1
        except Exception as e:  # whatever it was, the other checks go on
            seen = str(e) if isinstance(e, Failed) else f"{type(e).__name__}: {e}"
            result = "FAIL"
            self.failed += 1
        took = time.monotonic() - began
        print(f"{result} {name}{': ' + seen if seen else ''} ({took:.1f} s)", flush=True)
        return result == "ok  "

    def status(self):
        """Print the counts; the exit status."""
        print(f"{self.passed} checks passed, {self.failed} failed")
        return 1 if self.failed else 0


def want(got, expected, what):
    """Fail unless both are equal."""
    if got != expected:
        raise Failed(f"{what}: got {got!r}, want {expected!r}")


def wait_for(what, condition, patience_s=30):
    """Wait until the condition holds. Returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            raise Failed(f"{what}: not within {patience_s} s")
        time.sleep(0.05)
    return time.monotonic() - began
