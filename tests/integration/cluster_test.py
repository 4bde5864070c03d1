"""Several nodes publish and ingest together: whatever becomes of any of them, nothing is lost and nothing repeated."""

import os
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import database_server  # noqa: E402
from harness import PENSTOCK, SOAK, Node, free_port, run_command, wait_until  # noqa: E402
from publish_test import TABLE_A, Plant, PublishCase, Receiver, Sqlite  # noqa: E402

ROWS = 100_000 if SOAK else 30_000
SECONDS = 120 if SOAK else 40
LEASE = 1.0

CONFIGURATION = """
data: ./data
cluster: {{name: plant-7, state: {state}, lease: 1s}}
nodes:
{nodes}
brokers:
  main: {{url: "mqtt://127.0.0.1:{port}", reconnect_max: 500ms}}
databases:
  plant: {{url: "{database}", busy_timeout: 2s{limits}}}
{databases}
""" + TABLE_A


class Members:
    """The nodes of a cluster, by name."""

    def __init__(self, case: "ClusterCase", names: str):
        self.case = case
        self.running: dict[str, Node] = {}
        for name in names:
            self.start(name)

    def start(self, name: str, binary: str = PENSTOCK) -> Node:
        self.running[name] = self.case.keep(Node(self.case.folder, self.case.config, name, binary=binary))
        return self.running[name]

    def status(self, name: str) -> dict:
        return self.running[name].status()

    def owned(self, name: str) -> set[int]:
        """Shards that run there, by what the node says itself."""
        return {shard["shard"] for shard in self.status(name)["publish"]["TableA"]["shards"]}


