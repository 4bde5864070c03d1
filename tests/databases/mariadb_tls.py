"""One private MariaDB with TLS, for the length of a command:

    python3 tests/databases/mariadb_tls.py COMMAND [ARGUMENT ...]

COMMAND finds in PENSTOCK_TEST_DATABASE the url of a database that is its own, in PENSTOCK_TEST_CA the authority of the
server's certificate, which is for 127.0.0.1 alone, and in PENSTOCK_TEST_OTHER_CA one that knows nothing of it.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from database_server import Mariadb, dies_with_parent  # noqa: E402


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


def run(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="penstock-tls-") as name:
        folder = pathlib.Path(name)
        ca, other = authority(folder, "ca"), authority(folder, "other")
        certificate(folder, ca)
        tls = f"ssl-ca = {ca}\nssl-cert = {folder}/server.pem\nssl-key = {folder}/server.key\n"
        with Mariadb(folder / "server", tls) as server:
            environment = {
                **os.environ, "PENSTOCK_TEST_DATABASE": server.url, "PENSTOCK_TEST_CA": str(ca),
                "PENSTOCK_TEST_OTHER_CA": str(other),
            }
            with subprocess.Popen(command, env=environment, preexec_fn=dies_with_parent(signal.SIGTERM)) as process:
                code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
