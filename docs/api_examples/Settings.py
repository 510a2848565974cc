from adwarm import Settings

settings = Settings(workers=4)  # a value given here wins over the ADWARM_* variables
assert settings.workers == 4
