"""The compose file is one: docker-compose accepts it, and it has the four services."""
import os
import shutil
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "compose.yml")
TOOL = shutil.which("docker-compose")


@unittest.skipUnless(TOOL, "docker-compose is not installed: make deps")
class Compose(unittest.TestCase):
    def run_config(self, *more, file=FILE):
        return subprocess.run([TOOL, "-f", file, "config", *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, check=False)

    def test_compose_file_is_accepted(self):
        done = self.run_config("-q")
        self.assertEqual(0, done.returncode, done.stderr.decode())

    def test_compose_file_has_the_four_services(self):
        done = self.run_config("--services")
        self.assertEqual(["api", "broker", "scheduler", "worker"], sorted(done.stdout.decode().split()), done.stderr.decode())


if __name__ == "__main__":
    unittest.main()
