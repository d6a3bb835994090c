"""A small Debian in a virtual machine: made once, booted, cut off.

An image is a directory with a disk, a kernel and the key that opens the
machine. A Machine is one qemu on a copy of that disk. Commands go in over ssh;
the mail ports of the machine are reached under ports of loopback here.
"""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from report import Failed

# What is in the machine besides the base of Debian. curl and openssl are the
# clients of the checks; the rest makes it a machine that boots.
PACKAGES = ("systemd-sysv,dbus,udev,linux-image-cloud-amd64,openssh-server,iproute2,curl,openssl,"
            "ca-certificates")
# What this side needs, by Debian package.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
}
DISK_SIZE = "3G"
# A boot in software emulation takes a minute or two; with KVM it takes seconds.
BOOT_PATIENCE_S = 600
COMMAND_PATIENCE_S = 300


def install_tools(names):
    """Install what is missing of these tools, or say what to install."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = sorted({TOOLS[n] for n in names if not shutil.which(n, path=path)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        sys.exit("these Debian packages are missing: " + " ".join(missing))
    print("Installing", *missing, flush=True)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for step in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "-q", *step], env=env, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)


def build_image(directory, release="bookworm"):
    """Make the image in a directory, unless it is there already."""
    disk = os.path.join(directory, "disk")
    if os.path.exists(disk):
        return
    root = os.path.join(directory, "root")
    key = os.path.join(directory, "key")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(directory, exist_ok=True)
    quiet("mmdebstrap", "--quiet", "--variant=minbase", "--include=" + PACKAGES, release, root)
    if not os.path.exists(key):
        quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)

    def put(path, text, mode=0o644):
        path = root + path
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, mode)

    os.makedirs(root + "/root/.ssh", mode=0o700, exist_ok=True)
    with open(key + ".pub", encoding="ascii") as f:
        put("/root/.ssh/authorized_keys", f.read(), 0o600)
    put("/etc/hostname", "mail\n")
    put("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 mail\n")
    put("/etc/fstab", "/dev/vda / ext4 errors=remount-ro 0 1\n")
    put("/etc/systemd/network/wired.network",
        "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n")
    # The journal of the machine shall be there after a cut.
    os.makedirs(root + "/var/log/journal", exist_ok=True)
    quiet("systemctl", "--root=" + root, "enable", "systemd-networkd.service", "ssh.service")
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(glob.glob(f"{root}/boot/{name}-*")[0], os.path.join(directory, name))
    quiet("mke2fs", "-q", "-t", "ext4", "-d", root, disk + ".part", DISK_SIZE)
    os.rename(disk + ".part", disk)
    shutil.rmtree(root)


def quiet(*command):
    """Run a program of this side; what it says is shown only when it fails."""
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def free_port():
    """A port of loopback that nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Machine:
    """One virtual machine. Its disk stays when it is cut off or halted."""

    def __init__(self, image, scratch, guest_ports, kvm=False):
        self.image = image
        self.processor = ["-accel", "kvm", "-cpu", "host"] if kvm else [
            "-accel", "tcg,thread=multi", "-cpu", "max"]
        self.disk = os.path.join(scratch, "disk")
        self.console = os.path.join(scratch, "console")
        self.tunnel = os.path.join(scratch, "ssh")
        self.ports = {guest: free_port() for guest in (22, *guest_ports)}
        self.process = None
        # Holes stay holes: the disk is mostly empty.
        quiet("cp", "--sparse=always", os.path.join(image, "disk"), self.disk)

    def start(self, drive=None):
        """Switch it on, with another drive if one is given, and wait until it
        has booted. Returns the seconds."""
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{guest}"
                           for guest, here in self.ports.items())
        drive = drive or ["-drive", f"file={self.disk},format=raw,if=virtio,cache=writeback"]
        command = ["qemu-system-x86_64", *self.processor, "-smp", "2", "-m", "1024",
                   "-display", "none", "-monitor", "none",
                   "-serial", "file:" + self.console, *drive,
                   "-netdev", "user,id=net" + forwards,
                   "-device", "virtio-net-pci,netdev=net,romfile=",
                   "-kernel", os.path.join(self.image, "vmlinuz"),
                   "-initrd", os.path.join(self.image, "initrd.img"),
                   "-append", "root=/dev/vda rw console=ttyS0 panic=-1"]
        began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.wait_booted()
        return time.monotonic() - began

    def wait_booted(self, not_boot=""):
        """Wait until systemd has finished a boot that is not this one."""
        deadline = time.monotonic() + BOOT_PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"qemu ended with {self.process.returncode}")
            done = self.ssh("cat /proc/sys/kernel/random/boot_id; "
                            "systemctl is-system-running --wait", patience=60)
            said = done.stdout.split()
            if said and said[0] == not_boot:
                self.hang_up()
            if len(said) == 2 and said[0] != not_boot and said[1] in ("running", "degraded"):
                return
            time.sleep(0.5)
        raise Failed(f"it has not booted within {BOOT_PATIENCE_S} s; see {self.console}")

    def ssh(self, command, stdin=None, patience=COMMAND_PATIENCE_S):
        """Run a shell command as root in the machine. The commands of one boot
        share a connection, because each handshake costs an emulated processor
        a second."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
                   "LogLevel=ERROR", "ConnectTimeout=10", "IdentitiesOnly=yes",
                   "ControlMaster=auto", "ControlPersist=yes", "ControlPath=" + self.tunnel]
        args = ["ssh", "-i", os.path.join(self.image, "key"), "-p", str(self.ports[22])]
        for option in options:
            args += ["-o", option]
        args += ["root@127.0.0.1", command]
        text = not isinstance(stdin, bytes)
        try:
            return subprocess.run(args, input=stdin if stdin is not None else "",
                                  capture_output=True, text=text, timeout=patience, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(args, 255, "" if text else b"",
                                               f"no end within {patience} s")

    def hang_up(self):
        """End the connection of this boot."""
        subprocess.run(["ssh", "-O", "exit", "-o", "ControlPath=" + self.tunnel, "127.0.0.1"],
                       capture_output=True, check=False)

    def run(self, command, stdin=None, status=0):
        """The standard output of a command that must end with this status."""
        done = self.ssh(command, stdin)
        if done.returncode != status:
            raise Failed(f"{command}: status {done.returncode}, not {status}: "
                         f"{done.stdout}{done.stderr}".strip())
        return done.stdout.strip() if isinstance(done.stdout, str) else ""

    def put(self, path, content, mode="644"):
        """Write a file in the machine, whole or not at all."""
        if isinstance(content, str):
            content = content.encode()
        self.run(f"mkdir -p $(dirname {path}) && cat >{path}.part && chmod {mode} {path}.part && "
                 f"sync {path}.part && mv {path}.part {path} && sync $(dirname {path})", content)

    def reboot(self):
        """Reboot it as an administrator does, and wait for the next boot."""
        before = self.run("cat /proc/sys/kernel/random/boot_id")
        self.ssh("systemctl reboot", patience=30)
        self.hang_up()
        self.wait_booted(not_boot=before)

    def halt(self):
        """Switch it off in good order."""
        self.ssh("systemctl poweroff", patience=30)
        self.process.wait(BOOT_PATIENCE_S)
        self.hang_up()

    def cut(self):
        """Take the power away: nothing in the machine hears of it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()
        self.hang_up()
