"""One private MariaDB with TLS, behind a network with faults, for the length of a command that asks for them:

    python3 tests/databases/faults.py -- COMMAND [ARGUMENT ...]

COMMAND finds in PENSTOCK_TEST_DATABASE the url of a database that is its own, through the network; in
PENSTOCK_TEST_DATABASE_ADMIN that of the server's superuser, past it; in PENSTOCK_TEST_CA the authority of the server's
certificate, which is for 127.0.0.1 alone, and in PENSTOCK_TEST_OTHER_CA one that knows nothing of it; in
PENSTOCK_TEST_CONTROL a port of loopback that takes one order a line and answers "done" each time:

    network forward|swallow|stall|refuse    see Proxy in tests/support/database_server.py
    cut                                     ends all connections
    kill                                    SIGKILL to the server
    start                                   starts it again
"""

import os
import pathlib
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from database_server import Mariadb, Proxy, dies_with_parent  # noqa: E402


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def authority(folder: pathlib.Path, name: str) -> pathlib.Path:
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
    return folder / f"{name}.pem"


def certificate(folder: pathlib.Path, ca: pathlib.Path):
    (folder / "names").write_text("subjectAltName = IP:127.0.0.1\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", folder / "server.key",
            "-out", folder / "server.request")
    openssl("x509", "-req", "-days", 2, "-in", folder / "server.request", "-CA", ca, "-CAkey", ca.with_suffix(".key"),
            "-CAcreateserial", "-extfile", folder / "names", "-out", folder / "server.pem")


def carry_out(order: list[str], server: Mariadb, network: Proxy):
    match order:
        case ["network", mode]:
            network.mode = mode
        case ["cut"]:
            network.cut()
        case ["kill"]:
            server.kill()
        case ["start"]:
            server.start()
        case _:
            raise ValueError(f"no such order: {order}")


class Orders(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                # The server dies with the thread that starts it, so the main thread does all of it.
                done = threading.Event()
                self.server.orders.append((line.decode().split(), done))
                self.server.wake.set()
                done.wait()
                self.wfile.write(b"done\n")
            except (OSError, ValueError):
                return


class Control(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def run(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="penstock-faults-") as name:
        folder = pathlib.Path(name)
        ca, other = authority(folder, "ca"), authority(folder, "other")
        certificate(folder, ca)
        tls = f"ssl-ca = {ca}\nssl-cert = {folder}/server.pem\nssl-key = {folder}/server.key\n"
        with Mariadb(folder / "server", tls) as server, Proxy(server.port) as network, Control(
            ("127.0.0.1", 0), Orders
        ) as control:
            control.orders, control.wake = [], threading.Event()
            threading.Thread(target=control.serve_forever, daemon=True).start()
            environment = {
                **os.environ, "PENSTOCK_TEST_DATABASE": network.url(server),
                "PENSTOCK_TEST_DATABASE_ADMIN": server.admin_url, "PENSTOCK_TEST_CA": str(ca),
                "PENSTOCK_TEST_OTHER_CA": str(other), "PENSTOCK_TEST_CONTROL": str(control.server_address[1]),
            }
            with subprocess.Popen(command, env=environment, preexec_fn=dies_with_parent(signal.SIGTERM)) as process:
                while process.poll() is None:
                    control.wake.wait(0.05)
                    control.wake.clear()
                    while control.orders:
                        order, done = control.orders.pop(0)
                        carry_out(order, server, network)
                        done.set()
            control.shutdown()
            return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(run(arguments[1:] if arguments[:1] == ["--"] else arguments))
