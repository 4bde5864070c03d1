"""A network of machines inside one: each in a network namespace of its own, joined by a router that drops packets at will.

The thread that makes a Network moves to the router, and back at close(). `with network.machine(name):` moves it to that machine:
what is started or connected inside is there. Sockets that are open stay where they were opened, and threads where they were
started. Unix sockets in folders are reached from everywhere.

Namespaces have no names here: they last as long as this process and what runs in them, so nothing is left behind and nobody
else's is touched. It takes iproute2 and the rights of root; where these are missing, Unavailable says so.
"""

import ctypes
import os
import pathlib
import subprocess

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


class Unavailable(Exception):
    """This system lets us make no network; the text says why."""


def _ip(*arguments: str):
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable("ip is missing: install Debian's package iproute2") from None
    if done.returncode != 0:
        raise Unavailable(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class _Namespace:
    """A network namespace; it lasts at least until close()."""

    def __init__(self):
        """The one that this thread is in."""
        self._handle = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def make(cls) -> "_Namespace":
        """A new one, and this thread moves there."""
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise Unavailable(f"a network namespace: {os.strerror(ctypes.get_errno())}; it takes root with CAP_SYS_ADMIN")
        return cls()

    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._handle}"

    def enter(self):
        if _libc.setns(self._handle, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def close(self):
        os.close(self._handle)


class Machine:
    """One end of a cable to the router. As a context manager: this thread is there meanwhile."""

    def __init__(self, name: str, number: int, router: _Namespace):
        self.name = name
        self.address = f"10.0.{number}.2"
        gateway = f"10.0.{number}.1"
        self._router = router
        self._namespace = _Namespace.make()
        try:
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}", "netns", router.path())
            _ip("address", "add", f"{self.address}/24", "dev", "eth0")
            _ip("link", "set", "eth0", "up")
            router.enter()
            _ip("address", "add", f"{gateway}/24", "dev", f"to-{name}")
            _ip("link", "set", f"to-{name}", "up")
            self._namespace.enter()
            _ip("route", "add", "default", "via", gateway)
        finally:
            router.enter()

    def __enter__(self):
        self._namespace.enter()
        return self

    def __exit__(self, *_):
        self._router.enter()

    def close(self):
        self._namespace.close()


class Network:
    """The router and its machines. Whoever is at the router itself reaches all of them, whatever is dropped."""

    def __init__(self, *names: str):
        self._outside = _Namespace()
        self._router = _Namespace.make()
        self._machines: dict[str, Machine] = {}
        self._dropped: list[tuple[str, str]] = []
        try:
            pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            for number, name in enumerate(names, 1):
                self._machines[name] = Machine(name, number, self._router)
        except OSError as failure:
            self.close()
            raise Unavailable(f"a router: {failure}") from None
        except BaseException:
            self.close()
            raise

    def machine(self, name: str) -> Machine:
        return self._machines[name]

    def drop(self, source: str, target: str):
        """Packets from one machine to another vanish, as on a line that is cut: nobody is told."""
        # A rule of the router's is there on every kernel that routes, unlike tc's netem; and it has both ends.
        self._rule("add", source, target)
        self._dropped.append((source, target))

    def cut(self, one: str, other: str):
        """In both directions."""
        self.drop(one, other)
        self.drop(other, one)

    def heal(self):
        """Nothing is dropped any more."""
        while self._dropped:
            self._rule("delete", *self._dropped.pop())

    def close(self):
        """Machines go when the last process there ends."""
        self._outside.enter()
        for each in [*self._machines.values(), self._router, self._outside]:
            each.close()

    def _rule(self, verb: str, source: str, target: str):
        _ip("rule", verb, "from", self.machine(source).address, "to", self.machine(target).address, "blackhole")
