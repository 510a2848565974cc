from adwarm import Runtime

runtime = Runtime()  # settings from ADWARM_* variables
print(runtime.engine.dialect.name, runtime.settings.data)
