"""A minute of chaos (chaos.py) in every run of the tests, with another seed each time: it is printed, and kept when something is wrong.
STINT_CHAOS_SEED takes one again."""
import os
import random
import subprocess
import sys
import unittest

from chaos import namespaces_work

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 60


class Chaos(unittest.TestCase):
    def test_a_minute_of_chaos_breaks_no_promise(self):
        seed = os.environ.get("STINT_CHAOS_SEED") or str(random.SystemRandom().randrange(1 << 31))
        done = subprocess.run([sys.executable, os.path.join(HERE, "chaos.py"), "--seconds", str(SECONDS), "--seed", seed],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False)
        text = done.stdout.decode("utf-8", "replace")
        print(text, file=sys.stderr)
        self.assertEqual(0, done.returncode, "chaos with seed %s: see above" % seed)
        self.assertIn("0 violations, seed %s" % seed, text)

    def test_partitions_and_full_disks_are_a_part_of_it(self):
        if not namespaces_work():
            self.skipTest("chaos without partitions and full disks: namespaces and iptables need root")


if __name__ == "__main__":
    unittest.main()
