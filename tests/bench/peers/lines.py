"""beanstalkd and gearmand by their own protocols, without a library: clients, and a worker each.

Usage as a worker: lines.py beanstalkd|gearmand PORT (PEERS_LOG names the log). It connects again for ever."""
import os
import socket
import struct
import sys
import time


def connect(port):
    line = socket.create_connection(("127.0.0.1", port), timeout=60)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


class Beanstalk:
    def __init__(self, port):
        self.line = connect(port)
        self.file = self.line.makefile("rb")

    def ask(self, text, body=None):
        self.line.sendall(text + b"\r\n" + (body + b"\r\n" if body is not None else b""))
        answer = self.file.readline().split()
        if not answer:
            raise ConnectionError("beanstalkd is gone")
        return answer

    def put(self, body):
        answer = self.ask(b"put 1000 0 120 %d" % len(body), body)
        if answer[0] != b"INSERTED":
            raise ConnectionError(repr(answer))

    def use(self, tube):
        self.ask(b"use " + tube)

    def watch(self, tube):
        self.ask(b"watch " + tube)
        self.ask(b"ignore default")

    def reserve(self):
        answer = self.ask(b"reserve")
        if answer[0] != b"RESERVED":
            raise ConnectionError(repr(answer))
        body = self.file.read(int(answer[2]) + 2)[:-2]
        return answer[1], body

    def delete(self, number):
        self.ask(b"delete " + number)

    def waiting(self):
        """Jobs that are ready or reserved."""
        answer = self.ask(b"stats")
        text = self.file.read(int(answer[1]) + 2).decode()
        numbers = dict(row.split(": ") for row in text.splitlines() if ": " in row)
        return int(numbers["current-jobs-ready"]) + int(numbers["current-jobs-reserved"])


CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB, NO_JOB, JOB_ASSIGN, WORK_COMPLETE, SUBMIT_JOB_BG = 1, 4, 6, 7, 8, 9, 10, 11, 13, 18


class Gearman:
    def __init__(self, port):
        self.line = connect(port)
        self.file = self.line.makefile("rb")

    def send(self, kind, *parts):
        data = b"\0".join(parts)
        self.line.sendall(b"\0REQ" + struct.pack(">II", kind, len(data)) + data)

    def receive(self):
        head = self.file.read(12)
        if len(head) < 12:
            raise ConnectionError("gearmand is gone")
        kind, n = struct.unpack(">II", head[4:])
        return kind, self.file.read(n)

    def put(self, body):
        self.send(SUBMIT_JOB_BG, b"work", body.split()[0], body)
        kind, data = self.receive()
        if kind != JOB_CREATED:
            raise ConnectionError("%d %r" % (kind, data))

    def call(self, body):
        """In the foreground: until its result is here."""
        self.send(SUBMIT_JOB, b"work", b"", body)
        while self.receive()[0] != WORK_COMPLETE:
            pass

    def waiting(self):
        self.line.sendall(b"status\n")
        total = 0
        while True:
            row = self.file.readline().strip()
            if row in (b".", b""):
                return total
            total += int(row.split(b"\t")[1])


def work(body):
    """'number sleep_ms'"""
    number, sleep_ms = body.split()[:2]
    path = os.environ.get("PEERS_LOG")
    if path:
        with open(path, "ab", buffering=0) as log:
            log.write(number + b"\n")
    if int(sleep_ms):
        time.sleep(int(sleep_ms) / 1000)


def beanstalk_worker(port):
    line = Beanstalk(port)
    line.line.settimeout(None)
    line.watch(b"work")
    answers = Beanstalk(port)
    answers.use(b"answers")
    while True:
        number, body = line.reserve()
        work(body)
        if body.endswith(b" answer"):
            answers.put(b"done")
        line.delete(number)


def gearman_worker(port):
    line = Gearman(port)
    line.line.settimeout(None)
    line.send(CAN_DO, b"work")
    while True:
        line.send(GRAB_JOB)
        kind, data = line.receive()
        while kind == NOOP:
            kind, data = line.receive()
        if kind == NO_JOB:
            line.send(PRE_SLEEP)
            while line.receive()[0] != NOOP:
                pass
        elif kind == JOB_ASSIGN:
            handle, _, body = data.split(b"\0", 2)
            work(body)
            line.send(WORK_COMPLETE, handle, b"done")


def main():
    run = {"beanstalkd": beanstalk_worker, "gearmand": gearman_worker}[sys.argv[1]]
    while True:
        try:
            run(int(sys.argv[2]))
        except OSError:
            time.sleep(0.1)


if __name__ == "__main__":
    main()
