"""Keys between the processes (docs/security.md): a fleet that has them, peers that have none or no longer, and a worker on another
machine, which is a network namespace here."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from fleet import BUILD, Fleet, die_with_parent, wait_until

STINT = os.path.join(BUILD, "stint")


class Keys(unittest.TestCase):
    def test_a_fleet_with_keys_works_and_outlives_its_broker(self):
        with Fleet(brokers=1, workers=2, schedulers=1, heartbeat_ms=200, keys=True) as fleet:
            fleet.finished(fleet.submit("noop", list(range(1000))))
            fleet["b1"].kill()
            fleet["b1"].start()
            fleet.finished(fleet.submit("noop", list(range(1000))))
            self.assertNotIn("level=error", "".join(process.text() for process in fleet.processes.values()))

    def test_a_removed_worker_is_cut_off_and_its_work_goes_on_elsewhere(self):
        with Fleet(workers=2, heartbeat_ms=200, keys=True, extra={"api": ["--lease", "2s", "--accept-lease", "500"]}) as fleet:
            fleet.finished(fleet.submit("noop", [1]))
            fleet.stint_keys("remove", "w2")
            wait_until(lambda: "what=cut role=worker name=\"w2\"" in fleet["b1"].text(), 5, "the broker cuts w2 off")
            wait_until(lambda: "event=broker.refuses_us" in fleet["w2"].text(), 5, "w2 says why")
            wait_until(lambda: fleet.get("/health").json["workers"] == 1, 10, "the api misses w2")
            for _ in range(5):
                fleet.finished(fleet.submit("noop", list(range(500))))
            # Back under a new key: the worker is started with it, nothing else is.
            fleet["w2"].stop()
            fleet.stint_keys("add", "worker", "w2")
            fleet["w2"].start()
            wait_until(lambda: fleet.get("/health").json["workers"] == 2, 20, "w2 is back")

    def test_a_killed_worker_is_told_of_with_its_key(self):
        """GONE (P34) of what is left of a worker is believed only from its own key."""
        with Fleet(workers=2, heartbeat_ms=200, keys=True) as fleet:
            job = fleet.submit("noop", list(range(2000)), {"sleep_ms": 3000}, batch_items=1000)
            wait_until(lambda: fleet["w1"].descendants() and fleet.job(job)["status"] == "processing" and
                       all(w["busy"] for w in fleet.get("/workers").json["workers"]), 10, "both work")
            fleet["w1"].kill()
            wait_until(lambda: "event=worker.gone worker=\"w1\"" in fleet["api"].text(), 10, "the api is told")
            self.assertEqual(fleet.finished(job)["lost"], 1)

    def test_a_worker_that_came_before_its_key_gets_in_when_it_is_admitted(self):
        with Fleet(workers=1, heartbeat_ms=100, keys=True) as fleet:
            fleet.stint_keys("add", "worker", "late")
            public = os.path.join(fleet.keys, "authorized", "late.pub")
            os.rename(public, public + ".aside")
            late = fleet.add_worker("late")
            late.start()
            wait_until(lambda: "event=broker.refuses_us" in late.text(), 10, "it is refused")
            os.rename(public + ".aside", public)
            wait_until(lambda: fleet.get("/health").json["workers"] == 2, 20, "it is admitted")
            wait_until(lambda: "event=broker.admits_us" in late.text(), 5, "and says so")

    def test_wrong_keys_are_told_at_the_start(self):
        with Fleet(workers=1, keys=True) as fleet:
            worker = [os.path.join(BUILD, "stint-worker"), "--state", os.path.join(fleet.folder, "x"), "--brokers", fleet.backends[0]]
            broker = [os.path.join(BUILD, "stint-broker"), "--frontend", "tcp://127.0.0.1:*", "--backend", "tcp://127.0.0.1:*"]
            key = os.path.join(fleet.keys, "w1.key")
            readable = os.path.join(fleet.folder, "readable.key")
            shutil.copy(key, readable)
            os.chmod(readable, 0o640)
            for command, sentence in (
                    ([*worker, "--name", "w1", "--key", readable], "mode 640"),
                    ([*worker, "--name", "other", "--key", key], "--name w1"),
                    ([*worker, "--name", "w1", "--key", os.path.join(fleet.keys, "api.key")], "key of api"),
                    ([*worker, "--name", "w1", "--key", "/nonexistent"], "cannot be read"),
                    ([*worker[:-1], "tcp://192.0.2.1:7602", "--name", "w1"], "--key"),
                    ([*broker, "--keys", fleet.folder], "stint keys init"),
                    ([*broker[:-1], "tcp://0.0.0.0:*"], "stint keys init")):
                done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20,
                                      check=False)
                self.assertEqual(done.returncode, 78, (command, done.stdout))
                self.assertIn(sentence, done.stdout.decode())

    def test_what_has_no_key_gets_nothing_and_harms_nobody(self):
        with Fleet(workers=1, heartbeat_ms=200, keys=True) as fleet:
            plain = subprocess.Popen([os.path.join(BUILD, "stint-worker"), "--name", "w9", "--state", os.path.join(fleet.folder, "w9"),
                                      "--heartbeat", "200", "--brokers", fleet.backends[0]], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
            try:
                lines = []
                while not any("event=broker.refuses_us" in line for line in lines):
                    lines.append(plain.stderr.readline().decode())
                    self.assertTrue(lines[-1], lines)
                self.assertIn("it wants a key", lines[-1])
                fleet.finished(fleet.submit("noop", list(range(300))))
                self.assertEqual(fleet.get("/health").json["workers"], 1)
            finally:
                plain.kill()
                plain.wait()
                plain.stderr.close()


class Namespaces:
    """Two machines with one wire between them: network namespaces with names of this process."""

    def __init__(self):
        self.names = ["stint-%d-a" % os.getpid(), "stint-%d-b" % os.getpid()]
        self.made = []

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                       timeout=20)

    def __enter__(self):
        try:
            for name in self.names:
                self.ip("netns", "add", name)
                self.made.append(name)
            self.ip("link", "add", "va", "netns", self.names[0], "type", "veth", "peer", "name", "vb", "netns", self.names[1])
            for i, name in enumerate(self.names):
                for arguments in (["link", "set", "lo", "up"], ["addr", "add", "192.0.2.%d/24" % (i + 1), "dev", "va" if i == 0 else "vb"],
                                  ["link", "set", "va" if i == 0 else "vb", "up"]):
                    self.ip("-n", name, *arguments)
        except (OSError, subprocess.CalledProcessError) as err:
            self.__exit__()
            raise unittest.SkipTest("no network namespaces here: %s" % (getattr(err, "stderr", b"") or err)) from None
        return self

    def __exit__(self, *_):
        for name in self.made:
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)

    def start(self, machine, command, log):
        return subprocess.Popen(["ip", "netns", "exec", self.names[machine], *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                preexec_fn=die_with_parent)

    def run(self, machine, *command):
        done = subprocess.run(["ip", "netns", "exec", self.names[machine], *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
        if done.returncode:
            raise AssertionError("%r: exit code %d: %s" % (command, done.returncode, done.stdout.decode()))
        return done.stdout.decode()


class AnotherMachine(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0 or not shutil.which("ip"):
            self.skipTest("network namespaces need root and ip")
        self.folder = tempfile.mkdtemp(prefix="stint-keys-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def workers(self, machines, url):
        return {w["name"]: w for w in json.loads(machines.run(0, STINT, "--server", url, "--json", "workers"))["workers"]}

    def test_three_commands_add_a_worker_on_another_machine(self):
        data = self.path("data")
        started = []
        with Namespaces() as machines, open(self.path("up.log"), "wb") as up_log, open(self.path("east.log"), "wb") as east_log:
            try:
                started.append(machines.start(0, [STINT, "up", "--workers", "1", "--rate", "off", "--data", data, "--listen", "127.0.0.1:0",
                                                  "--backend", "192.0.2.1:7602"], up_log))
                wait_until(lambda: "Stint is up" in self.text("up.log"), 30, "the fleet is up")
                with open(os.path.join(data, "up.json"), encoding="utf-8") as file:
                    url = json.load(file)["url"]
                # The README's three commands; cp stands for scp.
                machines.run(0, STINT, "keys", "add", "worker", "east", "--keys", os.path.join(data, "keys"))
                machines.run(1, "cp", "-p", os.path.join(data, "keys", "east.key"), self.path("east.key"))
                started.append(machines.start(1, [os.path.join(BUILD, "stint-worker"), "--key", self.path("east.key"), "--name", "east",
                                                  "--state", self.path("east"), "--rate", "off", "--brokers", "tcp://192.0.2.1:7602"],
                                              east_log))
                wait_until(lambda: "east" in self.workers(machines, url), 20, "east has joined")
                with open(self.path("items.ndjson"), "w", encoding="ascii") as file:
                    file.write("1\n" * 150000)
                machines.run(0, STINT, "--server", url, "submit", self.path("items.ndjson"), "--task", "noop", "--wait")
                self.assertRegex(machines.run(0, STINT, "--server", url, "--json", "workers"), "east")
                machines.run(0, STINT, "keys", "remove", "east", "--keys", os.path.join(data, "keys"))
                wait_until(lambda: "east" not in self.workers(machines, url), 20, "east is gone")
                wait_until(lambda: "event=broker.refuses_us" in self.text("east.log"), 20, "east is refused")
                machines.run(0, STINT, "--server", url, "submit", self.path("items.ndjson"), "--task", "noop", "--wait")
            except BaseException:
                print(self.text("up.log")[-6000:], self.text("east.log")[-3000:])
                raise
            finally:
                for process in reversed(started):
                    process.terminate()
                    try:
                        process.wait(30)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()


if __name__ == "__main__":
    unittest.main()
