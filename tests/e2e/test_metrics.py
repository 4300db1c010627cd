"""/metrics, /healthz and /readyz: the text is what Prometheus reads, and the numbers are those of the fleet."""
import re
import unittest
import urllib.error

from fleet import Fleet, wait_until

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (-?[0-9.e+]+)$')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def parse(text):
    """{(name, labels): value}; every sample stands behind the HELP and TYPE of its family, each family once and in one piece."""
    samples, kinds, family = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            if family in kinds:
                raise AssertionError("twice: " + family)
            kinds[family] = None
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name != family or kind not in SUFFIXES:
                raise AssertionError(line)
            kinds[name] = kind
        else:
            found = SAMPLE.match(line)
            if not found or found[1] not in [family + end for end in SUFFIXES[kinds[family]]]:
                raise AssertionError("not a sample of %s: %r" % (family, line))
            if kinds[family] == "counter" and not family.endswith("_total"):
                raise AssertionError("a counter ends in _total: " + family)
            if (found[1], found[2]) in samples:
                raise AssertionError("twice: " + line)
            samples[found[1], found[2]] = float(found[3])
    return samples


class Metrics(unittest.TestCase):
    def get(self, fleet, path):
        """Outside /api/v1, where the fleet's helper asks."""
        with fleet.opener.open(fleet.url + path, timeout=20) as reply:
            return reply.headers, reply.read().decode()

    def test_the_numbers_are_those_of_the_fleet(self):
        with Fleet(brokers=2, workers=2, slots=2, schedulers=1) as fleet:
            for _ in range(3):
                fleet.finished(fleet.submit("noop", list(range(250)), batch_items=100))
            headers, text = self.get(fleet, "/metrics")
            self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
            seen = parse(text)
            for name, labels, value in (("stint_jobs", 'task="noop",state="completed"', 3), ("stint_workers", None, 2),
                                        ("stint_worker_slots", None, 4), ("stint_schedulers", None, 1), ("stint_brokers", None, 2),
                                        ("stint_brokers_up", None, 2), ("stint_results_recorded_total", None, 9),
                                        ("stint_dispatches_total", None, 9), ("stint_leases_lost_total", None, 0),
                                        ("stint_batches", 'state="leased"', 0), ("stint_store_full", None, 0)):
                self.assertEqual(seen[name, labels], value, (name, labels))
            buckets = [value for (name, _), value in seen.items() if name == "stint_store_commit_seconds_bucket"]
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual(buckets[-1], seen["stint_store_commit_seconds_count", None])
            self.assertGreaterEqual(buckets[-1], 6)
            self.assertGreater(seen["process_resident_memory_bytes", None], 1 << 20)
            self.assertGreater(seen["process_max_fds", None], seen["process_open_fds", None])
            # Counters only rise; a refused request is counted where it belongs.
            self.assertEqual(404, fleet.get("/nothing").status)
            later = parse(self.get(fleet, "/metrics")[1])
            for (name, labels), value in seen.items():
                if name.endswith("_total"):
                    self.assertGreaterEqual(later[name, labels], value, name)
            self.assertEqual(later["stint_http_responses_total", 'status="4xx"'], seen["stint_http_responses_total", 'status="4xx"'] + 1)

    def test_ready_says_what_is_missing(self):
        with Fleet(workers=1, heartbeat_ms=100) as fleet:
            self.assertEqual(self.get(fleet, "/healthz")[1], "ok\n")
            self.assertEqual(self.get(fleet, "/readyz")[1], "ready\n")
            self.assertIn("[+] brokers: 1 of 1 answer\n", self.get(fleet, "/readyz?verbose")[1])
            fleet["b1"].kill()

            def not_ready():
                return self.status(fleet, "/readyz?verbose") == 503
            wait_until(not_ready, 10, "the missing broker is noticed")
            self.assertEqual(200, self.status(fleet, "/healthz"))
            fleet["b1"].start()
            wait_until(lambda: self.status(fleet, "/readyz") == 200, 10, "it is back")
            self.assertEqual(422, self.status(fleet, "/readyz?verbos"))
            self.assertEqual(422, self.status(fleet, "/metrics?x=1"))

    def status(self, fleet, path):
        try:
            with fleet.opener.open(fleet.url + path, timeout=20) as reply:
                return reply.status
        except urllib.error.HTTPError as err:
            with err:
                return err.code


if __name__ == "__main__":
    unittest.main()