class ClusterCase(PublishCase):
    def begin_cluster(self, server, names: str = "abc", qos: int = 2, state: str = "plant", databases: str = "",
                      limits: str = ", connect_timeout: 2s, statement_timeout: 5s"):
        self.broker = self.mosquitto("max_queued_messages 0\n")
        self.plant = Plant(server)
        self.receiver = Receiver(self.broker.port)
        self.config = self.folder / "cluster.yaml"
        self.config.write_text(CONFIGURATION.format(
            shards=9, poll="50ms",
            nodes="".join(f"  {name}: {{address: 127.0.0.1:{free_port()}, http: 127.0.0.1:0, admin: true}}\n" for name in "abcd"),
            port=self.broker.port, database=server.url, qos=qos, state=state, databases=databases,
            limits="" if server.url.startswith("sqlite") else limits))
        self.members = Members(self, names)

    def shards_at(self, names: str) -> dict[str, set[int]]:
        return {name: self.members.owned(name) for name in names}

    def disturb(self, names: str, seconds: float):
        """Kills, pauses and restarts nodes at random."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.random.uniform(0.2, 3))
            name = self.random.choice(names)
            node = self.members.running[name]
            match self.random.choice(["kill", "pause", "stop", "kill"]):
                case "kill":
                    node.kill()
                    time.sleep(self.random.uniform(0, 2 * LEASE))
                    self.members.start(name)
                case "pause":  # as a machine that hangs: its shards are taken, and it comes back a zombie
                    node.signal(signal.SIGSTOP)
                    time.sleep(self.random.uniform(0.5, 4) * LEASE)
                    node.signal(signal.SIGCONT)
                case "stop":
                    code = node.stop()
                    self.assertEqual(code, 0, node.log.read_text()[-3000:])
                    self.members.start(name)

    def wait_for_shards(self, names: str, patience: float = 30):
        """Returns when each of the shards runs at one of these nodes."""
        def complete():
            at = [shard for owned in self.shards_at(names).values() for shard in owned]
            return sorted(at) == list(range(9))

        wait_until(complete, f"all shards run at one of {names}", patience)


class Publishing(ClusterCase):
    def setUp(self):
        super().setUp()
        self.server = self.keep(database_server.Postgresql(self.folder / "server"))

    def test_shards_spread_and_move_and_nothing_is_sent_twice(self):
        self.begin_cluster(self.server, "ab")
        for node in self.members.running.values():
            node.ready()
        self.wait_for_shards("ab")
        feeding = self.feed(ROWS // 3, 15)
        time.sleep(2)
        self.members.start("c").up()
        self.wait_for_shards("abc")
        time.sleep(1)
        moved = min(self.members.owned("a"))
        run_command("cluster", "move", f"TableA/{moved}", "b", "--config", self.config)
        wait_until(lambda: moved in self.members.owned("b"), "the shard is at b", 20)
        run_command("cluster", "drain", "b", "--config", self.config)
        wait_until(lambda: not self.members.owned("b"), "b is empty", 30)
        self.wait_for_shards("ac")
        self.assertEqual(self.members.running["c"].stop(), 0)
        self.wait_for_shards("a")
        feeding.join()
        self.wait_for(ROWS // 3)
        self.assert_exactly_once(range(1, ROWS // 3 + 1))
        for name in "ab":
            self.assertEqual(self.members.running[name].stop(), 0)

    def test_nodes_are_killed_stopped_and_continued(self):
        self.begin_cluster(self.server)
        self.wait_for_nodes()
        feeding = self.feed(ROWS, SECONDS)
        self.disturb("abc", SECONDS)
        feeding.join()
        self.wait_for(ROWS)
        self.assert_exactly_once(range(1, ROWS + 1))
        for node in self.members.running.values():
            self.assertEqual(node.stop(), 0)

    def wait_for_nodes(self):
        for node in self.members.running.values():
            node.up()
        self.wait_for_shards("abc")


class Hanging:
    """A machine hangs in the middle of a transaction, or its power is gone: the server holds the locks of its rows."""

    def test_a_transaction_that_hangs_holds_up_no_successor(self):
        server = self.keep(self.kind(self.folder / "server"))
        self.begin_cluster(server, "ab", limits="")  # with the statement_timeout of users, 30 s
        for node in self.members.running.values():
            node.ready()
        self.wait_for_shards("ab")
        a = self.members.running["a"]
        self.pause_in_transaction(server, a)
        self.plant.insert(self.plant.take(1_000))
        wait_until(lambda: self.members.owned("b") == set(range(9)), "b has all shards", 20)
        rows = self.plant.next_id - 1
        self.wait_for(rows, 20)
        a.signal(signal.SIGCONT)
        self.wait_for_shards("ab")
        self.assert_exactly_once(range(1, rows + 1))
        for node in self.members.running.values():
            self.assertEqual(node.stop(), 0)

    def pause_in_transaction(self, server, node: Node):
        """Stops a node at a moment at which it has locked rows."""
        for _ in range(1_000):
            self.plant.insert(self.plant.take(20))
            time.sleep(self.random.uniform(0, 0.1))
            node.signal(signal.SIGSTOP)
            os.waitid(os.P_PID, node.pid, os.WSTOPPED)  # all of its threads
            if self.locks(server) & self.locks(server):
                return
            node.signal(signal.SIGCONT)
        self.fail("the node was never met in a transaction")

    def locks(self, server) -> set[str]:
        time.sleep(0.15)  # MariaDB's view is made anew only after it was left alone for 0.1 s
        return set(server.sql(self.locking).split())


class HangingOnPostgresql(Hanging, ClusterCase):
    kind = database_server.Postgresql
    locking = "SELECT backend_xid FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL"


class HangingOnMariadb(Hanging, ClusterCase):
    kind = database_server.Mariadb
    locking = "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_rows_locked > 0"


class IngestCase(ClusterCase):
    def begin_ingest(self, roles: dict[str, str], state: database_server.Postgresql | None = None):
        """`state`: its database, where that is another server than the target's."""
        self.server = self.keep(database_server.Postgresql(self.folder / "server"))
        self.broker = self.mosquitto()
        config = self.configure(self.broker, shards=6, database=self.server.url,
                                database_options=", busy_timeout: 2s, connect_timeout: 2s, statement_timeout: 5s")
        text = self.of_nodes(config.read_text(), roles)
        text = text.replace("    format: json\n", "    format: json\n    writers: 3\n")
        if state:
            text = text.replace("state: telemetry", "state: state").replace(
                "databases:\n", f'databases:\n  state: {{url: "{state.url}", busy_timeout: 200ms, connect_timeout: 500ms,'
                                " statement_timeout: 1s}\n")
        config.write_text(text)
        self.config = config
        self.members = Members(self, "".join(sorted(roles)))
        for node in self.members.running.values():
            node.up()
        wait_until(lambda: self.placed() == (6, 3) and self.linked(), "all shards and lanes run somewhere, all nodes are linked", 30)

    def of_nodes(self, text: str, roles: dict[str, str], lease: str = "1s") -> str:
        """The configuration of one node as that of a cluster."""
        nodes = "".join(f"  {name}: {{address: 127.0.0.1:{free_port()}, http: 127.0.0.1:0, admin: true, roles: [{roles[name]}]}}\n"
                        for name in sorted(roles))
        return text.replace("node: {name: a, http: 127.0.0.1:0, admin: true}\n",
                            f"cluster: {{name: plant-7, state: telemetry, lease: {lease}}}\nnodes:\n{nodes}")

    def linked(self) -> bool:
        """Whether each node has a link to each other."""
        links = [self.members.status(name)["cluster"]["links"] for name in self.members.running]
        return all(sum(link["up"] for link in each.values()) == len(links) - 1 for each in links)

    def placed(self) -> tuple[int, int]:
        """Connected shards, and running batch-writers, over all nodes."""
        shards = writers = 0
        for node in self.members.running.values():
            try:
                pipeline = node.status()["pipelines"]["telemetry"]
            except (OSError, ValueError, TypeError):
                return (0, 0)
            shards += sum(shard["connected"] for shard in pipeline["shards"])
            writers += len(pipeline["writers"])
        return (shards, writers)

    def verdict(self):
        verdict = self.verify(self.config)
        self.assertEqual((verdict["missing"], verdict["repeated"]), (0, 0), verdict)
        self.assertGreater(verdict["stored"], 0)
        return verdict


