import os

from adwarm import load_settings

os.environ["ADWARM_WORKERS"] = "4"
assert load_settings().workers == 4
