import threading

from adwarm.testing import wait_until

done = threading.Event()
threading.Timer(0.01, done.set).start()
wait_until(done.is_set, "the timer has run", seconds=10)
