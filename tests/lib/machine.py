"""A machine of the test's own: this one's file system, copied as it is written to, under a systemd.

    with Machine(BINARY, SAMPLE) as machine:        agnesfs in /usr/bin, the folder SAMPLE in /srv/stack
        machine.add_unit("agnesfs@.service", text)
        machine.systemctl("start", "agnesfs@4242")
        machine.run("cat", path, user=True)          as somebody whose number is UID
        machine.show("agnesfs@4242", "MainPID")

All of it, processes and mounts, ends with the namespaces that it is in. Needs root, and the packages
systemd and dbus; starts no service of this machine but those that systemd itself needs.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.lib.agnesfs import wait_for

UID = 4242
HOME = "/home/somebody"
RUNTIME = f"/run/user/{UID}"
SCRIPT = r"""
set -euo pipefail
scratch=$1 binary=$2 stack=$3
mount -t tmpfs tmpfs "$scratch"
cd "$scratch"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
mount -t sysfs -o ro sysfs root/sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 root/sys/fs/cgroup
else
    mount -t tmpfs tmpfs root/sys/fs/cgroup
    mkdir root/sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd,xattr cgroup root/sys/fs/cgroup/systemd
fi
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs root/$folder; done
chmod 1777 root/tmp
for device in null zero full random urandom tty; do
    touch root/dev/$device
    mount --bind /dev/$device root/dev/$device
done
mknod -m 666 root/dev/fuse c 10 229
ln -s /proc/self/fd root/dev/fd
install -m 755 "$binary" root/usr/bin/agnesfs
cp -r "$stack" root/srv/stack
chmod -R a+rX root/srv/stack
echo "somebody:x:$4:$4::$5:/bin/sh" >>root/etc/passwd
echo "somebody:x:$4:" >>root/etc/group
install -d -o "$4" -g "$4" "root$5"
install -d root/run/systemd/system
printf '[Unit]\nRequires=basic.target dbus.socket\n' >root/run/systemd/system/trial.target
exec chroot root env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=trial.target --log-target=null --show-status=no
"""


class Machine:
    def __init__(self, binary, stack):
        self.scratch = tempfile.mkdtemp(prefix="agnesfs-machine-")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--cgroup", "--uts", "--ipc",
             "--fork", "--kill-child", "bash", "-c", SCRIPT, "machine", self.scratch, binary, stack,
             str(UID), HOME], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.pid = None

    def __enter__(self):
        try:
            wait_for(self._is_up, 60, "a systemd that answers")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.pid:
            subprocess.run(["kill", "-9", str(self.pid)], check=False)  # the first of its namespace
        self.process.kill()
        self.process.communicate(timeout=60)
        os.rmdir(self.scratch)

    def _is_up(self):
        assert self.process.poll() is None, self.process.communicate()[0].decode()
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        if not children or Path(f"/proc/{children.split()[0]}/comm").read_text() != "systemd\n":
            return False
        self.pid = int(children.split()[0])
        said = self.run("systemctl", "is-system-running", check=False)
        return said.stdout in ("running\n", "degraded\n")

    def run(self, *command, user=False, check=True):
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--cgroup", "--uts",
                  "--ipc", "--root", "--wd=/", "--"]
        if user:
            inside += ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
                       "env", f"HOME={HOME}", f"XDG_RUNTIME_DIR={RUNTIME}"]
        done = subprocess.run([*inside, *map(str, command)], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=120, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def systemctl(self, *words, user=False, check=True):
        return self.run("systemctl", *(["--user"] if user else []), *words, user=user, check=check)

    def show(self, unit, name, user=False):
        return self.systemctl("show", "--property", name, "--value", unit, user=user).stdout.strip()

    def write(self, path, text):
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"', "sh", path, text)

    def add_unit(self, name, text, manager="system"):
        self.write(f"/run/systemd/{manager}/{name}", text)
        self.systemctl("daemon-reload")

