from adwarm.testing import CannotCount, ForkServer

try:
    server = ForkServer(count_syscalls=True)
except CannotCount as error:
    print(f"skipped: {error}")
