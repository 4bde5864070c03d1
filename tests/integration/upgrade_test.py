"""A cluster is upgraded, and taken back, node by node while records flow between its nodes: those of this version and of the next
understand each other. PENSTOCK_NEXT is built from these sources with a higher link version and frames that have more fields
(tests/integration/CMakeLists.txt).
"""

import os
import unittest

import cluster_test
from harness import PENSTOCK, PENSTOCK_NEXT, wait_until

COUNT = 40_000
RATE = 1_000
ENOUGH = 2_000  # records that go from node to node before the next one is changed


@unittest.skipUnless(os.access(PENSTOCK_NEXT, os.X_OK), f"{PENSTOCK_NEXT} is not built")
class Upgrade(cluster_test.IngestCase):
    """a has the sessions and b the batch-writers, so each record is in a frame from a to b."""

    def test_nodes_of_two_versions_work_together(self):
        self.begin_ingest({"a": "ingest", "b": "write"})
        own = self.link_version("a")
        load = self.start_load(self.config, "--count", COUNT, "--rate", RATE, "--devices", 200)
        self.flows()
        self.change("a", PENSTOCK_NEXT)  # the next version's frames, read by this one
        self.assertEqual((self.link_version("a"), self.link_version("b")), (own, own + 1))
        self.flows()
        self.change("b", PENSTOCK_NEXT)
        self.assertEqual((self.link_version("a"), self.link_version("b")), (own + 1, own + 1))
        self.flows()
        self.change("a", PENSTOCK)  # taken back: this version's frames, read by the next one
        self.assertEqual((self.link_version("a"), self.link_version("b")), (own + 1, own))
        self.flows()
        self.change("b", PENSTOCK)
        self.assertEqual(load.wait(), 0, (self.folder / "load.log").read_text()[-2000:])
        self.verdict()
        for node in self.members.running.values():
            self.assert_balanced(node)
            self.assertEqual(node.stop(), 0, node.log.read_text()[-3000:])

    def change(self, name: str, binary: str):
        node = self.members.running[name]
        self.assertEqual(node.stop(), 0, node.log.read_text()[-3000:])
        self.members.start(name, binary).up()
        wait_until(lambda: self.placed() == (6, 3), "all shards and lanes run somewhere")

    def link_version(self, name: str) -> int:
        """What the node's peer says of itself."""
        def link():
            links = self.members.status(name)["cluster"]["links"].values()
            return next((each for each in links if each["up"]), None)

        return wait_until(link, f"{name} has a link")["version"]

    def flows(self):
        def committed() -> int:
            return self.members.running["a"].pipeline()["account"]["committed"]

        before = committed()
        wait_until(lambda: committed() >= before + ENOUGH, "records go from a to b")


if __name__ == "__main__":
    unittest.main(verbosity=2)
