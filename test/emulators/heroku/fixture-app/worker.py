"""A worker that says what it is and waits; ends at TERM."""
import os
import signal
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"worker {os.environ['DYNO']} ready", flush=True)
beat = 0
while True:
    time.sleep(0.2)
    beat += 1
    print(f"beat {beat}", flush=True)