class Ingesting(IngestCase):
    """Sessions and batch-writers over three nodes: a record goes to the node that owns the lane of its key."""

    def test_writers_live_on_another_node(self):
        self.begin_ingest({"a": "ingest", "b": "write"})
        self.load(self.config, "--count", 20_000, "--rate", 4_000, "--devices", 200)
        self.verdict()
        accounts = {name: node.pipeline()["account"] for name, node in self.members.running.items()}
        self.assertEqual(accounts["a"]["received"], 20_000)
        self.assertTrue(accounts["a"]["balanced"], accounts)
        self.assertEqual(accounts["b"]["received"], 0)
        for name in "ab":
            self.assertEqual(self.members.running[name].stop(), 0)

    def test_without_the_state_database_everything_goes_on_and_says_so(self):
        state = self.keep(database_server.Postgresql(self.folder / "state"))
        self.begin_ingest({name: "ingest, write" for name in "abc"}, state)
        state.kill()
        a = self.members.running["a"]
        wait_until(lambda: not a.status()["cluster"]["member"], "the lease is over")
        self.assertIn("database", a.status()["cluster"]["reason"])
        self.assertEqual(a.get("/readyz")[0], 503)
        self.load(self.config, "--count", 10_000, "--rate", 2_000, "--devices", 200)
        self.verdict()
        self.assertEqual(self.placed(), (6, 3))
        self.assertEqual(self.members.running["c"].stop(), 0)
        state.start()
        wait_until(lambda: a.status()["cluster"]["member"], "it is a member again")
        del self.members.running["c"]
        wait_until(lambda: self.placed() == (6, 3), "the shards of c are taken", 30)
        for node in self.members.running.values():
            self.assert_balanced(node)
            self.assertEqual(node.stop(), 0)

    def test_nodes_are_killed_stopped_and_continued(self):
        self.begin_ingest({name: "ingest, write" for name in "abc"})
        count, rate = (100_000, 2_000) if SOAK else (60_000, 1_500)
        load = self.start_load(self.config, "--count", count, "--rate", rate, "--devices", 500, "--malformed", 1)
        self.disturb("abc", count / rate * 0.9)
        self.assertEqual(load.wait(count / rate + 300), 0, (self.folder / "load.log").read_text()[-2000:])
        self.verdict()
        wait_until(lambda: self.placed() == (6, 3), "all shards and lanes run somewhere")
        for node in self.members.running.values():
            self.assert_balanced(node)
            self.assertEqual(node.stop(), 0)


