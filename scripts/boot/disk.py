"""A disk with a cache that a power cut empties.

While the machine runs, qemu writes down each request that the disk has
finished, in the form of Linux's dm-log-writes. At a cut the disk is put
together again from that: what was written before the last flush is there, and
of what was written since, each piece of 4 kB by the toss of a coin.
"""

import os
import struct

from machine import quiet

MAGIC = 0x6A736677736872
SECTOR = 512
PIECE = 4096
FLUSH, FUA, DISCARD = 1, 2, 4


class Disk:
    """The content of a disk at the last cut, and the requests since. Path is
    a file that holds it."""

    def __init__(self, path):
        self.path = path
        self.live = path + ".live"
        self.log = path + ".log"

    def arguments(self):
        """Begin anew from the content, and give qemu's arguments for it."""
        quiet("cp", "--sparse=always", self.path, self.live)
        with open(self.log, "wb"):
            pass
        return ["-blockdev", f"driver=blklogwrites,node-name=disk,log-sector-size={SECTOR},"
                f"file.driver=file,file.filename={self.live},"
                f"log.driver=file,log.filename={self.log}",
                "-device", "virtio-blk-pci,drive=disk,write-cache=on"]

    def cut(self, generator, forget=0):
        """Put the content together as it is after a cut. With forget the disk
        has lied: it ignored that many of its last flushes, and everything
        since. Returns how many writes came after the last flush that counts,
        and how many pieces of them were lost."""
        with open(self.log, "rb") as log, open(self.path, "r+b") as disk:
            requests = list(read_log(log))
            flushes = [i for i, r in enumerate(requests) if r[2] & FLUSH]
            safe = flushes[-1 - forget] if len(flushes) > forget else 0
            late = lost = 0
            for number, (sector, count, flags, position) in enumerate(requests):
                kept = number <= safe or flags & FUA
                late += bool(count) and not kept
                if not count or flags & DISCARD:
                    continue  # a discard promises no content
                for offset in range(0, count * SECTOR, PIECE):
                    if not kept and (forget or generator.random() < 0.5):
                        lost += 1
                        continue
                    log.seek(position + offset)
                    disk.seek(sector * SECTOR + offset)
                    disk.write(log.read(min(PIECE, count * SECTOR - offset)))
        os.remove(self.live)
        os.remove(self.log)
        return late, lost


def read_log(log):
    """The requests: sector, number of sectors, flags, and where their content
    is. The log ends where qemu was when it was killed."""
    size = log.seek(0, os.SEEK_END)
    log.seek(0)
    head = log.read(28)
    magic, version, _, sector_size = struct.unpack("<QQQI", head)
    if (magic, version, sector_size) != (MAGIC, 1, SECTOR):
        raise ValueError(f"{log.name} is no log of writes")
    position = SECTOR
    while position + SECTOR <= size:
        log.seek(position)
        sector, count, flags, _ = struct.unpack("<QQQQ", log.read(32))
        position += SECTOR
        length = 0 if flags & DISCARD else count * SECTOR
        if not (count or flags) or position + length > size:
            return
        yield sector, count, flags, position
        position += length
