"""The tasks of Celery in this comparison; settings come by the environment: PEERS_REDIS (port), PEERS_LATE (acks_late), PEERS_LOG."""
import os
import time

from celery import Celery

PORT = os.environ["PEERS_REDIS"]
app = Celery("peers", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True, broker_connection_max_retries=None)
if os.environ.get("PEERS_LATE"):
    # The careful settings: acknowledged after the work, given again when a worker is lost. An hour until what a
    # killed worker held is given again (the default) would outlast the measurement.
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True,
                    broker_transport_options={"visibility_timeout": 10})


@app.task
def noop(number, sleep_ms=0):
    path = os.environ.get("PEERS_LOG")
    if path:
        with open(path, "ab", buffering=0) as log:
            log.write(b"%d\n" % number)
    if sleep_ms:
        time.sleep(sleep_ms / 1000)


@app.task
def count(rows):
    total = 0
    for row in rows:
        total = (total + int(row.split(",")[2])) % 1000000007
    return [len(rows), total]


@app.task
def merge(parts):
    return {"rows": sum(part[0] for part in parts), "sum": sum(part[1] for part in parts)}