class SlowPeer(IngestCase):
    """Node a has the sessions of two pipelines; the batch-writer of one is at b, that of the other at c."""

    def test_a_peer_that_is_slow_slows_only_what_flows_to_it(self):
        self.begin_two_pipelines()
        a, b = self.members.running["a"], self.members.running["b"]
        b.signal(signal.SIGSTOP)  # it is sent what it has asked for, and answers nothing
        for pipeline in ["telemetry", "alarms"]:
            self.load(self.config, "--count", 20_000, "--rate", 10_000, pipeline=pipeline)
        self.assert_all_stored("alarms", wait="10s")
        self.assertEqual(a.pipeline()["account"]["committed"], 0)
        b.signal(signal.SIGCONT)
        self.assert_all_stored("telemetry")
        for node in self.members.running.values():
            self.assert_balanced(node)
            self.assertEqual(node.stop(), 0)

    def assert_all_stored(self, pipeline: str, wait: str = "90s"):
        verdict = self.verify(self.config, wait, pipeline=pipeline)
        self.assertEqual((verdict["stored"], verdict["missing"], verdict["repeated"]), (20_000, 0, 0), verdict)

    def begin_two_pipelines(self):
        self.server = self.keep(database_server.Postgresql(self.folder / "server"))
        self.config = self.configure(self.mosquitto(), database=self.server.url, database_options="")
        text = self.of_nodes(self.config.read_text(), {"a": "ingest", "b": "write", "c": "write"}, lease="30s")
        telemetry = text.split("ingest:\n")[1]
        alarms = (telemetry.replace("  telemetry:\n", "  alarms:\n").replace('/telemetry"]', '/alarms"]')
                  .replace("raw_telemetry", "raw_alarms"))
        self.config.write_text(text + alarms)
        self.members = Members(self, "abc")
        for node in self.members.running.values():
            node.up()
        wait_until(self.linked, "all nodes are linked", 30)
        for pipeline, name in [("telemetry", "b"), ("alarms", "c")]:
            run_command("cluster", "move", f"{pipeline}/batch-writer/0", name, "--config", self.config)
            wait_until(lambda: self.members.status(name)["pipelines"][pipeline]["writers"], f"{pipeline} is written at {name}")
        wait_until(lambda: all(shard["connected"] for pipeline in self.members.status("a")["pipelines"].values()
                               for shard in pipeline["shards"]), "a is connected")


class OnOneMachine(ClusterCase):
    """Several processes and one SQLite file."""

    def test_a_killed_node_is_replaced_within_its_lease_and_a_second(self):
        plant = Sqlite(self.folder / "plant")
        self.begin_cluster(plant, state="state", databases=f'  state: {{url: "sqlite:{self.folder}/state.db"}}')
        for node in self.members.running.values():
            node.up()
        self.wait_for_shards("abc")
        feeding = self.feed(6_000, 12)
        time.sleep(3)
        lost = self.members.owned("b")
        self.members.running["b"].kill()
        began = time.monotonic()
        self.wait_for_shards("ac")
        took = time.monotonic() - began
        self.assertTrue(lost)
        feeding.join()
        self.wait_for(6_000)
        self.assert_exactly_once(range(1, 6_001))
        print(f"\n{len(lost)} shards of a killed node were taken after {took:.2f} s")
        for name in "ac":
            self.assertEqual(self.members.running[name].stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
