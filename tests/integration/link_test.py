"""Links between real processes over loopback: plain and TLS, peers that die, hang, come back, or are the wrong ones.

LINK_NODE names bench/cluster/link_node of the build under test.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from harness import PENSTOCK, free_port, wait_until

LINK_NODE = os.environ.get("LINK_NODE", str(pathlib.Path(PENSTOCK).with_name("link_node")))
LEASE = 1.0
SILENCE = 5.0  # after which a peer is lost: no less, however short the lease


class LinkNode:
    """One process; `link(peer)` is what it last said of that link."""

    def __init__(self, folder: pathlib.Path, name: str, port: int, *options):
        self.output = folder / f"{name}-{port}-{time.monotonic_ns()}.out"
        with open(self.output, "wb") as sink:
            arguments = [LINK_NODE, name, "--listen", f"127.0.0.1:{port}", "--lease", str(int(LEASE * 1000)), *map(str, options)]
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)

    def lines(self):
        found = []
        for line in self.output.read_text(errors="replace").splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                found.append(json.loads(line))
        return found

    def link(self, peer: str) -> dict:
        told = [line for line in self.lines() if line.get("peer") == peer]
        return told[-1] if told else {"up": False, "reason": ""}

    def links(self, *peers) -> bool:
        return all(self.link(peer)["up"] for peer in peers)

    def flows(self) -> bool:
        return {"flows": True} in self.lines()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self) -> int:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        return self.process.wait(60)


class Links(unittest.TestCase):
    options = []

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="penstock-test-"))
        self.ports = {name: free_port() for name in "abc"}
        self.nodes = []
        self.addCleanup(self.clean)

    def clean(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        result = getattr(getattr(self, "_outcome", None), "result", None)
        if result is not None and any(test is self for test, _ in result.failures + result.errors):
            for node in self.nodes:
                print(node.output, node.output.read_text(errors="replace")[-3000:], sep="\n")
        else:
            shutil.rmtree(self.folder)

    def start(self, name, *options, peers="abc", own=None):
        chosen = []
        for peer in peers:
            if peer != name:
                chosen += ["--peer", f"{peer}=127.0.0.1:{self.ports[peer]}"]
        node = LinkNode(self.folder, name, self.ports[name], *chosen, *(self.options if own is None else own), *options)
        self.nodes.append(node)
        return node

    def test_every_node_has_a_link_to_every_other_and_one_that_is_killed_and_started_again_has_them_back(self):
        a, b, c = (self.start(name) for name in "abc")
        for node, peers in ((a, "bc"), (b, "ac"), (c, "ab")):
            wait_until(lambda node=node, peers=peers: node.links(*peers), f"links to {peers}")
        b.process.kill()
        b.process.wait()
        wait_until(lambda: not a.link("b")["up"] and not c.link("b")["up"], "the loss of b is noticed")
        again = self.start("b")
        wait_until(lambda: again.links("a", "c") and a.links("b") and c.links("b"), "b is back")

    def test_a_node_that_hangs_is_noticed_soon_and_comes_back(self):
        a, b, c = (self.start(name) for name in "abc")
        wait_until(lambda: a.links("b", "c") and b.links("c"), "links")
        b.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        wait_until(lambda: not a.link("b")["up"] and not c.link("b")["up"], "b is silent")
        self.assertLess(time.monotonic() - stopped, 2 * SILENCE)
        self.assertTrue(a.links("c"))
        b.signal(signal.SIGCONT)
        wait_until(lambda: a.links("b") and c.links("b") and b.links("a", "c"), "b is back")

    def test_an_address_that_answers_nothing_delays_no_other_peer(self):
        with socket.socket() as hole:
            # A full backlog drops every further SYN, as a black hole does.
            hole.bind(("127.0.0.1", self.ports["b"]))
            hole.listen(0)
            held = [socket.socket() for _ in range(4)]
            for each in held:
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", self.ports["b"]))
            a = self.start("a")
            c = self.start("c", peers="a")
            wait_until(lambda: a.links("c") and c.links("a"), "a and c have a link", patience=30)
            wait_until(lambda: a.link("b")["reason"] not in ("", "not connected yet"), "a says what is with b")
            self.assertFalse(a.link("b")["up"])
            for each in held:
                each.close()
        b = self.start("b")
        wait_until(lambda: a.links("b") and b.links("a"), "b answers at last")

    def test_a_node_of_another_cluster_is_refused(self):
        a, b = self.start("a", "--cluster", "one"), self.start("b", "--cluster", "two")
        wait_until(lambda: "another cluster: two" in a.link("b")["reason"], "a refuses b")
        self.assertFalse(b.link("a")["up"])

    def test_frames_go_over_a_link_and_on_after_the_loss_of_their_writer(self):
        source = self.start("a", "--send", peers="b")
        sink = self.start("b", "--write", "--demand", 2000, peers="a")
        wait_until(lambda: source.flows() and sink.flows(), "frames go over the link")
        sink.process.kill()
        sink.process.wait()
        sink = self.start("b", "--write", "--demand", 2000, peers="a")
        wait_until(sink.flows, "frames go on")
        self.assertEqual(sink.end(), 0)
        self.assertGreater(sink.lines()[-1]["records"], 0)
        self.assertEqual(source.end(), 0)


class TlsLinks(Links):
    @classmethod
    def setUpClass(cls):
        cls.certificates = pathlib.Path(tempfile.mkdtemp(prefix="penstock-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.certificates)
        for authority in ("cluster", "stranger"):
            cls.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", f"/CN={authority}", "-keyout", f"{authority}-ca.key", "-out", f"{authority}-ca.pem")
            cls.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=node",
                        "-keyout", f"{authority}.key", "-out", f"{authority}.request")
            cls.openssl("x509", "-req", "-in", f"{authority}.request", "-CA", f"{authority}-ca.pem", "-CAkey",
                        f"{authority}-ca.key", "-CAcreateserial", "-days", "2", "-out", f"{authority}.pem")
        cls.options = cls.identity("cluster")

    @classmethod
    def openssl(cls, *arguments):
        subprocess.run(["openssl", *arguments], cwd=cls.certificates, check=True, capture_output=True)

    @classmethod
    def identity(cls, authority, ca=None):
        return ["--ca", cls.certificates / f"{ca or authority}-ca.pem", "--certificate", cls.certificates / f"{authority}.pem",
                "--key", cls.certificates / f"{authority}.key"]

    def test_a_certificate_of_another_authority_gets_no_link_and_harms_none(self):
        # c trusts everybody it meets; nobody trusts c.
        a, b, c = self.start("a"), self.start("b"), self.start("c", own=self.identity("stranger", ca="cluster"))
        wait_until(lambda: a.links("b") and b.links("a"), "those who trust each other")
        wait_until(lambda: a.link("c")["reason"] not in ("", "not connected yet"), "a says what is with c")
        self.assertFalse(a.link("c")["up"] or b.link("c")["up"] or c.link("a")["up"])

    def test_a_node_without_tls_gets_no_link(self):
        a, b = self.start("a", peers="b"), self.start("b", peers="a", own=[])
        wait_until(lambda: a.link("b")["reason"] not in ("", "not connected yet"), "a says what is with b")
        self.assertFalse(a.link("b")["up"] or b.link("a")["up"])

    def test_files_that_cannot_be_read_are_named_before_anything_starts(self):
        node = self.start("a", own=["--ca", self.certificates / "cluster-ca.pem", "--certificate", "/nowhere.pem",
                                    "--key", self.certificates / "cluster.key"])
        self.assertEqual(node.process.wait(30), 78)
        self.assertIn("/nowhere.pem", node.output.read_text())


if __name__ == "__main__":
    unittest.main()
