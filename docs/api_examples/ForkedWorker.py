from adwarm.testing import ForkServer

with ForkServer() as server:
    worker = server.start("signal:pause")
    worker.kill()
    assert worker.finish() == -9
